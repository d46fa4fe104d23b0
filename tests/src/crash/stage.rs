//! Putting a model back on a real disk, where the program finds it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::disk::{Disk, Inode, Kind};

/// A directory that takes the place of the recorded one, again and again.
///
/// The program tells a home from its copies by the birth of one directory inside. Here every trial is the same home, so
/// that directory is kept aside instead of being made anew.
#[derive(Debug)]
pub struct Stage {
    base: PathBuf,
    kept_at: &'static str,
    aside: PathBuf,
    kept: Option<u64>,
}

impl Stage {
    /// Over `base`; the directory `kept_at` inside stays the same one. What is put aside goes beside `base`.
    #[must_use]
    pub fn new(base: &Path, kept_at: &'static str) -> Self {
        Self { base: base.to_owned(), kept_at, aside: base.with_extension("aside"), kept: None }
    }

    /// Says that the directory that is there now is the one to keep.
    pub fn keep(&mut self) {
        self.kept = fs::metadata(self.base.join(self.kept_at)).ok().map(|found| found.ino());
    }

    /// Makes the directory what `disk` says.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, disk: &Disk) {
        let kept = self.base.join(self.kept_at);
        if let Some(kept_number) = self.kept
            && fs::metadata(&kept).is_ok_and(|found| found.ino() == kept_number)
        {
            fs::rename(&kept, &self.aside).expect("put aside");
        }
        if self.base.exists() {
            fs::remove_dir_all(&self.base).expect("cleared");
        }
        self.write(disk, 0, &self.base);
    }

    fn write(&self, disk: &Disk, inode: Inode, path: &Path) {
        let node = &disk.nodes[inode];
        match &node.kind {
            Kind::File(bytes) => {
                fs::write(path, bytes).expect("written");
                let file = fs::File::options().write(true).open(path).expect("written just now");
                file.set_modified(node.modified).expect("a time");
            }
            Kind::Dir(names) => {
                if path == self.base.join(self.kept_at) && self.aside.exists() {
                    fs::rename(&self.aside, path).expect("put back");
                    for entry in fs::read_dir(path).expect("a directory") {
                        fs::remove_file(entry.expect("an entry").path()).expect("only files are in it");
                    }
                } else {
                    fs::create_dir(path).expect("made");
                }
                for (name, child) in names {
                    self.write(disk, *child, &path.join(name));
                }
            }
        }
        fs::set_permissions(path, fs::Permissions::from_mode(node.mode)).expect("permissions");
    }
}
