//! The log of a running node in its home: short and rolling, so that it helps on the day of a trouble and keeps no diary.
//!
//! It is no truth: nothing reads it but people, nothing waits for the disk, and a disk that does not take it costs the
//! line and nothing else.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use crate::{clock, durable};

/// Bytes after which a new file is begun.
const FILE_BYTES: u64 = 1 << 20;
/// Older files beside the one that is written.
const OLDER_FILES: usize = 3;
/// A file that was not written for so long goes at the next start.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Where lines go; nowhere until it is opened.
#[derive(Debug, Default)]
pub struct LogFile(Mutex<Option<Rolling>>);

#[derive(Debug)]
struct Rolling {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LogFile {
    /// From now on lines go to the file at `path`, behind what stands there. Only who holds the home's lock may do that.
    ///
    /// # Errors
    /// What the system said; lines then still go nowhere.
    pub fn open(&self, path: &Path) -> io::Result<()> {
        durable::make_dir(path.parent().unwrap_or(Path::new("."))).map_err(io::Error::from)?;
        for n in 0..=OLDER_FILES {
            remove_old(&numbered(path, n));
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Rolling::open(path)?);
        Ok(())
    }
}

impl Write for &LogFile {
    /// Takes one line, whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut rolling = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = rolling.as_mut()
            && open.write(line).is_err()
        {
            // A full disk, or a directory that somebody took away: perhaps the next line finds room.
            if let Ok(again) = Rolling::open(&open.path.clone()) {
                *open = again;
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Rolling {
    fn open(path: &Path) -> io::Result<Self> {
        let file = durable::private_options().append(true).create(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, len })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.len > 0 && self.len + line.len() as u64 > FILE_BYTES {
            for n in (0..OLDER_FILES).rev() {
                move_on(&numbered(&self.path, n), &numbered(&self.path, n + 1))?;
            }
            *self = Self::open(&self.path)?;
        }
        self.file.write_all(line)?;
        self.len += line.len() as u64;
        Ok(())
    }
}

/// `node.log`, `node.log.1`, …: the higher the older.
fn numbered(path: &Path, n: usize) -> PathBuf {
    match n {
        0 => path.to_owned(),
        n => path.with_added_extension(n.to_string()),
    }
}

fn move_on(from: &Path, to: &Path) -> io::Result<()> {
    match durable::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_old(path: &Path) {
    let Ok(written) = fs::metadata(path).and_then(|found| found.modified()) else { return };
    let now = Duration::from_millis(clock::now().0);
    // A time to come is a clock that was wrong.
    let age = now.saturating_sub(written.duration_since(UNIX_EPOCH).unwrap_or_default());
    if age > KEPT
        && let Err(error) = fs::remove_file(path)
    {
        tracing::debug!(%error, "an old log stays");
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn files(dir: &Path) -> Vec<(String, u64)> {
        let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
        let mut files: Vec<_> =
            entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect();
        files.sort();
        files
    }

    #[test]
    fn the_log_is_bounded_in_size_and_number_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log").join("node.log");
        let log = LogFile::default();
        (&log).write_all(b"into nothing\n").unwrap();
        log.open(&path).unwrap();
        let line = |n: u32| format!("{n:08} {}\n", "x".repeat(1_000));
        let n_lines = 10_000;
        (0..n_lines).for_each(|n| (&log).write_all(line(n).as_bytes()).unwrap());
        let found = files(path.parent().unwrap());
        let names: Vec<&str> = found.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["node.log", "node.log.1", "node.log.2", "node.log.3"]);
        assert!(found.iter().all(|(_, len)| *len <= FILE_BYTES), "{found:?}");
        assert!(fs::read_to_string(&path).unwrap().ends_with(&line(n_lines - 1)));
        // The older ones join on without a gap.
        let (older, newer) = (numbered(&path, 1), fs::read_to_string(&path).unwrap());
        let first: u32 = newer[..8].parse().unwrap();
        assert!(fs::read_to_string(older).unwrap().ends_with(&line(first - 1)));
    }

    #[test]
    fn a_restart_goes_on_and_what_is_old_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.log");
        for line in ["one\n", "two\n"] {
            let log = LogFile::default();
            log.open(&path).unwrap();
            (&log).write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        for (name, age) in [("node.log.1", KEPT * 2), ("node.log.2", KEPT / 2)] {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        LogFile::default().open(&path).unwrap();
        let names: Vec<String> = files(dir.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["node.log", "node.log.2"]);
    }

    #[test]
    fn a_directory_that_is_taken_away_costs_lines_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log").join("node.log");
        let log = LogFile::default();
        log.open(&path).unwrap();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        (0..3_000).for_each(|_| (&log).write_all(&[b'x'; 1_000]).unwrap());
    }
}
