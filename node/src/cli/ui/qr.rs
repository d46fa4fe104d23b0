//! QR codes in a terminal.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use crate::problem::{Code, Problem};

/// A QR code of half blocks: two rows of squares in one of characters, which are twice as high as wide.
pub(in crate::cli) fn drawn(text: &str) -> Result<String, Problem> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L);
    // Links and invitations are shorter than what fits.
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
