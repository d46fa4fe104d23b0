//! What a change would do, before it does it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use syncra_protocol::fold::SelectError;
use syncra_protocol::id::{BlobId, PackageId};
use syncra_protocol::reference::{ReferenceFault, Selector};
use syncra_protocol::version::Version;

use super::closure::{Caution, Solver, Wishes};
use super::{InstallError, Request};
use crate::flow::Parts;
use crate::installed::{Generation, InstalledError, Slot};
use crate::sync::fetch::PATIENCE;
use crate::witness::Unwitnessed;

/// What an install would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The generation that it starts from.
    pub base: Generation,
    /// What it changes; needed packages before those that need them.
    pub changes: Vec<Change>,
    /// What people should be told.
    pub cautions: Vec<Caution>,
    /// Packages that stay as they are, though they were to be updated.
    pub kept: Vec<Kept>,
    /// How long a fetch may go on without a byte from anybody.
    pub patience: Duration,
    pub(super) next: BTreeMap<PackageId, Slot>,
    /// What comes into force, or was asked for: if it lies unpacked here already, that is looked at before it is taken. Going
    /// back to a generation is quick instead, and needs nobody.
    pub(super) doubted: Vec<(PackageId, Slot)>,
    pub(super) target: Target,
}

/// Which generation will be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// One that is made.
    New,
    /// One that is there.
    Kept(u64),
}

/// What changes for one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The package.
    pub package: PackageId,
    /// What is installed.
    pub from: Option<Slot>,
    /// What will be.
    pub to: Option<Slot>,
}

/// A package that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The package.
    pub reference: String,
    /// Why nothing newer is selected.
    pub why: KeptBy,
}

/// What keeps an installed release in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeptBy {
    /// Nothing newer can be selected.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The reader's policy about witnesses.
    #[error("{version}: {why}")]
    Unwitnessed {
        /// The version that would have been installed.
        version: Version,
        /// What the policy has against it.
        why: Unwitnessed,
    },
    /// The user blocks an owner.
    #[error("you block its owner")]
    Blocked,
    /// What is installed is only in one of two histories, or its writer's right is; nothing older is taken for it unasked.
    #[error(
        "a key has signed two histories, so that {0} does not count as it stands; name an older version to go back"
    )]
    Forked(Version),
}

/// Why a package is installed: who asked for it, or which chain of needs leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// The package itself.
    pub slot: Slot,
    /// From a package that somebody asked for, through those in between, to this one; one chain for each start.
    pub chains: Vec<Vec<Slot>>,
}

impl Change {
    /// How people name the package.
    #[must_use]
    pub fn reference(&self) -> &str {
        let slot = self.to.as_ref().or(self.from.as_ref());
        slot.map_or("", |slot| &slot.reference)
    }
}

impl Plan {
    /// What names this plan: two of one id change the same packages from and to the same releases.
    #[must_use]
    pub fn id(&self) -> BlobId {
        let mut bytes = Vec::new();
        for change in &self.changes {
            bytes.extend(change.package.as_bytes());
            for slot in [&change.from, &change.to] {
                bytes.extend(slot.as_ref().map_or([0; 32], |slot| *slot.release.as_bytes()));
            }
        }
        BlobId::of(&bytes)
    }

    /// Bytes that will be unpacked.
    #[must_use]
    pub fn unpacked_bytes(&self, parts: &Parts) -> u64 {
        self.absent(parts).iter().map(|(_, slot)| slot.total_bytes).sum()
    }

    /// What is not unpacked yet, once a release.
    pub(super) fn absent(&self, parts: &Parts) -> Vec<(PackageId, Slot)> {
        let absent = self.next.iter().filter(|(_, slot)| !parts.installed.has(slot.release));
        absent.map(|(package, slot)| (*package, slot.clone())).collect()
    }
}

