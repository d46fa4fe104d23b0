//! Where things come from: the releases of a package as a graph, and who changed a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::fold::{PackageState, Published, Standing};
use syncra_protocol::id::{EntryId, PackageId, ReleaseId};
use syncra_protocol::path::EntryPath;
use syncra_protocol::proposal::Said;
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::find;
use super::packages::{self, PackageRequest};
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::blame::{self, Blame as Found};
use crate::flow::peek::Peek;
use crate::flow::{Parts, identity, resolve};
use crate::history::History;
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Tells the releases of a package as a graph.
#[derive(Debug)]
pub struct Graph;

/// The releases of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GraphResponse {
    /// The package's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its releases, each before those that it was made from.
    pub releases: Vec<GraphedRelease>,
}

/// A release and what it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GraphedRelease {
    /// Its id.
    pub release_id: String,
    /// Its version.
    pub version: String,
    /// The releases that it was made from, the main one first; some may not be known here.
    pub parents: Vec<String>,
    /// Branches, tags and channels that point to it, each as `channel stable`.
    pub refs: Vec<String>,
    /// `settled`, `same` (it repeats another), `contested`, `reused`, `forked`; or `yanked`, or `redacted`; or `proposed`: it
    /// is one of a proposal's, which was merged.
    pub state: String,
    /// Who published it.
    pub by: String,
    /// When this node first had it, in milliseconds since 1970; nothing says when it was published.
    pub first_seen_ms: Option<u64>,
}

impl Verb for Graph {
    const NAME: &'static str = "packages_graph";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/packages/graph";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "The releases of one package, what each was made from, and what points to it.";
    type Request = PackageRequest;
    type Response = GraphResponse;

    async fn run(service: &Arc<Service>, request: PackageRequest, _: &Progress) -> Result<GraphResponse, Problem> {
        let parts = service.parts();
        let named = resolve::package(parts, &Reference::parse(&request.reference)?)?;
        let state = &named.history.state;
        let mut refs: BTreeMap<ReleaseId, Vec<String>> = BTreeMap::new();
        for ((class, name), points) in &state.refs {
            for release in points.values().into_iter().flatten() {
                refs.entry(release).or_default().push(format!("{class} {name}"));
            }
        }
        let graphed = |id: ReleaseId| {
            let published = &state.releases[&id];
            Ok(GraphedRelease {
                release_id: id.to_string(),
                version: published.release.version.to_string(),
                parents: published.release.parents.iter().map(ToString::to_string).collect(),
                refs: refs.remove(&id).unwrap_or_default(),
                state: word(state, id, published).to_owned(),
                by: author(parts, state, published)?,
                first_seen_ms: first_seen(parts, id),
            })
        };
        let releases = state.newest_first().into_iter().map(graphed).collect::<Result<_, Problem>>()?;
        let releases = with_proposals(parts, state, releases)?;
        Ok(GraphResponse { reference: named.reference, releases })
    }
}

/// Releases of a proposal that are shown, from the one that was merged back.
const PROPOSED: usize = 16;

/// A proposal that became part of a release.
struct Merged {
    proposal: PackageId,
    by: String,
    title: String,
    history: Option<Arc<History>>,
}

/// The proposals to a package that are known here, by their releases.
fn proposals_of(parts: &Parts, package: PackageId) -> Result<BTreeMap<ReleaseId, Arc<Merged>>, Problem> {
    let mut known = BTreeMap::new();
    for record in parts.proposals.of(package) {
        let statement = record.statement();
        let Said::Proposal { release, title, .. } = &statement.said else { continue };
        let history = parts.histories.package(statement.proposal)?;
        let ids: Vec<ReleaseId> = history.iter().flat_map(|own| own.state.releases.keys().copied()).collect();
        let by = packages::person(parts, statement.by)?.short();
        let merged = Arc::new(Merged { proposal: statement.proposal, by, title: title.clone(), history });
        known.extend(ids.into_iter().chain([*release]).map(|id| (id, Arc::clone(&merged))));
    }
    Ok(known)
}

