//! Peers: who is connected, and connecting to somebody.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncra_protocol::origin::Subject;
use syncra_protocol::sync::omission::{Known, Omission, Verdict};
use syncra_protocol::sync::score::Score;
use utoipa::ToSchema;

use super::find;
use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::resolve;
use crate::history::Histories;
use crate::net::{Direction, Multiaddr, TransportKind};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Connects to a node by its address.
#[derive(Debug)]
pub struct Connect;

/// Where to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectRequest {
    /// A multiaddress, with or without `/p2p/…`.
    pub address: String,
    /// Seconds that it may take; 60 by default.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// Who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectResponse {
    /// The peer's device key.
    pub peer: String,
    /// Where it was reached.
    pub address: String,
}

impl Verb for Connect {
    const NAME: &'static str = "connect";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/connect";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Connects to a node by its address.";
    type Request = ConnectRequest;
    type Response = ConnectResponse;

    async fn run(service: &Arc<Service>, request: ConnectRequest, _: &Progress) -> Result<ConnectResponse, Problem> {
        let address: Multiaddr = request.address.parse().map_err(|_| {
            Problem::new(Code::BadArgument, format!("`{}` is not a multiaddress", request.address))
                .with_hint("one looks like `/ip4/192.0.2.7/tcp/4001`")
        })?;
        let patience = find::patience(request.timeout_s);
        let online = find::in_time(patience, service.reach()).await??;
        let peer = find::in_time(patience, online.net.dial(address)).await??;
        Ok(ConnectResponse { peer: peer.to_string(), address: request.address })
    }
}

/// Lists who is connected.
#[derive(Debug)]
pub struct Peers;

/// Who is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeersResponse {
    /// By key.
    pub peers: Vec<PeerInfo>,
    /// Who is not let in, for what they did; by key.
    #[serde(default)]
    pub shut_out: Vec<ShutOutInfo>,
}

/// Somebody who is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShutOutInfo {
    /// Its device key.
    pub peer: String,
    /// What it did, as a number from -100 to 20.
    pub score: i32,
    /// The last bad thing that it did: completes "this peer …".
    pub last_fault: Option<String>,
    /// How long it stays out, in milliseconds; none: until this node ends.
    pub for_ms: Option<u64>,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerInfo {
    /// Its device key, proven by the handshake.
    pub peer: String,
    /// The far end of each connection, the one in use first.
    pub addresses: Vec<String>,
    /// `tcp` or `quic`.
    pub transport: String,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// Whether it is reached through a relay, because there is no direct way, or none yet.
    #[serde(default)]
    pub is_relayed: bool,
    /// Only for the distributed hash table: nobody has asked for packages, here or there.
    #[serde(default)]
    pub is_contact: bool,
    /// How long it has been connected.
    pub connected_ms: u64,
    /// How it describes itself; unproven.
    pub agent: String,
    /// The last measured round trip in microseconds.
    pub rtt_us: Option<u64>,
    /// Bytes of streams received from it.
    pub received_bytes: u64,
    /// Bytes of streams sent to it.
    pub sent_bytes: u64,
    /// What it did, as a number from -100 to 20 that fades towards zero; zero is nothing known.
    #[serde(default)]
    pub score: i32,
    /// It is asked last, and its notices are not listened to, for what it did.
    #[serde(default)]
    pub is_poor: bool,
    /// The last bad thing that it did: completes "this peer …".
    #[serde(default)]
    pub last_fault: Option<String>,
    /// Logs of which it offered less than there is when it was asked last.
    #[serde(default)]
    pub omissions: Vec<OmissionInfo>,
}

/// A newer head that a peer left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OmissionInfo {
    /// The log.
    pub log: String,
    /// What people call the package, if it is a package's log.
    pub package: Option<String>,
    /// `behind`: it has not had the time to catch up. `hides`: it has, and the newer head is signed; or it does not follow
    /// the package any more. `may_hide`: it has, and the newer head is only named by another log's entry.
    pub verdict: String,
    /// Entries that it offered.
    pub offered: u64,
    /// Entries that there are.
    pub known: u64,
    /// Answers in which it did not offer them; those soon after each other count once.
    pub n_answers: u32,
    /// Another peer that offered them; none where they are held, or only named.
    pub shown_by: Option<String>,
    /// The log whose entry names the newer head, if nothing else shows it.
    pub named_by: Option<String>,
}

impl Verb for Peers {
    const NAME: &'static str = "peers";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/peers";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "Who is connected, also for the distributed hash table only.";
    type Request = Empty;
    type Response = PeersResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<PeersResponse, Problem> {
        let Some(online) = service.parts().online() else {
            return Ok(PeersResponse { peers: Vec::new(), shut_out: Vec::new() });
        };
        let stopping = |error| Problem::from_error(Code::NodeStopping, &error);
        let connected = online.net.connected().await.map_err(stopping)?.into_iter();
        let with_omissions = |peer: crate::net::PeerInfo| {
            let omitted = online.sync.omissions(peer.key).into_iter();
            let omissions = omitted.map(|one| omission(&service.parts().histories, &one)).collect();
            PeerInfo { omissions, ..info(peer) }
        };
        let mut peers: Vec<PeerInfo> = connected.map(with_omissions).collect();
        peers.sort_by(|a, b| a.peer.cmp(&b.peer));
        let shut_out = online.net.shut_out().await.map_err(stopping)?.into_iter().map(shut_out).collect();
        Ok(PeersResponse { peers, shut_out })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn shut_out((score, away_for): (Score, Option<Duration>)) -> ShutOutInfo {
    ShutOutInfo {
        peer: score.peer.to_string(),
        score: score.points,
        last_fault: score.last_fault.map(|deed| deed.says().to_owned()),
        for_ms: away_for.map(millis),
    }
}

fn info(peer: crate::net::PeerInfo) -> PeerInfo {
    let transport = match peer.transport {
        TransportKind::Tcp => "tcp",
        TransportKind::Quic => "quic",
    };
    let direction = match peer.direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    };
    PeerInfo {
        peer: peer.key.to_string(),
        addresses: peer.addresses.iter().map(ToString::to_string).collect(),
        transport: transport.to_owned(),
        direction: direction.to_owned(),
        is_relayed: peer.is_relayed,
        is_contact: peer.is_contact,
        connected_ms: millis(peer.connected_for),
        agent: peer.agent,
        rtt_us: peer.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        received_bytes: peer.received_bytes,
        sent_bytes: peer.sent_bytes,
        score: peer.points,
        is_poor: peer.is_poor,
        last_fault: peer.last_fault.map(|deed| deed.says().to_owned()),
        omissions: Vec::new(),
    }
}

fn omission(histories: &Histories, omission: &Omission) -> OmissionInfo {
    let package = match omission.origin.subject {
        // What cannot be read has its id all the same.
        Subject::Package(package) => resolve::text(histories, package).ok(),
        Subject::Identity(_) => None,
    };
    let verdict = match omission.verdict {
        Verdict::Behind => "behind",
        Verdict::Hides => "hides",
        Verdict::MayHide => "may_hide",
    };
    OmissionInfo {
        log: omission.origin.to_string(),
        package,
        verdict: verdict.to_owned(),
        offered: omission.offered,
        known: omission.known,
        n_answers: omission.n_answers,
        shown_by: omission.shown_by.map(|peer| peer.to_string()),
        named_by: match omission.by {
            Known::Signed => None,
            Known::Named(log) => Some(log.to_string()),
        },
    }
}
