//! Open files: every TCP connection is one, and so is every file that is served. Systems allow a process few of them
//! unless it asks for more.

/// What a node needs at worst: its connections, files that are read and written for each of a few peers, databases,
/// listeners, callers of the API.
pub const NEEDED: u64 = 2_048;
/// What it asks for.
#[cfg(unix)]
const WANTED: u64 = 8_192;

/// How many files this process may open; none where the system does not say or sets no limit.
#[must_use]
pub fn allowed() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    None
}

/// Asks for as many as are wanted, as far as the system lets an ordinary process have them.
pub fn raise() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let wanted = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
        if current.is_none_or(|current| current >= wanted) {
            return;
        }
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
            tracing::warn!(%error, "this process may not open more files");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn what_the_system_lets_us_have_is_taken() {
        raise();
        let maximum = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let expected = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
        assert!(allowed().is_none_or(|allowed| allowed >= expected));
    }
}
