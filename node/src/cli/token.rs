//! `syncra token`

use clap::Subcommand;

use super::client::Client;
use super::context::Context;
use super::ui::text;
use crate::api::Scope;
use crate::api::types::Empty;
use crate::api::verbs::token::{
    CreateToken, CreateTokenRequest, ListTokens, RevokeToken, RevokeTokenRequest, TokenInfo,
};
use crate::problem::Problem;

/// Make, list and revoke tokens for the API over TCP
///
/// The Unix socket of the home needs no token; loopback TCP does. A token allows what its
/// scopes say: `read` to look, `publish` to do what you do at the command line, `admin`
/// for everything, `runner` for machines that run packages.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, subcommand_required = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Make a token; its secret is shown once
///
/// Only the hash of the secret is kept. Whoever has the secret can do what the scopes
/// allow, so give each program its own token with no more scopes than it needs.
///
/// Examples:
///   syncra token create --name dashboard --scope read
///   SYNCRA_TOKEN=$(syncra token create --name ci --scope publish) ./publish.sh
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Create {
    /// What you call it
    #[arg(long, default_value = "unnamed")]
    name: String,
    /// What it allows; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", value_enum, required = true, value_delimiter = ',')]
    scopes: Vec<Scope>,
    /// Say what would be made, make nothing
    #[arg(long)]
    dry_run: bool,
}

/// List the tokens, without their secrets
///
/// Examples:
///   syncra token list
///   syncra token list --json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct List {}

/// Take a token back, at once
///
/// Examples:
///   syncra token revoke fz3q7kab
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct Revoke {
    /// Its id, as `syncra token list` shows it
    #[arg(value_name = "ID")]
    id: String,
    /// Only look whether it is there
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        match self.verb {
            Verb::Create(args) => args.run(context, &client).await,
            Verb::List(_) => list(context, &client).await,
            Verb::Revoke(args) => args.run(context, &client).await,
        }
    }
}

impl Create {
    async fn run(self, context: &Context, client: &Client) -> Result<(), Problem> {
        let request = CreateTokenRequest { name: self.name, scopes: self.scopes, dry_run: self.dry_run };
        let made = client.call::<CreateToken>(context, request).await?;
        let scopes = scopes(&made.token);
        match made.dry_run {
            true => context.ui().note(&format!("would make a token `{}` with {scopes}", made.token.name)),
            false => context.ui().note(&format!(
                "token `{}` ({}) with {scopes}; the secret is shown this once",
                made.token.id, made.token.name
            )),
        }
        // The secret alone, so that `$(…)` takes it.
        context.ui().data("token-create", &made, |made| made.secret.clone().unwrap_or_default())
    }
}

async fn list(context: &Context, client: &Client) -> Result<(), Problem> {
    let list = client.call::<ListTokens>(context, Empty {}).await?;
    context.ui().data("token-list", &list, |list| {
        let row =
            |token: &TokenInfo| [token.id.clone(), token.name.clone(), scopes(token), text::utc(token.created_ms)];
        let rows: Vec<_> = list.tokens.iter().map(row).collect();
        if rows.is_empty() { String::new() } else { text::table(["ID", "NAME", "SCOPES", "MADE"], &rows) }
    })
}

impl Revoke {
    async fn run(self, context: &Context, client: &Client) -> Result<(), Problem> {
        let request = RevokeTokenRequest { id: self.id, dry_run: self.dry_run };
        let revoked = client.call::<RevokeToken>(context, request).await?;
        let did = if revoked.dry_run { "would revoke" } else { "revoked" };
        context.ui().note(&format!("{did} token `{}` ({})", revoked.token.id, revoked.token.name));
        context.ui().data("token-revoke", &revoked, |_| String::new())
    }
}

fn scopes(token: &TokenInfo) -> String {
    token.scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(", ")
}
