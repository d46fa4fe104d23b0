//! Every bound of the network layer, with its unit and the attack or cost that it stops.

use std::time::Duration;

/// Connections in all, both directions: some 100 KiB each, so about 50 MiB at worst.
pub const CONNECTIONS: u32 = 512;
/// Connections that others opened. The rest of [`CONNECTIONS`] is kept for those we open ourselves: a flood of strangers
/// never stops a fetch.
pub const INBOUND_CONNECTIONS: u32 = inbound_of(CONNECTIONS);

/// How many of so many connections others may open: three quarters.
#[must_use]
pub const fn inbound_of(connections: u32) -> u32 {
    (connections * 3).div_ceil(4)
}

/// Handshakes that others began and have not finished: half-open floods. Who comes when all are taken is let in, and
/// somebody who has shown nothing gives way.
pub const INBOUND_HANDSHAKES: usize = 64;
/// The same with those that gave way and are still being ended, and with this machine's own: some kilobytes and an open file
/// each. Some hundred connections may come in before the tasks of those that gave way have had their turn.
pub const PENDING_HANDSHAKES: u32 = 256;
/// Handshakes that we began and have not finished.
pub const OUTBOUND_HANDSHAKES: u32 = 64;
/// Connections with one peer: two that dialled each other at once on two transports, one through a relay, and those by
/// which it tried whether we can be reached at each of our addresses.
pub const CONNECTIONS_PER_PEER: u32 = 8;
/// Connections from one IPv4 address or one IPv6 /64: one machine cannot take all places. This machine is exempt.
pub const CONNECTIONS_PER_PREFIX: usize = 32;
/// Of [`INBOUND_HANDSHAKES`] and [`INBOUND_CONNECTIONS`] those that places may take where this node never dialled
/// anybody with success: a flood leaves the rest to this machine and to peers that were met.
pub const STRANGER_HANDSHAKES: usize = 48;
/// See [`STRANGER_HANDSHAKES`].
pub const STRANGER_CONNECTIONS: usize = 320;
/// Unfinished handshakes from one IPv4 address or one IPv6 /64; more are refused and push out nobody.
pub const HANDSHAKES_PER_PREFIX: usize = 8;
/// New connections from one such place at once, then [`NEW_CONNECTIONS_PER_S`]: each is a handshake with a signature to
/// make and one to check, half a millisecond of a core.
pub const NEW_CONNECTIONS: u32 = 40;
/// See [`NEW_CONNECTIONS`].
pub const NEW_CONNECTIONS_PER_S: u32 = 4;
/// Places of which is remembered how often they came, and how often that came to nothing; some 100 bytes each, so 2 MiB.
pub const PREFIXES: usize = 16_384;
/// Places where this node dialled somebody that are remembered; the oldest goes first.
pub const MET_PREFIXES: usize = 1_024;
/// New connections are refused while this process uses more than this share of the machine's memory.
pub const MEMORY_SHARE: f64 = 0.9;

/// Streams one peer may hold open towards us: memory and fairness.
pub const INBOUND_STREAMS_PER_PEER: usize = 96;
/// Streams we hold open towards one peer: below what a peer with these limits grants, above what a fetch needs.
pub const OUTBOUND_STREAMS_PER_PEER: usize = 96;
/// Streams that all peers together may hold open towards us: 256 KiB of receive window each, 256 MiB at worst.
pub const INBOUND_STREAMS: usize = 1_024;
/// Streams that each peer may hold open towards us also when [`INBOUND_STREAMS`] are taken: a crowd of peers with many
/// streams shuts nobody out.
pub const ASSURED_STREAMS: usize = 4;
/// Accepted streams of one protocol waiting to be taken by their server: more than one peer may hold, so no peer alone
/// shuts the others out.
pub const INBOUND_QUEUE: usize = 128;
/// Streams of one yamux connection, our own included; also bounds its receive windows.
pub const YAMUX_STREAMS: usize = 256;
/// Bytes of one yamux data frame: fewer frames per gibibyte, measured with the cipher in `docs/design/`; small enough
/// that a control stream waits less than a millisecond for a gigabit wire.
pub const YAMUX_FRAME_BYTES: usize = 64 << 10;
/// Bytes of all receive windows of one yamux connection with a far peer; each grows only with what we really read, up to
/// what a long line holds.
pub const YAMUX_FAR_WINDOW_BYTES: usize = 256 << 20;
/// The same for a peer near by: 256 KiB for each stream, and no growth. Windows grow when the round trip looks long, which
/// it does on any busy machine; measured, 18 MiB were then between the wire and the disk, and came again after a kill.
pub const YAMUX_NEAR_WINDOW_BYTES: usize = YAMUX_STREAMS * (256 << 10);
/// Bytes of all yamux connections together that have come and nobody has read, what their frames cost included. Without
/// it flow control alone would let [`INBOUND_CONNECTIONS`] hold [`YAMUX_NEAR_WINDOW_BYTES`] each: 24 GiB. When it is used
/// up, who holds more than an equal share loses the connection, so twice as much is never held.
pub const UNREAD_BYTES: u64 = 256 << 20;
/// Unread bytes of one QUIC connection, and of any of its streams: 768 MiB for [`INBOUND_CONNECTIONS`] at worst, and
/// still 100 Mbit/s over a round trip of 160 ms.
pub const QUIC_WINDOW_BYTES: u32 = 2 << 20;
/// Streams of one connection whose protocol is still being negotiated.
pub const NEGOTIATING_STREAMS: usize = 64;

