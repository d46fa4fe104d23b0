//! What is known of packages: all of them in short, one in full, one as its history.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::{self, Body, Decoded, RefClass, Statement};
use syncra_protocol::fold::{PackageState, Published, Standing, VersionState};
use syncra_protocol::id::{EntryId, IdentityId, PackageId, ReleaseId};
use syncra_protocol::limits::SHORT_ID_CHARS;
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::open::asked;
use super::roles::{self, OpenInfo, RefNameInfo, RoleInfo};
use crate::api::types::{CheckpointInfo, Empty, ForkInfo, ForkedInfo, WitnessedInfo};
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::catalogue::{self, Card};
use crate::flow::{Parts, heal, release, resolve};
use crate::history::History;
use crate::installed::Slot;
use crate::problem::Problem;
use crate::progress::Progress;

/// Lists the packages that are known.
#[derive(Debug)]
pub struct List;

/// The packages that are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListResponse {
    /// By reference.
    pub packages: Vec<PackageInfo>,
}

/// A package in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackageInfo {
    /// Its reference, an argument on any node.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its id.
    pub package_id: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Its kind.
    pub kind: String,
    /// Whether it is this device's identity's.
    pub own: bool,
    /// Its versions, the highest first; of many the highest 32.
    pub versions: Vec<String>,
    /// The version one gets who asks for none.
    pub latest: Option<String>,
    /// The version that is installed.
    pub installed: Option<String>,
    /// Why its owners took the bytes of the installed one away, if they did: it stays here, and nobody gets it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redacted: Option<String>,
}

impl Verb for List {
    const NAME: &'static str = "packages_list";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/packages";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "The packages that are known here, in short.";
    type Request = Empty;
    type Response = ListResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<ListResponse, Problem> {
        let parts = service.parts();
        let installed = parts.installed.current()?.packages;
        let info = |card: &Card| package_info(parts, card, installed.get(&card.package));
        Ok(ListResponse { packages: catalogue::cards(parts).await.iter().map(info).collect() })
    }
}

/// Why the owners took the bytes of an installed release away, if they did.
fn redacted(parts: &Parts, package: PackageId, slot: &Slot) -> Option<String> {
    let history = parts.histories.package(package).ok().flatten()?;
    let known = history.state.releases.get(&slot.release)?;
    Some(history.state.redaction(&known.release)?.reason.to_string())
}

fn package_info(parts: &Parts, card: &Card, installed: Option<&Slot>) -> PackageInfo {
    PackageInfo {
        reference: card.reference(),
        package_id: card.package.to_string(),
        name: card.name.as_ref().map(ToString::to_string),
        kind: card.kind.as_str().to_owned(),
        own: card.owner == parts.identity(),
        versions: card.versions.iter().map(ToString::to_string).collect(),
        latest: card.latest.as_ref().map(ToString::to_string),
        installed: installed.map(|slot| slot.version.to_string()),
        redacted: installed.and_then(|slot| redacted(parts, card.package, slot)),
    }
}

/// Tells all about one package.
#[derive(Debug)]
pub struct Info;

/// Which package.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageRequest {
    /// A reference.
    #[serde(rename = "ref")]
    #[schema(example = "@alice~k3v9x2m4q7ab/rocket")]
    pub reference: String,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InfoResponse {
    /// Its reference, an argument on any node.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its id.
    pub package_id: String,
    /// Its kind.
    pub kind: String,
    /// Who owns it.
    pub owners: Vec<OwnerInfo>,
    /// Everybody who has a role in it, owners first.
    #[serde(default)]
    pub roles: Vec<RoleInfo>,
    /// Refs that move only when enough owners agree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<RefNameInfo>,
    /// Changes that wait for agreement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<OpenInfo>,
    /// Rules of this number are needed to read what was written since; this version does not know them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_rules: Option<u16>,
    /// What it says it is, if that is held.
    pub description: Option<String>,
    /// What the release that is meant asks for, in words; none if its manifest is not here.
    #[serde(default)]
    pub permissions: Option<Vec<String>>,
    /// What that release needs: references with the versions that will do.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Its releases, the highest version first.
    pub releases: Vec<ReleaseInfo>,
    /// Releases of contributors, the newest first, at most 16: they take no version and are got by their id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contributed: Vec<ReleaseInfo>,
    /// Its channels.
    pub channels: Vec<ChannelInfo>,
    /// The logs that speak for it.
    pub logs: Vec<CheckpointInfo>,
    /// Logs whose key signed two histories: nothing newer of them is accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forked: Vec<String>,
    /// The same, with what became of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<ForkedInfo>,
    /// People of whom there is no room for further logs: what another device of theirs says may not be heard here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_room: Vec<String>,
    /// How new this is: `witnessed`, or `unknown` as long as too few of the reader's witnesses have spoken.
    pub freshness: String,
    /// What they say.
    pub witnessed: WitnessedInfo,
    /// What was verified to tell this.
    pub verified: VerifiedInfo,
}

