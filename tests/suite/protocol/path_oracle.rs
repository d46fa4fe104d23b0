//! `EntryPath` and `PathSet` against a judge in another language with another Unicode library.
//!
//! The judge's Unicode is older than ours: characters are drawn from those that both assign, and "unassigned" ones
//! from those that neither does.

use std::collections::BTreeMap;

use syncra_protocol::path::{EntryPath, PathRule, PathSet, check_part, part_key};

use crate::generated::Generator;
use crate::oracle::{ask, assigned, has_python, hex};

/// Paths made to break each rule.
const PER_RULE: usize = 5_000;
/// Paths of arbitrary characters, and of dangerous pieces.
const FREE: usize = 30_000;
/// Pairs of valid paths.
const PAIRS: usize = 100_000;

#[test]
fn generated_paths_get_the_verdict_of_the_oracle() {
    if !has_python("generated_paths_get_the_verdict_of_the_oracle") {
        return;
    }
    let mut generator = Generator::new(1, assigned());
    let mut paths: Vec<Vec<u8>> = Vec::new();
    for rule in PathRule::ALL {
        paths.extend((0..PER_RULE).map(|_| generator.breaking(rule)));
    }
    paths.extend((0..FREE).map(|_| generator.path().into_bytes()));
    paths.extend((0..FREE).map(|_| generator.soup().into_bytes()));
    assert!(paths.len() >= 100_000);
    let verdicts = ask("rules", &paths.iter().map(|path| hex(path)).collect::<Vec<_>>());
    let mut hits: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, verdict) in paths.iter().zip(verdicts) {
        let shown = String::from_utf8_lossy(path);
        match EntryPath::parse_bytes(path) {
            Ok(accepted) => {
                assert_eq!(verdict, "", "{shown:?} is accepted here and refused there");
                assert_eq!(accepted.as_str().as_bytes(), path);
                *hits.entry("accepted").or_default() += 1;
            }
            Err(error) => {
                let rule = error.rule().as_str();
                assert!(verdict.split(',').any(|other| other == rule), "{shown:?}: {error} here, {verdict:?} there");
                *hits.entry(rule).or_default() += 1;
            }
        }
    }
    println!("{} paths: {hits:?}", paths.len());
    for rule in PathRule::ALL {
        assert!(hits.get(rule.as_str()).is_some_and(|&n| n >= 1_000), "{rule:?} is hit too rarely: {hits:?}");
    }
    assert!(hits["accepted"] >= 10_000, "{hits:?}");
}

/// Spellings that are one name; those of a row collide.
const FAMILIES: &[&[&str]] = &[
    &["ß", "ss", "SS", "ẞ", "Ss", "ſs"],
    &["ﬁ", "fi", "FI", "ﬁ\u{fe0f}"],
    &["σ", "ς", "Σ"],
    &["１", "1", "¹", "①"],
    &["é", "É", "ｅ\u{301}"],
    &["ᾳ", "αι", "ΑΙ", "Αι"],
    &["ǆ", "ǅ", "Ǆ", "dž", "DŽ"],
    &["Ꭰ", "ꭰ"],
    &["ŉ", "ʼn", "ʼN"],
    &["ラ", "ﾗ"],
    &["ガ", "ｶﾞ"],
    &["가", "ᄀ\u{1161}"],
    &["❤", "❤\u{fe0f}", "❤\u{fe0e}"],
    &["µ", "μ", "Μ"],
    &["İ", "i̇"],
    &["ﬃ", "ffi", "FFI", "ﬀi"],
    &["㎏", "kg", "KG"],
    &["\u{1e9b}\u{323}", "ṩ", "Ṩ"],
];

