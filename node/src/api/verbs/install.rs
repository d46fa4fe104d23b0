//! What is installed: add, update, remove, go back; and why something is there.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncra_protocol::id::PackageId;
use syncra_protocol::reference::{Reference, Selector};
use utoipa::ToSchema;

use super::find;
use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::follow::{self, Followed};
use crate::flow::install::{self, Caution, Change, Done, Kept, Plan, Request};
use crate::flow::{Parts, reach, resolve};
use crate::installed::Slot;
use crate::problem::{Code, Problem};
use crate::progress::Progress;
use crate::sync::fetch;

/// Installs a package.
#[derive(Debug)]
pub struct Add;

/// Selects anew what is installed.
#[derive(Debug)]
pub struct Update;

/// Takes a package away.
#[derive(Debug)]
pub struct Remove;

/// Goes back.
#[derive(Debug)]
pub struct Rollback;

/// Says what an update would change.
#[derive(Debug)]
pub struct Outdated;

/// Says why a package is installed.
#[derive(Debug)]
pub struct Why;

/// A package to install.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddRequest {
    /// A reference, with the release that is wanted.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Follow it from now on, along what is asked for.
    #[serde(default)]
    pub follow: bool,
    /// Only with what is held here: nobody is asked.
    #[serde(default)]
    pub offline: bool,
    /// The owner who is meant by a bare name, as an identity or its first 12 characters; remembered as trusted.
    #[serde(default)]
    pub trust: Option<String>,
    /// Only this plan, as an answer named it; if another one would be carried out by now, nothing is.
    #[serde(default)]
    pub plan: Option<String>,
    /// Seconds that finding may take, and that a fetch may go on without a byte from anybody; 60 by default.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// A package to take away.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveRequest {
    /// A reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// What to update.
#[derive(Debug, Default, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateRequest {
    /// A reference; all packages if there is none.
    #[serde(rename = "ref", default)]
    pub reference: Option<String>,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Only with what is held here: nobody is asked.
    #[serde(default)]
    pub offline: bool,
    /// Only this plan, as an answer named it; if another one would be carried out by now, nothing is.
    #[serde(default)]
    pub plan: Option<String>,
    /// Seconds that each package may take to be asked for, and that a fetch may go on without a byte; 60 by default.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// Where to go back to. Nothing: the generation before the one in force.
#[derive(Debug, Default, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// A package that goes back to what was installed of it before.
    #[serde(rename = "ref", default)]
    pub reference: Option<String>,
    /// A generation that is still kept; zero is before the first one.
    #[serde(default)]
    pub generation: Option<u64>,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// Which package.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhyRequest {
    /// A reference.
    #[serde(rename = "ref")]
    pub reference: String,
}

/// What was, or would be, changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeResponse {
    /// The generation in force.
    pub generation: u64,
    /// What changes; needed packages before those that need them.
    pub changes: Vec<ChangeInfo>,
    /// Packages that stay as they are, though they were to be updated.
    pub kept: Vec<KeptInfo>,
    /// What people should be told.
    pub warnings: Vec<String>,
    /// Bytes of files that are new on this disk.
    pub unpacked_bytes: u64,
    /// Bytes that came from peers.
    pub fetched_bytes: u64,
    /// Bytes of content that were here before.
    pub reused_bytes: u64,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// What names this plan: which packages change from which release to which.
    pub plan: String,
}

/// What changes for one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeInfo {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its id.
    pub package_id: String,
    /// The version that was installed.
    pub from: Option<String>,
    /// The version that is.
    pub to: Option<String>,
    /// The directory with its files; none when it is taken away.
    pub path: Option<String>,
    /// What it asks for beyond what the release before asked for, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<String>,
    /// Whether what it asks for is not known here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks_unknown: bool,
}

/// A package that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptInfo {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Why.
    pub why: String,
}

