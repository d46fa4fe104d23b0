//! How the node is.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::id::PackageId;
use syncra_protocol::name::RefName;
use utoipa::ToSchema;

use super::follow;
use super::identity::{self, IdentityResponse};
use super::{proposals, publish};

use crate::api::types::{ApiAddresses, Empty, WitnessedInfo};
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::clock;
use crate::flow::identity::{DAMAGED_RECOVERY, IdentityError, MISSING_RECOVERY};
use crate::flow::share::{self, Doubt};
use crate::flow::{Parts, adopt, heal, own, resolve};
use crate::history::LoadError;
use crate::net;
use crate::problem::Problem;
use crate::progress::Progress;

mod waits;

/// Tells how the node is.
#[derive(Debug)]
pub struct Status;

/// How the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusResponse {
    /// The version of the program.
    pub version: String,
    /// The home's directory.
    pub home: String,
    /// Whether a node runs on this home; else a single command answered, and nobody can fetch from here.
    pub running: bool,
    /// The node's process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Milliseconds since the node started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// The node's peer id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<String>,
    /// Where its API is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiAddresses>,
    /// Where its public gateway is; none if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Where the node can be reached, with its `/p2p/…`: what `syncra connect` takes elsewhere.
    #[serde(default)]
    pub listen: Vec<String>,
    /// How many peers are connected.
    #[serde(default)]
    pub n_peers: usize,
    /// The place in the distributed hash table; none while no node runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dht: Option<DhtInfo>,
    /// How the node is reached from beyond its own network; none while no node runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<ReachedInfo>,
    /// The identity that this device publishes as.
    pub identity: String,
    /// What the identity calls itself.
    pub handle: Option<String>,
    /// Whether this device speaks for it: `active`, `suspended`, `revoked`, or `not_admitted` as far as is known here.
    pub device: String,
    /// If it does not: what that means, and the way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<String>,
    /// `unsaved` as long as the recovery secret lies on this device, else `saved`, `missing`, `damaged` or `elsewhere`.
    pub recovery: String,
    /// How many packages.
    pub packages: PackageCounts,
    /// Witnesses: this node's own part, and how new what is installed or followed is.
    pub witnesses: WitnessStatus,
    /// Working directories that this node shows as they are saved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drafts: Vec<ShownDraft>,
    /// How many API tokens there are.
    pub n_tokens: usize,
    /// What the node cannot do as it should; `syncra doctor` tells what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
    /// What the user may want to do something about, and what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What waits for the user in packages: changes to agree to, roles that are new, refs that have diverged; each with the
    /// command that settles it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<String>,
}

/// Witnesses, as this node is one and as its user lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WitnessStatus {
    /// This node's own verifier key, if it witnesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<String>,
    /// `witnessed` or `unknown`: the packages that are installed or followed, as old as the oldest of them.
    pub freshness: String,
    /// What the listed witnesses say of them.
    pub witnessed: WitnessedInfo,
}

/// A working directory that this node shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShownDraft {
    /// The package's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The draft's name.
    pub name: String,
    /// Whether everybody may see it; else who has a role in the package.
    pub public: bool,
}

/// The place in the distributed hash table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DhtInfo {
    /// Nodes in the routing table.
    pub n_nodes: usize,
    /// Whether others may ask this node: it has an address that reaches as far as its peers are away.
    pub is_server: bool,
    /// Provider records that this node keeps for others.
    pub n_records: usize,
}

/// How the node is reached from beyond its own network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReachedInfo {
    /// Whether it listens where this machine alone reaches it.
    #[serde(default)]
    pub this_machine: bool,
    /// `public`: others can dial it; `behind`: a NAT or a firewall keeps them out; `unknown`: nobody from beyond has tried.
    pub reachability: String,
    /// Where it is reached, as far as others have tried, with its `/p2p/…`.
    pub addresses: Vec<String>,
    /// Where it is reached through relays, with its `/p2p/…`.
    pub relayed: Vec<String>,
    /// What has become of asking the router to forward ports: `off`, `asked`, `no_router`, `router_behind`, `mapped`.
    pub mapping: String,
}

