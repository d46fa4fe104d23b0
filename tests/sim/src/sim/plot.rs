//! What happens to the devices of the first writer: they take each other's voice away, or the key of one is stolen; then
//! their owner does something about it.
//!
//! Two devices, *desk* (the first node) and *laptop*; a *phone* that is nobody's until the recovery key lets it speak; a
//! *newcomer* who starts when all is over; and perhaps a thief, who has all that the laptop has, under another name.

use std::collections::{BTreeMap, BTreeSet};

use syncra_protocol::entry::{
    self, AddDevice, Body, Cut, Decoded, DeviceCuts, DeviceRole, IdentityJoin, PackageJoin, Statement, Suspend,
    recovery_commitment,
};
use syncra_protocol::evidence::Evidence;
use syncra_protocol::fold::{DeviceStatus, PackageState, Standing};
use syncra_protocol::id::{EntryId, IdentityId};
use syncra_protocol::key::{DeviceKey, DeviceSecret};
use syncra_protocol::name::RefName;
use syncra_protocol::origin::{Origin, Subject};

use super::{Event, MINUTE, SECOND, Sim};
use crate::check::Invariant;
use crate::node::{Draft, Manner, Node};
use crate::rng::Rng;
use crate::scenario::Trouble;
use crate::world::{Chain, World, recovery_secret};

/// The first writer's first device.
const DESK: usize = 0;
const LAPTOP_SEED: u8 = 101;
const PHONE_SEED: u8 = 102;
/// A device that nobody has: the thief adds it.
const ACCOMPLICE_SEED: u8 = 103;
/// Between two steps.
const STEP_MS: u64 = 5 * SECOND;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Each suspends the other, neither knowing. Then the recovery key lets both speak again.
    Quarrel,
    /// Somebody signs with the laptop's key.
    Theft {
        /// The laptop is gone; otherwise it goes on, and its key signs two histories.
        is_lost: bool,
        /// It may manage: the thief suspends the desk and adds a device.
        manages: bool,
        /// The recovery key revokes it; otherwise the desk suspends it.
        recovers: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Before,
    Struck,
    Answering,
    Over,
    /// The trouble ended before anything happened.
    Nothing,
}

/// Who there is before anybody runs.
#[derive(Debug)]
pub(super) struct Cast {
    kind: Kind,
    identity: IdentityId,
    recovery: DeviceSecret,
    laptop: [Chain; 2],
    /// The package's Genesis, which whoever joins it has.
    genesis: Chain,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Plot {
    kind: Kind,
    phase: Phase,
    identity: IdentityId,
    recovery: DeviceSecret,
    genesis: Chain,
    laptop: usize,
    phone: usize,
    newcomer: usize,
    thief: Option<usize>,
    /// How far the laptop's logs went when it was stolen.
    marks: BTreeMap<Subject, Cut>,
    /// Neither of two suspensions knew of the other.
    is_blind: bool,
    answer_at_ms: u64,
}

impl Cast {
    /// Whoever the troubles ask for; the laptop's admission becomes part of the world.
    pub(super) fn of(troubles: &BTreeSet<Trouble>, rng: &mut Rng, world: &mut World) -> Option<Self> {
        let (thieves, quarrels) = (troubles.contains(&Trouble::Thieves), troubles.contains(&Trouble::Quarrels));
        if !thieves && !quarrels {
            return None;
        }
        let manages = rng.chance(50);
        let theft = Kind::Theft { is_lost: rng.chance(50), manages, recovers: manages || rng.chance(50) };
        let kind = if thieves && (!quarrels || rng.chance(50)) { theft } else { Kind::Quarrel };
        let role = if kind == Kind::Quarrel || manages { DeviceRole::Manager } else { DeviceRole::Publisher };
        let desk = world.identities.first_mut().expect("there is a creator");
        let Subject::Identity(identity) = desk.origin().subject else { unreachable!("the log of an identity") };
        desk.append(vec![], admission(LAPTOP_SEED, role));
        let (package, seen) = (world.package, vec![desk.seen()]);
        let mut own = Chain::new(LAPTOP_SEED, |key| Origin::identity(identity, key));
        own.append(vec![], Body::IdentityJoin(IdentityJoin { identity }));
        own.append(seen.clone(), Body::Seen);
        let mut of_package = Chain::new(LAPTOP_SEED, |key| Origin::package(package, key));
        of_package.append(vec![], Body::PackageJoin(PackageJoin { package, identity }));
        of_package.append(seen, Body::Seen);
        let recovery = recovery_secret(desk.secret().seed()[0]);
        let genesis = world.writers[0].fork(1);
        Some(Self { kind, identity, recovery, laptop: [own, of_package], genesis })
    }
}

impl Plot {
    /// Whether it is about this node.
    pub(super) fn is_part(&self, who: usize) -> bool {
        who == DESK || who >= self.laptop
    }

