//! What witnesses say of one log, as values: taken in, bounded, and asked for times.

use std::time::Duration;

use syncra_protocol::Timestamp;
use syncra_protocol::entry::Cut;
use syncra_protocol::key::Signature;
use syncra_protocol::limits::{OTHER_WITNESSES, WITNESS_MOMENTS};
use syncra_protocol::log::Log;
use syncra_protocol::log::checkpoint::Head;
use syncra_protocol::log::cosignature::{Cosignature, WitnessKey};

use crate::journal::{Testimony, Witnessed};

/// Takes in a verified cosignature; false if nothing is new. A smaller tree, another tree of the same size, or an earlier
/// time tells at most since when the witness has seen so much.
pub(super) fn take(testimony: &mut Testimony, cosignature: &Cosignature) -> bool {
    let (witness, checkpoint) = (cosignature.witness(), cosignature.checkpoint());
    let (size, root, seconds) = (checkpoint.size, checkpoint.root, cosignature.at().0 / 1_000);
    let signature = cosignature.signature().0.to_vec();
    let Some(known) = testimony.by.iter_mut().find(|known| is_by(known, witness)) else {
        let (name, key, moments) = (witness.name().to_owned(), *witness.key(), vec![(size, seconds)]);
        testimony.by.push(Witnessed { name, key, size, root, seconds, signature, moments });
        return true;
    };
    let is_other_tree = size == known.size && root != known.root;
    if is_other_tree {
        return false;
    }
    let is_moment = take_moment(&mut known.moments, size, seconds);
    let is_newer = size >= known.size && seconds >= known.seconds && (size, seconds) != (known.size, known.seconds);
    if is_newer {
        (known.size, known.root, known.seconds, known.signature) = (size, root, seconds, signature);
    }
    is_moment || is_newer
}

/// Keeps since when so much was seen; what follows from another moment is left out. Beyond the bound the first is dropped:
/// what it covered looks younger then, never older.
fn take_moment(moments: &mut Vec<(u64, u64)>, size: u64, seconds: u64) -> bool {
    if moments.iter().any(|(seen, since)| *seen >= size && *since <= seconds) {
        return false;
    }
    moments.retain(|(seen, since)| *seen > size || *since < seconds);
    let at = moments.partition_point(|(seen, _)| *seen < size);
    moments.insert(at, (size, seconds));
    if moments.len() > WITNESS_MOMENTS {
        moments.remove(0);
    }
    true
}

/// Of those who are not listed only the newest few stay.
pub(super) fn bound(testimony: &mut Testimony, listed: &[WitnessKey]) {
    let (mut kept, mut others): (Vec<_>, Vec<_>) =
        testimony.by.drain(..).partition(|said| listed.iter().any(|witness| is_by(said, witness)));
    others.sort_by_key(|said| std::cmp::Reverse(said.seconds));
    others.truncate(OTHER_WITNESSES);
    kept.append(&mut others);
    testimony.by = kept;
}

/// What is written down: the listed witnesses' words only. Strangers make nobody write.
pub(super) fn of_listed(testimony: &Testimony, listed: &[WitnessKey]) -> Testimony {
    let is_listed = |said: &&Witnessed| listed.iter().any(|witness| is_by(said, witness));
    Testimony { by: testimony.by.iter().filter(is_listed).cloned().collect() }
}

/// Whether `now` says more than what is `written`: another witness, a larger tree, another moment, or a much later time.
pub(super) fn is_worth_writing(written: &Testimony, now: &Testimony, every: Duration) -> bool {
    now.by.iter().any(|said| {
        let before = written.by.iter().find(|before| (&before.name, before.key) == (&said.name, said.key));
        before.is_none_or(|before| {
            said.size > before.size
                || said.moments != before.moments
                || said.seconds.saturating_sub(before.seconds) >= every.as_secs()
        })
    })
}

/// When each listed witness said last that `head` is the newest it knows.
pub(super) fn times(testimony: &Testimony, head: &Head, listed: &[WitnessKey]) -> Vec<Timestamp> {
    let of = |witness: &WitnessKey| testimony.by.iter().find(|said| is_by(said, witness) && is_of(said, head));
    listed.iter().filter_map(of).map(|said| at(said.seconds)).collect()
}

/// Since when each listed witness has seen the entry at `index`.
pub(super) fn since(testimony: &Testimony, index: u64, listed: &[WitnessKey]) -> Vec<Timestamp> {
    let of = |witness: &WitnessKey| {
        let said = testimony.by.iter().find(|said| is_by(said, witness))?;
        said.moments.iter().find(|(seen, _)| *seen > index).map(|(_, since)| at(*since))
    };
    listed.iter().filter_map(of).collect()
}

/// The trees of `log` that each listed witness has cosigned. Who has cosigned another history last has said nothing of this
/// one.
pub(super) fn seen(testimony: &Testimony, log: &Log, listed: &[WitnessKey]) -> Vec<Vec<Cut>> {
    let of = |witness: &WitnessKey| {
        let said = testimony.by.iter().find(|said| is_by(said, witness))?;
        (log.root_at(said.size) == Some(said.root)).then_some(())?;
        let sizes = said.moments.iter().map(|(size, _)| *size).chain([said.size]);
        Some(sizes.filter_map(|size| Some(Cut { size, root: log.root_at(size)? })).collect())
    };
    listed.iter().filter_map(of).collect()
}

/// The cosignatures of exactly this head, those of listed witnesses first. They are verified once more: what is passed on is
/// right, whatever happened to it here.
pub(super) fn cosignatures(testimony: &Testimony, head: &Head, listed: &[WitnessKey]) -> Vec<Cosignature> {
    let rank = |said: &&Witnessed| listed.iter().position(|witness| is_by(said, witness)).unwrap_or(usize::MAX);
    let mut of_head: Vec<&Witnessed> = testimony.by.iter().filter(|said| is_of(said, head)).collect();
    of_head.sort_by_key(rank);
    let again = |said: &Witnessed| {
        let listed = listed.iter().find(|witness| is_by(said, witness)).cloned();
        let witness = listed.or_else(|| WitnessKey::from_name(&said.name))?;
        let signature = Signature(said.signature.as_slice().try_into().ok()?);
        Cosignature::check(witness, *head.checkpoint(), said.seconds, signature, at(said.seconds)).ok()
    };
    of_head.into_iter().filter_map(again).collect()
}

fn is_by(said: &Witnessed, witness: &WitnessKey) -> bool {
    said.name == witness.name() && said.key == *witness.key()
}

fn is_of(said: &Witnessed, head: &Head) -> bool {
    (said.size, said.root) == (head.size(), head.root())
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds.saturating_mul(1_000))
}
