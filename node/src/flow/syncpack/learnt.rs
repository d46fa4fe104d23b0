//! What a file taught about forked logs: the proofs and the places where histories part that came with it.

use std::collections::BTreeMap;

use syncra_protocol::log::fork::ForkProof;
use syncra_protocol::log::fork_point::ForkPoint;
use syncra_protocol::origin::Origin;

use super::survey::Survey;
use crate::flow::Parts;

/// A log of which it was learnt that its key signed two histories, or where these part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearntFork {
    /// The log.
    pub log: Origin,
    /// How many of the entries that are here are in both, if that is known.
    pub n_common: Option<u64>,
}

/// Of each log in a file what is known of a fork: none, or a fork and how much is in both of its histories.
pub(super) fn known(parts: &Parts, survey: &Survey) -> BTreeMap<Origin, Option<Option<u64>>> {
    let logs = survey.packages.iter().flat_map(|package| &package.logs);
    logs.map(|log| *log.head.origin()).map(|origin| (origin, now(parts, &origin))).collect()
}

/// What is known by now and was not.
pub(super) fn since(parts: &Parts, before: &BTreeMap<Origin, Option<Option<u64>>>) -> Vec<LearntFork> {
    let news =
        before.iter().filter_map(|(log, before)| Some((log, now(parts, log)?)).filter(|now| Some(now.1) != *before));
    news.map(|(log, n_common)| LearntFork { log: *log, n_common }).collect()
}

/// What a file would teach: what its notes carry and nobody here knows, and what showed when histories were compared.
pub(super) fn would<'a>(
    parts: &Parts,
    survey: &Survey,
    compared: impl Iterator<Item = &'a ForkPoint>,
) -> Vec<LearntFork> {
    let mut news = BTreeMap::new();
    for head in survey.packages.iter().flat_map(|package| &package.logs).map(|log| &log.head) {
        let (log, point) = (*head.origin(), ForkPoint::carried_by(head));
        match now(parts, &log) {
            None if point.is_some() || ForkProof::carried_by(head).is_some() => {
                news.insert(log, point.map(|point| point.n_common()));
            }
            Some(None) => news.extend(point.map(|point| (log, Some(point.n_common())))),
            None | Some(Some(_)) => {}
        }
    }
    news.extend(compared.map(|point| (*point.origin(), Some(point.n_common()))));
    news.into_iter().map(|(log, n_common)| LearntFork { log, n_common }).collect()
}

fn now(parts: &Parts, log: &Origin) -> Option<Option<u64>> {
    parts.histories.fork(log).map(|fork| fork.n_common)
}