/// How many packages there are of each sort; one may be of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageCounts {
    /// Of which anything is known.
    pub known: usize,
    /// That this device's identity owns, whichever device writes to them, as far as is known here.
    pub own: usize,
    /// Installed.
    pub installed: usize,
    /// Followed.
    pub followed: usize,
}

impl Verb for Status {
    const NAME: &'static str = "status";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/status";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "How the node is.";
    type Request = Empty;
    type Response = StatusResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<StatusResponse, Problem> {
        service.settings_now().await?;
        let parts = service.parts();
        let running = service.doors().is_some();
        let who = identity::show(parts)?;
        // Reading histories takes its time: not here, where everybody else waits.
        let local = service.blocking(|service| Local::read(service.parts())).await?;
        let (listen, n_peers) = reached(parts).await;
        let uptime = clock::now().since(service.started());
        let index = parts.index.trouble().map(|why| format!("the index is only in memory: {why}"));
        let broken = parts.incidents.list().into_iter().map(|incident| incident.to_string());
        Ok(StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            home: service.home().display().to_string(),
            running,
            pid: running.then(std::process::id),
            uptime_ms: running.then_some(u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)),
            peer_id: if running { Some(service.peer_id()?) } else { None },
            api: service.doors().cloned(),
            gateway: service.gateway().map(|address| address.to_string()),
            warnings: warnings(parts, running, n_peers, (&who, local.warnings)).await?,
            waits: local.waits,
            listen,
            n_peers,
            dht: parts.online().map(|online| (*online.net.routing().borrow()).into()),
            reached: parts.online().map(|online| {
                let this_machine = share::addresses(parts).1 == Some(Doubt::ThisMachine);
                ReachedInfo { this_machine, ..ReachedInfo::new(&online.net) }
            }),
            identity: who.identity,
            handle: who.handle,
            device: who.status,
            silenced: who.silenced,
            recovery: who.recovery,
            packages: local.packages,
            witnesses: local.witnesses,
            drafts: local.drafts,
            n_tokens: service.tokens().list().len(),
            troubles: index.into_iter().chain(broken).collect(),
        })
    }
}

impl ReachedInfo {
    fn new(net: &net::Net) -> Self {
        let net::Reached { reachability, addresses, relayed, mapping } = net.reached().borrow().clone();
        let key = net.key();
        let texts = |all: Vec<net::Multiaddr>| {
            all.into_iter().filter_map(|address| Some(net::with_peer(address, &key)?.to_string())).collect()
        };
        let reachability = match reachability {
            net::Reachability::Unknown => "unknown",
            net::Reachability::Public => "public",
            net::Reachability::Behind => "behind",
        };
        let mapping = match mapping {
            net::Mapping::Off => "off",
            net::Mapping::Asked => "asked",
            net::Mapping::NoRouter => "no_router",
            net::Mapping::RouterBehind => "router_behind",
            net::Mapping::Mapped => "mapped",
        };
        Self {
            this_machine: false,
            reachability: reachability.to_owned(),
            addresses: texts(addresses),
            relayed: texts(relayed),
            mapping: mapping.to_owned(),
        }
    }
}

impl From<net::Routing> for DhtInfo {
    fn from(net::Routing { n_nodes, is_server, n_records }: net::Routing) -> Self {
        Self { n_nodes, is_server, n_records }
    }
}

fn drafts(parts: &Parts) -> Result<Vec<ShownDraft>, Problem> {
    let shown = |(package, name, public): (PackageId, RefName, bool)| {
        Ok(ShownDraft { reference: resolve::text(&parts.histories, package)?, name: name.to_string(), public })
    };
    parts.drafts.list().into_iter().map(shown).collect()
}

/// What the histories on this disk say.
struct Local {
    packages: PackageCounts,
    /// What is wrong with packages that are the user's.
    warnings: Vec<String>,
    waits: Vec<String>,
    witnesses: WitnessStatus,
    drafts: Vec<ShownDraft>,
}

