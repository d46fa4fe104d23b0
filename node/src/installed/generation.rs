//! One generation: everything that is installed at one time. The file's form is in `docs/spec/installed.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use syncra_protocol::id::{ContentRoot, PackageId, ReleaseId, TreeId, base32};
use syncra_protocol::manifest::PackageKind;
use syncra_protocol::version::{Version, VersionReq};

/// What a generation file calls its form.
pub const SCHEMA: &str = "syncra/installed/v1";

/// What is installed at one time.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number; zero is the empty one that has no file.
    pub generation: u64,
    /// The one that was in force when it was made, and that a rollback goes to; zero for none.
    pub parent: u64,
    /// When it was made, in milliseconds since the Unix epoch, by this device's clock.
    pub created_ms: u64,
    /// What is installed.
    pub packages: BTreeMap<PackageId, Slot>,
}

/// One installed release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// How people name the package.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The package's kind.
    pub kind: PackageKind,
    /// The release's version.
    pub version: Version,
    /// The release.
    pub release: ReleaseId,
    /// What its files are.
    pub tree_id: TreeId,
    /// How it is packed: the root of its blobs.
    pub content_root: ContentRoot,
    /// Bytes of its files.
    pub total_bytes: u64,
    /// Its files.
    pub n_files: u32,
    /// What was asked for: a channel, a requirement, a version or a release; nothing if only others need it.
    pub selector: Option<String>,
    /// What it needs.
    pub dependencies: Vec<Needed>,
    /// Engine versions it runs on; nothing means any.
    pub engine: Option<VersionReq>,
    /// BLAKE3 of the frontier that it was selected at, in base32.
    pub frontier: String,
}

/// Another package that a release needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needed {
    /// The package.
    pub package: PackageId,
    /// Versions that will do.
    pub req: VersionReq,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    check: String,
    generation: u64,
    parent: u64,
    created_ms: u64,
    packages: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    package: PackageId,
    /// Relative to the directory `installed/`.
    path: String,
    #[serde(flatten)]
    slot: Slot,
}

/// The only field of a file of a newer form that an older program may rely on.
#[derive(Deserialize)]
struct AnyForm {
    schema: String,
}

impl Slot {
    /// Whether somebody asked for it, and not only another package.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        self.selector.is_some()
    }
}

impl Generation {
    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut file = File::of(self);
        file.check = file.checksum();
        file.text()
    }

    /// Reads a file; one that was changed or cut does not pass.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let form: AnyForm = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if form.schema != SCHEMA {
            return Err(format!("its form is `{}`, not `{SCHEMA}`", form.schema));
        }
        let mut file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let check = std::mem::take(&mut file.check);
        if check != file.checksum() {
            return Err("its checksum does not match".into());
        }
        let packages = file.packages.into_iter().map(|row| (row.package, row.slot)).collect();
        let File { generation, parent, created_ms, .. } = file;
        Ok(Self { generation, parent, created_ms, packages })
    }
}

impl File {
    fn of(generation: &Generation) -> Self {
        let row = |(package, slot): (&PackageId, &Slot)| Row {
            package: *package,
            path: format!("store/{}", slot.release),
            slot: slot.clone(),
        };
        Self {
            schema: SCHEMA.to_owned(),
            check: String::new(),
            generation: generation.generation,
            parent: generation.parent,
            created_ms: generation.created_ms,
            packages: generation.packages.iter().map(row).collect(),
        }
    }

    fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("a file of plain fields") + "\n"
    }

    /// BLAKE3 of the text with an empty checksum.
    fn checksum(&self) -> String {
        debug_assert!(self.check.is_empty(), "the checksum does not cover itself");
        base32(blake3::hash(self.text().as_bytes()).as_bytes())
    }
}
