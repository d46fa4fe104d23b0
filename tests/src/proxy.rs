//! A wire between two nodes that belongs to the test: it counts every byte, and stops, cuts or damages the connection at
//! an exact byte. So "in the middle of a transfer" is a number, not a moment.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// After this a byte that never came is a failed test: far above anything a loaded machine needs.
const HUNG: Duration = Duration::from_secs(180);
/// Bytes passed on at once.
const STEP: usize = 16 << 10;

/// What happens at the byte of [`Proxy::trip`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trip {
    /// Nothing passes any more, the connections stay: a peer that hangs, or a dead link.
    Stall,
    /// All connections break, later ones too: the cable is out until [`Proxy::heal`].
    Cut,
    /// One bit of that byte changes; everything else passes.
    Flip,
}

/// A TCP proxy in front of one node. It ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    peer: String,
    wire: Arc<Wire>,
}

#[derive(Debug, Default)]
struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes passed from the node to whoever dialled the proxy, all connections together.
    passed: u64,
    /// At how many of these bytes something happens.
    trip: Option<(u64, Trip)>,
    /// What has happened and is not healed.
    tripped: Option<Trip>,
    is_closed: bool,
    sockets: Vec<TcpStream>,
}

impl Proxy {
    /// A proxy in front of the node that listens at this address, `/ip4/127.0.0.1/tcp/…` with or without `/p2p/…`.
    ///
    /// # Panics
    /// When it is no such address, or there is no free port.
    #[must_use]
    pub fn to(multiaddr: &str) -> Self {
        let rest = multiaddr.strip_prefix("/ip4/127.0.0.1/tcp/").unwrap_or_else(|| panic!("{multiaddr}"));
        let (port, peer) = rest.split_once('/').unwrap_or((rest, ""));
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().expect("a port")));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let wire = Arc::new(Wire::default());
        let accepting = Arc::clone(&wire);
        std::thread::spawn(move || accept(&listener, target, &accepting));
        Self { address, peer: if peer.is_empty() { String::new() } else { format!("/{peer}") }, wire }
    }

    /// What to dial instead of the node.
    #[must_use]
    pub fn address(&self) -> String {
        format!("/ip4/127.0.0.1/tcp/{}{}", self.address.port(), self.peer)
    }

    /// Bytes that the node has sent to whoever dialled the proxy: encrypted, with all headers but those of TCP.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.wire.lock().passed
    }

    /// Lets exactly `n_bytes` more through; then `what` happens, once.
    pub fn trip(&self, n_bytes: u64, what: Trip) {
        let mut state = self.wire.lock();
        state.trip = Some((state.passed + n_bytes, what));
    }

    /// Waits for the byte of [`Proxy::trip`].
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait(&self) {
        let is_pending = |state: &mut State| state.trip.is_some();
        let (state, late) = self
            .wire
            .changed
            .wait_timeout_while(self.wire.lock(), HUNG, is_pending)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!late.timed_out(), "only {} bytes have passed", state.passed);
    }

    /// Everything passes again.
    pub fn heal(&self) {
        let mut state = self.wire.lock();
        (state.trip, state.tripped) = (None, None);
        self.wire.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.wire.lock();
        state.is_closed = true;
        state.break_all();
        drop(state);
        self.wire.changed.notify_all();
        // Wakes the accepting thread, which then sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn break_all(&mut self) {
        for socket in self.sockets.drain(..) {
            // An error means that it is broken already.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

impl Wire {
    /// A test that panicked holding the lock must not hide its reason behind a second panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the next piece on its way to the dialler; says how much of it may pass now, none if the wire is cut.
    fn admit(&self, piece: &mut [u8]) -> Option<usize> {
        let mut state = self.lock();
        if piece.is_empty() {
            return Some(0);
        }
        while state.tripped == Some(Trip::Stall) && !state.is_closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed || state.tripped == Some(Trip::Cut) {
            return None;
        }
        let Some((at, what)) = state.trip else {
            state.passed += piece.len() as u64;
            return Some(piece.len());
        };
        let left = usize::try_from(at - state.passed).unwrap_or(usize::MAX);
        let n_bytes = left.min(piece.len());
        state.passed += n_bytes as u64;
        if left <= piece.len() {
            self.happen(&mut state, what, piece.get_mut(left));
        }
        Some(n_bytes)
    }

    fn happen(&self, state: &mut State, what: Trip, next: Option<&mut u8>) {
        match (what, next) {
            (Trip::Flip, Some(byte)) => *byte ^= 1,
            // The byte is in the next piece.
            (Trip::Flip, None) => return,
            (Trip::Stall, _) => state.tripped = Some(Trip::Stall),
            (Trip::Cut, _) => {
                state.tripped = Some(Trip::Cut);
                state.break_all();
            }
        }
        state.trip = None;
        self.changed.notify_all();
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, wire: &Arc<Wire>) {
    for near in listener.incoming() {
        let Ok(near) = near else { return };
        let mut state = wire.lock();
        if state.is_closed {
            return;
        }
        if state.tripped == Some(Trip::Cut) {
            continue;
        }
        // A node that is gone: whoever dials the proxy finds a closed door, as it would without.
        let Ok(far) = TcpStream::connect(target) else { continue };
        let copy = |socket: &TcpStream| socket.try_clone().expect("a socket can be shared");
        state.sockets.extend([copy(&near), copy(&far)]);
        drop(state);
        let (request, answer, wire) = ((copy(&near), copy(&far)), (far, near), Arc::clone(wire));
        std::thread::spawn(move || pass(request.0, request.1, |piece| Some(piece.len())));
        std::thread::spawn(move || pass(answer.0, answer.1, |piece| wire.admit(piece)));
    }
}

/// Copies until either side ends; then ends the other.
fn pass(mut from: TcpStream, mut to: TcpStream, mut admit: impl FnMut(&mut [u8]) -> Option<usize>) {
    let mut buffer = vec![0; STEP];
    while let Ok(n_bytes @ 1..) = from.read(&mut buffer) {
        let mut rest = &mut buffer[..n_bytes];
        while !rest.is_empty() {
            let Some(n_bytes) = admit(rest) else { return };
            let (now, later) = rest.split_at_mut(n_bytes);
            if to.write_all(now).is_err() {
                drop(from.shutdown(Shutdown::Both));
                return;
            }
            rest = later;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}