/// Commands waiting for the network task; more callers wait in line.
pub const MAILBOX: usize = 256;
/// Events kept for a slow reader; then it is told how many it missed.
pub const EVENTS: usize = 256;
/// Callers waiting for one dial or for a connection to one peer.
pub const WAITERS_PER_PEER: usize = 256;

/// A handshake, security and multiplexer included. Shorter than the 10 s within which whoever asks to be dialled back
/// wants to hear that nobody answered.
pub const HANDSHAKE: Duration = Duration::from_secs(8);
/// A dial as its caller sees it, all addresses included.
pub const DIAL: Duration = Duration::from_secs(20);
/// Looking up a host name.
pub const NAME_LOOKUP: Duration = Duration::from_secs(10);
/// Opening a stream on a connection that exists.
pub const OPEN_STREAM: Duration = Duration::from_secs(10);
/// Head start of the preferred transport; the other one is only tried when this has passed or the first has failed
/// (RFC 8305 §5 has 250 ms between attempts).
pub const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one name that are dialled at the same time, each with a [`HEAD_START`] before the next.
pub const DIALS_AT_ONCE: usize = 4;
/// Addresses that one dial to a peer remembers, to be tried later or as tried: those of a link, of the book and of the table.
pub const ADDRESSES_OF_DIAL: usize = 64;
/// Dials begun anew because an address belonged to somebody else; then the dial fails.
pub const WRONG_PEERS: usize = 4;
/// How long a connection without streams is kept. At least 60 s: closing earlier may cut off a reader that has not
/// taken everything yet.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(90);
/// Between two pings of a connection.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A ping without answer ends here; the second in a row ends its connection, so a dead peer is known after a minute.
pub const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Orderly shutdown; what is not closed by then is dropped.
pub const SHUTDOWN: Duration = Duration::from_secs(5);
/// Waiting for the listeners to report their real addresses at start.
pub const LISTENERS_READY: Duration = Duration::from_secs(2);
/// Restarts of the network task within [`RESTART_WINDOW`] that come at once; each further one waits [`RESTART_PAUSE`].
pub const RESTARTS: usize = 8;
/// See [`RESTARTS`].
pub const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// A peer that makes the network task panic at will, or a port that does not come free, costs a core no more than this
/// allows; and the network is back as soon as that has ended.
pub const RESTART_PAUSE: Duration = Duration::from_secs(10);

/// Peers whose addresses are remembered; the one not heard of longest goes first.
pub const KNOWN_PEERS: usize = 4_096;
/// Addresses remembered per peer.
pub const ADDRESSES_PER_PEER: usize = 16;
/// Bytes of one address that a peer told us.
pub const ADDRESS_BYTES: usize = 256;
/// Banned peers kept in memory; the oldest ban goes first.
pub const BANS: usize = 4_096;
/// Characters kept of a peer's description of itself.
pub const AGENT_CHARS: usize = 64;
/// Protocol names kept of a peer.
pub const PEER_PROTOCOLS: usize = 32;

/// Neighbours on the local links that are remembered and dialled: a LAN party, not a flood of invented announcements.
pub const NEIGHBOURS: usize = 256;
/// Addresses in one announcement on the local links.
pub const ANNOUNCED_ADDRESSES: usize = 16;

/// Peers that one look-up asks at a time, each on a path of its own (S/Kademlia §4.4): a liar spoils one path.
pub const DHT_PATHS: usize = 4;
/// A look-up or an announcement, as a whole.
pub const DHT_QUERY: Duration = Duration::from_secs(30);
/// One question to one peer.
pub const DHT_REQUEST: Duration = Duration::from_secs(8);
/// Bytes of one packet of the DHT: twenty peers with sixteen addresses need less.
pub const DHT_PACKET_BYTES: usize = 16 << 10;
/// Look-ups and announcements under way; more callers wait in line.
pub const DHT_QUERIES: usize = 32;
/// Callers in that line.
pub const DHT_WAITERS: usize = 1_024;
/// Providers that one look-up dials: one that each answer names, so enough to find one that lives also where half of those
/// asked are liars, and half of [`OUTBOUND_HANDSHAKES`].
pub const DHT_PROVIDERS: usize = 32;
/// How long somebody counts as a provider without saying so again.
pub const PROVIDER_TTL: Duration = Duration::from_secs(36 * 3600);
/// Keys that this node provides.
pub const PROVIDED_KEYS: usize = 65_536;
/// Provider records kept for others: some 500 bytes each, so about 10 MiB; the farthest from our own id go first.
pub const FOREIGN_RECORDS: usize = 20_000;
/// Provider records of one provider: a large mirror in a small network needs thousands, a flood more.
pub const RECORDS_PER_PROVIDER: usize = 4_096;
/// Providers of one key: as many as one answer names (Kademlia's k). Who came first does not matter.
pub const PROVIDERS_PER_KEY: usize = 20;
/// Addresses kept with a provider record.
pub const RECORD_ADDRESSES: usize = 8;

