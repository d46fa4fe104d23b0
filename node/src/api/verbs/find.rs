//! How verbs find the package that a reference means: here, else at connected peers, and never longer than allowed; and the
//! verb that does nothing but that, for callers of verbs that only read what is known here.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::Release;
use syncra_protocol::id::ReleaseId;
use syncra_protocol::reference::{OwnerKey, QualifiedName, Reference};
use utoipa::ToSchema;

use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::resolve::{self, Named, ResolveError};
use crate::flow::{Parts, reach, seek};
use crate::journal::{Regard, Trust};
use crate::problem::{Code, Problem};
use crate::progress::Progress;
use crate::sync::fetch;

/// Takes in what is known of a package elsewhere.
#[derive(Debug)]
pub struct Find;

/// Which package.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindRequest {
    /// A reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Seconds that looking may take; 60 by default, at most 3,600.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FindResponse {
    /// The package's reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its id.
    pub package_id: String,
}

impl Verb for Find {
    const NAME: &'static str = "packages_find";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/packages/find";
    // As for a search: what is found is kept.
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Takes in, verified, what peers know of one package; looks for those who have it.";
    type Request = FindRequest;
    type Response = FindResponse;

    async fn run(service: &Arc<Service>, request: FindRequest, _: &Progress) -> Result<FindResponse, Problem> {
        let reference = Reference::parse(&request.reference)?;
        look_around(service, &reference, patience(request.timeout_s)).await?;
        let named = resolve::package(service.parts(), &reference)?;
        Ok(FindResponse { reference: named.reference, package_id: named.history.state.package.to_string() })
    }
}

/// How long a verb waits for the network: what the caller says in seconds, at most an hour.
pub(super) fn patience(timeout_s: Option<u64>) -> Duration {
    timeout_s.map_or(fetch::PATIENCE, |seconds| Duration::from_secs(seconds.clamp(1, 3_600)))
}

/// Waits so long and no longer.
pub(super) async fn in_time<T>(patience: Duration, work: impl Future<Output = T>) -> Result<T, Problem> {
    let timeout = || Problem::new(Code::Timeout, format!("no answer came within {} s", patience.as_secs()));
    tokio::time::timeout(patience, work).await.map_err(|_| timeout())
}

/// How somebody gets to be asked, where nobody is.
const FIRST_PEER: &str = "nobody is connected who could be asked: `syncra open LINK`, with a link that `syncra share` made, or `syncra \
     connect ADDRESS`, as `syncra status` shows it there, reaches a first peer; nodes on one network find each other";

/// Takes in what connected peers know of a package; a package or release that is not known yet is looked for, by a node
/// started for it if none runs.
pub(super) async fn look_around(service: &Service, reference: &Reference, patience: Duration) -> Result<(), Problem> {
    let parts = service.parts();
    match resolve::package(parts, reference) {
        Ok(named) => {
            let package = named.history.state.package;
            let is_known = || reach::is_known(parts, reference);
            if !is_known() {
                let online = in_time(patience, service.reach()).await??;
                in_time(patience, Box::pin(seek::until(&online, package, is_known))).await?;
            } else if let Some(online) = parts.online() {
                let stopping = |error| Problem::from_error(Code::NodeStopping, &error);
                in_time(patience, online.sync.refresh(package, None)).await?.map_err(stopping)?;
            }
        }
        Err(ResolveError::Unknown(_)) => {
            let online = in_time(patience, service.reach()).await??;
            let found = reach::find(parts, &online, reference, patience).await;
            if !found.is_complete && matches!(resolve::package(parts, reference), Err(ResolveError::Unknown(_))) {
                return in_time(Duration::ZERO, std::future::pending()).await;
            }
            let is_alone = async || online.net.peers().await.unwrap_or_default().is_empty();
            if let Err(error @ ResolveError::Unknown(_)) = resolve::package(parts, reference)
                && is_alone().await
            {
                return Err(Problem::from(error).with_hint(FIRST_PEER));
            }
        }
        // Whoever chooses should see all that could be meant; a node that runs can ask without delay.
        Err(ResolveError::Ambiguous { .. }) if parts.online().is_some() => drop(discover(service, patience).await?),
        // Whatever else is wrong, the look-up that follows tells.
        Err(_) => {}
    }
    Ok(())
}

