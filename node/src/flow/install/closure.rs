//! Which releases are installed together: what was asked for, and exactly what those need, one release a package.
//!
//! Rounds without backtracking: each takes the needs of the last selection and selects again, until nothing changes.
//! A release that is installed stays as long as it does; otherwise the highest version that everybody can use is
//! taken. An older version of a needing package is never tried to avoid a conflict: people see the conflict.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncra_protocol::entry::RefClass;
use syncra_protocol::fold::{PackageState, Pick, SelectError, Selection, Warning};
use syncra_protocol::id::{PackageId, ReleaseId, base32};
use syncra_protocol::name::RefName;
use syncra_protocol::origin::Origin;
use syncra_protocol::reference::Selector;
use syncra_protocol::version::VersionReq;

use super::InstallError;
use super::plan::KeptBy;
use crate::flow::Parts;
use crate::flow::{content, resolve};
use crate::history::History;
use crate::installed::{Needed, Slot};

/// Rounds until a selection must have settled: longer chains of needs than this do not exist.
const ROUNDS: usize = 64;

/// What people should be told about a selected release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caution {
    /// The package.
    pub reference: String,
    /// What is the matter.
    pub warning: Warning,
}

/// One selected release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) slot: Slot,
    pub(super) caution: Option<Caution>,
    /// Why the installed release stays, though a newer one was wished for.
    pub(super) kept: Option<KeptBy>,
}

/// What is wished for.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Packages somebody asked for.
    pub(super) direct: BTreeMap<PackageId, Option<Selector>>,
    /// Installed releases that stay if they can.
    pub(super) locked: BTreeMap<PackageId, Slot>,
    /// Installed releases that stay if nothing else can be selected.
    pub(super) fallback: BTreeMap<PackageId, Slot>,
}

/// Selects until it settles.
pub(super) struct Solver<'a> {
    parts: &'a Parts,
    wishes: Wishes,
    /// Each read once, so that one answer uses one frontier.
    histories: BTreeMap<PackageId, Arc<History>>,
}

/// Who needs what of one package.
type Needs = Vec<(PackageId, VersionReq)>;

impl<'a> Solver<'a> {
    pub(super) fn new(parts: &'a Parts, wishes: Wishes) -> Self {
        Self { parts, wishes, histories: BTreeMap::new() }
    }

    pub(super) async fn solve(mut self) -> Result<BTreeMap<PackageId, Chosen>, InstallError> {
        let mut chosen = BTreeMap::new();
        for _ in 0..ROUNDS {
            let (next, conflict) = self.round(&chosen).await?;
            if next == chosen {
                return conflict.map_or(Ok(next), Err);
            }
            chosen = next;
        }
        Err(InstallError::Unsettled)
    }

