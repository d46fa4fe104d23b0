//! Why nothing changed about the devices of an identity.

use syncra_protocol::evidence::EvidenceError;
use syncra_protocol::id::{IdentityId, PackageId};
use syncra_protocol::key::DeviceKey;

use crate::flow::identity::IdentityError;
use crate::history::{CommitError, LoadError, OwnError};

/// Why nothing changed about the devices.
#[derive(Debug, thiserror::Error)]
pub enum DevicesError {
    /// What is known cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The log did not grow.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// Another device's log cannot be kept.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The recovery key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The identity's logs are not here.
    #[error("the history of identity {} is not on this device", .0.fmt_short())]
    Unknown(IdentityId),
    /// No device is called so.
    #[error("no device of this identity is called `{0}`")]
    NoDevice(String),
    /// Several are.
    #[error("`{name}` could be any of {}", .devices.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// What it could mean.
        devices: Vec<String>,
    },
    /// This device may not do it.
    #[error("this device may publish and not manage other devices")]
    NotManager,
    /// This device was suspended or revoked, or not admitted yet.
    #[error("this device does not speak for identity {}", .0.fmt_short())]
    Silenced(IdentityId),
    /// Only the recovery key can speak for a device again.
    #[error("the device `{0}` was revoked, which is for ever")]
    Revoked(String),
    /// Only the recovery key can give it back its voice.
    #[error("the device `{0}` is suspended")]
    Suspended(String),
    /// How far a revoked device counts is the recovery key's word.
    #[error("the device {} was revoked, and a sibling says no more about it", .0.fmt_short())]
    CutByRecovery(DeviceKey),
    /// A release that none of those wrote who are to be cut back: to name it would take nothing away.
    #[error("`{0}` was not written by the device that is to be cut back")]
    NotTheirs(String),
    /// The package is not on this device.
    #[error("the history of package {} is not on this device", .0.fmt_short())]
    NoPackage(PackageId),
    /// A device cannot be a device of two people.
    #[error("this device has published {n_names} packages as {owner}")]
    HasPackages {
        /// How many.
        n_names: usize,
        /// As whom.
        owner: String,
    },
    /// The same, for a device that has joined somebody.
    #[error("this is a device of {owner} already")]
    HasJoined {
        /// Whose.
        owner: String,
    },
    /// The logs of the identity to join do not verify.
    #[error("the identity's history does not verify")]
    Evidence(#[from] EvidenceError),
    /// What was offered is not what was named.
    #[error("the history offered is not one of identity {}", .0.fmt_short())]
    OtherIdentity(IdentityId),
    /// The identity's logs do not fit what one device tells another.
    #[error("the identity's history is too long to be handed over at once")]
    TooLong,
    /// Not the key that the identity names.
    #[error("this is not the recovery key that the identity names now")]
    WrongKey,
    /// It was said, and something that is known here keeps it from counting.
    #[error("the statement was written and does not count: another one came first, or this device has said too much")]
    Unheeded,
    /// There is nothing that the recovery key could do.
    #[error(
        "nothing to do: say which device to revoke, by `--revoke DEVICE`, or run this on a device that is to be added"
    )]
    Nothing,
    /// No device has lost its voice by a suspension.
    #[error("no device is suspended, so there is nothing to lift")]
    NobodySuspended,
}