/// What an update would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutdatedResponse {
    /// The packages.
    pub packages: Vec<OutdatedInfo>,
    /// Packages that would stay as they are, though something is wrong with what is selected.
    pub kept: Vec<KeptInfo>,
}

/// A package that an update would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutdatedInfo {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its id.
    pub package_id: String,
    /// The version that is installed; none if an update would bring it.
    pub installed: Option<String>,
    /// The version after an update; none if an update would take it away.
    pub wanted: Option<String>,
    /// What was asked for; none if only others need it.
    pub selector: Option<String>,
}

/// Why a package is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyResponse {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The version that is installed.
    pub version: String,
    /// What was asked for; none if only others need it.
    pub selector: Option<String>,
    /// From a package that somebody asked for to this one.
    pub chains: Vec<Vec<String>>,
}

impl Verb for Add {
    const NAME: &'static str = "add";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/installed/add";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Installs a package and what it needs.";
    type Request = AddRequest;
    type Response = ChangeResponse;

    async fn run(service: &Arc<Service>, request: AddRequest, progress: &Progress) -> Result<ChangeResponse, Problem> {
        let (trust, patience) = (request.trust.as_deref(), find::patience(request.timeout_s));
        let reference = find::trusting(Reference::parse(&request.reference)?, trust)?;
        if !request.offline {
            find::look_around(service, &reference, patience).await?;
        }
        let named = resolve::package(service.parts(), &reference)?;
        if !request.dry_run {
            find::pin(service.parts(), &named, trust).await?;
        }
        let package = named.history.state.package;
        let is_fixed = matches!(named.selector, Some(Selector::Version(_) | Selector::Release(_)));
        let add = Request::Add { package, selector: named.selector };
        let how = How { dry_run: request.dry_run, patience, only: request.plan };
        let mut added = match change_so(service, add.clone(), how.clone(), progress).await {
            // What is known without being held: now somebody has to be found who holds it.
            Err(problem) if problem.code == Code::NotHeld && !request.offline => {
                find::in_time(patience, service.reach()).await??;
                change_so(service, add, how, progress).await?
            }
            done => done?,
        };
        if request.follow && !request.dry_run {
            follow::follow(service.parts(), &Followed { package, channel: None }).await?;
            added
                .warnings
                .extend(is_fixed.then(|| "it is followed, and stays at the release that was named".to_owned()));
        }
        Ok(added)
    }
}

impl Verb for Update {
    const NAME: &'static str = "update";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/installed/update";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Selects anew what is installed: one package, or all.";
    type Request = UpdateRequest;
    type Response = ChangeResponse;

    async fn run(
        service: &Arc<Service>,
        request: UpdateRequest,
        progress: &Progress,
    ) -> Result<ChangeResponse, Problem> {
        let package = request.reference.as_deref().map(|text| package(service.parts(), text)).transpose()?;
        let patience = find::patience(request.timeout_s);
        if !request.offline {
            let online = find::in_time(patience, service.reach()).await??;
            let installed = service.parts().installed.current()?.packages;
            let concerned = installed.keys().filter(|known| package.is_none_or(|package| package == **known));
            for known in concerned {
                let stopping = |error| Problem::from_error(Code::NodeStopping, &error);
                find::in_time(patience, online.sync.refresh(*known, None)).await?.map_err(stopping)?;
            }
        }
        let how = How { dry_run: request.dry_run, patience, only: request.plan };
        change_so(service, Request::Update(package), how, progress).await
    }
}

impl Verb for Remove {
    const NAME: &'static str = "remove";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/installed/remove";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Takes a package away, and what only it needed.";
    type Request = RemoveRequest;
    type Response = ChangeResponse;

