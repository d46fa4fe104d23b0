//! Links: what somebody is given who knows nobody yet, in a chat, on a page or as a QR code.
//!
//! ```text
//! syncra:<package id>[@<selector>][?name=@alice~k3v4x2m4q7ab/rocket&at=/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…&at=…]
//! ```
//!
//! Only the id counts. It is the hash of the package's first entry, so whatever an address answers proves itself or is
//! nothing; a lying link wastes time and deceives nobody. The name and the addresses are hints (`docs/spec/names.md`).

use core::fmt;
use core::str::FromStr;

use crate::id::{IdError, PackageId};
use crate::limits::{LINK_ADDRESSES, LINK_BYTES, LINK_PARAMETERS};
use crate::reference::{QualifiedName, Reference, ReferenceError, ReferenceFault, Selector};
use crate::text::text_serde;

mod address;
mod escape;
mod invitation;
#[cfg(test)]
mod tests;

pub use address::{PeerAddress, PeerAddressError};
pub use invitation::{Invitation, InvitationError};

/// How every link begins; a scheme has no case (RFC 3986 §3.1).
const SCHEME: &str = "syncra:";

/// A package, and hints at where to ask for it. `parse` and `Display` are inverse, but for how hints are escaped.
///
/// ```
/// use syncra_protocol::link::Link;
/// let id = "ybjqiy4xqv6sl3vx3hvymxhkl5uvmlp7zeylrpc5cihr6fzdq4ca";
/// let link: Link = format!("<syncra:{id}@stable?name=@alice/rocket> ").parse().unwrap();
/// assert_eq!(link.to_string(), format!("syncra:{id}@stable?name=@alice/rocket"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    package: PackageId,
    selector: Option<Selector>,
    name: Option<QualifiedName>,
    addresses: Vec<PeerAddress>,
}

text_serde!(Link, "a link like syncra:<package id>?at=…");

