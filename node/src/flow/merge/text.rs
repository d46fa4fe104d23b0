//! Merging the lines of three texts.
//!
//! Lines that only one side changed are as that side has them. Where both changed lines that are the same or touch, and not in
//! the same way, both stand between markers, as `git merge-file --diff3` writes them.

use std::fmt::Write as _;
use std::ops::Range;

use imara_diff::{Hunk, InternedInput};

use super::super::lines;

/// What the sides are called behind the markers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labels<'a> {
    pub(super) base: &'a str,
    pub(super) ours: &'a str,
    pub(super) theirs: &'a str,
}

/// Begins what our side has; also what tells that a conflict is left.
pub(super) const OURS: &str = "<<<<<<<";
const BASE: &str = "|||||||";
const MIDDLE: &str = "=======";
/// Ends what their side has.
pub(super) const THEIRS: &str = ">>>>>>>";

/// A merged text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Places where both sides stand between markers.
    pub(super) n_conflicts: u32,
}

/// Merges texts, none of which has more lines than are compared.
pub(super) fn merge(base: &str, ours: &str, theirs: &str, labels: Labels<'_>) -> Text {
    let (our_input, our_diff) = lines::compare(base, ours);
    let (their_input, their_diff) = lines::compare(base, theirs);
    let (ours, theirs) = (Side::of(&our_input, our_diff.hunks()), Side::of(&their_input, their_diff.hunks()));
    let base: Vec<&str> = our_input.before.iter().map(|token| our_input.interner[*token]).collect();
    let mut merged = Text { text: String::new(), n_conflicts: 0 };
    let (mut at, mut next) = (0, (0, 0));
    while let Some(region) = Region::next(&ours, &theirs, &mut next) {
        merged.text.extend(base[at..region.base.start].iter().copied());
        at = region.base.end;
        let sides = (ours.lines(&region.ours, &region.base), theirs.lines(&region.theirs, &region.base));
        match (region.ours.is_empty(), region.theirs.is_empty()) {
            (_, true) => merged.text.extend(sides.0.iter().copied()),
            (true, false) => merged.text.extend(sides.1.iter().copied()),
            (false, false) if sides.0 == sides.1 => merged.text.extend(sides.0.iter().copied()),
            (false, false) => {
                merged.n_conflicts += 1;
                let was = &base[region.base.clone()];
                conflict(&mut merged.text, was, sides.0, sides.1, labels);
            }
        }
    }
    merged.text.extend(base[at..].iter().copied());
    merged
}

/// One side: its lines, and where they differ from the base.
struct Side<'a> {
    lines: Vec<&'a str>,
    hunks: Vec<Hunk>,
}

impl<'a> Side<'a> {
    fn of(input: &InternedInput<&'a str>, hunks: impl Iterator<Item = Hunk>) -> Self {
        let lines = input.after.iter().map(|token| input.interner[*token]).collect();
        Self { lines, hunks: hunks.collect() }
    }

    /// This side's lines for lines of the base that its hunks `of` lie in.
    fn lines(&self, of: &Range<usize>, base: &Range<usize>) -> &[&'a str] {
        let Some((first, last)) = self.hunks[of.clone()].first().zip(self.hunks[of.clone()].last()) else { return &[] };
        let before = first.before.start as usize - base.start;
        let after = base.end - last.before.end as usize;
        &self.lines[first.after.start as usize - before..last.after.end as usize + after]
    }
}

/// Lines of the base that one side changed, or both.
struct Region {
    base: Range<usize>,
    /// The hunks of our side in it.
    ours: Range<usize>,
    /// The hunks of their side in it.
    theirs: Range<usize>,
}

impl Region {
    /// The region that begins with the first hunk not taken yet, of either side.
    fn next(ours: &Side<'_>, theirs: &Side<'_>, next: &mut (usize, usize)) -> Option<Self> {
        let span = |hunk: &Hunk| hunk.before.start as usize..hunk.before.end as usize;
        let (first_ours, first_theirs) = (ours.hunks.get(next.0).map(span), theirs.hunks.get(next.1).map(span));
        let first = match (&first_ours, &first_theirs) {
            (Some(a), Some(b)) => if a.start <= b.start { a } else { b }.clone(),
            (Some(only), None) | (None, Some(only)) => only.clone(),
            (None, None) => return None,
        };
        let mut region = Self { base: first, ours: next.0..next.0, theirs: next.1..next.1 };
        // Whatever touches it belongs to it: what is the one change and what the other could not be told apart.
        loop {
            let touches = |hunk: Option<&Hunk>| hunk.map(span).filter(|span| span.start <= region.base.end);
            if let Some(span) = touches(ours.hunks.get(region.ours.end)) {
                region.ours.end += 1;
                region.base.end = region.base.end.max(span.end);
            } else if let Some(span) = touches(theirs.hunks.get(region.theirs.end)) {
                region.theirs.end += 1;
                region.base.end = region.base.end.max(span.end);
            } else {
                *next = (region.ours.end, region.theirs.end);
                return Some(region);
            }
        }
    }
}

fn conflict(text: &mut String, base: &[&str], ours: &[&str], theirs: &[&str], labels: Labels<'_>) {
    let is_dos = |line: &&str| line.ends_with("\r\n");
    let end = if ours.iter().chain(theirs).chain(base).next().is_some_and(is_dos) { "\r\n" } else { "\n" };
    let marker = |text: &mut String, marker: &str, label: &str| {
        // A side whose last line has no end must not swallow the marker.
        if !text.is_empty() && !text.ends_with('\n') {
            text.push_str(end);
        }
        let space = if label.is_empty() { "" } else { " " };
        write!(text, "{marker}{space}{label}{end}").expect("a string takes everything");
    };
    marker(text, OURS, labels.ours);
    text.extend(ours.iter().copied());
    marker(text, BASE, labels.base);
    text.extend(base.iter().copied());
    marker(text, MIDDLE, "");
    text.extend(theirs.iter().copied());
    marker(text, THEIRS, labels.theirs);
}

/// The text with what our side has, wherever both stand between markers.
pub(in crate::flow) fn our_side(text: &str) -> String {
    let (mut ours, mut is_ours) = (String::new(), true);
    for line in text.split_inclusive('\n') {
        let is = |marker: &str| {
            let rest = line.trim_end().strip_prefix(marker);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        if is(OURS) || is(THEIRS) {
            is_ours = true;
        } else if is(BASE) || is(MIDDLE) {
            is_ours = false;
        } else if is_ours {
            ours.push_str(line);
        }
    }
    ours
}

/// Whether lines are left that only a conflict has.
pub(super) fn has_markers(text: &str) -> bool {
    let is_marker = |line: &str, marker: &str| line.strip_prefix(marker).is_some_and(|rest| rest.starts_with(' '));
    text.lines().any(|line| is_marker(line, OURS) || is_marker(line, THEIRS))
}

#[cfg(test)]
mod tests;