/// The graph with what was merged of proposals: each behind the last release that was made from it.
fn with_proposals(
    parts: &Parts,
    state: &PackageState,
    releases: Vec<GraphedRelease>,
) -> Result<Vec<GraphedRelease>, Problem> {
    let known = proposals_of(parts, state.package)?;
    let mut shown = Vec::new();
    // From the oldest on, so that the first release that names it is the last one in the answer.
    let mut placed = BTreeSet::new();
    for release in releases.into_iter().rev() {
        let mut line = Vec::new();
        let mut next: Vec<ReleaseId> = release.parents.iter().filter_map(|id| id.parse().ok()).collect();
        while let Some(id) = next.pop() {
            let Some(merged) = known.get(&id).filter(|_| !state.releases.contains_key(&id)) else { continue };
            if line.len() >= PROPOSED || !placed.insert(id) {
                continue;
            }
            let published = merged.history.as_ref().and_then(|own| own.state.releases.get(&id));
            let parents: &[ReleaseId] = published.map_or(&[], |published| &published.release.parents);
            next.extend(parents);
            line.push(GraphedRelease {
                release_id: id.to_string(),
                version: published.map_or_else(|| "?".to_owned(), |published| published.release.version.to_string()),
                parents: parents.iter().map(ToString::to_string).collect(),
                refs: vec![format!("proposal syncra:{}: {}", merged.proposal.fmt_short(), merged.title)],
                state: "proposed".to_owned(),
                by: merged.by.clone(),
                first_seen_ms: first_seen(parts, id),
            });
        }
        shown.extend(line.into_iter().rev());
        shown.push(release);
    }
    shown.reverse();
    Ok(shown)
}

/// The proposals that a release has merged, as far as they are known here.
fn proposed(known: &BTreeMap<ReleaseId, Arc<Merged>>, published: &Published) -> Vec<ProposedInfo> {
    let merged = published.release.parents.iter().filter_map(|id| known.get(id));
    let info = |merged: &Arc<Merged>| ProposedInfo {
        reference: format!("syncra:{}", merged.proposal),
        title: merged.title.clone(),
        by: merged.by.clone(),
    };
    merged.map(info).collect()
}

fn word(state: &PackageState, id: ReleaseId, published: &Published) -> &'static str {
    if state.redaction(&published.release).is_some() {
        return "redacted";
    }
    if state.yanked.contains_key(&state.canonical(id)) {
        return "yanked";
    }
    match published.standing {
        Standing::Settled => "settled",
        Standing::SameAs(_) => "same",
        Standing::Contested => "contested",
        Standing::Reused(_) => "reused",
        Standing::Contributed => "contributed",
        Standing::Forked => "forked",
        Standing::Revoked => "revoked",
    }
}

/// Whose device signed a release: an owner as strangers write it, else the device's key.
fn author(parts: &Parts, state: &PackageState, published: &Published) -> Result<String, Problem> {
    let key = published.writer.key;
    match state.owners.values().find(|owner| owner.devices.contains_key(&key)) {
        Some(owner) => Ok(identity::owner_text(&parts.histories, owner.identity)?),
        None => Ok(key.to_string()),
    }
}

fn first_seen(parts: &Parts, id: ReleaseId) -> Option<u64> {
    parts.histories.journal().truth().first_seen(&EntryId::from_bytes(*id.as_bytes())).map(|at| at.0)
}

/// Tells who changed a file.
#[derive(Debug)]
pub struct Blame;

