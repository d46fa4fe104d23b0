//! Where a peer may be, as text: the protocol dials nobody, so it knows the form and not the transports.

use crate::limits::LINK_ADDRESS_BYTES;
use crate::text::text_type;

/// Characters of a device's peer id: multibase-less base58 of an Ed25519 key in libp2p's identity multihash.
const PEER_ID_CHARS: usize = 52;
/// How every one of them begins: the part that is the same for all Ed25519 keys.
const PEER_ID_BEGINNING: &str = "12D3KooW";

/// A multiaddress that ends in `/p2p/` and a device's peer id: nobody else is accepted there.
///
/// The parts before are not interpreted here: an address of a kind that only newer programs know is no reason to refuse
/// the whole link.
///
/// ```
/// use syncra_protocol::link::PeerAddress;
/// let peer = "12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuS";
/// assert!(PeerAddress::parse(&format!("/ip4/192.0.2.7/tcp/4001/p2p/{peer}")).is_ok());
/// assert!(PeerAddress::parse("/ip4/192.0.2.7/tcp/4001").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress(String);

text_type!(PeerAddress, PeerAddressError, "an address with its /p2p/…");

/// Why a text is no address of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerAddressError {
    /// More bytes than any address has.
    #[error("{len} bytes, at most {LINK_ADDRESS_BYTES} are allowed")]
    TooLong {
        /// Bytes of the text.
        len: usize,
    },
    /// Not parts of letters, digits and `.:_-` with `/` before each.
    #[error("an address looks like `/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…`")]
    Form,
    /// No peer id at the end, or a cut one.
    #[error("an address ends in `/p2p/` and the {PEER_ID_CHARS} characters of a peer id")]
    Peer,
}

impl PeerAddress {
    /// Checks the form above.
    ///
    /// # Errors
    /// [`PeerAddressError`].
    pub fn parse(text: &str) -> Result<Self, PeerAddressError> {
        if text.len() > LINK_ADDRESS_BYTES {
            return Err(PeerAddressError::TooLong { len: text.len() });
        }
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte))
        };
        let parts: Vec<&str> = text.strip_prefix('/').ok_or(PeerAddressError::Form)?.split('/').collect();
        if !parts.iter().copied().all(is_part) {
            return Err(PeerAddressError::Form);
        }
        match parts.as_slice() {
            [_, _, .., "p2p", peer] if is_peer_id(peer) => Ok(Self(text.to_owned())),
            _ => Err(PeerAddressError::Peer),
        }
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_peer_id(text: &str) -> bool {
    let base58 = |byte: u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte);
    text.len() == PEER_ID_CHARS && text.starts_with(PEER_ID_BEGINNING) && text.bytes().all(base58)
}
