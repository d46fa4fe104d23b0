//! Who may do what in a package.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::entry::{ForkResolve, Redact, RefClass, Release, Role, Roles};
use syncra_protocol::fold::{Needs, Open, OpenChange, PackageState, Published};
use syncra_protocol::id::{IdentityId, ReleaseId};
use syncra_protocol::name::RefName;
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::packages::{self, OwnerInfo, PackageRequest};
use super::refs::class_of;
use crate::api::types::CheckpointInfo;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::resolve::Named;
use crate::flow::roles::{self, Said, Wanted};
use crate::flow::{Parts, regard, resolve};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Tells who may do what, and what waits for agreement.
#[derive(Debug)]
pub struct ListRoles;

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolesResponse {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its id.
    pub package_id: String,
    /// Owners who must agree to a change.
    pub owner_threshold: u8,
    /// Everybody who has a role.
    pub roles: Vec<RoleInfo>,
    /// Refs that move only when so many owners agree.
    pub protected: Vec<RefNameInfo>,
    /// What waits for agreement.
    pub open: Vec<OpenInfo>,
    /// Rules of this number are needed to read what was written since; this version does not know them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_rules: Option<u16>,
}

/// Somebody's role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleInfo {
    /// Who.
    #[serde(flatten)]
    pub who: OwnerInfo,
    /// `owner`, `maintainer` or `contributor`.
    pub role: String,
}

/// A branch, tag or channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefNameInfo {
    /// `branch`, `tag` or `channel`.
    pub class: String,
    /// Its name.
    pub name: String,
}

/// A change that waits for agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenInfo {
    /// Its id: what `endorse` takes.
    pub change: String,
    /// What it would change, a line each.
    pub says: Vec<String>,
    /// Who wants it.
    pub by: OwnerInfo,
    /// Who agrees.
    pub agreed: Vec<OwnerInfo>,
    /// Who must still agree.
    pub needs: Vec<NeedsInfo>,
    /// Whether it waits for this device's identity.
    pub waits_for_you: bool,
}

/// So many more of these must agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NeedsInfo {
    /// How many.
    pub n_more: u64,
    /// Of whom.
    pub of: Vec<OwnerInfo>,
}

impl Verb for ListRoles {
    const NAME: &'static str = "roles_list";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/packages/roles";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "Who may do what in a package, and which changes wait for agreement.";
    type Request = PackageRequest;
    type Response = RolesResponse;

    async fn run(service: &Arc<Service>, request: PackageRequest, _: &Progress) -> Result<RolesResponse, Problem> {
        let parts = service.parts();
        let named = resolve::package(parts, &Reference::parse(&request.reference)?)?;
        let state = &named.history.state;
        Ok(RolesResponse {
            reference: named.reference.clone(),
            package_id: state.package.to_string(),
            owner_threshold: state.rights.owner_threshold,
            roles: roles_of(parts, state)?,
            protected: protected(state),
            open: open_of(parts, state)?,
            newer_rules: state.newer_rules,
        })
    }
}

/// Everybody who has a role, owners first.
pub(super) fn roles_of(parts: &Parts, state: &PackageState) -> Result<Vec<RoleInfo>, Problem> {
    let mut roles: Vec<_> = state.rights.roles.iter().collect();
    roles.sort_by_key(|(who, role)| (core::cmp::Reverse(**role), **who));
    let info = |(who, role): (&IdentityId, &Role)| {
        Ok(RoleInfo { who: packages::person(parts, *who)?, role: role.to_string() })
    };
    roles.into_iter().map(info).collect()
}

/// The protected refs.
pub(super) fn protected(state: &PackageState) -> Vec<RefNameInfo> {
    let info = |(class, name): &(RefClass, RefName)| RefNameInfo { class: class.to_string(), name: name.to_string() };
    state.rights.protected.iter().map(info).collect()
}

/// What waits for agreement.
pub(super) fn open_of(parts: &Parts, state: &PackageState) -> Result<Vec<OpenInfo>, Problem> {
    state.open.iter().map(|open| open_info(parts, state, open)).collect()
}

fn open_info(parts: &Parts, state: &PackageState, open: &Open) -> Result<OpenInfo, Problem> {
    let me = parts.identity();
    let agreed: Result<Vec<_>, _> = open.agreed.iter().map(|who| packages::person(parts, *who)).collect();
    Ok(OpenInfo {
        change: open.entry.to_string(),
        says: says(state, open),
        by: packages::person(parts, open.by)?,
        agreed: agreed?,
        needs: needs_of(parts, &open.needs)?,
        waits_for_you: open.needs.iter().any(|needs| needs.of.contains(&me)),
    })
}

