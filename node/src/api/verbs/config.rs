//! Settings: list, set. Those of witnesses and policy count at once, the others from the next start of the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::config::{self, Config};
use crate::event::Event;
use crate::problem::{Code, Problem};
use crate::progress::Progress;
use crate::witness::Shortfall;

/// Lists all settings.
#[derive(Debug)]
pub struct ListConfig;

/// All settings, those that are not set too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListConfigResponse {
    /// The file.
    pub path: String,
    /// Key to value, as TOML writes it; `null` where there is no value.
    pub settings: BTreeMap<String, Option<String>>,
}

impl Verb for ListConfig {
    const NAME: &'static str = "config_list";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/config";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "All settings.";
    type Request = Empty;
    type Response = ListConfigResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<Self::Response, Problem> {
        service.blocking(list).await
    }
}

/// Changes one setting.
#[derive(Debug)]
pub struct SetConfig;

/// Which setting, and what it is to be.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetConfigRequest {
    /// Its key, as the list shows it.
    #[schema(example = "limits.peers")]
    pub key: String,
    /// A TOML value, or a plain text; left out: back to the default.
    pub value: Option<String>,
    /// Only check.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was changed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SetConfigResponse {
    /// The key.
    pub key: String,
    /// The value before.
    pub old: Option<String>,
    /// The value now.
    pub new: Option<String>,
    /// Whether a node runs that goes on with the old value until it is started again.
    pub needs_restart: bool,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// What people should be told: what these settings ask for in vain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Verb for SetConfig {
    const NAME: &'static str = "config_set";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/config";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str =
        "Changes one setting; the answer says whether a running node takes it over at its next start only.";
    type Request = SetConfigRequest;
    type Response = SetConfigResponse;

    async fn run(service: &Arc<Service>, request: Self::Request, _: &Progress) -> Result<Self::Response, Problem> {
        let changed = service.blocking(move |service| set(service, request)).await?;
        if !changed.dry_run && changed.old != changed.new {
            service.emit(Event::ConfigChanged { key: changed.key.clone() });
        }
        Ok(changed)
    }
}

fn list(service: &Service) -> Result<ListConfigResponse, Problem> {
    let path = service.layout().config();
    let table = table_of(&Config::load(&path)?);
    let value = |key: String| (key.clone(), lookup(&table, &key).map(toml::Value::to_string));
    Ok(ListConfigResponse { path: path.display().to_string(), settings: keys().into_iter().map(value).collect() })
}

fn set(service: &Service, request: SetConfigRequest) -> Result<SetConfigResponse, Problem> {
    let SetConfigRequest { key, value, dry_run } = request;
    let path = service.layout().config();
    // Two changes at a time would each save the other's old value.
    let _turn = service.config_turn();
    let text = Config::read(&path)?;
    let value_in =
        |text: &str| Ok::<_, Problem>(lookup(&table_of(&Config::parse(text)?), &key).map(toml::Value::to_string));
    let old = value_in(&text)?;
    let edited = Config::edit(&text, &key, value.as_deref());
    let edited = edited.map_err(|error| bad_setting(&key, value.as_deref(), error.into()))?;
    let new = value_in(&edited)?;
    let edited_config = Config::parse(&edited)?;
    if !dry_run && old != new {
        Config::save(&path, &edited)?;
        service.take_over(&edited_config);
    }
    let needs_restart = service.doors().is_some() && !config::is_taken_over(&key);
    let is_about_them = key == "witnesses" || key.starts_with("policy.");
    let n_listed = edited_config.witnesses.len();
    let shortfall = Shortfall::of(&edited_config.policy, n_listed).filter(|_| is_about_them);
    let warnings = shortfall.iter().map(ToString::to_string).collect();
    Ok(SetConfigResponse { key, old, new, needs_restart, dry_run, warnings })
}

/// The file was good before, so it is the argument that is wrong.
fn bad_setting(key: &str, value: Option<&str>, problem: Problem) -> Problem {
    match (problem.code, value) {
        (Code::ConfigInvalid, Some(value)) => {
            Problem::new(Code::BadArgument, format!("`{value}` is not a value of `{key}`")).with_cause(problem.message)
        }
        _ => problem,
    }
}

fn table_of(config: &Config) -> toml::Table {
    toml::Table::try_from(config).expect("settings are plain tables")
}

/// All keys, those of inner tables as `table.key`.
fn keys() -> Vec<String> {
    let inner = |(key, value): (String, toml::Value)| match value {
        toml::Value::Table(table) => table.keys().map(|name| format!("{key}.{name}")).collect(),
        _ => vec![key],
    };
    Config::every_key().into_iter().flat_map(inner).collect()
}

fn lookup<'a>(table: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    match key.split_once('.') {
        None => table.get(key).filter(|value| !value.is_table()),
        Some((outer, inner)) => lookup(table.get(outer)?.as_table()?, inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_can_be_looked_up() {
        let all = Config::every_key();
        for key in keys() {
            assert!(lookup(&all, &key).is_some(), "{key}");
        }
        assert_eq!(lookup(&all, "limits"), None, "a table is no setting");
    }
}
