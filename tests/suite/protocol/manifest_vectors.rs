//! The canonical bytes of manifests, recorded: `tests/vectors/manifest.json`. They may never change.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use syncra_protocol::id::{BlobId, PackageId};
use syncra_protocol::manifest::{Manifest, ResolvedManifest};
use syncra_protocol::reference::QualifiedName;

use crate::oracle::{VECTORS, has_python, hex, run};

pub(crate) struct Case {
    pub(crate) toml: String,
    /// Which package each name is.
    packages: BTreeMap<QualifiedName, PackageId>,
    bytes: Vec<u8>,
    blob: String,
}

pub(crate) fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(format!("{VECTORS}/manifest.json")).expect("the vectors");
    let list: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let case = |value: Value| {
        let field = |name: &str| value[name].as_str().expect(name).to_owned();
        let packages = value["packages"].as_object().expect("packages").iter();
        let package = |(name, id): (&String, &Value)| {
            (name.parse().expect("a name"), id.as_str().and_then(|id| id.parse().ok()).expect("an id"))
        };
        Case {
            toml: field("toml"),
            packages: packages.map(package).collect(),
            bytes: HEXLOWER.decode(field("canonical").as_bytes()).expect("hex"),
            blob: field("blob"),
        }
    };
    list.into_iter().map(case).collect()
}

/// Fills in `canonical` and `blob`, for cases that were added to the file.
fn record() {
    let path = format!("{VECTORS}/manifest.json");
    let text = std::fs::read_to_string(&path).expect("the vectors");
    let mut list: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    for (value, case) in list.iter_mut().zip(cases()) {
        let manifest = Manifest::parse(&case.toml).expect("a good manifest");
        let bytes = manifest.resolve(&case.packages).expect("it can be published").canonical_bytes();
        value["canonical"] = hex(&bytes).into();
        value["blob"] = BlobId::of(&bytes).to_string().into();
    }
    let text = serde_json::to_string_pretty(&list).expect("JSON") + "\n";
    // Renamed into place: other tests read the file meanwhile.
    std::fs::write(format!("{path}.new"), text).expect("the new vectors");
    std::fs::rename(format!("{path}.new"), path).expect("the vectors");
}

#[test]
fn canonical_bytes_are_as_recorded() {
    if std::env::var_os("SYNCRA_WRITE_VECTORS").is_some() {
        record();
    }
    let cases = cases();
    assert!(cases.len() >= 6);
    for case in cases {
        let manifest = Manifest::parse(&case.toml).unwrap_or_else(|error| panic!("{}: {error}", case.toml));
        let resolved = manifest.resolve(&case.packages).unwrap_or_else(|error| panic!("{}: {error}", case.toml));
        assert_eq!(hex(&resolved.canonical_bytes()), hex(&case.bytes), "{}", case.toml);
        assert_eq!(BlobId::of(&case.bytes).to_string(), case.blob);
        assert_eq!(ResolvedManifest::decode(&case.bytes), Ok(resolved));
    }
}

/// `tests/vectors/manifest_decode.py` reads the bytes from the text of the specification alone.
#[test]
fn an_independent_decoder_reads_the_same() {
    if !has_python("an_independent_decoder_reads_the_same") {
        return;
    }
    let cases = cases();
    let input: String = cases.iter().map(|case| hex(&case.bytes) + "\n").collect();
    let answers = run(&format!("{VECTORS}/manifest_decode.py"), "decode", input);
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(answers) {
        let there: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(there, fields(&ResolvedManifest::decode(&case.bytes).expect("recorded bytes")), "{}", case.toml);
    }
}

#[test]
fn the_example_packages_have_good_manifests() {
    let packages = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/packages");
    let mut n_manifests = 0;
    for package in std::fs::read_dir(packages).expect("the examples") {
        let directory = package.expect("an example").path();
        if !directory.is_dir() {
            continue; // a program that makes one of them
        }
        let file = directory.join("syncra.toml");
        let text = std::fs::read_to_string(&file).expect("a manifest");
        Manifest::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        n_manifests += 1;
    }
    assert!(n_manifests > 0);
}

fn fields(manifest: &ResolvedManifest) -> Value {
    let texts = |list: Vec<String>| Value::from(list);
    let header = manifest.header();
    let dependency = |it: &syncra_protocol::manifest::Dependency| json!({"package": it.package.to_string(), "req": it.req.to_string(), "name": it.name.to_string()});
    json!({
        "name": header.name.as_str(),
        "version": header.version.to_string(),
        "kind": header.kind.as_str(),
        "description": header.description.as_ref().map(ToString::to_string),
        "license": header.license.as_ref().map(ToString::to_string),
        "keywords": texts(header.keywords.iter().map(ToString::to_string).collect()),
        "engine": header.engine.as_ref().map(ToString::to_string),
        "dependencies": manifest.dependencies().iter().map(dependency).collect::<Vec<_>>(),
        "read": texts(manifest.permissions().read.iter().map(ToString::to_string).collect()),
        "write": texts(manifest.permissions().write.iter().map(ToString::to_string).collect()),
        "net": manifest.permissions().net,
        "files": manifest.permissions().files.as_str(),
        "start": texts(manifest.run().start.iter().map(ToString::to_string).collect()),
        "headless": manifest.run().headless.as_ref().map(ToString::to_string),
    })
}
