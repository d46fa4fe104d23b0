//! From trees of git to content: every file is cut once and every directory packed once, however many commits have them.
//!
//! A release's files are packed together, in segments of some MiB; here that would store some MiB anew for every commit
//! that changes a line. So directories are packed one by one and finely: what changes is stored anew in its own directory,
//! in some 64 KiB. How files are packed is nobody's business but the packer's (`docs/spec/content.md`).

use std::collections::{HashMap, HashSet};

use syncra_protocol::id::BlobId;
use syncra_protocol::limits;
use syncra_protocol::path::EntryPath;
use syncra_protocol::tree::node::Entry;
use syncra_protocol::tree::pack::PackError;
use syncra_protocol::tree::{CutFile, Declared, FileCutter, Node, NodeSet, PackParams, Packer, Segment};
use tokio::sync::mpsc;

use super::object::{Mode, Oid, TreeEntry, Type, tree_entries};
use super::program::Objects;
use super::trees::{TREE_BYTES, verdict};
use super::{GitError, Left, Skip};
use crate::blobs::BlobError;
use crate::flow::secrets::{self, Finding};

/// Files from this size on are cut as coarsely as in any release.
const LARGE_BYTES: u64 = 1 << 20;
/// Bytes of small files that are kept for when their directory changes elsewhere.
const KEPT_FILE_BYTES: usize = 64 << 20;
/// Bytes of directories that are kept between commits.
const KEPT_NODE_BYTES: usize = 128 << 20;
/// Bytes of a file that are read at once; the first of them are looked through for secrets.
const READ_BYTES: usize = secrets::SCANNED_BYTES;
/// What every pointer of git's large-file storage begins with.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// What goes to the blob store.
#[derive(Debug)]
pub(super) enum Item {
    /// Part of files.
    Segment(Segment),
    /// A blob and its name.
    Blob(BlobId, Vec<u8>),
}

/// A file that was cut, and what it looked like.
#[derive(Debug, Clone)]
struct Cut {
    file: CutFile,
    finding: Option<Finding>,
}

/// Packs one tree after the other.
pub(super) struct TreePacker<'a> {
    objects: &'a mut Objects,
    out: &'a mpsc::Sender<Item>,
    skip: Skip,
    allowed: &'a HashSet<String>,
    fine: PackParams,
    files: HashMap<Oid, Cut>,
    file_bytes: usize,
    /// Directories by tree, and by whether it is the top; none if nothing is in it.
    dirs: HashMap<(Oid, bool), Option<BlobId>>,
    nodes: HashMap<BlobId, Vec<u8>>,
    node_bytes: usize,
    roots: HashMap<BlobId, Declared>,
    buffer: Vec<u8>,
    /// Secrets that are left out.
    pub(super) left: Left,
    /// Files that are pointers of git's large-file storage, each once.
    pub(super) lfs_pointers: u64,
}

impl<'a> TreePacker<'a> {
    pub(super) fn new(
        objects: &'a mut Objects,
        out: &'a mpsc::Sender<Item>,
        skip: Skip,
        allowed: &'a HashSet<String>,
    ) -> Self {
        Self {
            objects,
            out,
            skip,
            allowed,
            fine: PackParams::new(64 << 10, 4 << 10).expect("within the format"),
            files: HashMap::new(),
            file_bytes: 0,
            dirs: HashMap::new(),
            nodes: HashMap::new(),
            node_bytes: 0,
            roots: HashMap::new(),
            buffer: vec![0; READ_BYTES],
            left: Left::default(),
            lfs_pointers: 0,
        }
    }

    /// What reads objects: for what belongs to a commit besides its files.
    pub(super) fn objects(&mut self) -> &mut Objects {
        self.objects
    }