    fn is_absent(&self, who: usize, is_healed: bool) -> bool {
        let is_struck = !matches!(self.phase, Phase::Before | Phase::Nothing);
        let is_gone = is_struck && matches!(self.kind, Kind::Theft { is_lost: true, .. });
        (who == self.newcomer && !is_healed)
            || (Some(who) == self.thief && !is_struck)
            || (who == self.laptop && is_gone)
    }
}

impl Sim {
    /// Lets those in of whom it will be told.
    pub(super) fn engage(&mut self, cast: Cast) -> Plot {
        let laptop = self.nodes.len();
        self.add(DeviceSecret::from_seed(&[LAPTOP_SEED; 32]), Manner::Honest);
        self.fetched(laptop, &cast.genesis);
        let [own, of_package] = &cast.laptop;
        self.found(laptop, [own, of_package]);
        self.add(DeviceSecret::from_seed(&[PHONE_SEED; 32]), Manner::Honest);
        self.add(DeviceSecret::from_seed(&[104; 32]), Manner::Honest);
        let mut thief = None;
        if matches!(cast.kind, Kind::Theft { .. }) {
            thief = Some(self.nodes.len());
            let stolen = DeviceSecret::from_seed(&[LAPTOP_SEED; 32]);
            self.enter(Node::thief(key(105), stolen));
        }
        Plot {
            kind: cast.kind,
            phase: Phase::Before,
            identity: cast.identity,
            recovery: cast.recovery,
            genesis: cast.genesis,
            laptop,
            phone: laptop + 1,
            newcomer: laptop + 2,
            thief,
            marks: BTreeMap::new(),
            is_blind: false,
            answer_at_ms: 0,
        }
    }

    /// Whether a node is not there now: not yet, or never again.
    pub(super) fn is_absent(&self, who: usize) -> bool {
        self.plot.as_ref().is_some_and(|plot| plot.is_absent(who, self.healed))
    }

    /// Whether a log's key was stolen.
    pub(super) fn is_stolen(&self, origin: &Origin) -> bool {
        let of = |plot: &Plot| plot.thief.is_some() && self.nodes[plot.laptop].writer == origin.key;
        self.plot.as_ref().is_some_and(of)
    }

    pub(super) fn on_plot(&mut self) {
        let Some(mut plot) = self.plot.take() else { return };
        plot.phase = match plot.phase {
            Phase::Before if self.healed => Phase::Nothing,
            Phase::Before => self.strike(&mut plot),
            Phase::Struck if self.healed || self.since_start() >= plot.answer_at_ms => Phase::Answering,
            Phase::Struck => self.go_on(&mut plot),
            Phase::Answering => self.answer(&plot),
            over => over,
        };
        if !matches!(plot.phase, Phase::Over | Phase::Nothing) {
            self.queue.schedule(STEP_MS, Event::Plot);
        }
        self.plot = Some(plot);
    }