/// An owner of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OwnerInfo {
    /// The identity.
    pub identity: String,
    /// What it calls itself.
    pub handle: Option<String>,
    /// What the user of this device calls it.
    pub petname: Option<String>,
    /// Whether it is this device's.
    pub own: bool,
}

/// A release of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseInfo {
    /// Its version.
    pub version: String,
    /// Its id.
    pub release_id: String,
    /// What `syncra get` takes for it, if its version does not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// `settled`, `contested`, `yanked`, `redacted`, `forked`, `revoked` or `contributed`.
    pub state: String,
    /// Why its bytes are not handed out any more, if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redacted: Option<String>,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// How many files.
    pub n_files: u64,
    /// When this device first saw it, in milliseconds since the Unix epoch; none for its own.
    pub first_seen_ms: Option<u64>,
}

/// A channel of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChannelInfo {
    /// Its name.
    pub name: String,
    /// The releases that it points to: one, or several that its writers chose without seeing each other.
    pub releases: Vec<String>,
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifiedInfo {
    /// Logs, each against the signature of its key.
    pub logs: u64,
    /// Entries in them.
    pub entries: u64,
}

impl OwnerInfo {
    /// Who somebody is, as short as it is not mistaken.
    #[must_use]
    pub fn short(&self) -> String {
        let short = self.identity.get(..SHORT_ID_CHARS).unwrap_or(&self.identity);
        let handle = || self.handle.as_ref().map(|handle| format!("@{handle}~{short}"));
        self.petname.clone().or_else(handle).unwrap_or_else(|| short.to_owned())
    }
}

impl Verb for Info {
    const NAME: &'static str = "packages_info";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/packages/info";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "All that is known of one package.";
    type Request = PackageRequest;
    type Response = InfoResponse;

    async fn run(service: &Arc<Service>, request: PackageRequest, _: &Progress) -> Result<InfoResponse, Problem> {
        service.settings_now().await?;
        let parts = service.parts();
        let named = resolve::package(parts, &Reference::parse(&request.reference)?)?;
        let state = &named.history.state;
        let latest = resolve::release(state, named.selector.as_ref());
        let description = match (&latest, &named.selector) {
            (Ok(selection), _) => catalogue::description(parts, &selection.published.release).await,
            (Err(_), None) => None,
            (Err(error), Some(_)) => return Err(error.clone().into()),
        };
        let meant = latest.as_ref().ok().map(|selection| &selection.published.release);
        let (mut permissions, mut needs) = (None, Vec::new());
        if let Some(release) = meant {
            permissions = release::manifest(parts.blobs().await?, release).await.ok().map(|manifest| asked(&manifest));
            for wanted in &release.dependencies {
                needs.push(format!("{} {}", resolve::text(&parts.histories, wanted.package)?, wanted.req));
            }
        }
        let channels = state.refs.iter().filter(|((class, _), _)| *class == RefClass::Channel);
        let witnessed = WitnessedInfo::from(parts.witnesses.freshness(named.history.evidence.heads()));
        let logs: Vec<CheckpointInfo> = named.history.evidence.heads().map(|head| head.checkpoint().into()).collect();
        let forks = heal::forked(parts, &named)?.into_iter().map(ForkedInfo::from).collect();
        Ok(InfoResponse {
            reference: named.reference,
            package_id: state.package.to_string(),
            kind: state.genesis.kind.as_str().to_owned(),
            owners: owners(parts, state)?,
            roles: roles::roles_of(parts, state)?,
            protected: roles::protected(state),
            open: roles::open_of(parts, state)?,
            newer_rules: state.newer_rules,
            description,
            permissions,
            needs,
            releases: releases(parts, state),
            contributed: contributed(parts, state),
            channels: channels
                .map(|((_, name), state)| ChannelInfo {
                    name: name.to_string(),
                    releases: state.values().iter().flatten().map(ToString::to_string).collect(),
                })
                .collect(),
            forked: named.history.evidence.forks().map(|proof| proof.origin().to_string()).collect(),
            forks,
            no_room: named.history.evidence.without_room().iter().map(ToString::to_string).collect(),
            freshness: witnessed.word(),
            witnessed,
            verified: VerifiedInfo { logs: logs.len() as u64, entries: logs.iter().map(|log| log.size).sum() },
            logs,
        })
    }
}

pub(super) fn owners(parts: &Parts, state: &PackageState) -> Result<Vec<OwnerInfo>, Problem> {
    state.rights.owners().map(|identity| person(parts, identity)).collect()
}

