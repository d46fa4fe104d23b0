//! A package becomes a repository: releases are commits, branches and tags are what they are called.
//!
//! What came from git comes back as it was: a commit whose files, parents and note are unchanged has the id that it had.
//! What was published here gets an author from its owner and no time, for entries have none; so two who export the same
//! history get the same commits.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use syncra_protocol::entry::RefClass;
use syncra_protocol::fold::{PackageState, Pick, Standing};
use syncra_protocol::id::{BlobId, ReleaseId};
use syncra_protocol::name::RefName;
use syncra_protocol::tree::content::PlacedFile;
use tokio::runtime::Handle;

use super::note::{self, Object, Source};
use super::object::{self, Oid, Type};
use super::program::{Asked, Git};
use super::{GitError, joined, names};
use crate::flow::peek::{Described, Peek};
use crate::flow::resolve::Named;
use crate::flow::stage::{self, Stage};
use crate::flow::{Parts, identity};
use crate::progress::Progress;

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Commits.
    pub commits: u64,
    /// Of those that came from git, how many have the id that they had.
    pub same: u64,
    /// And how many have another: something of them was left out, or their signature could not be kept.
    pub changed: u64,
    /// Branches and tags.
    pub refs: u64,
    /// Refs and releases that are not in the repository, and why.
    pub left: Vec<String>,
    /// The branch that is checked out.
    pub head: Option<String>,
    /// Bytes that had to be fetched.
    pub fetched_bytes: u64,
}

/// Writes a package into a new repository at `dir`, which must be absent or empty. It appears when it is whole.
///
/// # Errors
/// [`GitError`].
pub async fn export(
    parts: &Arc<Parts>,
    named: Named,
    dir: &Path,
    patience: Duration,
    progress: &Progress,
) -> Result<Exported, GitError> {
    let (parts, dir, progress) = (parts.clone(), dir.to_owned(), progress.clone());
    let work = move || {
        let failed = |source| GitError::Write { path: dir.clone(), source };
        if !stage::is_free(&dir).map_err(failed)? {
            return Err(GitError::Taken { dir });
        }
        let stage = Stage::beside(&dir).map_err(failed)?;
        let done = Exporter::run(&parts, &named, stage.path(), patience, &progress)?;
        stage.appear(&dir).map_err(|source| GitError::Write { path: dir, source })?;
        Ok(done)
    };
    joined(tokio::task::spawn_blocking(work).await)
}

/// Releases that can be commits, parents first.
fn in_order(state: &PackageState) -> Vec<ReleaseId> {
    let (mut order, mut done) = (Vec::new(), HashSet::new());
    for first in state.releases.keys() {
        let mut stack = vec![(*first, false)];
        while let Some((id, parents_done)) = stack.pop() {
            let Some(published) = state.releases.get(&id).filter(|published| published.standing == Standing::Settled)
            else {
                continue;
            };
            if parents_done {
                order.push(id);
            } else if done.insert(id) {
                stack.push((id, true));
                stack.extend(published.release.parents.iter().map(|parent| (canonical(state, *parent), false)));
            }
        }
    }
    order
}

/// The release that stands for one that repeats it.
fn canonical(state: &PackageState, release: ReleaseId) -> ReleaseId {
    match state.releases.get(&release).map(|published| published.standing) {
        Some(Standing::SameAs(first)) => first,
        _ => release,
    }
}

/// What a release is in the repository.
#[derive(Debug, Clone, Copy)]
struct Made {
    commit: Oid,
    /// The object of an annotated tag.
    tag: Option<Oid>,
}

struct Exporter<'a> {
    parts: &'a Parts,
    named: &'a Named,
    git: Git,
    handle: Handle,
    peek: Peek<'a>,
    blobs: Asked,
    trees: Asked,
    commits: Asked,
    tags: Asked,
    /// Where files lie while git makes objects of them.
    scratch: PathBuf,
    files: HashMap<BlobId, Oid>,
    dirs: HashMap<blake3::Hash, Oid>,
    made: HashMap<ReleaseId, Made>,
    done: Exported,
}