    fn strike(&mut self, plot: &mut Plot) -> Phase {
        // As long again as it took to come to this.
        plot.answer_at_ms = 2 * self.since_start().max(MINUTE);
        let is_idle = |who: usize| self.nodes[who].up.as_ref().is_some_and(|up| up.jobs.is_empty());
        if !is_idle(plot.laptop) || (plot.kind == Kind::Quarrel && !is_idle(DESK)) {
            return Phase::Before;
        }
        self.trace.event(self.queue.now, 18, plot.laptop, 0, &[]);
        let Kind::Theft { is_lost, .. } = plot.kind else {
            plot.is_blind = true;
            self.quarrel(plot);
            return Phase::Struck;
        };
        let Some(thief) = plot.thief else { return Phase::Nothing };
        let truth = &self.nodes[plot.laptop].up.as_ref().expect("it is up").truth;
        let cut = |head: &syncra_protocol::log::checkpoint::Head| Cut { size: head.size(), root: head.root() };
        let heads = truth.own.values().filter_map(|own| own.note.as_ref());
        plot.marks = heads.map(|head| (head.origin().subject, cut(head))).collect();
        self.nodes[thief].disk = self.nodes[plot.laptop].disk.copy(&mut self.rng);
        self.nodes[thief].own = self.nodes[plot.laptop].own.clone();
        if is_lost {
            self.crash(plot.laptop);
        } else {
            self.oracle.forkers.insert(self.nodes[plot.laptop].writer);
        }
        self.queue.schedule(SECOND, Event::Start { who: thief });
        Phase::Struck
    }

    /// Each says what it has not said yet.
    fn quarrel(&mut self, plot: &Plot) {
        for (by, of) in [(DESK, plot.laptop), (plot.laptop, DESK)] {
            if self.suspensions(by, plot).is_empty() {
                let cuts = self.cuts_known(by, of, plot);
                self.say(by, plot, vec![Body::Suspend(Suspend { cuts })]);
            }
        }
    }

    fn go_on(&mut self, plot: &mut Plot) -> Phase {
        match (plot.kind, plot.thief) {
            (Kind::Quarrel, _) => {
                let have_said = [DESK, plot.laptop].iter().all(|who| !self.suspensions(*who, plot).is_empty());
                if !have_said {
                    plot.is_blind = false; // one of them may have heard of the other's by now
                    self.quarrel(plot);
                }
            }
            (Kind::Theft { manages, .. }, Some(thief)) => {
                if manages && self.suspensions(thief, plot).is_empty() {
                    let packages = vec![(self.package, None)];
                    let cuts = DeviceCuts { device: self.nodes[DESK].writer, identity: None, packages };
                    let bodies = vec![Body::Suspend(Suspend { cuts }), admission(ACCOMPLICE_SEED, DeviceRole::Manager)];
                    self.say(thief, plot, bodies);
                } else if self.rng.chance(30) && !self.nodes[thief].own.is_empty() {
                    self.publish(thief);
                }
            }
            _ => {}
        }
        Phase::Struck
    }

    fn answer(&mut self, plot: &Plot) -> Phase {
        match plot.kind {
            Kind::Theft { recovers: false, .. } => {
                if !self.suspensions(DESK, plot).is_empty() {
                    return Phase::Over;
                }
                let cuts = self.laptop_cuts(plot);
                self.say(DESK, plot, vec![Body::Suspend(Suspend { cuts })]);
                return Phase::Answering;
            }
            Kind::Quarrel => {
                let lift: BTreeSet<EntryId> =
                    [DESK, plot.laptop].iter().flat_map(|who| self.suspensions(*who, plot)).collect();
                if lift.len() < 2 {
                    self.quarrel(plot);
                    return Phase::Answering;
                }
                self.must_be_silent(plot, &lift);
                self.recover(plot, vec![], lift.into_iter().collect());
            }
            Kind::Theft { .. } => self.recover(plot, vec![self.laptop_cuts(plot)], vec![]),
        }
        Phase::Over
    }

