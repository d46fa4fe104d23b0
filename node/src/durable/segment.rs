//! Files of frames, numbered: `<number>.seg` in a directory, each beginning with a header. The journal and the logs are
//! such directories; they differ in what their frames say and how they are chained.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::frame::{self, Check, HEADER_BYTES};

/// What the header of a segment says besides its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    /// The first four bytes.
    pub(crate) magic: &'static [u8; 4],
    /// Its version.
    pub(crate) version: u8,
}

impl Format {
    /// The header of a segment.
    pub(crate) fn header(self, number: u64) -> [u8; HEADER_BYTES] {
        frame::header(self.magic, self.version, number)
    }

    /// The check at the end of the header, which salts the first frame.
    pub(crate) fn salt(self, number: u64) -> Check {
        *self.header(number).last_chunk().expect("a header ends with its check")
    }
}

/// The file of a segment.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(file_name(number))
}

fn file_name(number: u64) -> String {
    format!("{number:08}.seg")
}

/// The numbers of the segments in `dir`, ascending. Other names are none of ours.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|digits| digits.parse().ok());
        numbers.extend(number.filter(|number| *name == *file_name(*number)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
