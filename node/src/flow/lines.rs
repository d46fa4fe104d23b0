//! Texts line by line: what is one, and which lines of two differ.

use imara_diff::{Algorithm, Diff, InternedInput};

/// Bytes of a file whose lines are compared; a larger one is told by size and hash only.
pub(super) const TEXT_BYTES: u64 = 1 << 20;
/// Lines of such a file: what comparing two costs grows faster than their number, and a stranger may have written them.
const LINES: usize = 1 << 16;
/// Bytes at the beginning of a file among which a zero makes it no text, as other tools have it.
const LOOKED_AT: usize = 8_000;
/// Lines shown around those that differ.
const CONTEXT: u32 = 3;

/// Some lines of two texts that differ, with those around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// The first line in the older text, from 1; 0 if there is none.
    pub old_start: u32,
    /// How many of the older text.
    pub old_lines: u32,
    /// The first line in the newer text, from 1; 0 if there is none.
    pub new_start: u32,
    /// How many of the newer text.
    pub new_lines: u32,
    /// The lines, each behind ` `, `-` or `+`, without its end; `\` tells that the line before has no end.
    pub lines: Vec<String>,
}

/// The text of a file, if it is one.
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    let is_binary = bytes[..bytes.len().min(LOOKED_AT)].contains(&0);
    if is_binary { None } else { std::str::from_utf8(bytes).ok() }
}

/// Whether a text has no more lines than are compared.
pub(super) fn is_comparable(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'\n').count() <= LINES
}

/// Which lines differ.
pub(super) fn compare<'a>(old: &'a str, new: &'a str) -> (InternedInput<&'a str>, Diff) {
    let input = InternedInput::new(old, new);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    (input, diff)
}

/// The lines that differ, in unified form, and how many came and went.
pub(super) fn hunks(old: &str, new: &str) -> (Vec<Hunk>, u32, u32) {
    let (input, diff) = compare(old, new);
    let (n_old, n_new) = (len(&input.before), len(&input.after));
    let mut groups: Vec<Vec<imara_diff::Hunk>> = Vec::new();
    for hunk in diff.hunks() {
        match groups.last_mut() {
            Some(group) if group.last().is_some_and(|last| hunk.before.start - last.before.end <= 2 * CONTEXT) => {
                group.push(hunk);
            }
            _ => groups.push(vec![hunk]),
        }
    }
    let unify = |group: Vec<imara_diff::Hunk>| {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return None };
        let lead = first.before.start.min(CONTEXT);
        let trail = (n_old - last.before.end).min(CONTEXT);
        let (old_from, old_to) = (first.before.start - lead, last.before.end + trail);
        let (new_from, new_to) = (first.after.start - lead, (last.after.end + trail).min(n_new));
        let mut lines = Vec::new();
        let mut say = |sign: char, tokens: &[imara_diff::Token]| {
            for token in tokens {
                let line: &str = input.interner[*token];
                lines.push(format!("{sign}{}", line.strip_suffix('\n').unwrap_or(line)));
                if !line.ends_with('\n') {
                    lines.push("\\ no newline at the end".to_owned());
                }
            }
        };
        let mut at = old_from;
        for hunk in &group {
            say(' ', &input.before[range(at, hunk.before.start)]);
            say('-', &input.before[range(hunk.before.start, hunk.before.end)]);
            say('+', &input.after[range(hunk.after.start, hunk.after.end)]);
            at = hunk.before.end;
        }
        say(' ', &input.before[range(at, old_to)]);
        let (old_lines, new_lines) = (old_to - old_from, new_to - new_from);
        let start = |from: u32, n: u32| if n == 0 { from } else { from + 1 };
        let (old_start, new_start) = (start(old_from, old_lines), start(new_from, new_lines));
        Some(Hunk { old_start, old_lines, new_start, new_lines, lines })
    };
    (groups.into_iter().filter_map(unify).collect(), diff.count_additions(), diff.count_removals())
}

fn len<T>(tokens: &[T]) -> u32 {
    u32::try_from(tokens.len()).expect("a text has no more lines than bytes, and those are limited")
}

const fn range(from: u32, to: u32) -> std::ops::Range<usize> {
    from as usize..to as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unified(old: &str, new: &str) -> String {
        let hunks = hunks(old, new).0.into_iter().map(|hunk| {
            let Hunk { old_start, old_lines, new_start, new_lines, lines } = hunk;
            format!("@@ -{old_start},{old_lines} +{new_start},{new_lines} @@\n{}\n", lines.join("\n"))
        });
        hunks.collect()
    }

    #[test]
    fn differing_lines_stand_among_three_of_their_neighbours() {
        let numbered = |range: std::ops::RangeInclusive<u32>| range.map(|n| format!("{n}\n")).collect::<String>();
        assert_eq!(unified("a\n", "a\n"), "");
        assert_eq!(unified("", "a\nb"), "@@ -0,0 +1,2 @@\n+a\n+b\n\\ no newline at the end\n");
        assert_eq!(unified("a\n", ""), "@@ -1,1 +0,0 @@\n-a\n");
        assert_eq!(unified("a", "a\n"), "@@ -1,1 +1,1 @@\n-a\n\\ no newline at the end\n+a\n");
        let new = numbered(1..=20).replace("10\n", "ten\n");
        assert_eq!(unified(&numbered(1..=20), &new), "@@ -7,7 +7,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n");
        // Near ones share a hunk, far ones do not.
        let near = numbered(1..=20).replacen("\n4\n", "\nfour\n", 1).replacen("\n10\n", "\nten\n", 1);
        assert_eq!(hunks(&numbered(1..=20), &near).0.len(), 1);
        let far = format!("zero\n{}end\n", numbered(1..=20));
        let found = hunks(&numbered(1..=20), &far).0;
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].old_start, found[1].old_lines, found[1].new_start, found[1].new_lines), (18, 3, 19, 4));
        assert_eq!(hunks("a\nb\n", "a\nc\nd\n").1, 2);
        assert_eq!(hunks("a\nb\n", "a\nc\nd\n").2, 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_told_apart() {
        assert_eq!(text("grün\n".as_bytes()), Some("grün\n"));
        assert_eq!(text(b""), Some(""));
        assert_eq!(text(b"a\0b"), None);
        assert_eq!(text(&[0xff, 0xfe]), None);
    }

    /// What a stranger publishes must not keep a core busy: the worst texts that we know take no time worth telling.
    #[test]
    fn hostile_texts_are_compared_in_bounded_work() {
        let alternating: String = (0..LINES).map(|n| if n % 2 == 0 { "a\n" } else { "b\n" }).collect();
        let other: String = (0..LINES).map(|n| if n % 3 == 0 { "a\n" } else { "b\n" }).collect();
        let (found, came, went) = hunks(&alternating, &other);
        assert!(!found.is_empty() && came == went);
        assert!(is_comparable(&alternating) && !is_comparable(&(alternating + "\n")));
    }
}