/// What is known of somebody.
pub(super) fn person(parts: &Parts, identity: IdentityId) -> Result<OwnerInfo, Problem> {
    let handle = parts.histories.identity(identity)?.and_then(|state| state.handle.clone());
    Ok(OwnerInfo {
        identity: identity.to_string(),
        handle: handle.map(|handle| handle.to_string()),
        petname: parts.histories.journal().truth().petname(&identity).map(str::to_owned),
        own: identity == parts.identity(),
    })
}

fn releases(parts: &Parts, state: &PackageState) -> Vec<ReleaseInfo> {
    let mut releases = Vec::new();
    for of_version in state.versions.values().rev() {
        let (ids, word): (Vec<ReleaseId>, _) = match of_version {
            VersionState::Settled(id) => (vec![*id], "settled"),
            VersionState::Contested(ids) => (ids.iter().copied().collect(), "contested"),
            VersionState::Forked(ids) => (ids.iter().copied().collect(), "forked"),
            VersionState::Revoked(ids) => (ids.iter().copied().collect(), "revoked"),
        };
        for id in ids {
            releases.extend(release_info(parts, state, id, word));
        }
    }
    releases
}

/// Contributors' releases that an answer lists.
const CONTRIBUTED: usize = 16;

fn contributed(parts: &Parts, state: &PackageState) -> Vec<ReleaseInfo> {
    let is_contributed =
        |id: &ReleaseId| state.releases.get(id).is_some_and(|known| known.standing == Standing::Contributed);
    let newest = state.newest_first().into_iter().filter(is_contributed).take(CONTRIBUTED);
    newest.filter_map(|id| release_info(parts, state, id, "contributed")).collect()
}

fn release_info(parts: &Parts, state: &PackageState, id: ReleaseId, word: &str) -> Option<ReleaseInfo> {
    let Published { release, .. } = state.releases.get(&id)?;
    let redacted = state.redaction(release).map(|redacted| redacted.reason.to_string());
    let is_yanked = state.yanked.contains_key(&state.canonical(id));
    let selector = resolve::release_selector(state, id);
    let package = resolve::text(&parts.histories, state.package).ok()?;
    Some(ReleaseInfo {
        version: release.version.to_string(),
        release_id: id.to_string(),
        by: selector.starts_with("r:").then(|| format!("{package}@{selector}")),
        state: match (&redacted, is_yanked) {
            (Some(_), _) => "redacted",
            (None, true) => "yanked",
            (None, false) => word,
        }
        .to_owned(),
        redacted,
        total_bytes: release.total_bytes,
        n_files: release.n_files.into(),
        first_seen_ms: parts
            .histories
            .journal()
            .truth()
            .first_seen(&EntryId::from_bytes(*id.as_bytes()))
            .map(|at| at.0),
    })
}

/// Tells which keys of one package's logs signed two histories.
#[derive(Debug)]
pub struct Forks;

/// Fork proofs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForksResponse {
    /// One for each forked log.
    pub forks: Vec<ForkInfo>,
}

impl Verb for Forks {
    const NAME: &'static str = "packages_forks";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/packages/forks";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "The proofs that keys of one package's logs signed two histories.";
    type Request = PackageRequest;
    type Response = ForksResponse;

    async fn run(service: &Arc<Service>, request: PackageRequest, _: &Progress) -> Result<ForksResponse, Problem> {
        let named = resolve::package(service.parts(), &Reference::parse(&request.reference)?)?;
        Ok(ForksResponse { forks: named.history.evidence.forks().map(ForkInfo::from).collect() })
    }
}

/// Tells the history of one package.
#[derive(Debug)]
pub struct Log;

/// The entries of all logs that speak for a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogResponse {
    /// Log by log, each from its beginning.
    pub entries: Vec<EntryInfo>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryInfo {
    /// Its log.
    pub origin: String,
    /// Its place there, from 0.
    pub index: u64,
    /// Its id.
    pub entry_id: String,
    /// What sort of entry.
    pub kind: String,
    /// What it says, in a line.
    pub summary: String,
    /// The release that it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_id: Option<String>,
    /// The version that it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Verb for Log {
    const NAME: &'static str = "packages_log";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/packages/log";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "The verified history of one package: every entry of every log that speaks for it.";
    type Request = PackageRequest;
    type Response = LogResponse;

    async fn run(service: &Arc<Service>, request: PackageRequest, _: &Progress) -> Result<LogResponse, Problem> {
        let parts = service.parts();
        let named = resolve::package(parts, &Reference::parse(&request.reference)?)?;
        Ok(LogResponse { entries: entries(parts, &named.history)? })
    }
}

