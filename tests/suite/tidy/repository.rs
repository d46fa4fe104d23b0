//! The repository as these tests read it.

use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// Every text file of the repository: (path from the root with `/`, text). Nothing hidden but `.ci` and `.cargo`, no build output.
pub(crate) fn texts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory of the repository") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a UTF-8 name").to_owned();
            if name == "target"
                || name == "__pycache__"
                || (name.starts_with('.') && ![".ci", ".cargo"].contains(&&*name))
            {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let relative = path.strip_prefix(root()).expect("below the root");
                found.push((relative.to_string_lossy().replace('\\', "/"), text));
            }
        }
    }
    found.sort();
    assert!(found.len() > 30, "the repository was not found");
    found
}

/// The Rust files among [`texts`].
pub(crate) fn rust_files() -> Vec<(String, String)> {
    texts().into_iter().filter(|(path, _)| Path::new(path).extension().is_some_and(|e| e == "rs")).collect()
}
