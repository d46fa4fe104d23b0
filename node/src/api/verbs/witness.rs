//! Witnesses: whose word counts for how new things are, and whether this node is one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::limits::WITNESSES;
use syncra_protocol::log::cosignature::WitnessKey;
use utoipa::ToSchema;

use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::config::Config;
use crate::event::Event;
use crate::problem::{Code, Problem};
use crate::progress::Progress;
use crate::witness::{self, Shortfall, Witnesses};

/// The setting that holds the list.
const KEY: &str = "witnesses";

/// Shows the reader's witnesses.
#[derive(Debug)]
pub struct ListWitnesses;

/// Whose word counts, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WitnessesResponse {
    /// The list, as verifier keys.
    pub witnesses: Vec<String>,
    /// How many of them must say a time, for it to be believed.
    pub needed: usize,
    /// How many must have seen a release before it is installed; 0: none.
    pub min_witnesses: u64,
    /// For how many hours they must have seen it.
    pub min_witnessed_hours: u64,
    /// This node's own verifier key: what others list to count on it.
    pub own: String,
    /// Whether this node witnesses.
    pub is_witness: bool,
    /// Whether nothing was changed because nothing should be, or nothing was to be.
    pub changed: bool,
    /// What people should be told: what is asked of this list in vain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Verb for ListWitnesses {
    const NAME: &'static str = "witnesses_list";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/witnesses";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "Whose word counts for how new things are, and whether this node witnesses.";
    type Request = Empty;
    type Response = WitnessesResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<WitnessesResponse, Problem> {
        service.settings_now().await?;
        let witnesses = &service.parts().witnesses;
        Ok(response(witnesses, &witnesses.listed(), false))
    }
}

/// Changes the reader's list.
#[derive(Debug)]
pub struct ChangeWitnesses;

/// What to change.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeWitnessesRequest {
    /// Verifier keys or peer ids to put on the list.
    #[serde(default)]
    pub add: Vec<String>,
    /// Those to take off it.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

impl Verb for ChangeWitnesses {
    const NAME: &'static str = "witnesses_change";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/witnesses";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Changes whose word counts for how new things are; it counts at once.";
    type Request = ChangeWitnessesRequest;
    type Response = WitnessesResponse;

    async fn run(service: &Arc<Service>, request: Self::Request, _: &Progress) -> Result<Self::Response, Problem> {
        let changed = service.blocking(move |service| change(service, request)).await?;
        if changed.changed {
            service.emit(Event::ConfigChanged { key: KEY.to_owned() });
        }
        Ok(changed)
    }
}

fn change(service: &Service, request: ChangeWitnessesRequest) -> Result<WitnessesResponse, Problem> {
    let ChangeWitnessesRequest { add, remove, dry_run } = request;
    let (add, remove) = (keys(add)?, keys(remove)?);
    let path = service.layout().config();
    // Two changes at a time would each save the other's old list.
    let _turn = service.config_turn();
    let text = Config::read(&path)?;
    let before: Vec<WitnessKey> =
        Config::parse(&text)?.witnesses.iter().filter_map(|text| witness::named(text)).collect();
    let mut after = before.clone();
    for key in remove {
        let at = after.iter().position(|known| *known == key);
        let Some(at) = at else {
            return Err(Problem::new(Code::NotFound, format!("`{}` is not on the list", key.name())));
        };
        after.remove(at);
    }
    for key in add {
        if *key.key() == service.parts().device {
            return Err(Problem::new(Code::BadArgument, "this node is no witness to itself"));
        }
        if !after.contains(&key) {
            after.push(key);
        }
    }
    if after.len() > WITNESSES {
        return Err(Problem::new(Code::BadArgument, format!("a list has at most {WITNESSES} witnesses")));
    }
    let witnesses = &service.parts().witnesses;
    let changed = after != before && !dry_run;
    if changed {
        let list: toml::Value = after.iter().map(ToString::to_string).collect::<Vec<_>>().into();
        let value = (!after.is_empty()).then(|| list.to_string());
        Config::save(&path, &Config::edit(&text, KEY, value.as_deref())?)?;
        witnesses.list(after.clone());
        service.parts().histories.reconsider_all();
    }
    Ok(response(witnesses, &after, changed))
}

fn keys(texts: Vec<String>) -> Result<Vec<WitnessKey>, Problem> {
    let key = |text: String| {
        let wrong = || Problem::new(Code::BadArgument, format!("`{text}` is neither a verifier key nor a peer id"));
        witness::named(&text).ok_or_else(wrong)
    };
    texts.into_iter().map(key).collect()
}

fn response(witnesses: &Witnesses, listed: &[WitnessKey], changed: bool) -> WitnessesResponse {
    let policy = witnesses.policy();
    WitnessesResponse {
        witnesses: listed.iter().map(ToString::to_string).collect(),
        needed: witnesses.needed_of(listed.len()),
        min_witnesses: policy.min_witnesses,
        min_witnessed_hours: policy.min_witnessed_hours,
        own: witnesses.key().to_string(),
        is_witness: witnesses.is_witness(),
        changed,
        warnings: Shortfall::of(&policy, listed.len()).iter().map(ToString::to_string).collect(),
    }
}
