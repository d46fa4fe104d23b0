//! What writers say: releases with content, channels, yanks, and what their identities are called.

use std::rc::Rc;

use syncra_protocol::entry::{Body, RefClass, Yank};
use syncra_protocol::id::{BlobId, EntryId, ReleaseId, TreeId};
use syncra_protocol::tree::HashSeq;

use super::{Event, SECOND, Sim};
use crate::disk::Bytes;
use crate::node::Draft;
use crate::world::{handle, moved, release};

impl Sim {
    pub(super) fn on_publish(&mut self) {
        if self.healed {
            return;
        }
        let writers: Vec<usize> = (0..self.nodes.len()).filter(|who| !self.nodes[*who].own.is_empty()).collect();
        if let Some(who) = self.rng.pick(&writers).copied() {
            self.publish(who);
            self.cut_a_publish(who);
        }
        let in_ms = self.rng.between(2 * SECOND..120 * SECOND);
        self.queue.schedule(in_ms, Event::Publish);
    }

    /// Says something, whatever it is.
    pub(super) fn publish(&mut self, who: usize) {
        let draft = self.draft(who);
        self.trace.event(self.queue.now, 17, who, draft.bodies.len() as u64, &[]);
        self.with(who, |node, cx| node.publish(cx, draft));
    }

    fn draft(&mut self, who: usize) -> Draft {
        let [identity, package] = self.nodes[who].own[..] else { unreachable!("a writer has two logs") };
        let says_seen = self.rng.chance(40);
        let mut draft = Draft { origin: package, bodies: Vec::new(), blobs: Vec::new(), says_seen };
        let state = self.nodes[who].up.as_ref().and_then(|up| up.follower.state());
        let known: Vec<ReleaseId> = state.map_or_else(Vec::new, |state| state.releases.keys().copied().collect());
        match (self.rng.below(10), self.rng.pick(&known).copied()) {
            (0, _) => {
                draft.origin = identity;
                draft.bodies.push(handle(["alice", "bob", "carol"][self.rng.below(3)]));
            }
            (1, Some(release)) => {
                let undo = self.rng.chance(50);
                draft.bodies.push(Body::Yank(Yank { release, undo, reason: None }));
            }
            (2, Some(release)) => draft.bodies.push(moved(RefClass::Channel, "stable", Some(release))),
            _ => self.release(&mut draft),
        }
        draft
    }

    /// A release with content of its own, and the channel moved to it.
    fn release(&mut self, draft: &mut Draft) {
        self.n_contents += 1;
        let parts: Vec<Bytes> = (0..self.rng.below(5) + 1).map(|part| self.part(part)).collect();
        let children: Vec<BlobId> = parts.iter().map(|bytes| BlobId::of(bytes)).collect();
        let Ok(sequence) = HashSeq::new(children.clone()) else { return };
        let root = sequence.root();
        self.oracle.contents.insert(root, children.clone());
        // Few versions: two writers take the same one now and then.
        let Body::Release(mut body) = release(&format!("1.{}.0", self.rng.below(60)), 1) else { return };
        (body.content_root, body.tree_id) = (root, TreeId::from_bytes(*root.as_bytes()));
        let body = Body::Release(body);
        draft.blobs = children.into_iter().zip(parts).collect();
        draft.blobs.push((BlobId::from(root), Rc::from(sequence.encode())));
        draft.bodies.push(body.clone());
        if self.rng.chance(50)
            && !draft.says_seen
            && let Ok(entry) = syncra_protocol::entry::Entry::new(body).encode()
        {
            draft.bodies.push(moved(RefClass::Channel, "stable", Some(EntryId::of(&entry).into())));
        }
    }

    fn part(&mut self, part: usize) -> Bytes {
        let mut bytes = Vec::new();
        bytes.extend(self.n_contents.to_le_bytes());
        bytes.extend((part as u64).to_le_bytes());
        for _ in 0..self.rng.below(64) {
            bytes.extend(self.rng.next().to_le_bytes());
        }
        bytes.into()
    }
}
