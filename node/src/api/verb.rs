//! What a verb is, and the table of all of them.

use std::future::Future;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::openapi::Shape;
use super::service::Service;
use super::token::Scope;
use super::{answer, openapi, stream, verbs};
use crate::problem::Problem;
use crate::progress::Progress;

/// Where all routes begin.
pub const PREFIX: &str = "/api/v1";

/// The HTTP methods of this API: reading and changing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Reads; the request stands in the query string, so its fields are plain.
    Get,
    /// Changes, or takes a structured request: a JSON body.
    Post,
}

/// One thing that the node does for a caller, over any door.
pub trait Verb: 'static {
    /// Its name in the API document, for example `tokens_create`.
    const NAME: &'static str;
    /// How it is called.
    const METHOD: Method;
    /// Where, below [`PREFIX`].
    const PATH: &'static str;
    /// What a token must grant.
    const SCOPE: Scope;
    /// One sentence for the API document.
    const ABOUT: &'static str;
    /// What the caller says.
    type Request: Serialize + DeserializeOwned + ToSchema + Send + 'static;
    /// What it gets.
    type Response: Serialize + DeserializeOwned + ToSchema + Send + 'static;

    /// Does it. Dropping the future is how a caller gives up: what must not stop half-way belongs in a task.
    ///
    /// # Errors
    /// A [`Problem`] ready for the caller.
    fn run(
        service: &Arc<Service>,
        request: Self::Request,
        progress: &Progress,
    ) -> impl Future<Output = Result<Self::Response, Problem>> + Send;
}

/// A row of the table: everything about a route but the types.
pub(super) struct Route {
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) scope: Scope,
    pub(super) about: &'static str,
    pub(super) handler: MethodRouter<Arc<Service>>,
    pub(super) shape: Shape,
}

impl Route {
    fn of<V: Verb>() -> Self {
        let handler = match V::METHOD {
            Method::Get => get(serve::<V>),
            Method::Post => post(serve::<V>),
        };
        let shape = Shape::of::<V>();
        Self { name: V::NAME, method: V::METHOD, path: V::PATH, scope: V::SCOPE, about: V::ABOUT, handler, shape }
    }
}

/// Every route there is. A new verb is one line here.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::of::<verbs::status::Status>(),
        Route::of::<verbs::stop::Stop>(),
        Route::of::<verbs::publish::CheckNeeds>(),
        Route::of::<verbs::publish::PlanPublish>(),
        Route::of::<verbs::publish::Publish>(),
        Route::of::<verbs::packages::List>(),
        Route::of::<verbs::packages::Info>(),
        Route::of::<verbs::find::Find>(),
        Route::of::<verbs::packages::Forks>(),
        Route::of::<verbs::packages::Log>(),
        Route::of::<verbs::tiles::ExportTiles>(),
        Route::of::<verbs::trace::Graph>(),
        Route::of::<verbs::trace::Blame>(),
        Route::of::<verbs::diff::Diff>(),
        Route::of::<verbs::get::Get>(),
        Route::of::<verbs::checkout::Checkout>(),
        Route::of::<verbs::merge::Merge>(),
        Route::of::<verbs::merge::SettleMerge>(),
        Route::of::<verbs::proposals::Propose>(),
        Route::of::<verbs::proposals::Review>(),
        Route::of::<verbs::proposals::CloseProposal>(),
        Route::of::<verbs::doctor::Doctor>(),
        Route::of::<verbs::verify::Verify>(),
        Route::of::<verbs::yank::Yank>(),
        Route::of::<verbs::redact::Redact>(),
        Route::of::<verbs::heal::Heal>(),
        Route::of::<verbs::refs::Refs>(),
        Route::of::<verbs::refs::SetRef>(),
        Route::of::<verbs::roles::ListRoles>(),
        Route::of::<verbs::roles::SetRoles>(),
        Route::of::<verbs::roles::EndorseChange>(),
        Route::of::<verbs::syncpack::Export>(),
        Route::of::<verbs::syncpack::Import>(),
        Route::of::<verbs::git::ImportGit>(),
        Route::of::<verbs::git::ExportGit>(),
        Route::of::<verbs::draft::PushDraft>(),
        Route::of::<verbs::draft::HoldDraft>(),
        Route::of::<verbs::draft::NextDraft>(),
        Route::of::<verbs::identity::ShowIdentity>(),
        Route::of::<verbs::identity::SetHandle>(),
        Route::of::<verbs::identity::Recovery>(),
        Route::of::<verbs::identity::Adopt>(),
        Route::of::<verbs::pair::OfferPairing>(),
        Route::of::<verbs::pair::AwaitPairing>(),
        Route::of::<verbs::pair::DecidePairing>(),
        Route::of::<verbs::pair::JoinPairing>(),
        Route::of::<verbs::devices::Devices>(),
        Route::of::<verbs::devices::AddDevice>(),
        Route::of::<verbs::devices::SuspendDevice>(),
        Route::of::<verbs::devices::NameDevicePackage>(),
        Route::of::<verbs::devices::Recover>(),
        Route::of::<verbs::install::Add>(),
        Route::of::<verbs::install::Update>(),
        Route::of::<verbs::install::Remove>(),
        Route::of::<verbs::install::Rollback>(),
        Route::of::<verbs::install::Outdated>(),
        Route::of::<verbs::install::Why>(),
        Route::of::<verbs::follow::Follow>(),
        Route::of::<verbs::follow::Follows>(),
        Route::of::<verbs::search::Search>(),
        Route::of::<verbs::share::Share>(),
        Route::of::<verbs::open::Open>(),
        Route::of::<verbs::gc::Gc>(),
        Route::of::<verbs::config::ListConfig>(),
        Route::of::<verbs::config::SetConfig>(),
        Route::of::<verbs::regard::ListRegards>(),
        Route::of::<verbs::regard::ChangeRegard>(),
        Route::of::<verbs::witness::ListWitnesses>(),
        Route::of::<verbs::witness::ChangeWitnesses>(),
        Route::of::<verbs::token::CreateToken>(),
        Route::of::<verbs::token::ListTokens>(),
        Route::of::<verbs::token::RevokeToken>(),
        Route::of::<verbs::network::Connect>(),
        Route::of::<verbs::network::Peers>(),
        stream::events_route(),
        openapi::document_route(),
    ]
}

/// The handler of every verb: read, run, answer, in plain JSON or as a stream of frames.
async fn serve<V: Verb>(State(service): State<Arc<Service>>, request: Request) -> Response {
    let frames = stream::wants_ndjson(request.headers());
    let input = match answer::read_request::<V>(request).await {
        Ok(input) => input,
        Err(problem) => return answer::failure(problem),
    };
    if frames {
        return stream::frames::<V>(service, input);
    }
    match service.run::<V>(input, &Progress::unwatched()).await {
        Ok(response) => answer::json(&response),
        Err(problem) => answer::failure(problem),
    }
}
