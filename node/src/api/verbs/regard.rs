//! What the user says of others: trust, blocks, petnames.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::name::Handle;
use utoipa::ToSchema;

use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::event::Event;
use crate::flow::regard::{self, Known, Word};
use crate::journal::Regard;
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Lists what the user has said of others.
#[derive(Debug)]
pub struct ListRegards;

/// Says something of somebody.
#[derive(Debug)]
pub struct ChangeRegard;

/// Of whom, and what.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRegardRequest {
    /// An identity, its first 12 characters alone or as `@handle~key`, a petname, or a package of which it is the owner.
    pub whom: String,
    /// `trusted`, `blocked`, `neutral`, or `unblocked`: as it was before it was blocked; absent: as it is.
    #[serde(default)]
    pub regard: Option<String>,
    /// What to call it; empty: nothing any more; absent: as it is.
    #[serde(default)]
    pub petname: Option<String>,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// What the user has said of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegardInfo {
    /// Who.
    pub identity: String,
    /// How strangers write it.
    pub owner: String,
    /// `trusted`, `blocked` or `neutral`.
    pub regard: String,
    /// What the user calls it.
    pub petname: Option<String>,
    /// Its packages that are installed here.
    pub installed: Vec<String>,
}

/// Everybody of whom the user has said something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegardsResponse {
    /// By identity.
    pub regards: Vec<RegardInfo>,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeRegardResponse {
    /// What is said now; with `dry_run`, what would be.
    #[serde(flatten)]
    pub said: RegardInfo,
    /// Whether that is, or would be, anything new.
    pub changed: bool,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

impl Verb for ListRegards {
    const NAME: &'static str = "regards_list";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/regards";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "Whom the user trusts by name, whom they block, and what they call them.";
    type Request = Empty;
    type Response = RegardsResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<RegardsResponse, Problem> {
        let all = service.blocking(|service| Ok(regard::all(service.parts())?)).await?;
        Ok(RegardsResponse { regards: all.into_iter().map(info).collect() })
    }
}

impl Verb for ChangeRegard {
    const NAME: &'static str = "regards_change";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/regards";
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Trusts or blocks somebody, or gives them a name of the user's own.";
    type Request = ChangeRegardRequest;
    type Response = ChangeRegardResponse;

    async fn run(service: &Arc<Service>, request: Self::Request, _: &Progress) -> Result<Self::Response, Problem> {
        let ChangeRegardRequest { whom, regard, petname, dry_run } = request;
        let unblock = regard.as_deref() == Some("unblocked");
        let regard = regard.filter(|_| !unblock).as_deref().map(named).transpose()?;
        let word = Word { regard, unblock, petname: petname.map(call).transpose()? };
        let identity = regard::whom(service.parts(), &whom)?;
        let (said, changed) = match dry_run {
            true => regard::plan(service.parts(), identity, &word)?,
            false => {
                let done = service
                    .finish(move |service| async move { Ok(regard::say(service.parts(), identity, word).await?) });
                let done = done.await?;
                if done.1 {
                    service.emit(Event::RegardChanged { identity });
                }
                done
            }
        };
        Ok(ChangeRegardResponse { said: info(said), changed, dry_run })
    }
}

fn named(text: &str) -> Result<Regard, Problem> {
    Ok(match text {
        "neutral" => Regard::Neutral,
        "trusted" => Regard::Trusted,
        "blocked" => Regard::Blocked,
        _ => {
            let wrong = format!("`{text}` is none of `trusted`, `blocked`, `neutral`, `unblocked`");
            return Err(Problem::new(Code::BadArgument, wrong));
        }
    })
}

fn call(text: String) -> Result<Option<Handle>, Problem> {
    match text.strip_prefix('@').unwrap_or(&text) {
        "" => Ok(None),
        name => Ok(Some(Handle::parse(name)?)),
    }
}

fn info(known: Known) -> RegardInfo {
    let Known { identity, owner, regard, petname, installed } = known;
    let regard = match regard {
        Regard::Neutral => "neutral",
        Regard::Trusted => "trusted",
        Regard::Blocked | Regard::BlockedTrusted => "blocked",
    };
    RegardInfo { identity: identity.to_string(), owner, regard: regard.to_owned(), petname, installed }
}
