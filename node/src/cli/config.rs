//! `syncra config`

use clap::Subcommand;
use serde::Serialize;

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::types::Empty;
use crate::api::verbs::config::{ListConfig, SetConfig, SetConfigRequest};
use crate::problem::{Code, Problem};

/// Show and change settings
///
/// They stand in `config.toml` of the home. A running node takes over `witness`, `witnesses`
/// and `policy`, also when the file is changed by hand; all others count from its next start.
/// The command line goes before them.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, subcommand_required = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Get(Get),
    Set(Set),
    List(List),
}

/// Print one setting
///
/// Examples:
///   syncra config get limits.peers
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Get {
    /// Which, as `syncra config list` shows it
    #[arg(value_name = "KEY")]
    key: String,
}

/// Change one setting
///
/// VALUE is a TOML value; quotes around a text may be left out. Without VALUE the default
/// counts again. Comments in `config.toml` stay.
///
/// Examples:
///   syncra config set limits.peers 64
///   syncra config set api.listen 127.0.0.1:4711
///   syncra config set listen '["/ip4/0.0.0.0/tcp/4001"]'
///   syncra config set api.listen                           back to the default
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Set {
    /// Which, as `syncra config list` shows it
    #[arg(value_name = "KEY")]
    key: String,
    /// What it is to be; the default if left out
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<String>,
    /// Check it, change nothing
    #[arg(long)]
    dry_run: bool,
}

/// List all settings
///
/// Examples:
///   syncra config list
///   syncra config list --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct List {}

/// One setting.
#[derive(Debug, Serialize)]
struct Setting {
    key: String,
    value: Option<String>,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        match self.verb {
            Verb::Get(args) => args.run(context, &client).await,
            Verb::Set(args) => args.run(context, &client).await,
            Verb::List(_) => list(context, &client).await,
        }
    }
}

impl Get {
    async fn run(self, context: &Context, client: &Client) -> Result<(), Problem> {
        let mut list = client.call::<ListConfig>(context, Empty {}).await?;
        let Some((key, value)) = list.settings.remove_entry(&self.key) else {
            return Err(Problem::new(Code::UnknownConfigKey, format!("there is no setting `{}`", self.key)));
        };
        context.ui().data("config-get", &Setting { key, value }, |setting| {
            let value = setting.value.clone().unwrap_or_default();
            // A text without its quotes, for `$(…)`.
            value.strip_prefix('"').and_then(|text| text.strip_suffix('"')).map_or(value.clone(), str::to_owned)
        })
    }
}

impl Set {
    async fn run(self, context: &Context, client: &Client) -> Result<(), Problem> {
        let request = SetConfigRequest { key: self.key, value: self.value, dry_run: self.dry_run };
        let changed = client.call::<SetConfig>(context, request).await?;
        if changed.needs_restart && !changed.dry_run && changed.old != changed.new {
            context.ui().warning("the running node keeps the old value until it is started again");
        }
        changed.warnings.iter().for_each(|warning| context.ui().warning(warning));
        context.ui().data("config-set", &changed, |changed| {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not set)".to_owned());
            let did = if changed.dry_run { "would change" } else { "changed" };
            format!("{did} {}: {} -> {}", changed.key, shown(&changed.old), shown(&changed.new))
        })
    }
}

async fn list(context: &Context, client: &Client) -> Result<(), Problem> {
    let list = client.call::<ListConfig>(context, Empty {}).await?;
    context.ui().data("config-list", &list, |list| {
        let row = |(key, value): (&String, &Option<String>)| [key.clone(), value.clone().unwrap_or_default()];
        text::table(["KEY", "VALUE"], &list.settings.iter().map(row).collect::<Vec<_>>())
    })
}
