//! What is followed, and following.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::id::PackageId;
use syncra_protocol::name::RefName;
use syncra_protocol::reference::{Reference, Selector};
use utoipa::ToSchema;

use super::find;
use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::follow::{self, Followed, Standing};
use crate::flow::{Parts, resolve};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Follows a package, or no more.
#[derive(Debug)]
pub struct Follow;

/// Lists what is followed.
#[derive(Debug)]
pub struct Follows;

/// Which package.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowRequest {
    /// A reference, without a release; `@…@CHANNEL` is the same as `channel`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The channel to follow along; without it what `add` was told, else the default one.
    #[serde(default)]
    pub channel: Option<String>,
    /// Follow it no more.
    #[serde(default)]
    pub off: bool,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Only with what is known here: nobody is asked.
    #[serde(default)]
    pub offline: bool,
    /// Seconds that finding it may take; 60 by default.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// A followed package, or one that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FollowResponse {
    /// Where it stands.
    #[serde(flatten)]
    pub follow: FollowInfo,
    /// Whether it is followed now; with `dry_run`, whether it would be.
    pub followed: bool,
    /// Whether anything was, or would be, changed.
    pub changed: bool,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Whether a node runs that brings it up to date.
    pub running: bool,
}

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FollowsResponse {
    /// By reference.
    pub follows: Vec<FollowInfo>,
}

/// One followed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FollowInfo {
    /// Its reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its id.
    pub package_id: String,
    /// The channel it is followed along; none for what `add` was told, else the default one.
    pub channel: Option<String>,
    /// The version that is installed.
    pub installed: Option<String>,
    /// `waiting` for anything to be known, `current`, `behind`, `refused` for `reason`, or `fixed` at the release that
    /// `add` was told.
    pub state: String,
    /// The version that the follow means, if it is not the installed one.
    pub wanted: Option<String>,
    /// Why it is not installed unasked.
    pub reason: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Verb for Follow {
    const NAME: &'static str = "follow";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/follows";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Follows a package: its newer releases are installed unasked; or follows it no more.";
    type Request = FollowRequest;
    type Response = FollowResponse;

    async fn run(service: &Arc<Service>, request: FollowRequest, _: &Progress) -> Result<FollowResponse, Problem> {
        let parts = service.parts();
        let (package, channel) = named(service, &request).await?;
        let followed = Followed { package, channel };
        let before = follow::get(parts, package);
        let changed = match (request.off, request.dry_run) {
            (true, true) => before.is_some(),
            (false, true) => before.as_ref() != Some(&followed),
            (true, false) => follow::unfollow(parts, package).await?,
            (false, false) => follow::follow(parts, &followed).await?,
        };
        Ok(FollowResponse {
            follow: info(parts, &followed).await?,
            followed: !request.off,
            changed,
            dry_run: request.dry_run,
            running: service.doors().is_some(),
        })
    }
}

impl Verb for Follows {
    const NAME: &'static str = "follows_list";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/follows";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "What is followed, and where each package stands.";
    type Request = Empty;
    type Response = FollowsResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<FollowsResponse, Problem> {
        Ok(FollowsResponse { follows: infos(service.parts()).await? })
    }
}

/// Everything that is followed, by reference.
pub(super) async fn infos(parts: &Parts) -> Result<Vec<FollowInfo>, Problem> {
    let mut follows = Vec::new();
    for followed in follow::list(parts) {
        follows.push(info(parts, &followed).await?);
    }
    follows.sort_by(|a, b| a.reference.cmp(&b.reference));
    Ok(follows)
}

/// The package and channel of a request. A package named by its id need not be known yet.
async fn named(service: &Service, request: &FollowRequest) -> Result<(PackageId, Option<RefName>), Problem> {
    let reference = Reference::parse(&request.reference)?;
    if !request.offline && !request.off {
        match find::look_around(service, &reference, find::patience(request.timeout_s)).await {
            Err(problem) if find::is_unknown(&problem) && matches!(reference, Reference::Package(..)) => {}
            looked => looked?,
        }
    }
    let (package, selector) = match reference {
        Reference::Package(package, selector) => (package, selector),
        other => {
            let named = resolve::package(service.parts(), &other)?;
            (named.history.state.package, named.selector)
        }
    };
    let given = request.channel.as_deref().map(RefName::parse).transpose();
    let given = given.map_err(|error| Problem::from_error(Code::BadArgument, &error))?;
    let channel = match (selector, given) {
        (None, given) => given,
        (Some(Selector::Channel(channel)), None) => Some(channel),
        (Some(_), _) => {
            return Err(Problem::new(Code::BadArgument, "a package is followed, not one release of it")
                .with_hint("leave out what follows the second `@`, or name a channel by `--channel`"));
        }
    };
    Ok((package, channel))
}

async fn info(parts: &Parts, followed: &Followed) -> Result<FollowInfo, Problem> {
    let reference = resolve::text(&parts.histories, followed.package)?;
    let installed = parts.installed.current()?.packages.remove(&followed.package);
    let mut info = FollowInfo {
        package_id: followed.package.to_string(),
        channel: followed.channel.as_ref().map(ToString::to_string),
        installed: installed.map(|slot| slot.version.to_string()),
        state: String::new(),
        wanted: None,
        reason: None,
        hint: None,
        reference,
    };
    let state = match follow::standing(parts, followed).await? {
        Standing::Waiting => "waiting",
        Standing::Current => "current",
        Standing::Fixed => {
            let reason = "`add` was told exactly this release";
            info.reason = Some(reason.to_owned());
            info.hint = Some(format!("`syncra add {}` lets it move", info.reference));
            "fixed"
        }
        Standing::Behind { version, .. } => {
            info.wanted = Some(version.to_string());
            "behind"
        }
        Standing::Refused { version, why } => {
            info.wanted = version.map(|version| version.to_string());
            (info.reason, info.hint) = (Some(why.reason()), Some(why.hint(&info.reference)));
            "refused"
        }
    };
    state.clone_into(&mut info.state);
    Ok(info)
}
