//! What a repository holds: its commits in order, and where its branches and tags point. Nothing of any file yet.

use std::collections::HashMap;

use syncra_protocol::version::Version;

use super::object::{Oid, Type};
use super::program::Git;
use super::{GitError, object};

/// Commits of one repository. A log has room for four times as many entries, and memory for this is some 50 MiB.
pub(super) const COMMITS: usize = 250_000;
/// Branches and tags of one repository.
const REFS: usize = 50_000;
/// Parents of one commit: the widest merge of Linux has 66, and a release names 16.
const PARENTS: usize = 1_000;
/// Parents of all commits together: there are about as many as commits, and each takes memory.
const LINKS: usize = 4 * COMMITS;
/// Bytes of a commit or tag object: mail archives hold messages of some MiB.
pub(super) const MESSAGE_BYTES: u64 = 16 << 20;
/// Hexadecimal digits of a commit's id in its version: all of SHA-1's, and what a version has room for.
const ID_DIGITS: usize = 40;

/// One commit.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) id: Oid,
    pub(super) tree: Oid,
    /// Its parents, by their place in [`Survey::commits`], which is before this one's.
    pub(super) parents: Vec<u32>,
    /// The longest way to a commit without parents.
    pub(super) generation: u32,
}

impl Commit {
    /// The version that a commit is published under: it follows from the commit and what it comes from, so whoever imports
    /// it, whenever, gives it the same; and it is lower than every version that an author chose.
    pub(super) fn version(&self) -> Version {
        let id = self.id.to_string();
        let text = format!("0.0.0-git.{}.g{}", self.generation, &id[..ID_DIGITS.min(id.len())]);
        Version::parse(&text).expect("made of digits and letters, and short enough")
    }
}

/// What a name points to.
#[derive(Debug, Clone)]
pub(super) struct Tag {
    /// Behind `refs/tags/`.
    pub(super) name: Vec<u8>,
    /// Its place in [`Survey::commits`].
    pub(super) commit: u32,
    /// The object of an annotated tag.
    pub(super) object: Option<Oid>,
}

impl Tag {
    /// The version that its name says: `v1.2.3` or `1.2.3`.
    pub(super) fn names_version(&self) -> Option<Version> {
        let text = std::str::from_utf8(&self.name).ok()?;
        Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
    }

    /// The version that it is published under: the one it says, else, to keep what an annotated tag says, one that follows
    /// from its object. A plain name needs none.
    pub(super) fn version(&self) -> Option<Version> {
        let kept = || {
            let id = self.object?.to_string();
            Version::parse(&format!("0.0.0-git.tag.g{}", &id[..ID_DIGITS.min(id.len())])).ok()
        };
        self.names_version().or_else(kept)
    }
}

/// The history of a repository.
#[derive(Debug, Clone)]
pub(super) struct Survey {
    /// Parents before children.
    pub(super) commits: Vec<Commit>,
    /// Branches: name behind `refs/heads/`, and place of its commit.
    pub(super) branches: Vec<(Vec<u8>, u32)>,
    pub(super) tags: Vec<Tag>,
    /// Names that point to no commit.
    pub(super) other_refs: Vec<String>,
    /// Where a name and a kind are looked for: the checked-out branch, else the first.
    pub(super) head: Option<u32>,
}

impl Survey {
    /// Reads it.
    pub(super) fn read(git: &Git) -> Result<Self, GitError> {
        let refs = Refs::read(git)?;
        let mut commits = Commits::default();
        // Without any, git would take what is checked out.
        if refs.tips().is_empty() {
            return Err(GitError::Empty);
        }
        // Only the order is git's word: what a commit says is read from its own bytes, which are its id's.
        let mut objects = git.objects()?;
        let args = ["rev-list", "--topo-order", "--reverse", "--stdin"];
        git.lines(&args, refs.tips(), |line| commits.add(line, &mut objects))?;
        let Commits { list, by_id, .. } = commits;
        let place = |id: &Oid| by_id.get(id).copied();
        let branches =
            refs.branches.iter().filter_map(|(name, id)| Some((name.clone(), place(id)?))).collect::<Vec<_>>();
        let tags = refs
            .tags
            .iter()
            .filter_map(|(name, id, object)| Some(Tag { name: name.clone(), commit: place(id)?, object: *object }));
        let tags = tags.collect();
        let head = refs.head.as_ref().and_then(|head| branches.iter().find(|(name, _)| name == head));
        let head = head.or(branches.first()).map(|(_, place)| *place);
        Ok(Self { commits: list, branches, tags, other_refs: refs.others, head })
    }
}