    /// Hands out everything of a commit's tree that was not handed out before; none if it has no files.
    pub(super) fn pack(&mut self, commit: Oid, tree: Oid) -> Result<Option<Declared>, GitError> {
        if self.node_bytes > KEPT_NODE_BYTES {
            self.nodes.clear();
            self.dirs.clear();
            self.roots.clear();
            self.node_bytes = 0;
        }
        let Some(root) = self.directory(commit, tree, "")? else { return Ok(None) };
        if let Some(declared) = self.roots.get(&root) {
            return Ok(Some(*declared));
        }
        let of = |source| GitError::Pack { commit, source };
        let mut set = NodeSet::new(root);
        loop {
            let wanted = set.wanted().to_vec();
            if wanted.is_empty() {
                break;
            }
            for node in wanted {
                set.insert(&self.nodes[&node]).map_err(|error| of(error.into()))?;
            }
        }
        let index = set.derive().map_err(|error| of(error.into()))?;
        let declared = index.declared();
        self.blob(index.hash_seq().encode())?;
        self.roots.insert(root, declared);
        Ok(Some(declared))
    }

    /// Hands out a blob.
    pub(super) fn blob(&mut self, bytes: Vec<u8>) -> Result<BlobId, GitError> {
        let id = BlobId::of(&bytes);
        send(self.out, Item::Blob(id, bytes))?;
        Ok(id)
    }

    fn directory(&mut self, commit: Oid, tree: Oid, prefix: &str) -> Result<Option<BlobId>, GitError> {
        let key = (tree, prefix.is_empty());
        if let Some(known) = self.dirs.get(&key) {
            return Ok(*known);
        }
        let bytes = self.objects.read(tree, Type::Tree, TREE_BYTES)?;
        let mut entries = tree_entries(&bytes, tree)?;
        // Git sorts directories as if their names ended with a slash.
        entries.sort_unstable_by_key(|entry| entry.name);
        let (mut dirs, mut folded) = (Vec::new(), HashSet::new());
        let mut packer = Packer::new(self.fine);
        let mut n_files = 0;
        for entry in entries {
            let name = match verdict(&entry, prefix, self.allowed) {
                Ok(name) if folded.insert(syncra_protocol::path::part_key(name)) => name,
                Ok(_) if self.skip.names => continue,
                Err(fault) if self.skip.covers(&fault) => continue,
                fault => {
                    let path = format!("{prefix}{}", String::from_utf8_lossy(entry.name));
                    return Err(GitError::Refused { commit, path, fault: fault.err().unwrap_or(super::Fault::Twin) });
                }
            };
            match entry.mode {
                Mode::Directory => {
                    let below = self.directory(commit, entry.id, &format!("{prefix}{name}/"))?;
                    dirs.extend(below.map(|node| Entry::Dir { name: name.to_owned(), node }));
                }
                Mode::File { executable } => {
                    let Some(cut) = self.file(commit, &entry, &format!("{prefix}{name}"))? else { continue };
                    // Only below some directory is every name allowed that is allowed anywhere.
                    let path = EntryPath::parse(&format!("d/{name}")).expect("the whole path was accepted");
                    let done = packer.add(path, executable, cut);
                    for segment in done.map_err(|source| GitError::Pack { commit, source })? {
                        send(self.out, Item::Segment(segment))?;
                    }
                    n_files += 1;
                }
                Mode::Link | Mode::Module | Mode::Unknown => {}
            }
        }
        let node = self.node((n_files > 0).then_some(packer), dirs).map_err(|fault| fault.of(commit, prefix))?;
        self.dirs.insert(key, node);
        Ok(node)
    }

