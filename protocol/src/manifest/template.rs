//! The `syncra.toml` of a new package.

use super::PackageKind;
use crate::name::PackageName;

pub(super) fn template(kind: PackageKind, name: &PackageName) -> String {
    let run = match kind {
        PackageKind::Script => "start = [\"main.syn\"]",
        PackageKind::World => {
            "start = [\"world.syn\"]\n# headless = \"server.syn\"   # what a host without a screen starts instead"
        }
        PackageKind::Driver | PackageKind::Avatar | PackageKind::Asset | PackageKind::Pack => {
            "# start = [\"main.syn\"]"
        }
    };
    let permissions = match kind {
        PackageKind::Script | PackageKind::Driver | PackageKind::World => {
            "read = []        # components it reads, e.g. [\"Transform\"]\n\
             write = []       # components it writes\n\
             net = false      # whether it opens network connections\n\
             files = \"none\"   # files outside the package: none, read, write"
        }
        PackageKind::Avatar | PackageKind::Asset | PackageKind::Pack => {
            "# Nothing: files of this kind are looked at, not run."
        }
    };
    format!(
        r#"[package]
name = "{name}"
version = "0.1.0"        # every publish needs a new one: MAJOR.MINOR.PATCH
kind = "{kind}"
description = "A new {kind}"
# license = "MIT"
# keywords = ["example"]
# engine = ">=0.3, <0.5" # versions of the engine it works with

[dependencies]
# "@owner/name" = "^1.2"

[permissions]
{permissions}

[files]
# include = ["**"]       # only these; rules of .gitignore
# exclude = ["*.psd"]    # and not these; .syncraignore works too

[run]
{run}

[ci]
# steps = [{{ name = "check", run = "syncra check" }}]
"#
    )
}