#[test]
fn generated_pairs_collide_where_the_oracle_says() {
    if !has_python("generated_pairs_collide_where_the_oracle_says") {
        return;
    }
    let mut generator = Generator::new(2, assigned());
    let mut pairs = Vec::new();
    while pairs.len() < PAIRS {
        let (a, b) = twins(&mut generator);
        // Changing case may lead to a character that only we know.
        if !a.chars().chain(b.chars()).all(|c| generator.is_known(c)) {
            continue;
        }
        if let (Ok(a), Ok(b)) = (EntryPath::parse(&a), EntryPath::parse(&b)) {
            pairs.push((a, b));
        }
    }
    let questions: Vec<String> =
        pairs.iter().map(|(a, b)| format!("{} {}", hex(a.as_str().as_bytes()), hex(b.as_str().as_bytes()))).collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for ((a, b), verdict) in pairs.iter().zip(ask("pairs", &questions)) {
        for (first, second) in [(a, b), (b, a)] {
            let mut set = PathSet::new();
            set.insert(first).expect("the first path collides with nothing");
            let here = if set.insert(second).is_err() { "collide" } else { "apart" };
            assert_eq!(here, verdict, "{first:?} and {second:?}");
        }
        *counts.entry(verdict).or_default() += 1;
    }
    println!("{} pairs: {counts:?}", pairs.len());
    assert!(counts.values().all(|&n| n >= PAIRS / 5) && counts.len() == 2, "{counts:?}");
}

/// Two paths that are likely to collide, or nearly.
fn twins(generator: &mut Generator) -> (String, String) {
    let (mut a, mut b) = (String::new(), String::new());
    for _ in 0..=generator.random.below(3) {
        let (one, other) = match generator.random.below(5) {
            0 => {
                let family = FAMILIES[generator.random.below(FAMILIES.len())];
                (generator.random.pick(family).to_owned(), generator.random.pick(family).to_owned())
            }
            1 => {
                let part = generator.part();
                (part.to_uppercase(), part.to_lowercase())
            }
            2 => {
                let c = generator.char().to_string();
                (format!("{c}x"), format!("{}x", c.to_uppercase()))
            }
            3 => (
                generator.random.pick(&["e", "ı", "i", "o", "n"]).to_owned(),
                generator.random.pick(&["é", "i", "ö", "n"]).to_owned(),
            ),
            _ => {
                let part = generator.plain_part();
                (part.clone(), part)
            }
        };
        a.push_str(&one);
        b.push_str(&other);
        if generator.random.below(3) == 0 {
            a.push('/');
            b.push('/');
        }
    }
    if generator.random.below(3) == 0 {
        b.push_str("/x");
    }
    (a.trim_end_matches('/').to_owned(), b.trim_end_matches('/').to_owned())
}

/// Every character of the judge's Unicode: two have one key here if and only if they have one key there.
#[test]
fn every_character_folds_as_the_oracle_says() {
    if !has_python("every_character_folds_as_the_oracle_says") {
        return;
    }
    let mut characters: Vec<char> =
        assigned().into_iter().flat_map(|(first, last)| first..=last).filter_map(char::from_u32).collect();
    // No accepted path has them, and the two sides drop different ones of them.
    let is_invisible = |c: &char| check_part(&c.to_string()).is_err_and(|error| error.rule() == PathRule::Invisible);
    characters.retain(|c| !is_invisible(c));
    let questions: Vec<String> = characters.iter().map(|c| hex(c.to_string().as_bytes())).collect();
    let (mut there_of, mut here_of) = (BTreeMap::new(), BTreeMap::new());
    for (c, there) in characters.iter().zip(ask("keys", &questions)) {
        let here = part_key(&c.to_string());
        let first = there_of.entry(here.clone()).or_insert_with(|| there.clone());
        assert_eq!(*first, there, "U+{:04X}: one key here, two there", u32::from(*c));
        let first = here_of.entry(there).or_insert_with(|| here.clone());
        assert_eq!(*first, here, "U+{:04X}: one key there, two here", u32::from(*c));
    }
    println!("{} characters, {} keys", characters.len(), here_of.len());
    assert!(characters.len() > 140_000 && here_of.len() > 100_000);
}