    async fn run(
        service: &Arc<Service>,
        request: RemoveRequest,
        progress: &Progress,
    ) -> Result<ChangeResponse, Problem> {
        let parts = service.parts();
        let package = package(parts, &request.reference)?;
        let mut removed = change(service, Request::Remove(package), request.dry_run, fetch::PATIENCE, progress).await?;
        // Or it would come back by itself.
        let is_followed = follow::get(parts, package).is_some();
        if is_followed && !request.dry_run {
            follow::unfollow(parts, package).await?;
        }
        if is_followed {
            removed.warnings.push("a package that is taken away is followed no more".to_owned());
        }
        Ok(removed)
    }
}

impl Verb for Rollback {
    const NAME: &'static str = "rollback";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/installed/rollback";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Goes back to an earlier generation, or with one package.";
    type Request = RollbackRequest;
    type Response = ChangeResponse;

    async fn run(
        service: &Arc<Service>,
        request: RollbackRequest,
        progress: &Progress,
    ) -> Result<ChangeResponse, Problem> {
        let back = match (&request.reference, request.generation) {
            (None, None) => Request::Rollback,
            (None, Some(generation)) => Request::RollbackTo(generation),
            (Some(text), None) => Request::RollbackPackage(package(service.parts(), text)?),
            (Some(_), Some(_)) => {
                return Err(Problem::new(Code::BadArgument, "a package or a generation goes back, not both"));
            }
        };
        change(service, back, request.dry_run, fetch::PATIENCE, progress).await
    }
}

impl Verb for Outdated {
    const NAME: &'static str = "outdated";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/installed/outdated";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "What an update would change, as far as it is known here.";
    type Request = Empty;
    type Response = OutdatedResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<OutdatedResponse, Problem> {
        let plan = install::plan(service.parts(), &Request::Update(None)).await?;
        let version = |slot: &Option<Slot>| slot.as_ref().map(|slot| slot.version.to_string());
        let packages = plan.changes.iter().map(|change| OutdatedInfo {
            reference: change.reference().to_owned(),
            package_id: change.package.to_string(),
            installed: version(&change.from),
            wanted: version(&change.to),
            selector: change.from.as_ref().and_then(|slot| slot.selector.clone()),
        });
        Ok(OutdatedResponse { packages: packages.collect(), kept: plan.kept.iter().map(kept_info).collect() })
    }
}

impl Verb for Why {
    const NAME: &'static str = "why";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/installed/why";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "Why a package is installed: who asked for it, or which chain of needs leads to it.";
    type Request = WhyRequest;
    type Response = WhyResponse;

    async fn run(service: &Arc<Service>, request: WhyRequest, _: &Progress) -> Result<WhyResponse, Problem> {
        let parts = service.parts();
        let why = install::why(parts, package(parts, &request.reference)?)?;
        let names = |chain: Vec<Slot>| chain.into_iter().map(|slot| slot.reference).collect();
        Ok(WhyResponse {
            reference: why.slot.reference,
            version: why.slot.version.to_string(),
            selector: why.slot.selector,
            chains: why.chains.into_iter().map(names).collect(),
        })
    }
}

/// The package that a text names. What is installed can be named though its history is gone.
fn package(parts: &Parts, text: &str) -> Result<PackageId, Problem> {
    let reference = Reference::parse(text)?;
    if let Reference::Package(package, None::<Selector>) = reference {
        return Ok(package);
    }
    match resolve::package(parts, &reference) {
        Ok(named) => Ok(named.history.state.package),
        Err(error) => {
            let installed = parts.installed.current()?.packages;
            let found = installed.into_iter().find(|(_, slot)| slot.reference == text);
            found.map(|(package, _)| package).ok_or_else(|| error.into())
        }
    }
}

async fn change(
    service: &Arc<Service>,
    request: Request,
    dry_run: bool,
    patience: Duration,
    progress: &Progress,
) -> Result<ChangeResponse, Problem> {
    change_so(service, request, How { dry_run, patience, only: None }, progress).await
}

/// How something is changed.
#[derive(Debug, Clone)]
struct How {
    /// Not at all: only say what would change.
    dry_run: bool,
    /// How long a fetch may go on without a byte from anybody.
    patience: Duration,
    /// By this plan or not at all.
    only: Option<String>,
}

