//! `syncra share`

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::client::Client;
use super::context::Context;
use crate::api::verbs::packages::PackageRequest;
use crate::api::verbs::share::{Share, ShareResponse};
use crate::problem::{Code, Problem};

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
        let code = if self.qr { format!("\n{}", drawn(&shared.link)?) } else { String::new() };
        ui.data("share", &shared, |shared: &ShareResponse| format!("{}{code}", shared.link))
    }
}

/// A QR code of half blocks: two rows of squares in one of characters, which are twice as high as wide.
fn drawn(link: &str) -> Result<String, Problem> {
    let code = QrCode::with_error_correction_level(link, EcLevel::L);
    // A link is shorter than what fits.
    let code = code.map_err(|error| Problem::from_error(Code::Bug, &error))?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use syncra_protocol::limits::LINK_BYTES;

    use super::*;

    /// The squares that a drawing shows, true where it is dark.
    fn squares(drawing: &str) -> Vec<Vec<bool>> {
        let rows = drawing.lines().flat_map(|line| {
            let (upper, lower): (Vec<bool>, Vec<bool>) = line
                .chars()
                .map(|c| match c {
                    '█' => (false, false),
                    '▀' => (false, true),
                    '▄' => (true, false),
                    ' ' => (true, true),
                    other => panic!("{other:?} is no block"),
                })
                .unzip();
            [upper, lower]
        });
        rows.collect()
    }

    #[test]
    fn the_drawing_is_the_code_with_a_margin() {
        let link = format!("syncra:{}?name=@alice/rocket", "a".repeat(52));
        let code = QrCode::with_error_correction_level(&link, EcLevel::L).unwrap();
        let (width, shown) = (code.width(), squares(&drawn(&link).unwrap()));
        const MARGIN: usize = 4;
        for (y, row) in shown.iter().enumerate().take(width + 2 * MARGIN) {
            assert_eq!(row.len(), width + 2 * MARGIN);
            for (x, is_dark) in row.iter().enumerate() {
                let inside = |at: usize| (MARGIN..MARGIN + width).contains(&at);
                let expected = inside(x) && inside(y) && code[(x - MARGIN, y - MARGIN)] == qrcode::Color::Dark;
                assert_eq!(*is_dark, expected, "({x}, {y})");
            }
        }
    }

    #[test]
    fn the_longest_link_can_be_drawn() {
        assert!(drawn(&"x".repeat(LINK_BYTES)).is_ok());
    }
}