impl<'a> Exporter<'a> {
    fn run(
        parts: &'a Parts,
        named: &'a Named,
        dir: &Path,
        patience: Duration,
        progress: &'a Progress,
    ) -> Result<Exported, GitError> {
        let state = &named.history.state;
        let order = in_order(state);
        if order.is_empty() {
            return Err(GitError::NoRelease(named.reference.clone()));
        }
        let handle = Handle::current();
        let mut refs = Refs::of(state);
        let git = Git::init(dir, &refs.head.clone().map_or_else(|| OsString::from("main"), OsString::from))?;
        let scratch = git.git_dir().join("syncra-export");
        std::fs::create_dir(&scratch).map_err(|source| GitError::Write { path: scratch.clone(), source })?;
        let mut exporter = Self {
            parts,
            named,
            peek: handle.block_on(Peek::new(parts, false, patience, progress))?,
            blobs: git.hasher(Type::Blob)?,
            trees: git.tree_maker()?,
            commits: git.hasher(Type::Commit)?,
            tags: git.hasher(Type::Tag)?,
            git,
            handle,
            scratch,
            files: HashMap::new(),
            dirs: HashMap::new(),
            made: HashMap::new(),
            done: Exported { left: std::mem::take(&mut refs.left), ..Exported::default() },
        };
        for (done, release) in (1..).zip(&order) {
            exporter.release(*release)?;
            progress.items("write", done, Some(order.len() as u64));
        }
        exporter.finish(refs)
    }

    /// Writes a release.
    fn release(&mut self, id: ReleaseId) -> Result<(), GitError> {
        let state = &self.named.history.state;
        let release = &state.releases[&id].release;
        let note = self.handle.block_on(self.peek.note(release)).map_err(Box::new)?;
        if release.note.is_some() && note.is_none() {
            self.done.left.push(format!("the note of version {}: nobody has it", release.version));
        }
        let source = note.as_deref().and_then(note::parse);
        let parents: Vec<ReleaseId> = release.parents.iter().map(|parent| canonical(state, *parent)).collect();
        if let (Some(source @ (Source::Tag(_) | Source::Name(_))), [only]) = (&source, &parents[..])
            && let Some(made) = self.made.get(only).copied()
            && state.releases[only].release.tree_id == release.tree_id
        {
            let tag = match source {
                Source::Tag(object) => self.tag(object, made.commit)?,
                _ => None,
            };
            self.made.insert(id, Made { commit: made.commit, tag });
            return Ok(());
        }
        let described = self.handle.block_on(self.peek.describe(release)).map_err(Box::new)?;
        let tree = self.tree(&described)?;
        let parents: Vec<Oid> =
            parents.iter().filter_map(|parent| self.made.get(parent)).map(|made| made.commit).collect();
        let commit = match &source {
            Some(Source::Commit(object)) => self.commit_again(object, tree, &parents)?,
            _ => None,
        };
        let commit = match commit {
            Some(commit) => commit,
            None => self.commit_anew(id, tree, &parents, note.as_deref())?,
        };
        self.done.commits += 1;
        self.made.insert(id, Made { commit, tag: None });
        Ok(())
    }

    /// Makes the trees of a release, the lowest first; those that were made before are known.
    fn tree(&mut self, described: &Described) -> Result<Oid, GitError> {
        let files = described.index.files();
        let missing = files.iter().map(|file| file.entry.hash).filter(|hash| !self.files.contains_key(hash));
        let missing: HashSet<BlobId> = missing.collect();
        if !missing.is_empty() {
            let bring = self.peek.bring(described, missing.iter().copied());
            self.handle.block_on(bring).map_err(Box::new)?;
        }
        for file in files.iter().filter(|file| missing.contains(&file.entry.hash)) {
            if !self.files.contains_key(&file.entry.hash) {
                let made = self.blob(described, file)?;
                self.files.insert(file.entry.hash, made);
            }
        }
        // Name and kind of what is in each directory: a file, or a directory that was closed.
        let mut open: Vec<(String, BTreeMap<String, String>)> = vec![(String::new(), BTreeMap::new())];
        for file in files {
            let mut dirs: Vec<&str> = file.entry.path.parts().collect();
            let name = dirs.pop().expect("a path has a last part");
            let shared = open[1..].iter().zip(&dirs).take_while(|((open, _), dir)| open == *dir).count();
            while open.len() > shared + 1 {
                self.close(&mut open)?;
            }
            open.extend(dirs[shared..].iter().map(|dir| ((*dir).to_owned(), BTreeMap::new())));
            let mode = if file.entry.executable { "100755" } else { "100644" };
            let line = format!("{mode} blob {}\t{name}\n", self.files[&file.entry.hash]);
            open.last_mut().expect("the top stays open").1.insert(name.to_owned(), line);
        }
        while open.len() > 1 {
            self.close(&mut open)?;
        }
        let (_, top) = open.pop().expect("the top stays open");
        self.directory(&top)
    }

    fn close(&mut self, open: &mut Vec<(String, BTreeMap<String, String>)>) -> Result<(), GitError> {
        let (name, entries) = open.pop().expect("called with a directory open");
        let made = self.directory(&entries)?;
        let above = &mut open.last_mut().expect("the top stays open").1;
        above.insert(name.clone(), format!("040000 tree {made}\t{name}\n"));
        Ok(())
    }

