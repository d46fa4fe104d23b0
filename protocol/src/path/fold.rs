//! When two names are one name: the key that some file system, or a person, would compare.

use caseless::Caseless as _;
use unicode_normalization::UnicodeNormalization;

/// The key of one part of a path; equal keys collide.
///
/// NFKC, full case folding, NFKC, twice, because folding can uncover what folds again; default ignorable characters
/// are removed first. Unicode's own compatibility caseless matching (D146) decomposes before it folds and then finds
/// `ΩΙ` and `ῳ` different when a mark follows; a folding ext4 takes them for one name, and so does this key.
///
/// ```
/// use syncra_protocol::path::part_key;
/// assert_eq!(part_key("STRASSE"), part_key("straße"));
/// assert_eq!(part_key("ﬁle"), part_key("File"));
/// assert_ne!(part_key("a"), part_key("á"));
/// ```
#[must_use]
pub fn part_key(part: &str) -> String {
    if part.is_ascii() {
        return part.to_ascii_lowercase();
    }
    let kept: String = part.chars().filter(|&c| !is_ignorable(c)).collect();
    fold(&fold(&kept))
}

/// Lower-casing comes after folding, for letters younger than the fold's table.
fn fold(text: &str) -> String {
    text.chars().nfkc().default_case_fold().flat_map(char::to_lowercase).nfkc().collect()
}

/// Default_Ignorable_Code_Point of Unicode: shown as nothing where it has no effect.
pub(super) fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Selects how the character before it is drawn.
pub(super) fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}