    /// The recovery key speaks, through a device that nobody knew until now.
    fn recover(&mut self, plot: &Plot, revoke: Vec<DeviceCuts>, lift: Vec<EntryId>) {
        let (identity, package) = (plot.identity, self.package);
        let Body::AddDevice(admit) = admission(PHONE_SEED, DeviceRole::Manager) else { unreachable!("it is one") };
        let next = recovery_commitment(&key(PHONE_SEED + 10));
        let statement = Statement { identity, previous: None, admit: Some(admit), revoke, lift, next };
        let mut own = Chain::new(PHONE_SEED, |key| Origin::identity(identity, key));
        own.append(vec![], Body::IdentityJoin(IdentityJoin { identity }));
        own.append(vec![], Body::Recover(statement.sign(&plot.recovery)));
        let mut of_package = Chain::new(PHONE_SEED, |key| Origin::package(package, key));
        of_package.append(vec![], Body::PackageJoin(PackageJoin { package, identity }));
        of_package.append(vec![own.seen()], Body::Seen);
        self.crash(plot.phone);
        let disk = &mut self.nodes[plot.phone].disk;
        (disk.is_full, disk.fail_percent) = (false, 0);
        self.fetched(plot.phone, &plot.genesis);
        self.found(plot.phone, [&own, &of_package]);
        self.queue.schedule(SECOND, Event::Start { who: plot.phone });
    }

    fn say(&mut self, who: usize, plot: &Plot, bodies: Vec<Body>) {
        let origin = Origin::identity(plot.identity, self.nodes[who].writer);
        let draft = Draft { origin, bodies, blobs: vec![], says_seen: true };
        self.with(who, |node, cx| node.publish(cx, draft));
    }

    fn laptop_cuts(&self, plot: &Plot) -> DeviceCuts {
        let mark = |subject| plot.marks.get(&subject).copied();
        DeviceCuts {
            device: self.nodes[plot.laptop].writer,
            identity: mark(Subject::Identity(plot.identity)),
            packages: vec![(self.package, mark(Subject::Package(self.package)))],
        }
    }

    /// The other's logs as far as this device holds them.
    fn cuts_known(&self, by: usize, of: usize, plot: &Plot) -> DeviceCuts {
        let (package, device) = (self.package, self.nodes[of].writer);
        let evidence = self.nodes[by].up.as_ref().and_then(|up| up.follower.evidence());
        let cut = |origin: Origin| {
            let log = evidence.and_then(|evidence| evidence.log(&origin)).filter(|log| log.size() > 0)?;
            Some(Cut { size: log.size(), root: log.root() })
        };
        let packages = vec![(package, cut(Origin::package(package, device)))];
        DeviceCuts { device, identity: cut(Origin::identity(plot.identity, device)), packages }
    }

    /// The suspensions that a node has said, durably.
    fn suspensions(&self, who: usize, plot: &Plot) -> Vec<EntryId> {
        let origin = Origin::identity(plot.identity, self.nodes[who].writer);
        let own = self.truth(who).and_then(|truth| truth.own.get(&origin));
        let Some((own, note)) = own.and_then(|own| Some((own, own.note.as_ref()?))) else { return vec![] };
        let signed = own.entries.iter().take(usize::try_from(note.size()).unwrap_or(usize::MAX));
        let is_one = |bytes: &&crate::disk::Bytes| match entry::decode(bytes) {
            Ok(Decoded::Known(entry)) => matches!(entry.body, Body::Suspend(_)),
            _ => false,
        };
        signed.filter(is_one).map(|bytes| EntryId::of(bytes)).collect()
    }

