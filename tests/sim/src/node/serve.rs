//! Answering, honestly or not.

use std::rc::Rc;

use syncra_protocol::bounded::Blob;
use syncra_protocol::id::{BlobId, ContentRoot};
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::message::log::{self, Answer, Entries, Heads, Request};
use syncra_protocol::message::{Refusal, have};
use syncra_protocol::origin::Origin;
use syncra_protocol::sync::Peer;
use syncra_protocol::tree::HashSeq;

use super::{Cx, Manner, Mutation, Node, Observation, Out};
use crate::disk::Bytes;
use crate::wire::{Lane, bytes as own, framed, read_blob_request, unframed};

/// Entries in one answer here: few, so that logs come in several.
const PAGE: u64 = 5;
/// Milliseconds between two blobs of one answer.
const BLOB_MS: u64 = 3;

/// The second history of a writer who signs two.
#[derive(Debug)]
pub(crate) struct Branch {
    log: Log,
    entries: Vec<Bytes>,
    head: Head,
}

impl Node {
    pub(super) fn serve_log(&mut self, cx: &mut Cx<'_>, from: Peer, id: u64, bytes: &[u8]) {
        let request = unframed(bytes).map_err(drop).and_then(|message| log::decode_request(message).map_err(drop));
        let Ok(request) = request else { return }; // the stream ends
        let answer = match request {
            Request::Heads { package } if package == cx.package => self.heads(from).map(Answer::Heads),
            Request::Entries { origin, from: index, limit } => {
                let limit = limit.min(u32::try_from(cx.rng.between(1..PAGE + 1)).unwrap_or(1));
                self.entries(from, &origin, index, limit).map(Answer::Entries)
            }
            _ => None,
        };
        let mut answer = answer.unwrap_or(Answer::Refused(Refusal::NotFound));
        if self.manner == Manner::WrongBytes {
            flip(cx, &mut answer);
        }
        self.answer(cx, from, Lane::Answer(id), framed(&log::encode_answer(&answer)), 0);
    }

    fn heads(&self, to: Peer) -> Option<Heads> {
        let evidence = self.up.as_ref()?.follower.evidence()?;
        Some(Heads::answer(evidence, |head| self.dressed(self.shown(to, head))))
    }

    /// With the proof that its log was forked, if there is one.
    fn dressed(&self, head: &Head) -> Head {
        let proof = self.up.as_ref().and_then(|up| up.truth.forks.get(head.origin()));
        let tells = self.manner == Manner::Honest && !self.is(Mutation::HushesForks);
        let proof = proof.filter(|_| tells).and_then(|proof| ForkProof::verify(proof).ok());
        let point = self.up.as_ref().and_then(|up| up.truth.points.get(head.origin()));
        proof.map_or_else(|| head.clone(), |proof| head.with_evidence(Some(&proof), point, []))
    }

    /// What this node says that the newest head is.
    fn shown<'a>(&'a self, to: Peer, head: &'a Head) -> &'a Head {
        match self.manner {
            Manner::Old => self.oldest.get(head.origin()).unwrap_or(head),
            Manner::Forks => self.branch(to, head.origin()).map_or(head, |branch| &branch.head),
            _ => head,
        }
    }

    fn branch(&self, to: Peer, origin: &Origin) -> Option<&Branch> {
        self.branch.as_ref().filter(|branch| branch.log.origin() == origin && to.as_bytes()[0] % 2 == 1)
    }

    fn entries(&self, to: Peer, origin: &Origin, from: u64, limit: u32) -> Option<Entries> {
        let up = self.up.as_ref()?;
        let (log, head) = up.log(origin)?;
        let entries = up.entries(origin);
        let (log, entries) = match self.branch(to, origin) {
            Some(branch) if self.manner == Manner::Forks => (&branch.log, &branch.entries[..]),
            _ => (log, entries),
        };
        let rest = entries.get(usize::try_from(from).ok()?..).unwrap_or_default();
        Entries::answer(log, self.shown(to, head), (from, limit), rest.iter().map(|entry| entry.to_vec())).ok()
    }

    pub(super) fn notice(&self, cx: &mut Cx<'_>, to: Peer, head: &Head) -> Option<Bytes> {
        let mut note = Blob(self.dressed(self.shown(to, head)).note().to_vec());
        match self.manner {
            Manner::Silent => return None,
            Manner::Garbage => return Some(garbage(cx)),
            Manner::WrongBytes => flip_bit(cx, &mut note.0),
            Manner::Honest | Manner::Old | Manner::Forks | Manner::Thief => {}
        }
        Some(framed(&log::encode_answer(&Answer::Notice { package: cx.package, note })))
    }

    pub(super) fn serve_have(&mut self, cx: &mut Cx<'_>, from: Peer, id: u64, bytes: &[u8]) {
        let request = unframed(bytes).map_err(drop).and_then(|message| have::decode_request(message).map_err(drop));
        let Ok(request) = request else { return };
        let answer = self.held(&request.root).unwrap_or(have::Answer::Refused(Refusal::NotFound));
        self.answer(cx, from, Lane::Answer(id), framed(&have::encode_answer(&answer)), 0);
    }

