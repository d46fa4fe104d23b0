//! Searching what is known here and what connected peers offer.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use syncra_protocol::manifest::PackageKind;
use utoipa::ToSchema;

use super::find;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::reach;
use crate::flow::search::{self, Hit, Query, Source, Trust};
use crate::problem::{Code, Problem};
use crate::progress::Progress;

/// Results that an answer lists unless it is told otherwise.
const RESULTS: usize = 50;

/// Finds packages.
#[derive(Debug)]
pub struct Search;

/// What to look for.
#[derive(Debug, Default, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// Words, all of which must be found in name, owner, kind or description; none finds everything.
    #[serde(default)]
    pub text: String,
    /// Only packages of this kind.
    #[serde(default)]
    pub kind: Option<String>,
    /// Results at most; 50 by default, at most 1,000.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Only what is known here: nobody is asked.
    #[serde(default)]
    pub offline: bool,
    /// Seconds that peers may take; 60 by default, at most 3,600.
    #[serde(default)]
    pub timeout_s: Option<u64>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SearchResponse {
    /// The best first. All of it is verified against the packages' signed histories.
    pub results: Vec<ResultInfo>,
    /// More results that are not listed.
    pub n_more: usize,
    /// Peers that were asked.
    pub n_peers: usize,
    /// Offered packages that were left out, because their writer has too many or there are too many altogether.
    pub n_left_out: usize,
    /// Whether everybody answered in time.
    pub complete: bool,
}

/// A package that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResultInfo {
    /// Its reference, an argument on any node.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its id.
    pub package_id: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Its kind.
    pub kind: String,
    /// What it says it is, if its manifest is held.
    pub description: Option<String>,
    /// The version one gets who asks for none.
    pub latest: Option<String>,
    /// Whose it is.
    pub owner: FoundOwner,
    /// Where it is: `own`, `installed`, offered by a `neighbour`, or `known` from before.
    pub source: String,
    /// Connected peers that offer it.
    pub n_peers: usize,
}

/// The owner of what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundOwner {
    /// The identity.
    pub identity: String,
    /// What it calls itself: a claim.
    pub handle: Option<String>,
    /// What the user of this device calls it.
    pub petname: Option<String>,
    /// What the user has said of it: `own`, `trusted`, `followed` or `unknown`.
    pub trust: String,
}

impl Verb for Search {
    const NAME: &'static str = "search";
    const METHOD: Method = Method::Post;
    const PATH: &'static str = "/search";
    // What is found is kept, so looking alone is not enough.
    const SCOPE: Scope = Scope::Publish;
    const ABOUT: &'static str = "Finds packages that are known here or offered by connected peers.";
    type Request = SearchRequest;
    type Response = SearchResponse;

    async fn run(service: &Arc<Service>, request: SearchRequest, _: &Progress) -> Result<SearchResponse, Problem> {
        let kind = request.kind.as_deref().map(str::parse::<PackageKind>).transpose();
        let kind = kind.map_err(|error| Problem::from_error(Code::BadArgument, &error))?;
        let (parts, query) = (service.parts(), Query::new(&request.text, kind));
        let mut found = reach::Found { is_complete: true, ..reach::Found::default() };
        if !request.offline {
            let (patience, began) = (find::patience(request.timeout_s), Instant::now());
            let online = find::in_time(patience, service.reach()).await??;
            found = reach::discover(parts, &online, patience).await;
            let left = patience.saturating_sub(began.elapsed());
            reach::describe(parts, &online, found.offered.keys().copied(), left).await;
        }
        let hits = search::search(parts, &query, &found.offered).await?;
        if hits.is_empty() && !found.is_complete {
            return Err(Problem::new(Code::Timeout, "not everybody answered in time, and nothing was found so far"));
        }
        let limit = request.limit.unwrap_or(RESULTS).min(1_000);
        Ok(SearchResponse {
            n_more: hits.len().saturating_sub(limit),
            results: hits.into_iter().take(limit).map(info).collect(),
            n_peers: found.n_peers,
            n_left_out: found.n_left_out,
            complete: found.is_complete,
        })
    }
}

fn info(hit: Hit) -> ResultInfo {
    let source = match hit.source {
        Source::Own => "own",
        Source::Installed => "installed",
        Source::Neighbour => "neighbour",
        Source::Known => "known",
    };
    let trust = match hit.trust {
        Trust::Own => "own",
        Trust::Trusted => "trusted",
        Trust::Followed => "followed",
        Trust::Unknown => "unknown",
    };
    ResultInfo {
        reference: hit.card.reference(),
        package_id: hit.card.package.to_string(),
        name: hit.card.name.map(|name| name.to_string()),
        kind: hit.card.kind.as_str().to_owned(),
        description: hit.card.description,
        latest: hit.card.latest.map(|version| version.to_string()),
        owner: FoundOwner {
            identity: hit.card.owner.to_string(),
            handle: hit.card.handle.map(|handle| handle.to_string()),
            petname: hit.petname,
            trust: trust.to_owned(),
        },
        source: source.to_owned(),
        n_peers: hit.n_peers,
    }
}
