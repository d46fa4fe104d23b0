//! `syncra share`

use super::client::Client;
use super::context::Context;
use super::ui::qr;
use crate::api::verbs::packages::PackageRequest;
use crate::api::verbs::share::{Share, ShareResponse};
use crate::problem::Problem;

/// Make a link to a package, for somebody who knows nobody yet
///
/// `syncra open LINK` on another machine shows the package and installs it. The link names
/// the package by its id, so what it leads to proves itself; with it go what you call it and
/// where this node is reached now. Public addresses if there are any, else private ones,
/// which work on this network only. Without a running node the link has no address.
///
/// The link alone goes to stdout. `--qr` draws it too, light on dark as terminals are.
///
/// Examples:
///   syncra share @alice/rocket
///   syncra share @alice/rocket@beta --qr
///   syncra share @alice/rocket --json | jq -r .data.link
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The package, with the release that is meant
    #[arg(value_name = "PKG[@REQ]")]
    reference: String,
    /// Draw a QR code below the link
    #[arg(long)]
    qr: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> Result<(), Problem> {
        let client = Client::open(context).await?;
        let shared = client.call::<Share>(context, PackageRequest { reference: self.reference }).await?;
        let ui = context.ui();
        shared.warnings.iter().for_each(|warning| ui.warning(warning));
        ui.note(&format!("sharing {}", shared.reference));
        let code = if self.qr { format!("\n{}", qr::drawn(&shared.link)?) } else { String::new() };
        ui.data("share", &shared, |shared: &ShareResponse| format!("{}{code}", shared.link))
    }
}
