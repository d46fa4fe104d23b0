//! A directory tree in memory, in terms of inodes: files keep their bytes whatever they are called.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

/// Number of a node; 0 is the root.
pub type Inode = usize;

/// A file or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it holds.
    pub kind: Kind,
    /// When its bytes changed last: the program compares these times.
    pub modified: SystemTime,
    /// Permission bits.
    pub mode: u32,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    File(Vec<u8>),
    /// Names.
    Dir(BTreeMap<String, Inode>),
}

/// A change of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Bytes at an offset.
    Write {
        /// The offset.
        at: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Cut off or filled up with zeros.
    Length(u64),
    /// The time of change, set by hand.
    Modified(SystemTime),
}

/// All nodes; those that no name leads to are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// By number.
    pub nodes: Vec<Node>,
}

impl Disk {
    /// What is below `dir` now.
    ///
    /// # Panics
    /// When it cannot be read, or holds what this model does not know (links, sockets, names that are not UTF-8).
    #[must_use]
    pub fn read(dir: &Path) -> Self {
        let mut disk = Self { nodes: Vec::new() };
        disk.read_node(dir);
        disk
    }

    fn read_node(&mut self, path: &Path) -> Inode {
        let found = fs::symlink_metadata(path).expect("its metadata");
        assert!(found.is_dir() || (found.is_file() && found.nlink() == 1), "{} is not modelled", path.display());
        let kind =
            if found.is_dir() { Kind::Dir(BTreeMap::new()) } else { Kind::File(fs::read(path).expect("a file")) };
        let inode = self.nodes.len();
        let modified = found.modified().expect("a time of change");
        self.nodes.push(Node { kind, modified, mode: found.permissions().mode() & 0o777 });
        if found.is_dir() {
            let mut names: Vec<_> =
                fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry")).collect();
            names.sort_unstable_by_key(fs::DirEntry::file_name);
            for entry in names {
                let name = entry.file_name().into_string().expect("a name in UTF-8");
                let child = self.read_node(&entry.path());
                self.names_mut(inode).insert(name, child);
            }
        }
        inode
    }

    /// The names in a directory.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn names(&self, inode: Inode) -> &BTreeMap<String, Inode> {
        match &self.nodes[inode].kind {
            Kind::Dir(names) => names,
            Kind::File(_) => panic!("node {inode} is no directory"),
        }
    }

    /// [`Disk::names`], to change them.
    ///
    /// # Panics
    /// As there.
    pub fn names_mut(&mut self, inode: Inode) -> &mut BTreeMap<String, Inode> {
        match &mut self.nodes[inode].kind {
            Kind::Dir(names) => names,
            Kind::File(_) => panic!("node {inode} is no directory"),
        }
    }

    /// The bytes of a file.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn bytes(&self, inode: Inode) -> &[u8] {
        match &self.nodes[inode].kind {
            Kind::File(bytes) => bytes,
            Kind::Dir(_) => panic!("node {inode} is no file"),
        }
    }

    /// Changes a file.
    ///
    /// # Panics
    /// When it is none.
    pub fn change(&mut self, inode: Inode, change: &Change, at: SystemTime) {
        let node = &mut self.nodes[inode];
        let Kind::File(held) = &mut node.kind else { panic!("node {inode} is no file") };
        node.modified = at;
        match change {
            Change::Write { at, bytes } => {
                let at = usize::try_from(*at).expect("files are small");
                held.resize(held.len().max(at + bytes.len()), 0);
                held[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Change::Length(length) => held.resize(usize::try_from(*length).expect("files are small"), 0),
            Change::Modified(time) => node.modified = *time,
        }
    }

    /// Gives and takes names, all at once.
    pub fn rename(&mut self, names: &[(Inode, String, Option<Inode>)]) {
        for (dir, name, target) in names {
            match target {
                Some(target) => self.names_mut(*dir).insert(name.clone(), *target),
                None => self.names_mut(*dir).remove(name),
            };
        }
    }

    /// Every file by its path from the root.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, &[u8]> {
        let mut files = BTreeMap::new();
        let mut dirs = vec![(String::new(), 0)];
        while let Some((prefix, dir)) = dirs.pop() {
            for (name, child) in self.names(dir) {
                let path = format!("{prefix}{name}");
                match &self.nodes[*child].kind {
                    Kind::File(bytes) => drop(files.insert(path, bytes.as_slice())),
                    Kind::Dir(_) => dirs.push((format!("{path}/"), *child)),
                }
            }
        }
        files
    }
}
