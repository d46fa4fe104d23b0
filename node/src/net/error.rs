//! What can go wrong, one enum per operation.

use libp2p::core::transport::TransportError;
use libp2p::swarm::{self, ConnectionDenied};
use libp2p::{Multiaddr, allow_block_list};
use syncra_protocol::key::DeviceKey;

use super::address::{device_key, split_peer};
use super::gate::Refusal;
use super::streams::StreamError;
use super::transport::TransportSetupError;

/// Why the network could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The transports could not be made.
    #[error(transparent)]
    Transport(#[from] TransportSetupError),
    /// Another program listens there.
    #[error("{address} is in use by another program")]
    AddressInUse {
        /// Where we wanted to listen.
        address: Multiaddr,
    },
    /// No interface of this machine has that address.
    #[error("{address} is no address of this machine")]
    AddressNotAvailable {
        /// Where we wanted to listen.
        address: Multiaddr,
    },
    /// Not `/ip4|ip6/…/tcp/…` or `/ip4|ip6/…/udp/…/quic-v1`.
    #[error("{address} is no address that can be listened on")]
    UnsupportedAddress {
        /// Where we wanted to listen.
        address: Multiaddr,
    },
    /// The system refused for another reason.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where we wanted to listen.
        address: Multiaddr,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StartError {
    pub(super) fn listening(address: Multiaddr, error: TransportError<std::io::Error>) -> Self {
        match error {
            TransportError::MultiaddrNotSupported(_) => Self::UnsupportedAddress { address },
            TransportError::Other(source) => Self::system(address, source),
        }
    }

    pub(super) fn system(address: Multiaddr, source: std::io::Error) -> Self {
        let innermost = chain(&source).filter_map(|error| error.downcast_ref::<std::io::Error>()).last();
        match innermost.map_or(source.kind(), std::io::Error::kind) {
            std::io::ErrorKind::AddrInUse => Self::AddressInUse { address },
            std::io::ErrorKind::AddrNotAvailable => Self::AddressNotAvailable { address },
            _ => Self::Listen { address, source },
        }
    }
}

/// Why there is no connection with a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Not `/ip4|ip6/…/tcp/…` or `/ip4|ip6/…/udp/…/quic-v1`, with or without `/p2p/…`.
    #[error("the address cannot be dialled")]
    UnsupportedAddress,
    /// There is no host of that name.
    #[error("there is no host of that name")]
    UnknownHost,
    /// There is no list of nodes under that name.
    #[error("there is no list of nodes under that name")]
    NoSeeds,
    /// The node stays on the local links and the address is not there.
    #[error("the address is beyond the local links")]
    OutOfReach,
    /// The peer is not connected and no address of it is known.
    #[error("no address of the peer is known")]
    NoAddress,
    /// The address or key is our own.
    #[error("that is this node itself")]
    Itself,
    /// Somebody else answered there.
    #[error("another peer answered")]
    WrongPeer {
        /// Who answered, if it is a device.
        obtained: Option<DeviceKey>,
    },
    /// The peer has no device key.
    #[error("the peer has no device key")]
    NoDeviceKey,
    /// We banned this peer.
    #[error("the peer is banned")]
    Banned,
    /// Our own limits refused the connection.
    #[error("refused by a limit of this node: {0}")]
    Limit(String),
    /// Nobody answered or the handshake failed.
    #[error("unreachable ({})", attempts_in_words(.attempts))]
    Unreachable {
        /// Each address tried last, and why it failed.
        attempts: Vec<(Multiaddr, String)>,
    },
    /// Too many callers wait for this peer.
    #[error("too many callers wait for this peer")]
    TooManyWaiters,
    /// No outcome in time.
    #[error("no answer in time")]
    Timeout,
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// Why a peer was reached at none of its addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{otherwise}")]
pub struct Unreached {
    attempts: Vec<(Multiaddr, DialError)>,
    otherwise: DialError,
}

impl Unreached {
    pub(super) const fn new(attempts: Vec<(Multiaddr, DialError)>, otherwise: DialError) -> Self {
        Self { attempts, otherwise }
    }

    /// Why not at this one, with or without its `/p2p/…`.
    #[must_use]
    pub fn at(&self, address: &Multiaddr) -> DialError {
        let bare = split_peer(address).1;
        let attempt = self.attempts.iter().find(|(tried, _)| *tried == bare || tried == address);
        attempt.map_or_else(|| self.otherwise.clone(), |(_, why)| why.clone())
    }

    /// Adds what became of other addresses.
    pub(super) fn add(&mut self, other: Self) {
        self.attempts.extend(other.attempts);
    }
}

/// Why there is no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There was no connection, and none came about.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// There is a connection, but no stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// The network has stopped; there is nobody to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the network has stopped")]
pub struct Stopped;

/// The network did not end in order in time and was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the network did not close its connections in time")]
pub struct ShutdownOverrun;

impl From<&swarm::DialError> for DialError {
    fn from(error: &swarm::DialError) -> Self {
        match error {
            swarm::DialError::LocalPeerId { .. } => Self::Itself,
            swarm::DialError::NoAddresses => Self::NoAddress,
            swarm::DialError::WrongPeerId { obtained, .. } => Self::WrongPeer { obtained: device_key(obtained) },
            swarm::DialError::Denied { cause } => Self::denied(cause),
            swarm::DialError::Transport(attempts) => Self::unreachable(attempts),
            swarm::DialError::Aborted | swarm::DialError::DialPeerConditionFalse(_) => {
                Self::Unreachable { attempts: Vec::new() }
            }
        }
    }
}

impl DialError {
    /// What a failed attempt says of each of its addresses, as far as it tells them apart.
    pub(super) fn of_each(error: &swarm::DialError) -> Vec<(Multiaddr, Self)> {
        match error {
            swarm::DialError::WrongPeerId { address, .. } => vec![(split_peer(address).1, error.into())],
            swarm::DialError::Transport(attempts) => {
                let one = |attempt| Self::unreachable(std::slice::from_ref(attempt));
                attempts.iter().map(|attempt| (split_peer(&attempt.0).1, one(attempt))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn denied(cause: &ConnectionDenied) -> Self {
        if cause.downcast_ref::<allow_block_list::Blocked>().is_some() {
            return Self::Banned;
        }
        match cause.downcast_ref::<Refusal>() {
            Some(Refusal::NoDeviceKey) => Self::NoDeviceKey,
            Some(Refusal::OutOfReach) => Self::OutOfReach,
            _ => Self::Limit(in_words(cause)),
        }
    }

    fn unreachable(attempts: &[(Multiaddr, TransportError<std::io::Error>)]) -> Self {
        let all = |test: fn(&TransportError<std::io::Error>) -> bool| attempts.iter().all(|(_, error)| test(error));
        if all(|error| matches!(error, TransportError::MultiaddrNotSupported(_))) {
            return Self::UnsupportedAddress;
        }
        if all(|error| chain(error).any(|cause| cause.downcast_ref() == Some(&Refusal::OutOfReach))) {
            return Self::OutOfReach;
        }
        Self::Unreachable { attempts: attempts.iter().map(|(at, error)| (at.clone(), in_words(error))).collect() }
    }
}

/// The innermost message of a chain of errors: the outer ones of libp2p only repeat that something failed.
fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// An error and all its causes. An I/O error made of another one hides it from `source`, so it is unpacked.
fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as _),
        None => error.source(),
    })
}

fn attempts_in_words(attempts: &[(Multiaddr, String)]) -> String {
    let words: Vec<_> = attempts.iter().map(|(address, why)| format!("{address}: {why}")).collect();
    if words.is_empty() { "gave up".to_owned() } else { words.join("; ") }
}
