//! Releases as a graph in text: a star for each release, lines to what it was made from.

use crate::api::verbs::trace::GraphedRelease;

/// The graph, with what is said of each release beside its star. Releases come before those that they were made from.
pub(super) fn draw(releases: &[GraphedRelease], say: impl Fn(&GraphedRelease) -> String) -> String {
    let is_known = |id: &str| releases.iter().any(|release| release.release_id == id);
    let mut lanes = Lanes::default();
    let mut lines = Vec::new();
    for release in releases {
        let (at, ends) = lanes.arrive(&release.release_id);
        // Other lines that lead here end in this one.
        for from in ends {
            lanes.0[from] = None;
            lines.push(lanes.join(at, from, '\''));
        }
        lanes.trim();
        lines.push(format!("{}  {}", lanes.row(Some(at)), say(release)).trim_end().to_owned());
        let mut parents = release.parents.iter().filter(|id| is_known(id));
        lanes.0[at] = parents.next().cloned();
        for parent in parents {
            let to = lanes.begin(parent);
            lines.push(lanes.join(at, to, '.'));
        }
        lanes.trim();
    }
    lines.join("\n")
}

/// The columns: in each the release that its line leads to.
#[derive(Default)]
struct Lanes(Vec<Option<String>>);

impl Lanes {
    /// The column of a release, and others that lead to it too.
    fn arrive(&mut self, release: &str) -> (usize, Vec<usize>) {
        let mut leading = (0..self.0.len()).filter(|lane| self.0[*lane].as_deref() == Some(release));
        match leading.next() {
            Some(at) => (at, leading.collect()),
            None => (self.begin(release), Vec::new()),
        }
    }

    /// The leftmost free column, from now on leading to `release`.
    fn begin(&mut self, release: &str) -> usize {
        let at = self.0.iter().position(Option::is_none).unwrap_or_else(|| {
            self.0.push(None);
            self.0.len() - 1
        });
        self.0[at] = Some(release.to_owned());
        at
    }

    fn trim(&mut self) {
        while self.0.last().is_some_and(Option::is_none) {
            self.0.pop();
        }
    }

    /// A row of lines, with a star in one column.
    fn row(&self, star: Option<usize>) -> String {
        let sign = |(lane, leads): (usize, &Option<String>)| match leads {
            _ if star == Some(lane) => "*",
            Some(_) => "|",
            None => " ",
        };
        self.0.iter().enumerate().map(sign).collect::<Vec<_>>().join(" ")
    }

    /// A row with a line across from one column to another, whose end is `corner`.
    fn join(&self, at: usize, other: usize, corner: char) -> String {
        let mut row: Vec<char> = self.row(None).chars().collect();
        row.resize(row.len().max(2 * at.max(other) + 1), ' ');
        let (left, right) = (at.min(other), at.max(other));
        for place in &mut row[2 * left + 1..2 * right] {
            *place = if *place == '|' { '+' } else { '-' };
        }
        row[2 * at] = '|';
        row[2 * other] = corner;
        row.into_iter().collect::<String>().trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(releases: &[(&str, &[&str])]) -> String {
        let release = |(id, parents): &(&str, &[&str])| GraphedRelease {
            release_id: (*id).to_owned(),
            version: (*id).to_owned(),
            parents: parents.iter().map(|id| (*id).to_owned()).collect(),
            refs: Vec::new(),
            state: "settled".to_owned(),
            by: String::new(),
            first_seen_ms: None,
        };
        let releases: Vec<_> = releases.iter().map(release).collect();
        draw(&releases, |release| release.version.clone())
    }

    #[test]
    fn a_line_of_releases_is_a_line() {
        assert_eq!(drawn(&[("c", &["b"]), ("b", &["a"]), ("a", &[])]), "*  c\n*  b\n*  a");
        assert_eq!(drawn(&[("b", &["unknown"]), ("a", &[])]), "*  b\n*  a");
        assert_eq!(drawn(&[]), "");
    }

    #[test]
    fn branches_part_and_meet() {
        let merged = [("d", &["b", "c"][..]), ("c", &["a"]), ("b", &["a"]), ("a", &[])];
        assert_eq!(drawn(&merged), "*  d\n|-.\n| *  c\n* |  b\n|-'\n*  a");
        let two_tips = [("c", &["a"][..]), ("b", &["a"]), ("a", &[])];
        assert_eq!(drawn(&two_tips), "*  c\n| *  b\n|-'\n*  a");
        let crossing =
            [("f", &["c", "d", "e"][..]), ("e", &["a"]), ("d", &["b"]), ("c", &["a"]), ("b", &["a"]), ("a", &[])];
        assert_eq!(drawn(&crossing), "*  f\n|-.\n|-+-.\n| | *  e\n| * |  d\n* | |  c\n| * |  b\n|-' |\n|---'\n*  a");
    }
}
