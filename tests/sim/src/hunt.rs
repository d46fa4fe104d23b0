//! Runs that may panic, and smaller ones that fail in the same way.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::check::{Invariant, Violation};
use crate::scenario::{Config, Trouble};
use crate::sim::{Summary, run};

/// Runs a configuration; a panic is a violation like any other.
///
/// # Errors
/// The [`Violation`], with what was done until then.
pub fn attempt(config: &Config) -> Result<Summary, Box<(Violation, Summary)>> {
    match catch_unwind(AssertUnwindSafe(|| run(config))) {
        Ok(done) => done,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let what = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned();
            let violation = Violation { invariant: Invariant::NoPanic, at_ms: 0, who: 0, what };
            Err(Box::new((violation, Summary::default())))
        }
    }
}

/// The smallest run that breaks the same invariant, by trying fewer troubles, fewer nodes and less time, each once.
#[must_use]
pub fn smaller(config: &Config, invariant: Invariant) -> Config {
    let mut smallest = config.clone();
    let try_out = |smallest: &mut Config, change: &dyn Fn(&mut Config)| {
        let mut candidate = smallest.clone();
        change(&mut candidate);
        if attempt(&candidate).is_err_and(|failed| failed.0.invariant == invariant) {
            *smallest = candidate;
        }
    };
    for (_, trouble) in Trouble::ALL {
        try_out(&mut smallest, &|config| config.without.extend([trouble]));
    }
    for n_nodes in [6, 5, 4, 3] {
        try_out(&mut smallest, &|config| config.n_nodes = Some(n_nodes));
    }
    for minutes in [10, 5, 2] {
        try_out(&mut smallest, &|config| config.minutes = Some(minutes));
    }
    smallest
}