/// Peers that each notice goes to: with six, a thousand neighbours hear of it in four hops.
pub const GOSSIP_MESH: usize = 6;
/// With fewer than this, more are looked for at once.
pub const GOSSIP_MESH_LEAST: usize = 4;
/// With more than this, some are let go: a bound on what one notice costs.
pub const GOSSIP_MESH_MOST: usize = 12;
/// Between two looks at the mesh. It heals at once when somebody comes, so this can be slow: an idle node does nothing in
/// between.
pub const GOSSIP_HEARTBEAT: Duration = Duration::from_secs(10);
/// Heartbeats for which a message can still be passed on, or be asked for: at least 40 s, so longer than a notice waits for
/// its entries and its turn.
pub const GOSSIP_HISTORY: usize = 5;
/// How long a message's id is remembered: longer than the history, so that no message goes round.
pub const GOSSIP_REMEMBERED: Duration = Duration::from_secs(60);
/// Bytes of one frame of gossip: the ids of [`GOSSIP_IDS`] messages, or [`GOSSIP_RPC_NOTICES`] notes of 1 KiB.
pub const GOSSIP_RPC_BYTES: usize = 18 << 10;
/// Notices in one frame.
pub const GOSSIP_RPC_NOTICES: usize = 16;
/// Message ids that are offered to a peer at once, and asked of one peer between two heartbeats.
pub const GOSSIP_IDS: usize = 256;
/// Offers taken from one peer between two heartbeats.
pub const GOSSIP_IHAVES: usize = 10;
/// Frames that may wait for one peer.
pub const GOSSIP_QUEUE: usize = 64;
/// Notices that wait to be judged; more are ignored.
pub const NOTICES: usize = 256;
/// Relays at which a node that cannot be reached has itself reached: one may go away, and each costs a connection.
pub const RELAYS: usize = 2;
/// Before a relay that refused or was lost is asked again.
pub const RELAY_RETRY: Duration = Duration::from_secs(30);
/// Relays that are remembered as not to be asked for now.
pub const RELAYS_REFUSING: usize = 64;
/// Relayed addresses that one dial tries.
pub const RELAYED_ADDRESSES: usize = 4;
/// Dials that wait until their relay is connected.
pub const CIRCUITS_WAITING: usize = 64;
/// How long a relayed connection is kept beside a direct one, for what is still under way on it.
pub const RELAYED_GRACE: Duration = Duration::from_secs(5);
/// Addresses at which others say they see us, and of those that were tried in vain, that are remembered.
pub const OBSERVED_ADDRESSES: usize = 16;
/// Dials on behalf of others, to try whether they can be reached or to meet in the middle, under way at the same time: a
/// quarter of [`OUTBOUND_HANDSHAKES`] for each of the two, so that strangers cannot take the rest.
pub const DIALS_FOR_OTHERS: usize = 16;

/// Peers that one relay serves: a reservation is a connection that is kept open.
pub const RELAY_RESERVATIONS: usize = 128;
/// Reservations of one peer; the library grants one more.
pub const RELAY_RESERVATIONS_PER_PEER: usize = 1;
/// How long a reservation lasts; it is renewed before.
pub const RELAY_RESERVATION: Duration = Duration::from_secs(3600);
/// Connections that one relay carries at the same time; each has two streams with windows of 256 KiB.
pub const RELAY_CIRCUITS: usize = 64;
/// Connections that one relay carries for one peer, either end; the library grants one more.
pub const RELAY_CIRCUITS_PER_PEER: usize = 8;
/// Bytes that one relayed connection carries, both ways together: histories and small packages, twice over. Larger ones
/// wait for a direct connection.
pub const RELAY_CIRCUIT_BYTES: u64 = 16 << 20;
/// How long one relayed connection lasts.
pub const RELAY_CIRCUIT: Duration = Duration::from_secs(300);
/// Bytes of content that are fetched through a relay; what is more is fetched directly or not at all.
pub const RELAYED_FETCH_BYTES: u64 = 8 << 20;
/// How long a fetch that is too large for a relay waits for a direct connection.
pub const PUNCH: Duration = Duration::from_secs(10);
