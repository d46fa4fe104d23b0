//! Links: made for others.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncra_protocol::reference::Reference;
use utoipa::ToSchema;

use super::packages::PackageRequest;
use crate::api::verb::Method;
use crate::api::{Scope, Service, Verb};
use crate::flow::resolve;
use crate::flow::share::{self, Doubt};
use crate::problem::Problem;
use crate::progress::Progress;

/// Makes a link to a package.
#[derive(Debug)]
pub struct Share;

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShareResponse {
    /// The link, an argument of `open` on any node.
    pub link: String,
    /// The package's reference with what was asked for, an argument on any node that knows it.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its id.
    pub package_id: String,
    /// Where the link says that this node is.
    pub addresses: Vec<String>,
    /// Why whoever opens the link might not get anything.
    pub warnings: Vec<String>,
}

impl Verb for Share {
    const NAME: &'static str = "packages_share";
    const METHOD: Method = Method::Get;
    const PATH: &'static str = "/packages/share";
    const SCOPE: Scope = Scope::Read;
    const ABOUT: &'static str = "A link to one package, with the addresses of this node.";
    type Request = PackageRequest;
    type Response = ShareResponse;

    async fn run(service: &Arc<Service>, request: PackageRequest, _: &Progress) -> Result<ShareResponse, Problem> {
        let shared = share::share(service.parts(), &Reference::parse(&request.reference)?).await?;
        let is_running = service.doors().is_some();
        Ok(ShareResponse {
            link: shared.link.to_string(),
            reference: shared.reference,
            package_id: shared.link.package().to_string(),
            addresses: shared.link.addresses().iter().map(ToString::to_string).collect(),
            warnings: shared.doubts.iter().map(|doubt| warning(doubt, is_running)).collect(),
        })
    }
}

fn warning(doubt: &Doubt, is_running: bool) -> String {
    match doubt {
        Doubt::Offline if is_running => "this node is offline, so the link has no address".to_owned(),
        Doubt::Offline => {
            "no node runs here, so the link has no address: start one by `syncra up` and share again".to_owned()
        }
        Doubt::NoAddress => {
            "this node listens nowhere that others could be told, so the link has no address".to_owned()
        }
        Doubt::ThisMachine => "this node is reached on this machine alone, and so the link works only here".to_owned(),
        Doubt::ThisNetwork => {
            "this node has only private addresses: the link works on this network, and elsewhere only if somebody \
             reached there has the package"
                .to_owned()
        }
        Doubt::ThroughRelay => {
            "this node cannot be dialled from elsewhere: the link leads to it through a relay, for as long as it runs"
                .to_owned()
        }
        Doubt::NotHeld => "this node does not hold all of the release: somebody else has to have it".to_owned(),
        Doubt::Selected(warning) => resolve::warning(warning),
    }
}
