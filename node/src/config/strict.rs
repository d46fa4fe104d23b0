//! Unknown keys, and what was probably meant.

use super::ConfigError;

/// Checks every key of `table` against those of `known`, one table deep.
pub(super) fn known_keys(table: &toml::Table, known: &toml::Table) -> Result<(), ConfigError> {
    let names = names(known);
    for (key, value) in table {
        match (value, known.get(key)) {
            (_, None) => return Err(unknown(key.clone(), &names)),
            (toml::Value::Table(inner), Some(toml::Value::Table(known_inner))) => {
                if let Some(strange) = inner.keys().find(|name| !known_inner.contains_key(*name)) {
                    return Err(unknown(format!("{key}.{strange}"), &names));
                }
            }
            // A value of the wrong kind is told by the parser, with its place.
            _ => {}
        }
    }
    Ok(())
}

fn names(known: &toml::Table) -> Vec<String> {
    let mut names: Vec<String> = known.keys().cloned().collect();
    for (key, value) in known {
        names.extend(value.as_table().into_iter().flat_map(toml::Table::keys).map(|inner| format!("{key}.{inner}")));
    }
    names
}

fn unknown(key: String, names: &[String]) -> ConfigError {
    // A key in the wrong table is meant as often as a misspelt one.
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let distance_to = |name: &String| distance(&key, name).min(distance(&last(&key), &last(name)));
    let nearest = names.iter().min_by_key(|name| (distance_to(name), distance(&key, name)));
    let near_enough = |name: &&String| distance_to(name) <= last(&key).chars().count() / 3;
    let nearest = nearest.filter(near_enough).cloned();
    ConfigError::UnknownKey { key, nearest }
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("listen", "lisetn", 2)] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