async fn discover(service: &Service, patience: Duration) -> Result<reach::Found, Problem> {
    let online = in_time(patience, service.reach()).await??;
    Ok(reach::discover(service.parts(), &online, patience).await)
}

/// The reference with the owner's key that the user trusts. It has to be an owner's key or whole identity.
pub(super) fn trusting(reference: Reference, trust: Option<&str>) -> Result<Reference, Problem> {
    let Some(trust) = trust else { return Ok(reference) };
    let wrong = |message: String| Problem::new(Code::BadArgument, message);
    let short = trust.get(..syncra_protocol::limits::SHORT_ID_CHARS).unwrap_or(trust);
    let key =
        OwnerKey::parse(short).map_err(|_| wrong(format!("`{trust}` is no identity, nor the beginning of one")))?;
    match reference {
        Reference::Named(QualifiedName { key: Some(other), .. }, _) if other != key => {
            Err(wrong(format!("the reference names the owner `{other}`, not `{key}`")))
        }
        Reference::Named(name, selector) => Ok(Reference::Named(QualifiedName { key: Some(key), ..name }, selector)),
        Reference::Package(..) | Reference::Content(_) => {
            Err(wrong("only a name is pinned to its owner; an id needs no trust".to_owned()))
        }
    }
}

/// Remembers that the owner of what was named is who the user means.
pub(super) async fn pin(parts: &Parts, named: &Named, trust: Option<&str>) -> Result<(), Problem> {
    let Some(trust) = trust else { return Ok(()) };
    let mut owners = named.history.state.rights.owners();
    let identity = owners.find(|owner| {
        let text = owner.to_string();
        text.starts_with(trust)
    });
    let identity = identity
        .ok_or_else(|| Problem::new(Code::NotFound, format!("`{trust}` is no owner of {}", named.reference)))?;
    parts.histories.journal().append(Trust { identity, regard: Regard::Trusted }).await?;
    Ok(())
}

/// Whom a verb may ask for what is not here, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    /// Nobody.
    pub(super) offline: bool,
    /// How long.
    pub(super) patience: Duration,
}

/// A release that was named.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its reference with its version.
    pub(super) reference: String,
    /// Its package.
    pub(super) named: Named,
    /// Its id.
    pub(super) id: ReleaseId,
    /// What its entry says.
    pub(super) release: Release,
}

/// The release that a reference means: as it is known here, else as connected peers know it.
pub(super) async fn release(service: &Service, reference: &Reference, ask: Ask) -> Result<Found, Problem> {
    match known_release(service, reference) {
        Err(problem) if is_unknown(&problem) && !ask.offline => {
            look_around(service, reference, ask.patience).await?;
            known_release(service, reference)
        }
        found => found,
    }
}

/// Whether somebody else may know more.
pub(super) fn is_unknown(problem: &Problem) -> bool {
    matches!(problem.code, Code::PackageNotFound | Code::ReleaseNotFound)
}

fn known_release(service: &Service, reference: &Reference) -> Result<Found, Problem> {
    let named = resolve::package(service.parts(), reference)?;
    let selection = resolve::release(&named.history.state, named.selector.as_ref())?;
    let (id, release) = (selection.release, selection.published.release.clone());
    let reference = format!("{}@{}", named.reference, release.version);
    Ok(Found { reference, named, id, release })
}

/// Goes on the network when that may help: content was not held, and nobody could be asked for it yet. Then the work is worth
/// another try.
pub(super) async fn may_fetch<T>(service: &Service, ask: Ask, done: &Result<T, Problem>) -> Result<bool, Problem> {
    let is_missing = done.as_ref().is_err_and(|problem| problem.code == Code::NotHeld);
    if !is_missing || ask.offline || service.parts().online().is_some() {
        return Ok(false);
    }
    in_time(ask.patience, service.reach()).await??;
    Ok(true)
}