/// What `request` would do. Changes nothing.
///
/// # Errors
/// [`InstallError`].
pub async fn plan(parts: &Parts, request: &Request) -> Result<Plan, InstallError> {
    let base = base(parts, request)?;
    let mut wishes = Wishes { direct: direct(&base)?, locked: base.packages.clone(), ..Wishes::default() };
    match request {
        Request::Add { package, selector } => {
            wishes.locked.remove(package);
            wishes.direct.insert(*package, selector.clone());
        }
        Request::Update(None) => wishes.fallback = std::mem::take(&mut wishes.locked),
        Request::Update(Some(package)) => {
            let slot = wishes.locked.remove(package).ok_or(InstallError::NotInstalled(*package))?;
            wishes.fallback.insert(*package, slot);
        }
        Request::Remove(package) => {
            installed(&base, *package)?;
            wishes.direct.remove(package);
        }
        Request::Rollback => return go_to(parts, base),
        Request::RollbackTo(number) => return Ok(towards(base, kept_generation(parts, *number)?)),
        Request::RollbackPackage(package) => back(parts, &base, *package, &mut wishes)?,
    }
    let chosen = Solver::new(parts, wishes).solve().await?;
    let next: BTreeMap<PackageId, Slot> =
        chosen.iter().map(|(package, chosen)| (*package, chosen.slot.clone())).collect();
    if let Request::Remove(package) = request
        && let Some(slot) = next.get(package)
    {
        return Err(InstallError::StillNeeded { package: slot.reference.clone(), by: needed_by(&next, *package) });
    }
    let kept = |chosen: &super::closure::Chosen| {
        Some(Kept { reference: chosen.slot.reference.clone(), why: chosen.kept.clone()? })
    };
    let changes = changes(&base.packages, &next);
    let is_doubted = |package: &PackageId| {
        let is_asked_for = matches!(request, Request::Add { package: asked, .. } if asked == package);
        is_asked_for || changes.iter().any(|change| change.package == *package)
    };
    let doubted = match request {
        Request::RollbackPackage(_) => Vec::new(),
        _ => next.iter().filter(|(package, _)| is_doubted(package)).map(|(id, slot)| (*id, slot.clone())).collect(),
    };
    Ok(Plan {
        changes,
        doubted,
        cautions: chosen.values().filter_map(|chosen| chosen.caution.clone()).collect(),
        kept: chosen.values().filter_map(kept).collect(),
        base,
        patience: PATIENCE,
        next,
        target: Target::New,
    })
}

/// The generation in force. Whoever names another one gets away from one that cannot be read.
fn base(parts: &Parts, request: &Request) -> Result<Generation, InstallError> {
    match parts.installed.current() {
        Err(error @ (InstalledError::Damaged { .. } | InstalledError::NoGeneration(_))) => match request {
            Request::RollbackTo(_) => {
                tracing::warn!(%error, "the generation in force is left unread");
                let generation = parts.installed.current_number().unwrap_or_default();
                Ok(Generation { generation, ..Generation::default() })
            }
            _ => Err(error.into()),
        },
        base => Ok(base?),
    }
}

/// What was asked for in a generation.
fn direct(generation: &Generation) -> Result<BTreeMap<PackageId, Option<Selector>>, ReferenceFault> {
    let asked = generation.packages.iter().filter_map(|(package, slot)| Some((package, slot.selector.as_ref()?)));
    asked.map(|(package, selector)| Ok((*package, Some(Selector::parse(selector)?)))).collect()
}

fn installed(generation: &Generation, package: PackageId) -> Result<&Slot, InstallError> {
    generation.packages.get(&package).ok_or(InstallError::NotInstalled(package))
}

fn needed_by(packages: &BTreeMap<PackageId, Slot>, package: PackageId) -> Vec<String> {
    let needs = |slot: &&Slot| slot.dependencies.iter().any(|needed| needed.package == package);
    packages.values().filter(needs).map(|slot| slot.reference.clone()).collect()
}

fn go_to(parts: &Parts, base: Generation) -> Result<Plan, InstallError> {
    if base.generation == 0 {
        return Err(InstallError::NothingBefore);
    }
    let before = kept_generation(parts, base.parent)?;
    Ok(towards(base, before))
}

