//! `syncra why`

use super::client::Client;
use super::context::Context;
use crate::api::verbs::install::{Why, WhyRequest, WhyResponse};
use crate::problem::Problem;

/// Show why a package is installed
///
/// Who asked for it, or the chains of needs that lead to it.
///
/// Examples:
///   syncra why @alice/math
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "PKG")]
    reference: String,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let why = client.call::<Why>(context, WhyRequest { reference: self.reference }).await?;
        context.ui().data("why", &why, human)
    }
}

fn human(why: &WhyResponse) -> String {
    let asked = why.selector.as_ref().map(|selector| format!("asked for: {selector}"));
    let chains = why.chains.iter().filter(|chain| chain.len() > 1).map(|chain| chain.join(" -> "));
    let head = format!("{} {}", why.reference, why.version);
    std::iter::once(head).chain(asked).chain(chains).collect::<Vec<_>>().join("\n")
}
