//! Attacks on paths, collected by hand: `tests/vectors/paths.json`.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use serde_json::Value;
use syncra_protocol::path::{EntryPath, PathRule};

use crate::oracle::{VECTORS, ask, has_python, hex};

struct Case {
    bytes: Vec<u8>,
    /// The rule it breaks; `None`: to be accepted.
    rule: Option<String>,
    why: String,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(format!("{VECTORS}/paths.json")).expect("the vectors");
    let list: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let case = |value: Value| {
        let field = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let bytes = match (field("path"), field("hex")) {
            (Some(path), None) => path.into_bytes(),
            (None, Some(hex)) => HEXLOWER.decode(hex.as_bytes()).expect("hex"),
            _ => panic!("one of `path` and `hex`: {value}"),
        };
        let rule = match field("verdict").as_deref() {
            Some("accept") => None,
            Some("refuse") => Some(field("rule").expect("a rule")),
            _ => panic!("`verdict` is accept or refuse: {value}"),
        };
        Case { bytes, rule, why: field("why").expect("a reason") }
    };
    list.into_iter().map(case).collect()
}

#[test]
fn curated_paths_get_their_verdict() {
    let cases = cases();
    assert!(cases.iter().filter(|case| case.rule.is_some()).count() >= 200);
    assert_eq!(cases.iter().map(|case| &case.bytes).collect::<BTreeSet<_>>().len(), cases.len(), "no case twice");
    for Case { bytes, rule, why } in &cases {
        let got = EntryPath::parse_bytes(bytes).err().map(|error| error.rule().as_str().to_owned());
        assert_eq!(got, *rule, "{:?}: {why}", String::from_utf8_lossy(bytes));
    }
    let covered: BTreeSet<&str> = cases.iter().filter_map(|case| case.rule.as_deref()).collect();
    assert_eq!(covered, PathRule::ALL.iter().map(|rule| rule.as_str()).collect());
}

#[test]
fn the_oracle_agrees_with_the_curated_verdicts() {
    if !has_python("the_oracle_agrees_with_the_curated_verdicts") {
        return;
    }
    let cases = cases();
    let verdicts = ask("rules", &cases.iter().map(|case| hex(&case.bytes)).collect::<Vec<_>>());
    for (Case { bytes, rule, why }, verdict) in cases.iter().zip(verdicts) {
        let agrees = match rule {
            None => verdict.is_empty(),
            Some(rule) => verdict.split(',').any(|other| other == rule),
        };
        assert!(agrees, "{:?} ({why}): the oracle says {verdict:?}", String::from_utf8_lossy(bytes));
    }
}