    fn directory(&mut self, entries: &BTreeMap<String, String>) -> Result<Oid, GitError> {
        let mut list: String = entries.values().map(String::as_str).collect();
        let key = blake3::hash(list.as_bytes());
        if let Some(made) = self.dirs.get(&key) {
            return Ok(*made);
        }
        // An empty line ends one tree and begins the next.
        list.push('\n');
        let made = self.trees.ask(list.as_bytes())?;
        self.dirs.insert(key, made);
        Ok(made)
    }

    fn blob(&mut self, described: &Described, file: &PlacedFile) -> Result<Oid, GitError> {
        let path = self.scratch.join("file");
        let failed = |source| GitError::Write { path: path.clone(), source };
        let mut target = std::fs::File::create(&path).map_err(failed)?;
        let write = |bytes: &[u8]| target.write_all(bytes).map_err(failed);
        self.handle.block_on(self.peek.copy(described, file, write))?;
        drop(target);
        hash(&mut self.blobs, &path)
    }

    /// A commit as it was, but with these files and parents; none if git does not take it.
    fn commit_again(&mut self, object: &Object, tree: Oid, parents: &[Oid]) -> Result<Option<Oid>, GitError> {
        let mut raw = format!("tree {tree}\n").into_bytes();
        parents.iter().for_each(|parent| raw.extend_from_slice(format!("parent {parent}\n").as_bytes()));
        let headers = object::headers(&object.headers);
        let rest = headers.iter().filter(|(key, _)| !matches!(*key, b"tree" | b"parent"));
        let before = raw.len();
        for (key, value) in rest.clone() {
            line(&mut raw, key, value);
        }
        let whole = [&raw[..], b"\n", &object.message].concat();
        let as_it_was = self.object(Type::Commit, &whole)?;
        if as_it_was == Some(object.id) {
            self.done.same += 1;
            return Ok(as_it_was);
        }
        self.done.changed += 1;
        // A signature over another commit would be a lie.
        raw.truncate(before);
        for (key, value) in rest.filter(|(key, _)| !key.starts_with(b"gpgsig") && *key != b"mergetag") {
            line(&mut raw, key, value);
        }
        self.object(Type::Commit, &[&raw[..], b"\n", &object.message].concat())
    }

    fn tag(&mut self, object: &Object, commit: Oid) -> Result<Option<Oid>, GitError> {
        let headers = object::headers(&object.headers);
        let named = headers.iter().find(|(key, _)| *key == b"object").and_then(|(_, value)| Oid::parse_hex(value));
        if named != Some(commit) {
            // The commit is another now; what was said, and perhaps signed, about the old one is not repeated.
            return Ok(None);
        }
        self.object(Type::Tag, &[&object.headers[..], b"\n", &object.message].concat())
    }

    fn commit_anew(&mut self, id: ReleaseId, tree: Oid, parents: &[Oid], note: Option<&str>) -> Result<Oid, GitError> {
        let published = &self.named.history.state.releases[&id];
        let writer = self.named.history.state.writers.get(&published.writer);
        let author = match writer {
            Some(writer) => identity::owner_text(&self.parts.histories, writer.identity)?,
            None => "@unknown".to_owned(),
        };
        let key = author.rsplit('~').next().unwrap_or_default().trim_start_matches('@').to_owned();
        let mut raw = format!("tree {tree}\n");
        parents.iter().for_each(|parent| raw.push_str(&format!("parent {parent}\n")));
        let text = note.map(|note| note.replace('\0', " ")).filter(|note| !note.trim().is_empty());
        let text = text.unwrap_or_else(|| format!("Version {}", published.release.version));
        for role in ["author", "committer"] {
            raw.push_str(&format!("{role} {author} <{key}@syncra> 0 +0000\n"));
        }
        raw.push_str(&format!("\n{}\n\nSyncra-Release: {id}\n", text.trim_end()));
        let made = self.object(Type::Commit, raw.as_bytes())?;
        made.ok_or(GitError::Garbled { verb: "hash-object" })
    }