/// Why a text is not a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// More bytes than any link has.
    #[error("{len} bytes, at most {LINK_BYTES} are allowed")]
    TooLong {
        /// Bytes of the text, or of its canonical form.
        len: usize,
    },
    /// Something else.
    #[error("a link begins with `syncra:`")]
    Scheme,
    /// Content without author or history: there is nothing to show before it is used.
    #[error("this names content by its hash, for which nobody vouches; a link names a package")]
    Content,
    /// A character that stands in no URI.
    #[error("the character at {at} stands in no link")]
    Character {
        /// Where, in bytes.
        at: usize,
    },
    /// `%` without two hexadecimal digits, or not UTF-8 when undone.
    #[error("an escape with `%` is broken")]
    Escape,
    /// What follows `syncra:`.
    #[error("the package id is wrong")]
    Id(#[from] IdError),
    /// What follows `@`.
    #[error("the release is named wrongly")]
    Selector(#[source] Box<ReferenceFault>),
    /// The form without hints, which is a reference.
    #[error(transparent)]
    Reference(Box<ReferenceError>),
    /// A known parameter without a value.
    #[error("`{0}` has no value")]
    NoValue(&'static str),
    /// A second name.
    #[error("`name` stands there twice")]
    SecondName,
    /// The value of `name`.
    #[error("the name is none")]
    Name(#[source] Box<ReferenceError>),
    /// A value of `at`.
    #[error("an address is wrong")]
    Address(#[from] PeerAddressError),
    /// More addresses than a link has.
    #[error("more than {LINK_ADDRESSES} addresses")]
    TooManyAddresses,
    /// More parameters than a link has, known or not.
    #[error("more than {LINK_PARAMETERS} parameters")]
    TooManyParameters,
}

impl Link {
    /// A link without hints.
    #[must_use]
    pub const fn new(package: PackageId, selector: Option<Selector>) -> Self {
        Self { package, selector, name: None, addresses: Vec::new() }
    }

    /// The same link with what people call the package.
    #[must_use]
    pub fn with_name(self, name: QualifiedName) -> Self {
        Self { name: Some(name), ..self }
    }

    /// Adds a place to ask at; false if there is no room for it, or it is there already.
    pub fn add(&mut self, address: PeerAddress) -> bool {
        if self.addresses.len() == LINK_ADDRESSES || self.addresses.contains(&address) {
            return false;
        }
        self.addresses.push(address);
        let has_room = self.to_string().len() <= LINK_BYTES;
        if !has_room {
            self.addresses.pop();
        }
        has_room
    }

    /// Which package.
    #[must_use]
    pub const fn package(&self) -> PackageId {
        self.package
    }

    /// Which release of it, if the link says so.
    #[must_use]
    pub const fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    /// What whoever made the link calls the package: to be shown as such at most, never to be looked up or believed.
    #[must_use]
    pub const fn name(&self) -> Option<&QualifiedName> {
        self.name.as_ref()
    }

    /// Where somebody may have it, at most [`LINK_ADDRESSES`], each once.
    #[must_use]
    pub fn addresses(&self) -> &[PeerAddress] {
        &self.addresses
    }

    /// The link without its hints.
    #[must_use]
    pub fn reference(&self) -> Reference {
        Reference::Package(self.package, self.selector.clone())
    }

    /// Parses a link as it is pasted: white space and `<…>` around it do not count, nor do parameters that a newer program
    /// or a tracker has added. What is not a hint stands in the path, where nothing is ignored.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        if text.len() > LINK_BYTES {
            return Err(LinkError::TooLong { len: text.len() });
        }
        let text = bare(text);
        let scheme = text.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let rest = &text[scheme.ok_or(LinkError::Scheme)?.len()..];
        if rest.starts_with("b3:") {
            return Err(LinkError::Content);
        }
        if !rest.contains(['?', '%']) {
            return without_hints(rest);
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = escape::undo(path)?;
        let (id, selector) = match path.split_once('@') {
            Some((id, selector)) => (id, Some(selector)),
            None => (&*path, None),
        };
        let selector = selector.map(Selector::parse).transpose();
        let selector = selector.map_err(|fault| LinkError::Selector(Box::new(fault)))?;
        let mut link = Self::new(id.parse()?, selector);
        link.take(query)?;
        // Canonical spelling may be longer, and has to be a link too.
        match link.to_string().len() {
            len if len > LINK_BYTES => Err(LinkError::TooLong { len }),
            _ => Ok(link),
        }
    }

    /// Takes in the parameters.
    fn take(&mut self, query: &str) -> Result<(), LinkError> {
        if query.split('&').count() > LINK_PARAMETERS {
            return Err(LinkError::TooManyParameters);
        }
        for parameter in query.split('&') {
            let (key, value) = match parameter.split_once('=') {
                Some((key, value)) => (key, Some(escape::undo(value)?)),
                None => (parameter, None),
            };
            match &*escape::undo(key)? {
                "name" if self.name.is_some() => return Err(LinkError::SecondName),
                "name" => {
                    let name = QualifiedName::parse(&value.ok_or(LinkError::NoValue("name"))?);
                    self.name = Some(name.map_err(|error| LinkError::Name(Box::new(error)))?);
                }
                "at" => {
                    let address = PeerAddress::parse(&value.ok_or(LinkError::NoValue("at"))?)?;
                    if self.addresses.contains(&address) {
                        continue;
                    }
                    if self.addresses.len() == LINK_ADDRESSES {
                        return Err(LinkError::TooManyAddresses);
                    }
                    self.addresses.push(address);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What stands between the brackets and white space that mails and chats put around links.
fn bare(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).map_or(text, str::trim)
}

/// `<id>[@<selector>]` as people write it in references, where nothing is escaped.
fn without_hints(rest: &str) -> Result<Link, LinkError> {
    match Reference::parse(&format!("{SCHEME}{rest}")) {
        Ok(Reference::Package(package, selector)) => Ok(Link::new(package, selector)),
        Ok(Reference::Content(_) | Reference::Named(..)) => Err(LinkError::Content),
        Err(error) => Err(LinkError::Reference(Box::new(error))),
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.package)?;
        if let Some(selector) = &self.selector {
            write!(f, "@{}", escape::escaped(&selector.to_string()))?;
        }
        let name = self.name.iter().map(|name| ("name", name.to_string()));
        let addresses = self.addresses.iter().map(|address| ("at", address.to_string()));
        for (n, (key, value)) in name.chain(addresses).enumerate() {
            write!(f, "{}{key}={}", if n == 0 { '?' } else { '&' }, escape::escaped(&value))?;
        }
        Ok(())
    }
}

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        Self::parse(text)
    }
}
