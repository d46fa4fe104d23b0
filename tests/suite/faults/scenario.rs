//! The commands that are interrupted: one row each.

/// A command line.
pub(crate) type Args = &'static [&'static str];

/// A command, and what precedes it.
///
/// In the directory where they run, `lamp-1` and `lamp-2` are versions 1.0.0 and 2.0.0 of one package; `PKG` stands for
/// its reference, once something was published.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// For reports.
    pub(crate) name: &'static str,
    /// Run before in another home.
    pub(crate) elsewhere: &'static [Args],
    /// Run before, undisturbed.
    pub(crate) before: &'static [Args],
    /// The command. Said twice it does no more than said once.
    pub(crate) command: Args,
    /// A command whose answer also tells how far things are, and where in it.
    pub(crate) also: Option<(Args, &'static str)>,
    /// Whether an interruption may leave something in between: some of what goes is gone, a history is known and its
    /// release not installed yet. Else it is one change.
    pub(crate) in_steps: bool,
    /// Whether the other home is a running node, and this one knows its address.
    pub(crate) has_peer: bool,
    /// A release whose content is here whatever happens, where not that of every known release is.
    pub(crate) kept: Option<&'static str>,
    /// Bytes of the package's large file.
    pub(crate) large_bytes: usize,
}

impl Scenario {
    const PLAIN: Self = Self {
        name: "",
        elsewhere: &[],
        before: &[],
        command: &[],
        also: None,
        in_steps: false,
        has_peer: false,
        kept: None,
        large_bytes: 40_000,
    };
}

const PUBLISH_1: Args = &["publish", "lamp-1", "--yes"];
const PUBLISH_2: Args = &["publish", "lamp-2", "--yes"];
const IMPORT_1: Args = &["import", "one.syncpack"];
const IMPORT_2: Args = &["import", "two.syncpack"];
/// Somebody else publishes two releases; `one` holds the history up to the first, `two` all of it.
const TWO_PACKS: &[Args] =
    &[PUBLISH_1, &["export", "PKG", "-o", "one.syncpack"], PUBLISH_2, &["export", "PKG", "-o", "two.syncpack"]];

/// A new home: key, journal, identity, index and blob store are made on the way.
pub(crate) const FIRST_PUBLISH: Scenario = Scenario { name: "first publish", command: PUBLISH_1, ..Scenario::PLAIN };

/// A used home: the second version shares blobs with the first.
pub(crate) const SECOND_PUBLISH: Scenario =
    Scenario { name: "second publish", before: &[PUBLISH_1], command: PUBLISH_2, ..Scenario::PLAIN };

/// Histories and content of others, into a new home.
pub(crate) const IMPORT: Scenario =
    Scenario { name: "import", elsewhere: TWO_PACKS, command: IMPORT_2, ..Scenario::PLAIN };

/// From blobs to files.
pub(crate) const ADD: Scenario =
    Scenario { name: "add", elsewhere: TWO_PACKS, before: &[IMPORT_1], command: &["add", "PKG"], ..Scenario::PLAIN };

/// History, content and files, all of it from a running node. The large file comes in parts.
pub(crate) const FETCH: Scenario = Scenario {
    name: "add from a peer",
    elsewhere: &[PUBLISH_1, PUBLISH_2],
    before: &[&["list"]],
    command: &["add", "PKG", "--timeout", "20"],
    has_peer: true,
    in_steps: true,
    large_bytes: 700_000,
    ..Scenario::PLAIN
};

/// From one release to the next.
pub(crate) const UPDATE: Scenario = Scenario {
    name: "update",
    elsewhere: TWO_PACKS,
    before: &[IMPORT_1, &["add", "PKG"], IMPORT_2],
    command: &["update"],
    ..Scenario::PLAIN
};

/// And back.
pub(crate) const ROLLBACK: Scenario = Scenario {
    name: "rollback",
    elsewhere: TWO_PACKS,
    before: &[IMPORT_1, &["add", "PKG"], IMPORT_2, &["update"]],
    command: &["rollback", "1"],
    ..Scenario::PLAIN
};

/// Blobs of one imported release go, those of the installed one stay.
pub(crate) const GC: Scenario = Scenario {
    name: "gc",
    elsewhere: TWO_PACKS,
    before: &[IMPORT_1, &["add", "PKG"], IMPORT_2],
    command: &["gc", "--imported"],
    also: Some((&["gc", "--imported", "--dry-run"], "/freed_bytes")),
    in_steps: true,
    kept: Some("PKG@1.0.0"),
    ..Scenario::PLAIN
};

/// Files of a release that no kept generation names go, and those of the installed one stay.
pub(crate) const GC_FILES: Scenario = Scenario {
    name: "gc of files",
    elsewhere: TWO_PACKS,
    before: &[
        IMPORT_1,
        &["add", "PKG"],
        IMPORT_2,
        &["update"],
        // Out of the last ten generations with the first.
        &["remove", "PKG"],
        &["add", "PKG"],
        &["remove", "PKG"],
        &["add", "PKG"],
        &["remove", "PKG"],
        &["add", "PKG"],
        &["remove", "PKG"],
        &["add", "PKG"],
        &["remove", "PKG"],
        &["add", "PKG"],
    ],
    command: &["gc"],
    also: Some((&["gc", "--dry-run"], "/releases")),
    in_steps: true,
    kept: Some("PKG@2.0.0"),
    ..Scenario::PLAIN
};

/// An entry about an entry, with a reason that is a blob.
pub(crate) const YANK: Scenario = Scenario {
    name: "yank",
    before: &[PUBLISH_1, PUBLISH_2],
    command: &["yank", "PKG@1.0.0", "--reason", "too bright"],
    also: Some((&["info", "PKG"], "/releases/1/state")),
    ..Scenario::PLAIN
};

/// An entry of the identity's log.
pub(crate) const HANDLE: Scenario = Scenario {
    name: "handle",
    before: &[&["id", "--handle", "before"], PUBLISH_1],
    command: &["id", "--handle", "after"],
    also: Some((&["id"], "/handle")),
    ..Scenario::PLAIN
};

/// The key of a device that nobody has.
const KEY: &str = "qe4xodvipulv6vvdkrtmgtd6ztfy3curwtxdpis56yhvxd6jwoka";
const ADD_LAPTOP: Args = &["devices", "add", KEY, "--label", "laptop"];

/// A further device may speak, or not yet.
pub(crate) const ADD_DEVICE: Scenario = Scenario {
    name: "devices add",
    before: &[PUBLISH_1],
    command: ADD_LAPTOP,
    also: Some((&["devices"], "/devices")),
    ..Scenario::PLAIN
};

/// And may no more.
pub(crate) const SUSPEND_DEVICE: Scenario = Scenario {
    name: "devices suspend",
    before: &[PUBLISH_1, ADD_LAPTOP],
    command: &["devices", "suspend", "laptop", "--yes"],
    also: Some((&["devices"], "/devices")),
    ..Scenario::PLAIN
};