fn entries(parts: &Parts, history: &History) -> Result<Vec<EntryInfo>, Problem> {
    let mut entries = Vec::new();
    for head in history.evidence.heads() {
        let origin = head.origin().to_string();
        let stored = parts.histories.entries(head.origin(), 0, head.size())?;
        entries.extend((0..).zip(stored).map(|(index, bytes)| entry_info(history, &origin, index, &bytes)));
    }
    Ok(entries)
}

fn entry_info(history: &History, origin: &str, index: u64, bytes: &[u8]) -> EntryInfo {
    let id = EntryId::of(bytes);
    let (kind, summary, version) = match entry::decode(bytes) {
        Ok(Decoded::Known(entry)) => {
            let version = match &entry.body {
                Body::Release(release) => Some(release.version.to_string()),
                _ => None,
            };
            (kind_of(&entry.body).to_owned(), summary(history, &entry.body), version)
        }
        Ok(Decoded::Unknown { kind, .. }) => (format!("kind-{kind}"), "made by a newer version".to_owned(), None),
        Err(error) => ("malformed".to_owned(), error.to_string(), None),
    };
    let release_id = version.is_some().then(|| ReleaseId::from(id).to_string());
    EntryInfo { origin: origin.to_owned(), index, entry_id: id.to_string(), kind, summary, release_id, version }
}

fn kind_of(body: &Body) -> &'static str {
    match body {
        Body::PackageGenesis(_) | Body::IdentityGenesis(_) => "genesis",
        Body::PackageJoin(_) | Body::IdentityJoin(_) => "join",
        Body::Roles(_) => "roles",
        Body::Endorse(_) => "endorse",
        Body::Release(_) => "release",
        Body::Ref(_) => "ref",
        Body::Yank(_) => "yank",
        Body::Redact(_) => "redact",
        Body::ForkResolve(_) => "fork-resolve",
        Body::Seen => "seen",
        Body::AddDevice(_) => "add-device",
        Body::Suspend(_) => "suspend",
        Body::Recover(_) => "recover",
        Body::Name(_) => "name",
        Body::Handle(_) => "handle",
    }
}

fn summary(history: &History, body: &Body) -> String {
    let version = |id: &ReleaseId| match history.state.releases.get(id) {
        Some(published) => published.release.version.to_string(),
        None => format!("release {}", id.fmt_short()),
    };
    match body {
        Body::PackageGenesis(genesis) => format!("begins a {}", genesis.kind.as_str()),
        Body::IdentityGenesis(_) => "begins an identity".to_owned(),
        Body::PackageJoin(join) => format!("a device of {} joins", join.identity.fmt_short()),
        Body::IdentityJoin(_) => "a device joins".to_owned(),
        Body::Release(release) => {
            format!("{}: {} files, {} bytes", release.version, release.n_files, release.total_bytes)
        }
        Body::Roles(roles) => {
            format!("wants: {}", roles::lines(roles, history.state.genesis.owner_threshold).join(", "))
        }
        Body::Endorse(endorse) => format!("agrees to {}", endorse.entry.fmt_short()),
        Body::Ref(moved) => {
            let to = moved.new.as_ref().map_or_else(|| "nothing".to_owned(), version);
            format!("{} `{}` points to {to}", moved.class, moved.name)
        }
        Body::Yank(yank) => format!("{} {}", if yank.undo { "shows again" } else { "yanks" }, version(&yank.release)),
        Body::Redact(redact) => format!("wants: {}", roles::redacts(&history.state, redact)),
        Body::ForkResolve(resolve) => format!("wants: {}", roles::resolves(resolve)),
        Body::Seen => "says what it has seen".to_owned(),
        Body::AddDevice(add) => format!("adds the device {} `{}`", add.device.fmt_short(), add.label),
        Body::Suspend(suspend) => format!("suspends the device {}", suspend.cuts.device.fmt_short()),
        Body::Recover(recover) => recovered(&recover.statement),
        Body::Name(claim) => match claim.package {
            Some(package) => format!("calls {} `{}`", package.fmt_short(), claim.name),
            None => format!("frees the name `{}`", claim.name),
        },
        Body::Handle(claim) => format!("would like to be called `{}`", claim.handle),
    }
}

fn recovered(statement: &Statement) -> String {
    let admitted = statement.admit.iter().map(|add| format!("adds the device {}", add.device.fmt_short()));
    let revoked = statement.revoke.iter().map(|cuts| format!("revokes the device {}", cuts.device.fmt_short()));
    let lifted = (!statement.lift.is_empty()).then(|| "ends a suspension".to_owned());
    let said: Vec<String> = admitted.chain(revoked).chain(lifted).collect();
    let said = if said.is_empty() { "replaces itself".to_owned() } else { said.join(", ") };
    format!("the recovery key {said}")
}