pub(super) fn needs_of(parts: &Parts, needs: &[Needs]) -> Result<Vec<NeedsInfo>, Problem> {
    let info = |needs: &Needs| {
        let of: Result<Vec<_>, _> = needs.of.iter().map(|who| packages::person(parts, *who)).collect();
        Ok(NeedsInfo { n_more: needs.n_more as u64, of: of? })
    };
    needs.iter().map(info).collect()
}

/// What a change would do, as people read it.
pub(super) fn says(state: &PackageState, open: &Open) -> Vec<String> {
    match &open.change {
        OpenChange::Ref(moved) => {
            let version = |id: &ReleaseId| state.releases.get(id).map(|known| known.release.version.to_string());
            let to = moved.new.as_ref().map(|id| version(id).unwrap_or_else(|| format!("r:{id}")));
            let points = to.map_or_else(|| "is removed".to_owned(), |to| format!("points to {to}"));
            vec![format!("{} `{}` {points}", moved.class, moved.name)]
        }
        OpenChange::Redact(redact) => vec![redacts(state, redact)],
        OpenChange::ForkResolve(resolve) => vec![resolves(resolve)],
        OpenChange::Roles(roles) => lines(roles, state.rights.owner_threshold),
    }
}

/// What a redaction takes away, as people read it.
pub(super) fn redacts(state: &PackageState, redact: &Redact) -> String {
    let is_named = |release: &Release| {
        let of_release = [Some(release.content_root.into()), Some(release.manifest), release.note];
        of_release.into_iter().flatten().any(|blob| redact.blobs.contains(&blob))
    };
    let named = state.releases.values().map(|known| &known.release).filter(|release| is_named(release));
    let versions: BTreeSet<String> = named.map(|release| release.version.to_string()).collect();
    let what = match versions.is_empty() {
        true => format!("{} blobs", redact.blobs.len()),
        false => versions.into_iter().collect::<Vec<_>>().join(", "),
    };
    format!("{what} redacted ({})", redact.reason)
}

/// Which history goes on, as people read it.
pub(super) fn resolves(resolve: &ForkResolve) -> String {
    let ForkResolve { log, cut } = resolve;
    format!("{} entries of the log {} count, with root {}", cut.size, log.fmt_short(), cut.root)
}

/// What an entry about roles says, as people read it.
pub(super) fn lines(roles: &Roles, threshold: u8) -> Vec<String> {
    let role = |role: &Option<Role>| role.map_or_else(|| "none".to_owned(), |role| role.to_string());
    let changes = roles.changes.iter().map(|(who, to)| format!("{} {}", who.fmt_short(), role(to)));
    let protect = roles.protect.iter().map(|(class, name, is_protected)| {
        let word = if *is_protected { "protected" } else { "no longer protected" };
        format!("{class} `{name}` {word}")
    });
    let is_new = roles.owner_threshold != threshold;
    let threshold = is_new.then(|| format!("{} owners must agree", roles.owner_threshold));
    let rules = roles.rules.map(|rules| format!("rules of number {rules}"));
    changes.chain(protect).chain(threshold).chain(rules).collect()
}

/// Changes who may do what.
#[derive(Debug)]
pub struct SetRoles;

/// What is to change.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRolesRequest {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Who shall have which role.
    #[serde(default)]
    pub roles: Vec<WantedRole>,
    /// Refs to protect, each a class, a colon and a name: `channel:stable`.
    #[serde(default)]
    pub protect: Vec<String>,
    /// Refs that shall not be protected any more.
    #[serde(default)]
    pub unprotect: Vec<String>,
    /// Owners who must agree to later changes: more than half of them.
    #[serde(default)]
    pub threshold: Option<u8>,
    /// Releases of who loses a role that shall not count, nor what they wrote later.
    #[serde(default)]
    pub before: Vec<String>,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// Who shall have which role.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedRole {
    /// Whom: `me`, an identity, its first 12 characters alone or as `@handle~key`, a petname, or a package of which it is the
    /// owner.
    pub identity: String,
    /// `owner`, `maintainer`, `contributor` or `none`.
    pub role: String,
}

/// What was said, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SaidResponse {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The change, if there is one.
    pub change: Option<String>,
    /// Whether it was so, or said, before.
    pub already: bool,
    /// Whether it has taken effect.
    pub in_effect: bool,
    /// Who must still agree.
    pub needs: Vec<NeedsInfo>,
    /// The head of this device's log of the package, if it grew.
    pub checkpoint: Option<CheckpointInfo>,
    /// Whether nothing was written because nothing should be.
    pub dry_run: bool,
    /// Other changes of rights that waited: all follow the same one, so they lapse when this one takes effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lapses: Vec<OpenInfo>,
}

