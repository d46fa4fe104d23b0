//! API tokens: make, list, revoke.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::token::Token;
use crate::api::types::Empty;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::clock;
use crate::event::Event;
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Makes a token.
#[derive(Debug)]
pub struct CreateToken;

/// What the new token is to be.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTokenRequest {
    /// What you call it.
    #[schema(example = "ci")]
    pub name: String,
    /// What it allows, at least one scope.
    pub scopes: Vec<Scope>,
    /// Only say what would be made.
    #[serde(default)]
    pub dry_run: bool,
}

/// A new token, with its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreateTokenResponse {
    /// The token.
    pub token: TokenInfo,
    /// What to send as `authorization: Bearer …`. Told once; left out in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenInfo {
    /// Names it for `revoke`.
    pub id: String,
    /// What you call it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

impl From<Token> for TokenInfo {
    fn from(token: Token) -> Self {
        Self { id: token.id, name: token.name, scopes: token.scopes, created_ms: token.created_ms }
    }
}

impl Verb for CreateToken {
    const NAME: &'static str = "tokens_create";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/tokens/create";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Makes an API token; its secret is told once.";
    type Request = CreateTokenRequest;
    type Response = CreateTokenResponse;

    async fn run(service: &Arc<Service>, request: Self::Request, _: &Progress) -> Result<Self::Response, Problem> {
        let CreateTokenRequest { name, scopes, dry_run } = request;
        if scopes.is_empty() {
            return Err(Problem::new(Code::BadArgument, "a token needs at least one scope"));
        }
        let create = move |service: &Service| {
            service.tokens().create(&name, &scopes, clock::now(), clock::random(), dry_run).map_err(Problem::from)
        };
        let (token, secret) = service.blocking(create).await?;
        if !dry_run {
            service.emit(Event::TokenCreated { id: token.id.clone() });
        }
        Ok(CreateTokenResponse { token: token.into(), secret: Some(secret).filter(|_| !dry_run), dry_run })
    }
}

/// Lists the tokens.
#[derive(Debug)]
pub struct ListTokens;

/// All tokens, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ListTokensResponse {
    /// The tokens.
    pub tokens: Vec<TokenInfo>,
}

impl Verb for ListTokens {
    const NAME: &'static str = "tokens_list";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/tokens";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "All API tokens, without their secrets.";
    type Request = Empty;
    type Response = ListTokensResponse;

    async fn run(service: &Arc<Service>, _: Empty, _: &Progress) -> Result<Self::Response, Problem> {
        Ok(ListTokensResponse { tokens: service.tokens().list().into_iter().map(TokenInfo::from).collect() })
    }
}

/// Takes a token back.
#[derive(Debug)]
pub struct RevokeToken;

/// Which token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeTokenRequest {
    /// Its id, as the list shows it.
    pub id: String,
    /// Only look whether it is there.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was taken back.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RevokeTokenResponse {
    /// The token that opens nothing any more.
    pub token: TokenInfo,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

impl Verb for RevokeToken {
    const NAME: &'static str = "tokens_revoke";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/tokens/revoke";
    const SCOPE: Scope = Scope::Admin;
    const ABOUT: &'static str = "Takes an API token back, at once.";
    type Request = RevokeTokenRequest;
    type Response = RevokeTokenResponse;

    async fn run(service: &Arc<Service>, request: Self::Request, _: &Progress) -> Result<Self::Response, Problem> {
        let RevokeTokenRequest { id, dry_run } = request;
        let token = service.blocking(move |service| Ok(service.tokens().revoke(&id, dry_run)?)).await?;
        if !dry_run {
            service.emit(Event::TokenRevoked { id: token.id.clone() });
        }
        Ok(RevokeTokenResponse { token: token.into(), dry_run })
    }
}