impl Local {
    fn read(parts: &Parts) -> Result<Self, Problem> {
        let overview = own::overview(parts)?;
        let packages = PackageCounts {
            known: parts.histories.packages().len(),
            own: overview.n_owned,
            installed: parts.installed.current()?.packages.len(),
            followed: parts.histories.journal().truth().follows().count(),
        };
        let warnings = of_packages(parts, &overview)?;
        let (waits, witnesses, drafts) = (waits::lines(parts)?, witnesses(parts)?, drafts(parts)?);
        Ok(Self { packages, warnings, waits, witnesses, drafts })
    }
}

fn of_packages(parts: &Parts, overview: &own::Overview) -> Result<Vec<String>, Problem> {
    let mut warnings = Vec::new();
    let n_incomplete = own::n_incomplete(parts).map_err(LoadError::from)?;
    if n_incomplete > 0 {
        warnings.push(format!(
            "packages that are yours or that you follow have a history that is not whole here, {n_incomplete} in all, as after a \
             restore: {}",
            own::COMES_BACK
        ));
    }
    for (package, version) in &overview.void {
        warnings.push(publish::void_line(parts, *package, version)?);
    }
    let n_waiting = proposals::waiting(parts)?;
    if n_waiting > 0 {
        warnings.push(format!("proposals wait for you, {n_waiting} in all: `syncra review` shows them"));
    }
    Ok(warnings)
}

fn witnesses(parts: &Parts) -> Result<WitnessStatus, Problem> {
    let packages: BTreeSet<PackageId> = {
        let truth = parts.histories.journal().truth();
        truth.follows().map(|(package, _)| *package).chain(parts.installed.current()?.packages.into_keys()).collect()
    };
    let mut heads = Vec::new();
    for package in packages {
        let history = parts.histories.package(package)?;
        heads.extend(history.iter().flat_map(|history| history.evidence.heads()).cloned());
    }
    let witnessed = WitnessedInfo::from(parts.witnesses.freshness(&heads));
    let own = parts.witnesses.is_witness().then(|| parts.witnesses.key().to_string());
    Ok(WitnessStatus { own, freshness: witnessed.word(), witnessed })
}

/// Where this node can be reached, and how many are connected.
async fn reached(parts: &Parts) -> (Vec<String>, usize) {
    let Some(online) = parts.online() else { return (Vec::new(), 0) };
    let key = online.net.key();
    let listen = online.net.listen_addrs().into_iter().filter_map(|address| net::with_peer(address, &key));
    let n_peers = online.net.peers().await.map_or(0, |peers| peers.len());
    (listen.map(|address| address.to_string()).collect(), n_peers)
}

async fn warnings(
    parts: &Parts,
    running: bool,
    n_peers: usize,
    (who, of_packages): (&IdentityResponse, Vec<String>),
) -> Result<Vec<String>, Problem> {
    let mut warnings = Vec::new();
    if adopt::is_wanted(parts)? {
        warnings.push(
            "this home was restored, copied or moved, or put back: nothing is signed here before `syncra id adopt`, which asks \
             others for what this device has signed elsewhere"
                .to_owned(),
        );
    }
    if who.recovery == "unsaved" {
        warnings.push("the recovery secret is only on this device; write it down: `syncra id recovery`".to_owned());
    }
    if let Some(damage) = &who.recovery_damage {
        warnings.push(format!("{damage}; {DAMAGED_RECOVERY}"));
    }
    if who.recovery == "missing" {
        warnings.push(format!("{}; {MISSING_RECOVERY}", IdentityError::RecoveryGone));
    }
    warnings.extend(heal::warnings(parts)?);
    if !running && !own::written(parts).is_empty() {
        warnings.push("nobody can fetch what you published until a node runs: `syncra up`".to_owned());
    }
    warnings.extend(of_packages);
    if running && n_peers == 0 {
        warnings.push(
            "nobody is connected; others on this network appear by themselves, others by `syncra open LINK` or \
             `syncra connect`"
                .to_owned(),
        );
    }
    for follow in follow::infos(parts).await? {
        if let (Some(reason), Some(hint)) = (follow.reason, follow.hint) {
            warnings.push(format!("{} is not updated: {reason}; {hint}", follow.reference));
        }
    }
    Ok(warnings)
}