    /// A conflict may vanish with the release that caused it, so it counts only once nothing else changes.
    async fn round(
        &mut self,
        last: &BTreeMap<PackageId, Chosen>,
    ) -> Result<(BTreeMap<PackageId, Chosen>, Option<InstallError>), InstallError> {
        let mut wanted: BTreeMap<PackageId, Needs> =
            self.wishes.direct.keys().map(|package| (*package, Needs::new())).collect();
        for (package, chosen) in last {
            for needed in &chosen.slot.dependencies {
                wanted.entry(needed.package).or_default().push((*package, needed.req.clone()));
            }
        }
        let (mut next, mut conflict) = (BTreeMap::new(), None);
        for (package, needs) in wanted {
            match self.choose(package, &needs).await {
                Ok(chosen) => drop(next.insert(package, chosen)),
                Err(
                    wishes @ (InstallError::Conflict { .. }
                    | InstallError::Select { .. }
                    | InstallError::Unwitnessed { .. }
                    | InstallError::Blocked { .. }),
                ) => {
                    conflict = conflict.or(Some(self.named(wishes, last)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((next, conflict))
    }

    async fn choose(&mut self, package: PackageId, needs: &Needs) -> Result<Chosen, InstallError> {
        let direct = self.wishes.direct.get(&package).cloned();
        let suits = |slot: &Slot| needs.iter().all(|(_, req)| req.matches(&slot.version));
        if let Some(slot) = self.wishes.locked.get(&package).filter(|slot| suits(slot)) {
            let selector =
                direct.map(|selector| selector.map_or_else(|| RefName::stable().to_string(), |s| s.to_string()));
            return Ok(Chosen { slot: Slot { selector, ..slot.clone() }, caution: None, kept: None });
        }
        let fallback = self.wishes.fallback.get(&package).filter(|slot| suits(slot)).cloned();
        let history = self.history(package).await?;
        let name = resolve::text(&self.parts.histories, package)?;
        let chosen = select(&name, &history.state, direct.clone(), needs);
        if let (Ok(chosen), Some(installed)) = (&chosen, &fallback)
            && chosen.slot.version < installed.version
            && is_void_by_fork(&history.state, installed)
        {
            let kept = Some(KeptBy::Forked(installed.version.clone()));
            return Ok(Chosen { slot: installed.clone(), caution: None, kept });
        }
        let chosen = chosen.and_then(|chosen| self.permitted(chosen, &history.state, fallback.as_ref()));
        let kept = match &chosen {
            Err(InstallError::Select { source, .. }) => KeptBy::Select((**source).clone()),
            Err(InstallError::Unwitnessed { version, source, .. }) => {
                KeptBy::Unwitnessed { version: version.clone(), why: *source }
            }
            Err(InstallError::Blocked { .. }) => KeptBy::Blocked,
            _ => return chosen,
        };
        fallback.map_or(chosen, |slot| Ok(Chosen { slot, caution: None, kept: Some(kept) }))
    }

    /// What is selected, unless the reader's policy or a block is against it. What is installed is not asked about again.
    fn permitted(
        &self,
        chosen: Chosen,
        state: &PackageState,
        installed: Option<&Slot>,
    ) -> Result<Chosen, InstallError> {
        let release = chosen.slot.release;
        if installed.is_some_and(|installed| installed.release == release) {
            return Ok(chosen);
        }
        if self.parts.is_blocked(state) {
            return Err(InstallError::Blocked { reference: chosen.slot.reference });
        }
        // What this person's other devices wrote is its own too.
        let is_own = |writer: &Origin| state.writers.get(writer).is_some_and(|w| w.identity == self.parts.identity());
        let published = state.releases.get(&release).filter(|published| !is_own(&published.writer));
        let permitted = published.map_or(Ok(()), |published| self.parts.witnesses.permit(published));
        permitted.map(|()| chosen.clone()).map_err(|source| {
            let Slot { reference, version, .. } = chosen.slot;
            InstallError::Unwitnessed { reference, version, source }
        })
    }

    async fn history(&mut self, package: PackageId) -> Result<Arc<History>, InstallError> {
        if let Some(history) = self.histories.get(&package) {
            return Ok(Arc::clone(history));
        }
        let history = content::history(self.parts, package).await?;
        self.histories.insert(package, Arc::clone(&history));
        Ok(history)
    }

    /// A conflict tells ids; people want names.
    fn named(&self, error: InstallError, last: &BTreeMap<PackageId, Chosen>) -> InstallError {
        let InstallError::Conflict { package, wishes } = error else { return error };
        let name = |wish: String| match wish.split_once(' ') {
            Some((id, rest)) => {
                let id = id.parse::<PackageId>().ok();
                let name = id.and_then(|id| last.get(&id)).map(|chosen| chosen.slot.reference.clone());
                name.map_or_else(|| wish.clone(), |name| format!("{name} {rest}"))
            }
            None => wish,
        };
        InstallError::Conflict { package, wishes: wishes.into_iter().map(name).collect() }
    }
}

/// Whether what is installed would not be installed any more because a key has signed two histories: its writer's, or one on
/// which the writer's right rests. Whoever was removed or cut is not meant.
fn is_void_by_fork(state: &PackageState, installed: &Slot) -> bool {
    match state.select(&Pick::Release(installed.release)) {
        Err(SelectError::Forked { .. }) => true,
        // Where somebody was cut the writer's right may have gone with that.
        Err(SelectError::NoRelease(_)) => {
            let mut devices = state.owners.values().flat_map(|owner| owner.devices.values());
            !state.forked.is_empty() && devices.all(|device| device.cuts.is_none())
        }
        _ => false,
    }
}

/// The release that suits the wish and all needs.
fn select(
    name: &str,
    state: &PackageState,
    direct: Option<Option<Selector>>,
    needs: &Needs,
) -> Result<Chosen, InstallError> {
    let failed = |source| InstallError::Select { reference: name.to_owned(), source: Box::new(source) };
    let selector = direct.map(|selector| selector.unwrap_or_else(|| default_selector(state)));
    let selection = match &selector {
        // It means one release whatever others need.
        Some(fixed @ (Selector::Version(_) | Selector::Channel(_) | Selector::Release(_))) => {
            let selection = resolve::release(state, Some(fixed)).map_err(failed)?;
            let suits = needs.iter().all(|(_, req)| req.matches(&selection.published.release.version));
            if !suits {
                return Err(conflict(name, selector.as_ref(), needs));
            }
            selection
        }
        Some(Selector::Req(_)) | None => {
            let mut reqs: Vec<&VersionReq> = needs.iter().map(|(_, req)| req).collect();
            if let Some(Selector::Req(req)) = &selector {
                reqs.push(req);
            }
            highest(state, &reqs).ok_or_else(|| conflict(name, selector.as_ref(), needs))?.map_err(failed)?
        }
    };
    let slot = slot(name, state, &selection, selector.map(|selector| selector.to_string()));
    let caution = selection.warning.map(|warning| Caution { reference: slot.reference.clone(), warning });
    Ok(Chosen { slot, caution, kept: None })
}

/// What `add` means without a selector.
fn default_selector(state: &PackageState) -> Selector {
    let stable = RefName::stable();
    if state.refs.contains_key(&(RefClass::Channel, stable.clone())) {
        Selector::Channel(stable)
    } else {
        Selector::Req(VersionReq::any())
    }
}

/// The highest version that matches all requirements; none if no version does, or why the highest may not be selected.
fn highest<'a>(state: &'a PackageState, reqs: &[&VersionReq]) -> Option<Result<Selection<'a>, SelectError>> {
    if let [req] = reqs {
        return Some(state.select(&Pick::Highest((*req).clone())));
    }
    let mut first_error = None;
    for version in state.versions.keys().rev().filter(|version| reqs.iter().all(|req| req.matches(version))) {
        match state.select(&Pick::Version(version.clone())) {
            Ok(selection) => return Some(Ok(selection)),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    first_error.map(Err)
}

fn conflict(name: &str, selector: Option<&Selector>, needs: &Needs) -> InstallError {
    let asked = selector.map(|selector| format!("asked for {selector}"));
    let needed = needs.iter().map(|(by, req)| format!("{by} needs {req}"));
    InstallError::Conflict { package: name.to_owned(), wishes: asked.into_iter().chain(needed).collect() }
}

fn slot(name: &str, state: &PackageState, selection: &Selection<'_>, selector: Option<String>) -> Slot {
    let release = &selection.published.release;
    let needed =
        |needed: &syncra_protocol::entry::Dependency| Needed { package: needed.package, req: needed.req.clone() };
    let canonical: ReleaseId = state.canonical(selection.release);
    Slot {
        reference: name.to_owned(),
        kind: state.genesis.kind,
        version: release.version.clone(),
        release: canonical,
        tree_id: release.tree_id,
        content_root: release.content_root,
        total_bytes: release.total_bytes,
        n_files: release.n_files,
        selector,
        dependencies: release.dependencies.iter().map(needed).collect(),
        engine: release.engine.clone(),
        frontier: base32(&state.frontier.digest()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::fixture::{Draft, open};

    /// Where a right rested on a forked log there is no such release any more, whoever wrote it; but whoever was cut is not
    /// meant, and what nobody has signed twice explains nothing.
    #[tokio::test]
    async fn a_release_that_is_gone_is_void_by_a_fork_unless_somebody_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let parts = open(dir.path()).await;
        let lamp = Draft::new("lamp", "1.0.0").publish(&parts).await;
        let mut state = parts.histories.package(lamp.package).unwrap().unwrap().state.clone();
        let installed = {
            let pick = Pick::Release(lamp.release_id);
            slot("lamp", &state, &state.select(&pick).unwrap(), None)
        };
        let device = Origin::identity(parts.identity(), parts.device);
        state.forked.insert(device, 1);
        assert!(!is_void_by_fork(&state, &installed), "it counts in spite of that");
        state.releases.remove(&lamp.release_id);
        assert!(matches!(state.select(&Pick::Release(lamp.release_id)), Err(SelectError::NoRelease(_))));
        assert!(is_void_by_fork(&state, &installed));

        let whole = PackageState { forked: BTreeMap::new(), ..state.clone() };
        assert!(!is_void_by_fork(&whole, &installed));
        let owner = Arc::make_mut(state.owners.get_mut(&parts.identity()).unwrap());
        owner.devices.get_mut(&parts.device).unwrap().cuts = Some(BTreeMap::new());
        assert!(!is_void_by_fork(&state, &installed));
        parts.close().await;
    }
}
