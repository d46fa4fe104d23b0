//! The example world that alice publishes, and what she does to it for 1.1.0.

use std::path::{Path, PathBuf};

use super::DemoError;

/// The files of `examples/packages/lighthouse`, so that the demo needs nothing but the program.
const FILES: &[(&str, &[u8])] = &[
    ("syncra.toml", include_bytes!("../../../examples/packages/lighthouse/syncra.toml")),
    ("README.md", include_bytes!("../../../examples/packages/lighthouse/README.md")),
    ("world.syn", include_bytes!("../../../examples/packages/lighthouse/world.syn")),
    ("scripts/door.syn", include_bytes!("../../../examples/packages/lighthouse/scripts/door.syn")),
    ("scripts/lamp.syn", include_bytes!("../../../examples/packages/lighthouse/scripts/lamp.syn")),
    ("scripts/tide.syn", include_bytes!("../../../examples/packages/lighthouse/scripts/tide.syn")),
    ("assets/meshes/island.obj", include_bytes!("../../../examples/packages/lighthouse/assets/meshes/island.obj")),
    ("assets/sounds/foghorn.wav", include_bytes!("../../../examples/packages/lighthouse/assets/sounds/foghorn.wav")),
    ("assets/sounds/waves.wav", include_bytes!("../../../examples/packages/lighthouse/assets/sounds/waves.wav")),
    ("assets/textures/rock.png", include_bytes!("../../../examples/packages/lighthouse/assets/textures/rock.png")),
    ("assets/textures/sea.png", include_bytes!("../../../examples/packages/lighthouse/assets/textures/sea.png")),
];

/// Writes the world's files.
pub(super) fn write(dir: &Path) -> Result<PathBuf, DemoError> {
    for (name, bytes) in FILES {
        put(&dir.join(name), bytes)?;
    }
    Ok(dir.to_owned())
}

/// What alice changes for 1.1.0: a faster lamp, a few vertices in the middle of the mesh, a directory renamed.
pub(super) fn improve(dir: &Path) -> Result<(), DemoError> {
    edit(&dir.join("syncra.toml"), |text| text.replace("version = \"1.0.0\"", "version = \"1.1.0\""))?;
    edit(&dir.join("scripts/lamp.syn"), |text| text.replace("period: f32 = 8.0", "period: f32 = 5.0"))?;
    edit(&dir.join("assets/meshes/island.obj"), |text| {
        let middle = text[..text.len() / 2].rfind('\n').map_or(0, |end| end + 1);
        let pier: String = (0..12).map(|step| format!("v 127.00 0.400 {:.2}\n", 140.0 + f64::from(step))).collect();
        format!("{}{pier}{}", &text[..middle], &text[middle..])
    })?;
    edit(&dir.join("world.syn"), |text| text.replace("assets/sounds/", "assets/audio/"))?;
    edit(&dir.join("scripts/door.syn"), |text| text.replace("assets/sounds/", "assets/audio/"))?;
    let (sounds, audio) = (dir.join("assets/sounds"), dir.join("assets/audio"));
    std::fs::rename(&sounds, audio).map_err(|source| DemoError::Write { path: sounds, source })
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) -> Result<(), DemoError> {
    let text = std::fs::read_to_string(path).map_err(|source| DemoError::Write { path: path.to_owned(), source })?;
    put(path, change(text).as_bytes())
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    let failed = |source| DemoError::Write { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::write(path, bytes).map_err(failed)
}