    /// Makes an object; none if git refuses it. A note is whatever its author wrote, and git checks what it is made to write.
    fn object(&mut self, kind: Type, raw: &[u8]) -> Result<Option<Oid>, GitError> {
        let path = self.scratch.join(kind.as_str());
        std::fs::write(&path, raw).map_err(|source| GitError::Write { path: path.clone(), source })?;
        let program = if kind == Type::Tag { &mut self.tags } else { &mut self.commits };
        match hash(program, &path) {
            Ok(made) => Ok(Some(made)),
            Err(GitError::Program { said, .. }) => {
                tracing::debug!(said, "git does not take an object as it was");
                *program = self.git.hasher(kind)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn finish(mut self, refs: Refs) -> Result<Exported, GitError> {
        let mut commands = Vec::new();
        let mut names = HashSet::new();
        let tagged: HashSet<ReleaseId> =
            refs.list.iter().filter(|named| named.is_tag).map(|named| named.release).collect();
        let versions = self.named.history.state.releases.iter().filter_map(|(id, published)| {
            let version = published.release.version.to_string();
            let is_new = !tagged.contains(id) && !version.starts_with("0.0.0-git.");
            is_new.then(|| Ref { name: format!("refs/tags/v{version}").into_bytes(), release: *id, is_tag: true })
        });
        let versions: Vec<Ref> = versions.collect();
        for Ref { name, release, is_tag } in refs.list.iter().chain(&versions) {
            let Some(made) = self.made.get(release) else { continue };
            let shown = String::from_utf8_lossy(name).into_owned();
            if !claim(&mut names, name) {
                self.done.left.push(format!("{shown}: another ref lies in the way"));
                continue;
            }
            let target = made.tag.filter(|_| *is_tag).unwrap_or(made.commit);
            commands.extend_from_slice(&[b"create ", &name[..], format!(" {target}\n").as_bytes()].concat());
            self.done.refs += 1;
        }
        let Self { git, blobs, trees, commits, tags, scratch, peek, mut done, .. } = self;
        [blobs, trees, commits, tags].into_iter().try_for_each(Asked::finish)?;
        git.lines(&["update-ref", "--stdin"], commands, |_| Ok(()))?;
        std::fs::remove_dir_all(&scratch).map_err(|source| GitError::Write { path: scratch, source })?;
        git.run(&["repack", "-a", "-d", "-q"])?;
        if refs.head.is_some() {
            git.run(&["read-tree", "--reset", "-u", "HEAD"])?;
        }
        done.head = refs.head;
        done.fetched_bytes = peek.fetched_bytes();
        Ok(done)
    }
}

/// Git keeps refs like files: of `a` and `a/b` there can be one.
fn claim(names: &mut HashSet<Vec<u8>>, name: &[u8]) -> bool {
    let ends = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let below = [name, b"/"].concat();
    if ends.clone().any(|at| names.contains(&name[..at])) || names.iter().any(|other| other.starts_with(&below)) {
        return false;
    }
    names.insert(name.to_vec())
}

fn line(raw: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    raw.extend_from_slice(&[key, b" ", value, b"\n"].concat());
}

fn hash(program: &mut Asked, file: &Path) -> Result<Oid, GitError> {
    let path = file.to_str().ok_or(GitError::Garbled { verb: "hash-object" })?;
    program.ask(format!("{path}\n").as_bytes())
}

/// A ref of the repository.
#[derive(Debug)]
struct Ref {
    /// In full.
    name: Vec<u8>,
    release: ReleaseId,
    is_tag: bool,
}

/// The refs that the repository will have.
#[derive(Debug, Default)]
struct Refs {
    list: Vec<Ref>,
    left: Vec<String>,
    /// The branch to check out.
    head: Option<String>,
}

impl Refs {
    fn of(state: &PackageState) -> Self {
        let mut refs = Self::default();
        let has_branches = state.refs.keys().any(|(class, _)| *class == RefClass::Branch);
        for (class, name) in state.refs.keys() {
            // Where there are no branches, channels are what one works on.
            let space = match class {
                RefClass::Branch => "refs/heads/",
                RefClass::Tag => "refs/tags/",
                RefClass::Channel if has_branches => "refs/channels/",
                RefClass::Channel => "refs/heads/",
            };
            refs.add(state, space, *class, name);
        }
        let branches = refs.list.iter().filter_map(|named| named.name.strip_prefix(b"refs/heads/"));
        let branches: Vec<&str> = branches.filter_map(|name| std::str::from_utf8(name).ok()).collect();
        let usual = ["main", "master", "stable"].into_iter().find(|usual| branches.contains(usual));
        refs.head = usual.or(branches.first().copied()).map(str::to_owned);
        refs
    }

    fn add(&mut self, state: &PackageState, space: &str, class: RefClass, name: &RefName) {
        let shown = format!("{class} {name}");
        let Some(git) = names::to_git(name) else {
            self.left.push(format!("{shown}: no name in git"));
            return;
        };
        match state.select(&Pick::Ref(class, name.clone())) {
            Ok(selection) => {
                let release = canonical(state, selection.release);
                let name = [space.as_bytes(), &git].concat();
                self.list.push(Ref { name, release, is_tag: class == RefClass::Tag });
            }
            Err(error) => self.left.push(format!("{shown}: {error}")),
        }
    }
}
