//! Ed25519 keys (RFC 8032), verified strictly: no small-order or non-canonical keys, no malleable signatures.

use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::id::base32;

/// A device's public key: its log key and, as a libp2p `PeerId`, its address in the network.
///
/// The bytes are not checked until [`DeviceKey::check`]; a key that is no valid point verifies nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceKey([u8; 32]);

/// An Ed25519 signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// The key or the signature is wrong; which of the two is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct SignatureError;

impl DeviceKey {
    /// The key with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 characters, for people and logs.
    #[must_use]
    pub fn fmt_short(&self) -> String {
        let mut text = base32(&self.0);
        text.truncate(crate::limits::SHORT_ID_CHARS);
        text
    }

    /// Checks a signature over exactly `message` (signed notes bring their own domain: the origin line).
    ///
    /// # Errors
    /// [`SignatureError`] also for weak and non-canonical keys.
    pub fn check(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| SignatureError)?;
        // `from_bytes` accepts non-canonical encodings of a point and keeps them; ids come from bytes, so there must be one.
        if key.to_edwards().compress().to_bytes() != self.0 || key.is_weak() {
            return Err(SignatureError);
        }
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature).map_err(|_| SignatureError)
    }
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32(&self.0))
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.fmt_short())
    }
}

impl core::str::FromStr for DeviceKey {
    type Err = crate::id::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = crate::id::from_base32(text)?;
        Ok(Self(bytes.try_into().map_err(|_| crate::id::IdError::Length(text.len()))?))
    }
}

/// A device's secret key. Zeroed when dropped; its `Debug` shows the public half only.
pub struct DeviceSecret(SigningKey);

impl DeviceSecret {
    /// The key of this seed (RFC 8032 §5.1.5).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for the key file and for libp2p's key pair.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> DeviceKey {
        DeviceKey(self.0.verifying_key().to_bytes())
    }

    /// Signs exactly `message`. Deterministic.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceSecret(of {})", self.public().fmt_short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_checks() {
        let secret = DeviceSecret::from_seed(&[7; 32]);
        let signature = secret.sign(b"hello");
        assert_eq!(secret.public().check(b"hello", &signature), Ok(()));
        assert_eq!(secret.public().check(b"hellp", &signature), Err(SignatureError));
    }

    /// The eight small-order points in their canonical and non-canonical encodings, and other encodings that are not canonical
    /// ("Taming the many EdDSAs", Chalkias, Garillot, Nikolaenko 2020, table 6c).
    #[test]
    fn weak_and_non_canonical_keys_verify_nothing() {
        let mut zero_signature = [0; 64];
        zero_signature[0] = 1;
        for hex in [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ] {
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hex");
            let key = DeviceKey::from_bytes(bytes.try_into().expect("32 bytes"));
            assert_eq!(key.check(b"any", &Signature(zero_signature)), Err(SignatureError), "{hex}");
        }
    }
}
