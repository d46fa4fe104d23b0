//! What goes wrong in a run.

use std::collections::BTreeSet;

use crate::node::Mutation;
use crate::rng::Rng;

/// One kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Messages are lost, and streams break.
    Loss,
    /// Messages come twice.
    Duplicates,
    /// Messages take up to 40 seconds for a while.
    Stalls,
    /// Groups of nodes do not reach each other for a while.
    Partitions,
    /// The power of a node goes.
    Crashes,
    /// Writes and syncs fail, disks are full.
    Disk,
    /// Nodes lie: older logs, wrong bytes, garbage, silence.
    Liars,
    /// A writer signs two histories.
    Forks,
    /// Wall clocks jump, up to ten years either way.
    Clocks,
    /// The home of a writer is put back as it was some time ago.
    Copies,
    /// A writer says much, and nobody hears it before the end.
    Withheld,
    /// Two devices of one person take each other's voice away.
    Quarrels,
    /// Somebody has the key of a device, which may manage.
    Thieves,
}

impl Trouble {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 13] = [
        ("loss", Self::Loss),
        ("duplicates", Self::Duplicates),
        ("stalls", Self::Stalls),
        ("partitions", Self::Partitions),
        ("crashes", Self::Crashes),
        ("disk", Self::Disk),
        ("liars", Self::Liars),
        ("forks", Self::Forks),
        ("clocks", Self::Clocks),
        ("copies", Self::Copies),
        ("withheld", Self::Withheld),
        ("quarrels", Self::Quarrels),
        ("thieves", Self::Thieves),
    ];
}

/// Names of scenarios, and what each is made of. In the last two, the seed picks.
pub const SCENARIOS: [(&str, &[Trouble]); 14] = [
    ("calm", &[]),
    ("lossy", &[Trouble::Loss, Trouble::Duplicates, Trouble::Stalls]),
    ("partitions", &[Trouble::Partitions, Trouble::Loss]),
    ("crashes", &[Trouble::Crashes, Trouble::Disk]),
    ("liars", &[Trouble::Liars, Trouble::Loss]),
    ("forks", &[Trouble::Forks, Trouble::Crashes]),
    ("warnings", &[Trouble::Forks]),
    ("clocks", &[Trouble::Clocks, Trouble::Loss]),
    ("copies", &[Trouble::Copies]),
    ("withheld", &[Trouble::Withheld]),
    ("quarrels", &[Trouble::Quarrels, Trouble::Loss]),
    ("thieves", &[Trouble::Thieves, Trouble::Loss]),
    (HONEST, HONEST_TROUBLES),
    (
        EVERYTHING,
        &[
            Trouble::Loss,
            Trouble::Duplicates,
            Trouble::Stalls,
            Trouble::Partitions,
            Trouble::Crashes,
            Trouble::Disk,
            Trouble::Liars,
            Trouble::Forks,
            Trouble::Clocks,
            Trouble::Copies,
            Trouble::Withheld,
            Trouble::Quarrels,
            Trouble::Thieves,
        ],
    ),
];

/// Everything that goes wrong where nobody means harm.
const HONEST_TROUBLES: &[Trouble] = &[
    Trouble::Loss,
    Trouble::Duplicates,
    Trouble::Stalls,
    Trouble::Partitions,
    Trouble::Crashes,
    Trouble::Disk,
    Trouble::Clocks,
    Trouble::Copies,
    Trouble::Withheld,
    Trouble::Quarrels,
];

/// The scenario in which nobody means harm: nobody may be blamed.
pub const HONEST: &str = "honest";

/// The scenario that is meant when none is named.
pub const EVERYTHING: &str = "everything";

/// One run: equal configurations are equal runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Decides everything that is not said here.
    pub seed: u64,
    /// Nodes; none leaves it to the seed.
    pub n_nodes: Option<usize>,
    /// Virtual minutes of trouble before everything heals; none leaves it to the seed.
    pub minutes: Option<u64>,
    /// One of [`SCENARIOS`].
    pub scenario: &'static str,
    /// Troubles left out of it.
    pub without: BTreeSet<Trouble>,
    /// A fault that is put into all honest nodes.
    pub mutation: Option<Mutation>,
}

impl Config {
    /// Everything, as `seed` decides.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        let without = BTreeSet::new();
        Self { seed, n_nodes: None, minutes: None, scenario: EVERYTHING, without, mutation: None }
    }

    /// A scenario by its name.
    #[must_use]
    pub fn scenario(name: &str) -> Option<&'static str> {
        SCENARIOS.iter().map(|(known, _)| *known).find(|known| *known == name)
    }

    /// What goes wrong in this run.
    #[must_use]
    pub fn troubles(&self, rng: &mut Rng) -> BTreeSet<Trouble> {
        let all = SCENARIOS.iter().find(|(name, _)| *name == self.scenario).map_or(&[][..], |(_, troubles)| troubles);
        let picks = matches!(self.scenario, EVERYTHING | HONEST);
        let picked: BTreeSet<Trouble> = all.iter().copied().filter(|_| rng.chance(70) || !picks).collect();
        picked.difference(&self.without).copied().collect()
    }

    /// What to type to get the same run again.
    #[must_use]
    pub fn command(&self) -> String {
        use std::fmt::Write as _;
        let mut command = format!("cargo xtask sim --seed {} --scenario {}", self.seed, self.scenario);
        if let Some(n_nodes) = self.n_nodes {
            let _ = write!(command, " --nodes {n_nodes}");
        }
        if let Some(minutes) = self.minutes {
            let _ = write!(command, " --minutes {minutes}");
        }
        for (name, trouble) in Trouble::ALL {
            if self.without.contains(&trouble) {
                let _ = write!(command, " --without {name}");
            }
        }
        command
    }
}
