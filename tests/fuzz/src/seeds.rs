//! Where mutation begins: everything in the golden vectors, whatever it is of. Most of it is refused by most targets, and
//! what a target accepts it accepts from the start.

use std::path::Path;

use serde_json::Value;

/// Longer values would only slow mutation down.
const SEED_BYTES: usize = 16 << 10;

/// Every text in the vectors, as it is and, if it is hex, as the bytes that it stands for.
pub fn all() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors");
    let mut seeds = vec![Vec::new()];
    for entry in std::fs::read_dir(dir).expect("the vectors") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).expect("a vector file");
            collect(&serde_json::from_str(&text).expect("JSON"), &mut seeds);
        }
    }
    seeds.retain(|seed| seed.len() <= SEED_BYTES);
    seeds.sort();
    seeds.dedup();
    seeds
}

fn collect(value: &Value, seeds: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) => {
            seeds.push(text.clone().into_bytes());
            seeds.extend(data_encoding::HEXLOWER.decode(text.as_bytes()));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, seeds)),
        Value::Object(values) => values.values().for_each(|value| collect(value, seeds)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