#[derive(Default)]
struct Refs {
    branches: Vec<(Vec<u8>, Oid)>,
    tags: Vec<(Vec<u8>, Oid, Option<Oid>)>,
    others: Vec<String>,
    head: Option<Vec<u8>>,
}

impl Refs {
    fn read(git: &Git) -> Result<Self, GitError> {
        let mut refs = Self::default();
        let mut objects = git.objects()?;
        let args = ["for-each-ref", "--format=%(objectname) %(objecttype) %(refname)", "refs/heads/", "refs/tags/"];
        git.lines(&args, Vec::new(), |line| refs.add(line, &mut objects))?;
        // Where HEAD points, also to a branch without commits; detached it points to none.
        if let Ok(head) = git.run(&["symbolic-ref", "-q", "HEAD"]) {
            refs.head = head.trim_ascii_end().strip_prefix(b"refs/heads/").map(<[u8]>::to_vec);
        }
        Ok(refs)
    }

    fn add(&mut self, line: &[u8], objects: &mut super::program::Objects) -> Result<(), GitError> {
        let garbled = || GitError::Garbled { verb: "for-each-ref" };
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let id = words.next().and_then(Oid::parse_hex).ok_or_else(garbled)?;
        let (kind, name) = (words.next().ok_or_else(garbled)?, words.next().ok_or_else(garbled)?);
        if self.branches.len() + self.tags.len() + self.others.len() >= REFS {
            return Err(GitError::TooMany { what: "branches and tags", max: REFS });
        }
        match (kind, name.strip_prefix(b"refs/heads/"), name.strip_prefix(b"refs/tags/")) {
            (b"commit", Some(branch), _) => self.branches.push((branch.to_vec(), id)),
            (b"commit", _, Some(tag)) => self.tags.push((tag.to_vec(), id, None)),
            (b"tag", _, Some(tag)) => match target(id, objects)? {
                Some(commit) => self.tags.push((tag.to_vec(), commit, Some(id))),
                None => self.others.push(String::from_utf8_lossy(name).into_owned()),
            },
            _ => self.others.push(String::from_utf8_lossy(name).into_owned()),
        }
        Ok(())
    }

    /// What the history is read from.
    fn tips(&self) -> Vec<u8> {
        let ids = self.branches.iter().map(|(_, id)| id).chain(self.tags.iter().map(|(_, id, _)| id));
        ids.flat_map(|id| format!("{id}\n").into_bytes()).collect()
    }
}

/// The commit that an annotated tag names. Tags of tags, trees and files are no part of a history.
fn target(tag: Oid, objects: &mut super::program::Objects) -> Result<Option<Oid>, GitError> {
    let raw = objects.read(tag, Type::Tag, MESSAGE_BYTES)?;
    let headers = object::headers(object::split_message(&raw).0);
    let value = |wanted: &[u8]| headers.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
    Ok(value(b"object").filter(|_| value(b"type") == Some(b"commit")).and_then(Oid::parse_hex))
}

#[derive(Default)]
struct Commits {
    list: Vec<Commit>,
    by_id: HashMap<Oid, u32>,
    links: usize,
}

impl Commits {
    fn add(&mut self, line: &[u8], objects: &mut super::program::Objects) -> Result<(), GitError> {
        if self.list.len() >= COMMITS {
            return Err(GitError::TooMany { what: "commits", max: COMMITS });
        }
        let garbled = || GitError::Garbled { verb: "rev-list" };
        let id = Oid::parse_hex(line).ok_or_else(garbled)?;
        let raw = objects.read(id, Type::Commit, MESSAGE_BYTES)?;
        let (tree, parents) = object::links(&raw, id, PARENTS)?;
        self.links += parents.len();
        if self.links > LINKS {
            return Err(GitError::TooMany { what: "parents of commits", max: LINKS });
        }
        let place = |parent: &Oid| self.by_id.get(parent).copied().ok_or(GitError::Missing { id: *parent });
        let parents = parents.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let generation = parents.iter().map(|at| self.list[*at as usize].generation + 1).max().unwrap_or(0);
        let at = u32::try_from(self.list.len()).map_err(|_| garbled())?;
        self.by_id.insert(id, at);
        self.list.push(Commit { id, tree, parents, generation });
        Ok(())
    }
}