fn said(parts: &Parts, named: &Named, said: &Said, dry_run: bool) -> Result<SaidResponse, Problem> {
    let lapses = said.lapses.iter().map(|open| open_info(parts, &named.history.state, open));
    Ok(SaidResponse {
        reference: named.reference.clone(),
        change: said.change.map(|change| change.to_string()),
        already: said.already,
        in_effect: said.in_effect,
        needs: needs_of(parts, &said.needs)?,
        checkpoint: said.checkpoint.as_ref().map(CheckpointInfo::from),
        dry_run,
        lapses: lapses.collect::<Result<_, _>>()?,
    })
}

impl Verb for SetRoles {
    const NAME: &'static str = "roles_set";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/packages/roles";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Changes who may do what in a package, as far as this owner's word goes.";
    type Request = SetRolesRequest;
    type Response = SaidResponse;

    async fn run(service: &Arc<Service>, request: SetRolesRequest, _: &Progress) -> Result<SaidResponse, Problem> {
        service.finish(move |service| async move { set(&service, request).await }).await
    }
}

async fn set(service: &Service, request: SetRolesRequest) -> Result<SaidResponse, Problem> {
    let parts = service.parts();
    let named = resolve::package(parts, &Reference::parse(&request.reference)?)?;
    let mut wanted = Wanted { threshold: request.threshold, ..Wanted::default() };
    for WantedRole { identity, role } in &request.roles {
        wanted.roles.push((regard::whom(parts, identity)?, role_of(role)?));
    }
    for (refs, is_protected) in [(&request.protect, true), (&request.unprotect, false)] {
        for text in refs {
            let (class, name) = ref_of(text)?;
            wanted.protect.push((class, name, is_protected));
        }
    }
    for text in &request.before {
        let before = resolve::package(parts, &Reference::parse(text)?)?;
        if before.history.state.package != named.history.state.package {
            return Err(Problem::new(Code::BadArgument, format!("`{text}` is a release of another package")));
        }
        let whose = |known: &Published| before.history.state.writers.get(&known.writer).map(|writer| writer.identity);
        let is_meant = |known: &Published| wanted.roles.iter().any(|(who, _)| whose(known) == Some(*who));
        let release = resolve::written(&before, is_meant)?;
        wanted.before.push(release);
    }
    let did = roles::change(parts, &named, &wanted, request.dry_run).await?;
    said(parts, &named, &did, request.dry_run)
}

fn role_of(text: &str) -> Result<Option<Role>, Problem> {
    if text == "none" {
        return Ok(None);
    }
    let roles = [Role::Owner, Role::Maintainer, Role::Contributor];
    let found = roles.into_iter().find(|role| role.to_string() == text);
    found.map(Some).ok_or_else(|| {
        let problem = Problem::new(Code::BadArgument, format!("`{text}` is no role"));
        problem.with_hint("it is one of: owner, maintainer, contributor, none")
    })
}

/// A class, a colon and a name.
fn ref_of(text: &str) -> Result<(RefClass, RefName), Problem> {
    let (class, name) = text.split_once(':').ok_or_else(|| {
        let problem = Problem::new(Code::BadArgument, format!("`{text}` does not say what kind of ref it is"));
        problem.with_hint("write `channel:stable`, `branch:main` or `tag:v1`")
    })?;
    Ok((class_of(class)?, RefName::parse(name)?))
}

/// Agrees to a change.
#[derive(Debug)]
pub struct EndorseChange;

/// Which change.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndorseRequest {
    /// The package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The change's id, or the first characters of it.
    pub change: String,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

impl Verb for EndorseChange {
    const NAME: &'static str = "roles_endorse";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/packages/endorse";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Agrees to a change of rights, or to a move of a protected ref, that waits for it.";
    type Request = EndorseRequest;
    type Response = SaidResponse;

    async fn run(service: &Arc<Service>, request: EndorseRequest, _: &Progress) -> Result<SaidResponse, Problem> {
        service
            .finish(move |service| async move {
                let EndorseRequest { reference, change, dry_run } = request;
                let parts = service.parts();
                let named = resolve::package(parts, &Reference::parse(&reference)?)?;
                let did = roles::endorse(parts, &named, &change, dry_run).await?;
                said(parts, &named, &did, dry_run)
            })
            .await
    }
}
