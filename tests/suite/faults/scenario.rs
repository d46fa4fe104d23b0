//! The commands that are interrupted: one row each.

/// A command, what precedes it, and what there is once it is done.
///
/// In the directory where they run, `lamp-1` and `lamp-2` are two versions of one package; `REF` stands for its reference.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// For reports.
    pub(crate) name: &'static str,
    /// Run before in another home.
    pub(crate) elsewhere: &'static [&'static [&'static str]],
    /// Run before, undisturbed.
    pub(crate) before: &'static [&'static [&'static str]],
    /// The command.
    pub(crate) command: &'static [&'static str],
    /// The versions that `list` shows in the end.
    pub(crate) versions: &'static [&'static str],
}

const PUBLISH_1: &[&str] = &["publish", "lamp-1", "--yes"];
const PUBLISH_2: &[&str] = &["publish", "lamp-2", "--yes"];

/// A new home: key, journal, identity, index and blob store are made on the way.
pub(crate) const FIRST_PUBLISH: Scenario =
    Scenario { name: "first publish", elsewhere: &[], before: &[], command: PUBLISH_1, versions: &["1.0.0"] };

/// A used home: the second version shares blobs with the first.
pub(crate) const SECOND_PUBLISH: Scenario = Scenario {
    name: "second publish",
    elsewhere: &[],
    before: &[PUBLISH_1],
    command: PUBLISH_2,
    versions: &["1.0.0", "2.0.0"],
};
