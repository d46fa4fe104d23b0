//! Which names a hurried person would take for each other.

/// A key that is equal for names which look alike: case, separators, `0`/`o`, `1`/`l`, `rn`/`m` and `vv`/`w` do not count.
///
/// Equality is a reason to warn, never a reason to refuse: two owners may well have a `sky-box` and a `skybox`.
///
/// ```
/// use syncra_protocol::name::look_alike_key;
/// assert_eq!(look_alike_key("Sky_Box"), look_alike_key("skyb0x"));
/// assert_ne!(look_alike_key("sky"), look_alike_key("ski"));
/// ```
#[must_use]
pub fn look_alike_key(name: &str) -> String {
    let plain: String = name
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | '.'))
        .map(|c| match c.to_ascii_lowercase() {
            '0' => 'o',
            '1' => 'l',
            other => other,
        })
        .collect();
    plain.replace("rn", "m").replace("vv", "w")
}
