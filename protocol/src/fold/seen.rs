//! What a new entry says to have seen of other logs.

use super::{End, PackageState};
use crate::entry::SeenHead;
use crate::evidence::Evidence;
use crate::key::DeviceKey;
use crate::origin::{Origin, Subject};

impl PackageState {
    /// What the next entry of device `by` says to have seen: every log of somebody who has to do with the package, as far as it
    /// counts. What does not count, is a stranger's, or is only in one of two histories is not named: others might never hold it,
    /// and those who do not know of the fork would wait. `evidence` is what the state was folded from.
    #[must_use]
    pub fn seen(&self, evidence: &Evidence, by: &DeviceKey) -> Vec<SeenHead> {
        let seen = evidence.frontier().0.into_iter().filter(|(origin, _)| evidence.is_peoples(origin));
        let seen = seen.filter_map(|(origin, head)| {
            let until = match origin.subject {
                Subject::Package(_) => self.writers.get(&origin).map(|writer| writer.until),
                Subject::Identity(identity) => {
                    let device = self.owners.get(&identity).and_then(|owner| owner.devices.get(&origin.key));
                    device.map(|device| device.until)
                }
            };
            let fixed = if evidence.is_forked(&origin) { self.fixed(evidence, &origin, by) } else { u64::MAX };
            let size = head.size.min(until.unwrap_or(u64::MAX)).min(fixed);
            let root = evidence.log(&origin)?.root_at(size).filter(|_| size > 0)?;
            Some(SeenHead { origin, size, root })
        });
        seen.collect()
    }

    /// How many entries of a forked log `by` may name.
    fn fixed(&self, evidence: &Evidence, origin: &Origin, by: &DeviceKey) -> u64 {
        let writer = self.writers.get(origin);
        // Of a device that was cut everybody who knows the cut knows which history is meant.
        if writer.is_some_and(|writer| writer.end.is_some_and(|end| end != End::Forked)) {
            return u64::MAX;
        }
        // Whoever said which history goes on builds on that. Others do not lend their word to what somebody else has said.
        let healed = writer.and_then(|writer| writer.healed.as_ref());
        let healed = healed.filter(|healed| healed.by.iter().any(|log| log.key == *by)).map_or(0, |healed| healed.size);
        evidence.n_common(origin).unwrap_or(0).max(healed)
    }
}