/// Which file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlameRequest {
    /// The release to begin with, a reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The file's path in the package.
    pub path: String,
    /// Only from what is held here: nobody is asked.
    #[serde(default)]
    pub offline: bool,
    /// Seconds that a fetch may go on without a byte from anybody; 60 by default, at most 3,600.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlameResponse {
    /// The release that was begun with.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The file.
    pub path: String,
    /// The release that changed it last.
    pub last: BlamedRelease,
    /// Its lines, if it is a text of at most 1 MiB.
    pub lines: Option<Vec<BlamedLine>>,
    /// The releases that the lines are from.
    pub releases: Vec<BlamedRelease>,
    /// Releases that were looked at, at most 64.
    pub n_releases: usize,
    /// False if there are older releases that were not looked at: what is said to be from the oldest may be older.
    pub is_complete: bool,
    /// Bytes that were fetched to tell this.
    pub fetched_bytes: u64,
}

/// A release that changed the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlamedRelease {
    /// Its id.
    pub release_id: String,
    /// Its version.
    pub version: String,
    /// Who published it.
    pub by: String,
    /// What was proposed, and is merged in it: its lines may be the proposer's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposed: Vec<ProposedInfo>,
    /// When this node first had it, in milliseconds since 1970; nothing says when it was published.
    pub first_seen_ms: Option<u64>,
}

/// A proposal that a release has merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProposedInfo {
    /// The proposal.
    #[serde(rename = "ref")]
    pub reference: String,
    /// In a line.
    pub title: String,
    /// Who proposed it.
    pub by: String,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlamedLine {
    /// The release that it is from.
    pub release_id: String,
    /// The line, without its end.
    pub text: String,
}

impl Verb for Blame {
    const NAME: &'static str = "blame";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/blame";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str =
        "Which releases, of whom, a file and its lines are from; fetches what is needed to tell.";
    type Request = BlameRequest;
    type Response = BlameResponse;

    async fn run(service: &Arc<Service>, request: BlameRequest, progress: &Progress) -> Result<BlameResponse, Problem> {
        let ask = find::Ask { offline: request.offline, patience: find::patience(request.timeout_s) };
        let wrong = |error| {
            let hint = "a path is as it stands in the package, with `/`, for example `src/main.syn`";
            Problem::from_error(Code::BadArgument, &error).with_hint(hint)
        };
        let path = EntryPath::parse(&request.path).map_err(wrong)?;
        let found = Box::pin(find::release(service, &Reference::parse(&request.reference)?, ask)).await?;
        let (parts, state) = (service.parts(), &found.named.history.state);
        let mut done = Box::pin(trace(parts, &found, &path, (ask, progress))).await;
        if find::may_fetch(service, ask, &done).await? {
            done = Box::pin(trace(parts, &found, &path, (ask, progress))).await;
        }
        let (Found { last, lines, n_releases, is_complete }, fetched_bytes) = done?;
        let known = proposals_of(parts, state.package)?;
        let blamed = |id: &ReleaseId| {
            let published = &state.releases[id];
            Ok(BlamedRelease {
                release_id: id.to_string(),
                version: published.release.version.to_string(),
                by: author(parts, state, published)?,
                proposed: proposed(&known, published),
                first_seen_ms: first_seen(parts, *id),
            })
        };
        let of_lines = lines.iter().flatten().map(|(id, _)| *id);
        let ids: BTreeSet<ReleaseId> = of_lines.collect();
        let releases = ids.iter().map(blamed).collect::<Result<_, Problem>>()?;
        let line = |(id, text): (ReleaseId, String)| BlamedLine { release_id: id.to_string(), text };
        Ok(BlameResponse {
            last: blamed(&last)?,
            reference: found.reference,
            path: path.to_string(),
            lines: lines.map(|lines| lines.into_iter().map(line).collect()),
            releases,
            n_releases,
            is_complete,
            fetched_bytes,
        })
    }
}

async fn trace(
    parts: &Parts,
    found: &find::Found,
    path: &EntryPath,
    (ask, progress): (find::Ask, &Progress),
) -> Result<(Found, u64), Problem> {
    let state = &found.named.history.state;
    let peek = Peek::new(parts, ask.offline, ask.patience, progress).await?;
    let blamed = blame::blame(&peek, state, (found.id, &state.releases[&found.id]), path).await?;
    Ok((blamed, peek.fetched_bytes()))
}