/// Zero is the generation before the first one: nothing installed.
fn kept_generation(parts: &Parts, number: u64) -> Result<Generation, InstallError> {
    Ok(if number == 0 { Generation::default() } else { parts.installed.generation(number)? })
}

fn towards(base: Generation, target: Generation) -> Plan {
    Plan {
        changes: changes(&base.packages, &target.packages),
        cautions: Vec::new(),
        kept: Vec::new(),
        base,
        patience: PATIENCE,
        next: target.packages,
        doubted: Vec::new(),
        target: Target::Kept(target.generation),
    }
}

/// Wishes for what was installed of `package` before its present release.
fn back(parts: &Parts, base: &Generation, package: PackageId, wishes: &mut Wishes) -> Result<(), InstallError> {
    let present = base.packages.get(&package).map(|slot| slot.release);
    let numbers = parts.installed.numbers()?;
    let mut parent = base.parent;
    while parent > 0 {
        if !numbers.contains(&parent) {
            return Err(InstallError::NothingBefore);
        }
        let before = parts.installed.generation(parent)?;
        if let Some(slot) = before.packages.get(&package)
            && Some(slot.release) != present
        {
            if let Some(selector) = &slot.selector {
                wishes.direct.insert(package, Some(Selector::parse(selector)?));
            }
            wishes.locked.insert(package, slot.clone());
            return Ok(());
        }
        parent = before.parent;
    }
    Err(InstallError::NothingBefore)
}

/// Needed packages before those that need them; removals last, in the opposite order.
fn changes(from: &BTreeMap<PackageId, Slot>, to: &BTreeMap<PackageId, Slot>) -> Vec<Change> {
    let is_changed =
        |package: &PackageId| from.get(package).map(|slot| slot.release) != to.get(package).map(|slot| slot.release);
    let change =
        |package: PackageId| Change { package, from: from.get(&package).cloned(), to: to.get(&package).cloned() };
    let removed = in_order(from).into_iter().rev().filter(|package| !to.contains_key(package));
    in_order(to).into_iter().chain(removed).filter(is_changed).map(change).collect()
}

/// All packages, needed ones first; cycles are cut anywhere.
fn in_order(packages: &BTreeMap<PackageId, Slot>) -> Vec<PackageId> {
    let (mut order, mut visited) = (Vec::with_capacity(packages.len()), BTreeSet::new());
    for start in packages.keys() {
        // Depth first with a stack of our own: chains of needs come from outside.
        let mut stack = vec![(*start, false)];
        while let Some((package, is_left)) = stack.pop() {
            if is_left {
                order.push(package);
                continue;
            }
            let Some(slot) = packages.get(&package).filter(|_| visited.insert(package)) else { continue };
            stack.push((package, true));
            stack.extend(slot.dependencies.iter().map(|needed| (needed.package, false)));
        }
    }
    order
}

/// Why a package is installed.
///
/// # Errors
/// [`InstallError::NotInstalled`] and the like.
pub fn why(parts: &Parts, package: PackageId) -> Result<Why, InstallError> {
    let generation = parts.installed.current()?;
    let slot = installed(&generation, package)?.clone();
    let packages = &generation.packages;
    // Breadth first from the package towards those that need it: the shortest chain from each start.
    let mut towards: BTreeMap<PackageId, Option<PackageId>> = BTreeMap::from([(package, None)]);
    let mut queue = std::collections::VecDeque::from([package]);
    let mut chains = Vec::new();
    while let Some(at) = queue.pop_front() {
        let Some(here) = packages.get(&at) else { continue };
        if here.is_direct() {
            let mut chain = vec![here.clone()];
            let mut next = towards[&at];
            while let Some(step) = next {
                chain.extend(packages.get(&step).cloned());
                next = towards[&step];
            }
            chains.push(chain);
        }
        for (by, slot) in packages {
            if slot.dependencies.iter().any(|needed| needed.package == at) && !towards.contains_key(by) {
                towards.insert(*by, Some(at));
                queue.push_back(*by);
            }
        }
    }
    Ok(Why { slot, chains })
}