async fn change_so(
    service: &Arc<Service>,
    request: Request,
    how: How,
    progress: &Progress,
) -> Result<ChangeResponse, Problem> {
    let progress = progress.clone();
    // Goes on when its caller leaves: what was fetched is not thrown away half-way.
    let work = async move |service: Arc<Service>| -> Result<ChangeResponse, Problem> {
        let parts = service.parts();
        let mut plan = reach::plan(parts, &request, how.patience).await?;
        plan.patience = how.patience;
        let mut would = would(parts, &plan);
        if how.only.as_ref().is_some_and(|only| *only != would.plan) {
            let problem = Problem::new(Code::Conflict, "what would be installed is not what was shown any more");
            return Err(problem.with_hint("look at it again"));
        }
        if how.dry_run {
            let asks = follow::asks(parts, &plan.changes, how.patience).await?;
            tell_asks(&mut would.changes, asks);
            return Ok(would);
        }
        let ChangeResponse { unpacked_bytes, plan: id, .. } = would;
        let done = match install::apply(parts, plan, &progress).await {
            Err(install::InstallError::Changed) if how.only.is_none() => {
                install::run(parts, &request, &progress).await?
            }
            done => done?,
        };
        let Done { generation, fetched, .. } = done;
        let (fetched_bytes, reused_bytes) = (fetched.fetched_bytes, fetched.reused_bytes);
        let mut did = response(parts, &done.changes, &done.cautions, &done.kept);
        did.warnings.extend(done.mended.iter().map(ToString::to_string));
        let asks = follow::asks(parts, &done.changes, how.patience).await?;
        tell_asks(&mut did.changes, asks);
        Ok(ChangeResponse { generation, unpacked_bytes, fetched_bytes, reused_bytes, plan: id, ..did })
    };
    service.finish(work).await
}

/// What a plan would do.
pub(super) fn would(parts: &Parts, plan: &Plan) -> ChangeResponse {
    let (generation, unpacked_bytes) = (plan.base.generation, plan.unpacked_bytes(parts));
    let would = response(parts, &plan.changes, &plan.cautions, &plan.kept);
    ChangeResponse { generation, unpacked_bytes, dry_run: true, plan: plan.id().to_string(), ..would }
}

fn response(parts: &Parts, changes: &[Change], cautions: &[Caution], kept: &[Kept]) -> ChangeResponse {
    let info = |change: &Change| ChangeInfo {
        reference: change.reference().to_owned(),
        package_id: change.package.to_string(),
        from: change.from.as_ref().map(|slot| slot.version.to_string()),
        to: change.to.as_ref().map(|slot| slot.version.to_string()),
        path: change.to.as_ref().map(|slot| install::text_of(&parts.installed.path_of(slot.release))),
        asks: Vec::new(),
        asks_unknown: false,
    };
    let caution = |caution: &Caution| format!("{}: {}", caution.reference, resolve::warning(&caution.warning));
    ChangeResponse {
        generation: 0,
        changes: changes.iter().map(info).collect(),
        kept: kept.iter().map(kept_info).collect(),
        warnings: cautions.iter().map(caution).collect(),
        unpacked_bytes: 0,
        fetched_bytes: 0,
        reused_bytes: 0,
        dry_run: false,
        plan: String::new(),
    }
}

fn tell_asks(changes: &mut [ChangeInfo], asks: Vec<(PackageId, Option<Vec<String>>)>) {
    for (package, asked) in asks {
        let package = package.to_string();
        for change in changes.iter_mut().filter(|change| change.package_id == package) {
            change.asks_unknown = asked.is_none();
            change.asks = asked.clone().unwrap_or_default();
        }
    }
}

fn kept_info(kept: &Kept) -> KeptInfo {
    KeptInfo { reference: kept.reference.clone(), why: kept.why.to_string() }
}