    /// The node of a directory with these files, packed, and these directories.
    fn node(&mut self, files: Option<Packer>, dirs: Vec<Entry>) -> Result<Option<BlobId>, NodeFault> {
        let mut node = None;
        if let Some(files) = files {
            let pack = files.finish().map_err(NodeFault::Pack)?;
            for segment in pack.segments {
                send(self.out, Item::Segment(segment)).map_err(NodeFault::Store)?;
            }
            let (_, bytes) = pack.nodes.first().expect("a directory with files has a node");
            node = Some(Node::decode(bytes).map_err(NodeFault::Node)?);
        }
        if node.is_none() && dirs.is_empty() {
            return Ok(None);
        }
        let (segments, mut entries) =
            node.map_or_else(Default::default, |node| (node.segments().to_vec(), node.entries().to_vec()));
        entries.extend(dirs);
        entries.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        let bytes = Node::new(segments, entries).map_err(NodeFault::Node)?.encode();
        if bytes.len() > limits::NODE_BYTES {
            return Err(NodeFault::TooLarge(bytes.len()));
        }
        let id = BlobId::of(&bytes);
        if !self.nodes.contains_key(&id) {
            send(self.out, Item::Blob(id, bytes.clone())).map_err(NodeFault::Store)?;
            self.node_bytes += bytes.len();
            self.nodes.insert(id, bytes);
        }
        Ok(Some(id))
    }

    /// A file, cut; none if it is to be left out.
    fn file(&mut self, commit: Oid, entry: &TreeEntry<'_>, path: &str) -> Result<Option<CutFile>, GitError> {
        let cut = match self.files.get(&entry.id) {
            Some(cut) => cut.clone(),
            None => {
                let cut = self.cut(entry.id)?;
                let bytes = if cut.file.size() < LARGE_BYTES { cut.file.size() as usize } else { 0 };
                if self.file_bytes + bytes > KEPT_FILE_BYTES {
                    self.files.clear();
                    self.file_bytes = 0;
                }
                self.file_bytes += bytes + size_of::<Cut>() + 256;
                self.files.insert(entry.id, cut.clone());
                cut
            }
        };
        match cut.finding {
            Some(finding) if !self.allowed.contains(path) => {
                if !self.skip.secrets {
                    return Err(GitError::Secret { commit, path: path.to_owned(), finding });
                }
                self.left.add(path.to_owned());
                Ok(None)
            }
            _ => Ok(Some(cut.file)),
        }
    }

    fn cut(&mut self, id: Oid) -> Result<Cut, GitError> {
        let (fine, out) = (self.fine, self.out);
        let (mut finding, mut is_first, mut is_pointer) = (None, true, false);
        let begin = |size| FileCutter::new(if size < LARGE_BYTES { fine } else { PackParams::default() });
        let piece = |cutter: &mut FileCutter, bytes: &[u8]| {
            if std::mem::take(&mut is_first) {
                finding = secrets::scan(bytes);
                is_pointer = bytes.starts_with(LFS);
            }
            cutter.update(bytes).into_iter().try_for_each(|segment| send(out, Item::Segment(segment)))
        };
        let cutter = self.objects.stream(id, &mut self.buffer, begin, piece)?;
        let (last, file) = cutter.finish();
        last.into_iter().try_for_each(|segment| send(out, Item::Segment(segment)))?;
        self.lfs_pointers += u64::from(is_pointer);
        Ok(Cut { file, finding })
    }
}

/// Why a directory is no node.
enum NodeFault {
    Node(syncra_protocol::tree::node::NodeError),
    Pack(PackError),
    TooLarge(usize),
    Store(GitError),
}

impl NodeFault {
    fn of(self, commit: Oid, prefix: &str) -> GitError {
        let path = prefix.trim_end_matches('/').to_owned();
        let source = match self {
            Self::Node(source) => PackError::Directory { path, source },
            Self::Pack(source) => source,
            Self::TooLarge(len) => PackError::DirectoryTooLarge { path, len },
            Self::Store(error) => return error,
        };
        GitError::Pack { commit, source }
    }
}

/// A store that takes nothing any more has failed, and says why.
fn send(out: &mpsc::Sender<Item>, item: Item) -> Result<(), GitError> {
    out.blocking_send(item).map_err(|_| BlobError::Stopped.into())
}
