//! `syncra new`

use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use serde::Serialize;
use syncra_protocol::manifest::{MANIFEST_FILE, Manifest, PackageKind};
use syncra_protocol::name::PackageName;

use super::context::Context;
use crate::flow::walk::IGNORE_FILE;
use crate::problem::{Code, Problem};

/// Make a new package
///
/// Makes the directory NAME, or the one that `-o` names, with a `syncra.toml` that
/// explains itself, a `.syncraignore` and a first file to start from. Nothing is
/// published.
///
/// Examples:
///   syncra new world lighthouse
///   syncra new script door-opener -o packages/door
///   syncra new asset rocks --dry-run
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// What it is
    #[arg(value_name = "KIND", value_enum)]
    kind: Kind,
    /// What it is called: lower-case letters, digits, `-` and `_`
    #[arg(value_name = "NAME")]
    name: String,
    /// Directory to make; it must not exist, or be empty
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Say what would be made, make nothing
    #[arg(long)]
    dry_run: bool,
}

/// The kinds of packages as the command line lists them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind(pub(super) PackageKind);

impl clap::ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Kind; PackageKind::ALL.len()] = {
            let mut all = [Kind(PackageKind::Script); PackageKind::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = Kind(PackageKind::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.as_str()))
    }
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    name: String,
    kind: &'static str,
    dir: String,
    files: Vec<String>,
    dry_run: bool,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> Result<(), Problem> {
        let name = PackageName::parse(&self.name)?;
        let dir = self.output.unwrap_or_else(|| PathBuf::from(name.as_str()));
        check_free(&dir)?;
        let files = files(self.kind.0, &name);
        if !self.dry_run {
            std::fs::create_dir_all(&dir)
                .map_err(|error| Problem::io(format!("cannot make `{}`", dir.display()), &error))?;
            files.iter().try_for_each(|(file, text)| write(&dir.join(file), text))?;
        }
        let made = Made {
            name: name.to_string(),
            kind: self.kind.0.as_str(),
            dir: dir.display().to_string(),
            files: files.iter().map(|(file, _)| (*file).to_owned()).collect(),
            dry_run: self.dry_run,
        };
        context.ui().data("new", &made, |made| {
            let did = if made.dry_run { "would make" } else { "made" };
            format!("{did} the {} `{}` in `{}`: {}", made.kind, made.name, made.dir, made.files.join(", "))
        })?;
        if !self.dry_run {
            context.ui().note("next: edit `syncra.toml`, then `syncra check` there");
        }
        Ok(())
    }
}

fn check_free(dir: &Path) -> Result<(), Problem> {
    match std::fs::read_dir(dir).map(|entries| entries.take(1).count()) {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(Problem::new(Code::AlreadyExists, format!("`{}` exists and is not empty", dir.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            Err(Problem::new(Code::AlreadyExists, format!("`{}` is not a directory", dir.display())))
        }
        Err(error) => Err(Problem::io(format!("cannot look into `{}`", dir.display()), &error)),
    }
}

fn files(kind: PackageKind, name: &PackageName) -> Vec<(&'static str, String)> {
    let mut files = vec![
        (MANIFEST_FILE, Manifest::template(kind, name)),
        (IGNORE_FILE, "# What is not published, by the rules of .gitignore.\n*.tmp\n".to_owned()),
        ("README.md", format!("# {name}\n\nWhat it is, and how to use it.\n")),
    ];
    match kind {
        PackageKind::Script => files.push(("main.syn", format!("# {name} starts here.\n"))),
        PackageKind::World => files.push(("world.syn", format!("# The world {name}: what is in it when it starts.\n"))),
        PackageKind::Driver | PackageKind::Avatar | PackageKind::Asset | PackageKind::Pack => {}
    }
    files
}

fn write(path: &Path, text: &str) -> Result<(), Problem> {
    std::fs::write(path, text).map_err(|error| Problem::io(format!("cannot write `{}`", path.display()), &error))
}
