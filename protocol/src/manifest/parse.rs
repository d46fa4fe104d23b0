//! `syncra.toml`, table by table.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::reader::{ManifestError, Reader, document};
use super::{CiStep, FilePatterns, Header, Manifest, Permissions, Run, Wanted};
use crate::limits::{CI_STEPS, DEPENDENCIES, FILE_PATTERNS, KEYWORDS, PERMITTED_COMPONENTS, START_FILES};
use crate::reference::QualifiedName;

const TABLES: &[&str] = &["package", "dependencies", "permissions", "files", "run", "ci"];
pub(super) const PACKAGE: &[&str] = &["name", "version", "kind", "description", "license", "keywords", "engine"];

pub(super) fn parse(text: &str) -> Result<Manifest, ManifestError> {
    let document = document(text)?;
    let root = Reader::new(text, &document);
    root.only(TABLES)?;
    let Some(package) = root.table("package")? else { return Err(root.missing("package")) };
    Ok(Manifest {
        header: header(&package)?,
        dependencies: root.table("dependencies")?.map_or(Ok(BTreeMap::new()), |table| dependencies(&table))?,
        permissions: root.table("permissions")?.map_or(Ok(Permissions::default()), |table| permissions(&table))?,
        files: root.table("files")?.map_or(Ok(FilePatterns::default()), |table| files(&table))?,
        run: root.table("run")?.map_or(Ok(Run::default()), |table| run(&table))?,
        ci: root.table("ci")?.map_or(Ok(Vec::new()), |table| ci(&table))?,
    })
}

fn header(table: &Reader<'_>) -> Result<Header, ManifestError> {
    table.only(PACKAGE)?;
    Ok(Header {
        name: table.required("name")?,
        version: table.required("version")?,
        kind: table.required("kind")?,
        description: table.optional("description")?,
        license: table.optional("license")?,
        keywords: sorted(table.list("keywords", KEYWORDS)?),
        engine: table.optional("engine")?,
    })
}

/// `"@owner/name" = "^1.2"` or `"@owner/name" = { package = "<package id>", version = "^1.2" }`.
fn dependencies(table: &Reader<'_>) -> Result<BTreeMap<QualifiedName, Wanted>, ManifestError> {
    let mut out = BTreeMap::new();
    for (key, at, value) in table.entries() {
        if out.len() == DEPENDENCIES {
            return Err(table.too_many(DEPENDENCIES));
        }
        let name = QualifiedName::parse(key).map_err(|error| match error.hint() {
            Some(hint) => table.bad_value(key, at, &format!("{error}; did you mean `{hint}`?")),
            None => table.bad_value(key, at, &error),
        })?;
        let wanted = match value.get_ref() {
            DeValue::String(_) => Wanted { package: None, req: table.value(key, value)? },
            DeValue::Table(_) => {
                let inner = table.as_table(key, format!("the dependency `{name}`"), value)?;
                inner.only(&["package", "version"])?;
                Wanted { package: inner.optional("package")?, req: inner.required("version")? }
            }
            other => return Err(table.wrong_type(key, "a version requirement in quotes", value.span(), other)),
        };
        out.insert(name, wanted);
    }
    Ok(out)
}

fn permissions(table: &Reader<'_>) -> Result<Permissions, ManifestError> {
    table.only(&["read", "write", "net", "files"])?;
    Ok(Permissions {
        read: sorted(table.list("read", PERMITTED_COMPONENTS)?),
        write: sorted(table.list("write", PERMITTED_COMPONENTS)?),
        net: table.boolean("net")?.unwrap_or_default(),
        files: table.optional("files")?.unwrap_or_default(),
    })
}

fn files(table: &Reader<'_>) -> Result<FilePatterns, ManifestError> {
    table.only(&["include", "exclude"])?;
    Ok(FilePatterns { include: table.list("include", FILE_PATTERNS)?, exclude: table.list("exclude", FILE_PATTERNS)? })
}

fn run(table: &Reader<'_>) -> Result<Run, ManifestError> {
    table.only(&["start", "headless"])?;
    Ok(Run { start: table.list("start", START_FILES)?, headless: table.optional("headless")? })
}

fn ci(table: &Reader<'_>) -> Result<Vec<CiStep>, ManifestError> {
    table.only(&["steps"])?;
    let step = |(index, value)| {
        let step = table.as_table("steps", format!("step {} of [ci]", index + 1), value)?;
        step.only(&["name", "run"])?;
        Ok(CiStep { name: step.required("name")?, run: step.required("run")? })
    };
    table.array("steps", CI_STEPS)?.iter().enumerate().map(step).collect()
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}
