//! Settings: list, set. They count from the next start of the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::config::Config;
use crate::event::Event;
use crate::problem::{Code, Problem};
use crate::progress::Progress;

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
    /// Whether a node runs that was started with the old settings.
    pub needs_restart: bool,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

impl Verb for SetConfig {
    const NAME: &'static str = "config_set";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/config";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Changes one setting; it counts from the next start of the node.";
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
    let mut table = table_of(&Config::load(&path)?);
    let old = lookup(&table, &key).map(toml::Value::to_string);
    put(&mut table, &key, value.as_deref().map(toml_value));
    let text = table.to_string();
    let changed = Config::parse(&text).map_err(|error| bad_setting(&key, value.as_deref(), error.into()))?;
    let new = lookup(&table_of(&changed), &key).map(toml::Value::to_string);
    if !dry_run && old != new {
        changed.save(&path)?;
    }
    Ok(SetConfigResponse { key, old, new, needs_restart: service.doors().is_some(), dry_run })
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

fn put(table: &mut toml::Table, key: &str, value: Option<toml::Value>) {
    match (key.split_once('.'), value) {
        (Some((outer, inner)), value) => {
            let entry = table.entry(outer).or_insert_with(|| toml::Table::new().into());
            match entry {
                toml::Value::Table(table) => put(table, inner, value),
                // A key below a plain value: the strict parser says that it does not exist.
                plain => *plain = toml::Table::from_iter([(inner.to_owned(), toml::Value::from(true))]).into(),
            }
        }
        (None, Some(value)) => drop(table.insert(key.to_owned(), value)),
        (None, None) => drop(table.remove(key)),
    }
}

/// What the user wrote: TOML if it is, else a plain text.
fn toml_value(text: &str) -> toml::Value {
    let table: Result<toml::Table, _> = toml::from_str(&format!("value = {text}"));
    let value = table.ok().filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_or_plain_text() {
        for (text, toml) in [
            ("7", "7"),
            ("true", "true"),
            ("[\"a\"]", "[\"a\"]"),
            ("lan", "\"lan\""),
            ("1\nx = 2", "\"\"\"\n1\nx = 2\"\"\""),
        ] {
            assert_eq!(toml_value(text).to_string(), toml);
        }
    }

    #[test]
    fn every_key_can_be_looked_up_where_put_puts_it() {
        for key in keys() {
            let mut table = toml::Table::new();
            put(&mut table, &key, Some(7.into()));
            assert_eq!(lookup(&table, &key), Some(&7.into()), "{key}");
            put(&mut table, &key, None);
            assert_eq!(lookup(&table, &key), None, "{key}");
        }
    }
}