    /// Who knows of both suspensions lets neither of the two speak.
    fn must_be_silent(&mut self, plot: &Plot, suspensions: &BTreeSet<EntryId>) {
        let devices = [DESK, plot.laptop].map(|who| self.nodes[who].writer);
        let loud = |state: &PackageState| {
            let owner = state.owners.get(&plot.identity)?;
            let by = |device| match owner.devices.get(device).map(|device| &device.status) {
                Some(DeviceStatus::Suspended { by }) => by.clone(),
                _ => BTreeSet::new(),
            };
            let silenced: BTreeSet<EntryId> = devices.iter().flat_map(by).collect();
            (silenced != *suspensions).then_some(())
        };
        let knows = |evidence: &Evidence| {
            let own = |who: usize| self.truth(who)?.own.get(&Origin::identity(plot.identity, self.nodes[who].writer));
            let holds = |who| own(who).is_some_and(|own| evidence.frontier().size(own.log.origin()) >= own.log.size());
            holds(DESK) && holds(plot.laptop)
        };
        let who = (0..self.nodes.len()).filter(|who| plot.is_blind && self.is_honest(*who)).find(|who| {
            let evidence = self.nodes[*who].up.as_ref().and_then(|up| up.follower.evidence());
            evidence.is_some_and(knows) && self.nodes[*who].state().as_ref().and_then(loud).is_some()
        });
        if let Some(who) = who {
            self.violate(who, Invariant::CutsHold, "of two who suspended each other one may speak".to_owned());
        }
    }

    /// What does not hold in the end for somebody honest; nothing if nothing happened, or nobody can know yet.
    pub(super) fn unsettled(&self, who: usize) -> Option<String> {
        let plot = self.plot.as_ref()?;
        match plot.phase {
            Phase::Nothing => return None,
            Phase::Over => {}
            Phase::Before | Phase::Struck | Phase::Answering => return Some("the story is not over".to_owned()),
        }
        let Some(state) = self.nodes[who].state() else { return Some("it knows nothing".to_owned()) };
        let Some(owner) = state.owners.get(&plot.identity) else { return Some("it knows no owner".to_owned()) };
        let laptop = self.nodes[plot.laptop].writer;
        let recovers = !matches!(plot.kind, Kind::Theft { recovers: false, .. });
        let mut active = vec![("desk", self.nodes[DESK].writer)];
        if recovers {
            active.push(("phone", key(PHONE_SEED)));
        }
        if plot.kind == Kind::Quarrel {
            active.push(("laptop", laptop));
        }
        if let Some((name, _)) = active.iter().find(|(_, device)| !owner.is_active(device)) {
            return Some(format!("the {name} may not speak"));
        }
        if owner.is_active(&key(ACCOMPLICE_SEED)) {
            return Some("whom the thief added may speak".to_owned());
        }
        let origin = Origin::package(self.package, laptop);
        match plot.kind {
            Kind::Quarrel => {
                let revoked = state.releases.values().any(|it| it.standing == Standing::Revoked);
                revoked.then(|| "what was said before all was lifted does not count".to_owned())
            }
            Kind::Theft { is_lost, .. } => {
                if owner.is_active(&laptop) {
                    return Some("the stolen key may speak".to_owned());
                }
                let mark = plot.marks.get(&origin.subject).map_or(0, |cut| cut.size);
                let held = self.nodes[who].up.as_ref()?.follower.evidence()?.size(&origin);
                if is_lost && held < mark {
                    return Some(format!("it holds {held} of {mark} entries from before the theft"));
                }
                let until = if recovers { mark } else { mark.max(self.oracle.named(&origin)) };
                misjudged(&state, &origin, mark, until)
            }
        }
    }
}

/// A release of this log that counts beyond `until`, or does not count below `mark`.
fn misjudged(state: &PackageState, origin: &Origin, mark: u64, until: u64) -> Option<String> {
    state.releases.values().filter(|it| it.writer == *origin).find_map(|it| {
        let is_refused = matches!(it.standing, Standing::Revoked | Standing::Forked);
        match is_refused {
            false if it.index >= until => Some(format!("entry {} of the thief counts", it.index)),
            true if it.index < mark => Some(format!("entry {} from before the theft does not count", it.index)),
            _ => None,
        }
    })
}

fn key(seed: u8) -> DeviceKey {
    DeviceSecret::from_seed(&[seed; 32]).public()
}

fn admission(seed: u8, role: DeviceRole) -> Body {
    let label = RefName::parse(&format!("device-{seed}")).expect("a name");
    Body::AddDevice(AddDevice { device: key(seed), role, label })
}
