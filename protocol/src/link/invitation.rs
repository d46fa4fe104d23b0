//! What a device that is to be paired is shown or scans: the code, and where the other device is.

use core::fmt;
use core::str::FromStr;

use super::address::{PeerAddress, PeerAddressError};
use super::{LinkError, escape};
use crate::limits::{LINK_ADDRESSES, LINK_BYTES, PAIR_CODE_CHARS};

/// How every invitation begins; a scheme has no case (RFC 3986 §3.1).
const SCHEME: &str = "syncra-pair:";

/// A code for pairing with the addresses of the device that shows it: `syncra-pair:<code>[?at=…&at=…]`. It is a secret
/// for as long as the code is good. `parse` and `Display` are inverse.
///
/// ```
/// use syncra_protocol::link::Invitation;
/// let invitation: Invitation = "syncra-pair:4821-k3v9-x2m4".parse().unwrap();
/// assert_eq!(invitation.code(), "4821-k3v9-x2m4");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    code: String,
    addresses: Vec<PeerAddress>,
}

/// Why a text is no invitation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// More bytes than any invitation has.
    #[error("{len} bytes, at most {LINK_BYTES} are allowed")]
    TooLong {
        /// Bytes of the text.
        len: usize,
    },
    /// Something else.
    #[error("an invitation begins with `syncra-pair:`")]
    Scheme,
    /// What stands where the code should be.
    #[error("there is no code of digits, letters and `-` in it")]
    Code,
    /// A parameter that is no address.
    #[error("only `at=ADDRESS` may follow the code")]
    Parameter,
    /// More addresses than an invitation has.
    #[error("more than {LINK_ADDRESSES} addresses")]
    TooManyAddresses,
    /// An address.
    #[error("an address is wrong")]
    Address(#[from] PeerAddressError),
    /// How an address is escaped.
    #[error(transparent)]
    Escape(Box<LinkError>),
}

impl Invitation {
    /// An invitation by the first [`LINK_ADDRESSES`] addresses.
    ///
    /// # Errors
    /// [`InvitationError::Code`].
    pub fn new(code: &str, addresses: impl IntoIterator<Item = PeerAddress>) -> Result<Self, InvitationError> {
        let is_code = |code: &str| code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if code.is_empty() || code.len() > PAIR_CODE_CHARS || !is_code(code) {
            return Err(InvitationError::Code);
        }
        Ok(Self { code: code.to_owned(), addresses: addresses.into_iter().take(LINK_ADDRESSES).collect() })
    }

    /// Whether a text is meant to be one.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        let scheme = text.trim().get(..SCHEME.len());
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }

    /// Parses one; white space around it does not count.
    ///
    /// # Errors
    /// [`InvitationError`].
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        if text.len() > LINK_BYTES {
            return Err(InvitationError::TooLong { len: text.len() });
        }
        if !Self::is_meant(text) {
            return Err(InvitationError::Scheme);
        }
        let rest = &text.trim()[SCHEME.len()..];
        let (code, query) = match rest.split_once('?') {
            Some((code, query)) => (code, Some(query)),
            None => (rest, None),
        };
        let mut addresses = Vec::new();
        for parameter in query.into_iter().flat_map(|query| query.split('&')) {
            let value = parameter.strip_prefix("at=").ok_or(InvitationError::Parameter)?;
            if addresses.len() == LINK_ADDRESSES {
                return Err(InvitationError::TooManyAddresses);
            }
            let value = escape::undo(value).map_err(|error| InvitationError::Escape(Box::new(error)))?;
            addresses.push(PeerAddress::parse(&value)?);
        }
        Self::new(code, addresses)
    }

    /// The code, as the other device shows it.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Where that device may be, at most [`LINK_ADDRESSES`].
    #[must_use]
    pub fn addresses(&self) -> &[PeerAddress] {
        &self.addresses
    }
}

/// The code is a secret.
impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.code)?;
        for (n, address) in self.addresses.iter().enumerate() {
            write!(f, "{}at={}", if n == 0 { '?' } else { '&' }, escape::escaped(address.as_str()))?;
        }
        Ok(())
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuS";

    fn address(n: usize) -> PeerAddress {
        PeerAddress::parse(&format!("/ip4/192.0.2.{n}/tcp/4001/p2p/{PEER}")).unwrap()
    }

    #[test]
    fn what_is_shown_is_what_is_read_and_the_code_is_in_no_log() {
        for n_addresses in 0..=LINK_ADDRESSES {
            let shown = Invitation::new("4821-k3v9-x2m4", (0..n_addresses).map(address)).unwrap();
            let text = shown.to_string();
            assert_eq!(Invitation::parse(&format!(" {text}\n")), Ok(shown.clone()));
            assert_eq!(Invitation::parse(&text.replace("syncra-pair", "SYNCRA-Pair")), Ok(shown.clone()));
            assert!(!format!("{shown:?}").contains("k3v9"));
        }
        assert_eq!(Invitation::new("4821", (0..20).map(address)).unwrap().addresses().len(), LINK_ADDRESSES);
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let at = format!("at={}", address(1));
        let many = vec![at.clone(); LINK_ADDRESSES + 1].join("&");
        let cases = [
            ("4821-k3v9-x2m4".to_owned(), InvitationError::Scheme),
            ("syncra:4821".to_owned(), InvitationError::Scheme),
            ("syncra-pair:".to_owned(), InvitationError::Code),
            ("syncra-pair:48 21".to_owned(), InvitationError::Code),
            (format!("syncra-pair:{}", "4".repeat(PAIR_CODE_CHARS + 1)), InvitationError::Code),
            ("syncra-pair:4821?".to_owned(), InvitationError::Parameter),
            (format!("syncra-pair:4821?{at}&to=x"), InvitationError::Parameter),
            (format!("syncra-pair:4821?{many}"), InvitationError::TooManyAddresses),
            ("syncra-pair:4821?at=/ip4/192.0.2.7/tcp/1".to_owned(), InvitationError::Address(PeerAddressError::Peer)),
            ("syncra-pair:4821?at=%4".to_owned(), InvitationError::Escape(Box::new(LinkError::Escape))),
            (" ".repeat(LINK_BYTES + 1), InvitationError::TooLong { len: LINK_BYTES + 1 }),
        ];
        for (text, error) in cases {
            assert_eq!(Invitation::parse(&text), Err(error), "{text}");
        }
    }
}