    /// The sequence of a content that a verified release names, if it is here.
    fn served(&self, root: &ContentRoot) -> Option<HashSeq> {
        let up = self.up.as_ref()?;
        let is_named = up.follower.state()?.releases.values().any(|it| it.release.content_root == *root);
        let bytes = up.blobs.get(&BlobId::from(*root)).filter(|_| is_named)?;
        HashSeq::decode(bytes).ok()
    }

    fn held(&self, root: &ContentRoot) -> Option<have::Answer> {
        let (up, sequence) = (self.up.as_ref()?, self.served(root)?);
        let held = (0..).zip(sequence.children()).filter(|(_, child)| up.blobs.contains_key(child));
        let n_parts = u32::try_from(sequence.children().len()).ok()?;
        Some(have::Answer::of(held.map(|(index, _)| index), n_parts))
    }

    pub(super) fn serve_blobs(&mut self, cx: &mut Cx<'_>, from: Peer, id: u64, bytes: &[u8]) {
        let Some((root, parts)) = read_blob_request(bytes) else { return };
        let (Some(sequence), Some(up)) = (self.served(&root), self.up.as_ref()) else {
            return self.answer(cx, from, Lane::Answer(id), own(&[]), 0);
        };
        if parts.is_empty() {
            let bytes = own(&sequence.encode());
            return self.answer(cx, from, Lane::Answer(id), bytes, 0);
        }
        let part_of = |part: &u32| up.blobs.get(sequence.children().get(*part as usize)?).map(Rc::clone);
        let blobs: Vec<_> = parts.iter().map(|part| (*part, part_of(part))).collect();
        for (n, (part, blob)) in (0..).zip(blobs) {
            match blob {
                Some(blob) => self.answer(cx, from, Lane::Blob(id, part), blob, n * BLOB_MS),
                None => return self.answer(cx, from, Lane::Answer(id), own(&[]), n * BLOB_MS),
            }
        }
    }

    fn answer(&self, cx: &mut Cx<'_>, to: Peer, lane: Lane, mut bytes: Bytes, after_ms: u64) {
        match self.manner {
            Manner::Silent => return,
            Manner::Garbage => bytes = garbage(cx),
            // Answers about logs were damaged before they were encoded: their codec is no checksum.
            Manner::WrongBytes if matches!(lane, Lane::Blob(..)) && !bytes.is_empty() => {
                let mut wrong = bytes.to_vec();
                flip_bit(cx, &mut wrong);
                bytes = wrong.into();
            }
            _ => {}
        }
        cx.out.push(Out::Send { to, lane, bytes, after_ms });
    }

    /// Grows the second history; it begins before the newest entry of the first.
    pub(super) fn grow_branch(&mut self, cx: &mut Cx<'_>, head: &Head) {
        let Some(own) = self.up.as_ref().and_then(|up| up.truth.own.get(head.origin())) else { return };
        let Some(last) = own.entries.last() else { return };
        if self.branch.is_none() && own.entries.len() > 3 {
            let mut log = Log::new(*head.origin());
            let n_common = own.entries.len() - 1 - cx.rng.below(2);
            let entries = own.entries[..n_common].to_vec();
            if entries.iter().all(|entry| log.append(entry).is_ok()) {
                self.branch = Some(Branch { log, entries, head: head.clone() });
            }
        }
        let Some(branch) = self.branch.as_mut().filter(|branch| branch.log.origin() == head.origin()) else { return };
        // Another entry than the one in the first history: the same release under the log's next versions.
        let other = branch.entries[branch.entries.len() - 1].clone();
        let entry = if other == *last { Rc::clone(&branch.entries[1]) } else { other };
        let first = branch.log.size();
        if branch.log.append(&entry).is_ok()
            && let Ok(signed) = Head::sign(&self.secret, branch.log.checkpoint())
        {
            branch.entries.push(Rc::clone(&entry));
            branch.head = signed.clone();
            cx.out.push(Out::Observed(Observation::Signed { first, entries: vec![entry], head: signed }));
        }
    }
}

fn garbage(cx: &mut Cx<'_>) -> Bytes {
    let n_bytes = cx.rng.below(200) + 4;
    let mut bytes: Vec<u8> = (0..n_bytes).map(|_| cx.rng.next().to_le_bytes()[0]).collect();
    if cx.rng.chance(50) {
        // A frame of the right length, so that its inside is looked at too.
        let length = u32::try_from(n_bytes - 4).unwrap_or(0).max(1);
        bytes[..4].copy_from_slice(&length.to_le_bytes());
    }
    bytes.into()
}

fn flip_bit(cx: &mut Cx<'_>, bytes: &mut [u8]) {
    if !bytes.is_empty() {
        let at = cx.rng.below(bytes.len());
        bytes[at] ^= 1 << cx.rng.below(8);
    }
}

fn flip(cx: &mut Cx<'_>, answer: &mut Answer) {
    match answer {
        Answer::Heads(heads) if cx.rng.chance(30) => {
            let n = cx.rng.below(heads.notes.len().max(1));
            if let Some(note) = heads.notes.get_mut(n) {
                flip_bit(cx, &mut note.0);
            }
        }
        Answer::Entries(entries) => {
            let n = cx.rng.below(entries.entries.len().max(1));
            if let Some(entry) = entries.entries.get_mut(n) {
                flip_bit(cx, &mut entry.0);
            }
        }
        _ => {}
    }
}
