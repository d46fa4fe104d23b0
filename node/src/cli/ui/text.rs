//! Texts for people: what may be printed, sizes, times, tables.

/// `text` without anything that could steer a terminal or turn the reading direction: names and descriptions come from
/// strangers. Line ends and tabs stay.
pub(in crate::cli) fn printable(text: &str) -> String {
    let harmless = |c: char| match c {
        '\n' | '\t' => c,
        // Bidirectional controls, zero-width and line separators: a name could show as another.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}' => {
            '\u{fffd}'
        }
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(harmless).collect()
}

pub(in crate::cli) use crate::clock::utc;

use syncra_protocol::Timestamp;

use crate::api::types::WitnessedInfo;

/// A span of milliseconds as people say it: `3 d 4 h`, `12 s`.
pub(in crate::cli) fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// How long ago something was, roughly: `3 minutes`, `2 days`.
pub(in crate::cli) fn ago(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..60 => count(seconds, "second"),
        60..3_600 => count(seconds / 60, "minute"),
        3_600..86_400 => count(seconds / 3_600, "hour"),
        86_400..172_800 => "1 day".to_owned(),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How new something is: `witnessed 3 minutes ago by 4 of 5`, or `unknown` and why.
pub(in crate::cli) fn freshness(witnessed: &WitnessedInfo, now: Timestamp) -> String {
    let WitnessedInfo { by, of, needed, at_ms } = witnessed;
    match at_ms {
        Some(at) => format!("witnessed {} ago by {by} of {of}", ago(now.0.saturating_sub(*at))),
        None if *of == 0 && *needed <= 1 => "unknown".to_owned(),
        None => format!("unknown: witnessed by {by} of {of}, {needed} are needed"),
    }
}

/// That this device does not speak for its identity, and the way out, if so.
pub(in crate::cli) fn silenced(status: &str, silenced: Option<&str>) -> Option<String> {
    silenced.map(|why| format!("{}: {why}", status.to_uppercase().replace('_', " ")))
}

/// A size as people say it: `17 B`, `1.5 MiB`.
pub(in crate::cli) fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

/// A number of things: `1 file`, `2 files`, `3 entries`.
pub(in crate::cli) fn count(n: u64, thing: &str) -> String {
    match (n, thing.strip_suffix('y')) {
        (1, _) => format!("1 {thing}"),
        (n, Some(stem)) => format!("{n} {stem}ies"),
        (n, None) => format!("{n} {thing}s"),
    }
}

/// Rows below a head, columns two spaces apart.
pub(in crate::cli) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(head)).chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_steer_the_terminal() {
        let shown = printable("a\x1b[2Jb\rc\u{9b}d\u{202e}e\u{200b}f\x07\u{85}\nü\t日");
        assert_eq!(shown, "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}\u{fffd}\nü\t日");
    }

    #[test]
    fn times_are_calendar_days() {
        for (ms, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_827_696_789, "2000-02-29 12:34:56 UTC"),
            (4_107_542_399_000, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(ms), text);
        }
        assert!(utc(u64::MAX).ends_with("UTC"));
        assert_eq!([span(999), span(61_000), span(90_000_000)], ["0 s", "1 min 1 s", "1 d 1 h"]);
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([ago(59_999), ago(60_000), ago(86_400_000)], ["59 seconds", "1 minute", "1 day"]);
        let said = [count(0, "file"), count(1, "file"), count(2, "new blob"), count(1, "entry")];
        assert_eq!(said, ["0 files", "1 file", "2 new blobs", "1 entry"]);
        assert_eq!(count(7, "new entry"), "7 new entries");
    }

    #[test]
    fn tables_line_up() {
        let rows = [["a".into(), "long".into()], ["bcd".into(), String::new()]];
        assert_eq!(table(["id", "name"], &rows), "id   name\na    long\nbcd");
    }
}
