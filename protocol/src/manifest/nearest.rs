//! The known word that somebody probably meant.

/// Longer words are nobody's typing error, and the table of distances stays small.
const MAX_CHARS: usize = 32;

/// The known word nearest to `written`, if it is near: at most a third of its letters (but at least one, or two in
/// words of four letters and more) differ, ignoring case and separators.
pub(super) fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let written = plain(written);
    if written.is_empty() || written.len() > MAX_CHARS {
        return None;
    }
    let limit = (written.len() / 3).max(if written.len() < 4 { 1 } else { 2 });
    let near = known.iter().map(|word| (distance(&written, &plain(word)), *word));
    near.min_by_key(|&(distance, _)| distance).filter(|&(distance, _)| distance <= limit).map(|(_, word)| word)
}

fn plain(word: &str) -> Vec<char> {
    word.chars().take(MAX_CHARS + 1).filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let swap = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                    (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(replaced).min(swap)
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["name", "version", "kind", "description", "license", "keywords", "engine"];
        for (written, meant) in [
            ("nmae", Some("name")),
            ("Name", Some("name")),
            ("licence", Some("license")),
            ("key-words", Some("keywords")),
            ("descripton", Some("description")),
            ("verison", Some("version")),
            ("knd", Some("kind")),
            ("author", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(written, &known), meant, "{written}");
        }
        assert_eq!(nearest(&"name".repeat(10_000), &known), None);
    }

    #[test]
    fn distances() {
        let of = |a: &str, b: &str| distance(&plain(a), &plain(b));
        assert_eq!([of("kitten", "sitting"), of("ab", "ba"), of("", "abc"), of("same", "same")], [3, 1, 3, 0]);
    }
}
