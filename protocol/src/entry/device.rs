//! Which devices speak for an identity: adding one, suspending one, and what the recovery key says.
//!
//! Grants and cuts differ in when they count (`docs/spec/fold.md`): a device speaks from the entries on that have its
//! admission in their past; a cut counts everywhere as soon as it is known, and names how far each log of the device
//! still counts, so that nothing depends on a clock.

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::codec;
use crate::id::{EntryId, IdentityId, LogHash, PackageId};
use crate::key::{DeviceKey, DeviceSecret, Signature, SignatureError};
use crate::limits::{DEVICE_CUTS, LIFTED_SUSPENSIONS, REVOKED_DEVICES};
use crate::name::RefName;

/// Before what a recovery key signs, so that no other signature of that key can be taken for a statement.
const RECOVERY_DOMAIN: &[u8] = b"syncra/recovery/v1\n";

/// What a device may do for its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DeviceRole {
    /// Everything, adding and suspending devices included.
    Manager,
    /// Publish in the identity's packages, and name new ones.
    Publisher,
}

/// Lets a further device speak for the identity, from the entries on that come after this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddDevice {
    /// Its key.
    pub device: DeviceKey,
    /// What it may do.
    pub role: DeviceRole,
    /// What people call it, e.g. `laptop`.
    pub label: RefName,
}

/// How far a log counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cut {
    /// Entries that count, at least one.
    pub size: u64,
    /// The log's root at that size: which of two histories is meant.
    pub root: LogHash,
}

/// How far the logs of one device count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCuts {
    /// The device.
    pub device: DeviceKey,
    /// Its log of the identity; none counts if it is not named.
    pub identity: Option<Cut>,
    /// Its logs of packages, ascending by package. Of one that is named without a cut nothing counts; of one that is not
    /// named what other devices and owners have seen counts.
    #[serde(deserialize_with = "bounded::list::<_, _, DEVICE_CUTS>")]
    pub packages: Vec<(PackageId, Option<Cut>)>,
}

/// Takes a sibling's voice away until the recovery key says more: nothing beyond the cuts counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspend {
    /// The device, and how far its logs count.
    pub cuts: DeviceCuts,
}

/// What the holder of the recovery key says. Statements form one chain from the key that the Genesis commits to; the
/// same statement may stand in several logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The identity.
    pub identity: IdentityId,
    /// The statement before this one; none for the first.
    pub previous: Option<StatementId>,
    /// A device that speaks for the identity from now on.
    pub admit: Option<AddDevice>,
    /// Devices that never speak for it again beyond these cuts, ascending by device. Of two statements about one log the
    /// later one counts.
    #[serde(deserialize_with = "bounded::list::<_, _, REVOKED_DEVICES>")]
    pub revoke: Vec<DeviceCuts>,
    /// Suspend entries that count no longer, ascending.
    #[serde(deserialize_with = "bounded::list::<_, _, LIFTED_SUSPENSIONS>")]
    pub lift: Vec<EntryId>,
    /// BLAKE3 of the recovery public key that signs the next statement.
    pub next: [u8; 32],
}

/// BLAKE3 of the bytes that are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StatementId(pub [u8; 32]);

/// A [`Statement`] with the signature of the recovery key (RFC 8032). Whose key that must be is the fold's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recover {
    /// What is said.
    pub statement: Statement,
    /// The recovery public key.
    pub key: DeviceKey,
    /// R and S of the signature over [`Statement::signed_bytes`].
    pub signature: ([u8; 32], [u8; 32]),
}

impl DeviceCuts {
    fn check(&self) -> Result<(), &'static str> {
        if self.packages.len() > DEVICE_CUTS {
            return Err("cuts more logs than one entry may");
        }
        if !self.packages.is_sorted_by(|a, b| a.0 < b.0) {
            return Err("cuts are not in ascending order of their packages");
        }
        let mut cuts = self.identity.iter().chain(self.packages.iter().filter_map(|(_, cut)| cut.as_ref()));
        if cuts.any(|cut| cut.size == 0) {
            return Err("a cut names an empty log");
        }
        Ok(())
    }
}

impl Suspend {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        self.cuts.check()
    }
}

impl Statement {
    /// What the recovery key signs: a domain line, then the statement's canonical bytes.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        [RECOVERY_DOMAIN, &codec::encode(self)].concat()
    }

    /// Which statement this is.
    #[must_use]
    pub fn id(&self) -> StatementId {
        StatementId(*blake3::hash(&self.signed_bytes()).as_bytes())
    }

    /// Signs it with the recovery key.
    #[must_use]
    pub fn sign(self, secret: &DeviceSecret) -> Recover {
        let Signature(bytes) = secret.sign(&self.signed_bytes());
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..]);
        Recover { statement: self, key: secret.public(), signature: (r, s) }
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.revoke.len() > REVOKED_DEVICES || self.lift.len() > LIFTED_SUSPENSIONS {
            return Err("says more than one statement may");
        }
        if !self.revoke.is_sorted_by(|a, b| a.device < b.device) {
            return Err("revoked devices are not in ascending order");
        }
        if !self.lift.is_sorted_by(|a, b| a < b) {
            return Err("lifted suspensions are not in ascending order");
        }
        self.revoke.iter().try_for_each(DeviceCuts::check)
    }
}

impl Recover {
    /// BLAKE3 of the recovery public key: what the statement before must name.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        recovery_commitment(&self.key)
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        self.statement.check()?;
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&self.signature.0);
        signature[32..].copy_from_slice(&self.signature.1);
        let verified = self.key.check(&self.statement.signed_bytes(), &Signature(signature));
        verified.map_err(|SignatureError| "is not signed by the recovery key that it names")
    }
}

/// How a Genesis, and each statement, names the recovery key without showing it.
#[must_use]
pub fn recovery_commitment(key: &DeviceKey) -> [u8; 32] {
    *blake3::hash(key.as_bytes()).as_bytes()
}
