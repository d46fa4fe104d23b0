//! What people write, damaged: no panic, and what is accepted is written the same again, or in canonical form.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use syncra_protocol::id::{PackageId, base32};
use syncra_protocol::link::{Link, PeerAddress};
use syncra_protocol::manifest::{Manifest, PackageKind, ResolvedManifest};
use syncra_protocol::name::{Handle, PackageName, RefName};
use syncra_protocol::path::EntryPath;
use syncra_protocol::reference::Reference;
use syncra_protocol::version::{Version, VersionReq};

use crate::decoders::{Trial, try_decoder};
use crate::manifest_vectors;

#[expect(clippy::print_stdout, reason = "the counts are the test's result, shown on request")]
fn report(what: &str, trial: &Trial) {
    println!("{what}: {} damaged, {} of them accepted", trial.n_tried, trial.n_accepted);
    assert!(trial.n_accepted < trial.n_tried);
}

/// `exact`: the text printed is the text parsed, else it is a canonical form that parses to the same value.
fn survey<T: FromStr<Err: Display> + Display + PartialEq + Debug>(what: &str, seeds: &[String], exact: bool) {
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.clone().into_bytes()).collect();
    let trial = try_decoder(what, &seeds, |bytes| {
        let text = std::str::from_utf8(bytes).ok()?;
        match text.parse::<T>() {
            Ok(value) => {
                let printed = value.to_string();
                assert!(!exact || printed == text, "{text:?} is printed as {printed:?}");
                assert_eq!(printed.parse::<T>().map_err(|error| error.to_string()), Ok(value));
                Some(bytes.to_vec())
            }
            Err(error) => complaint(&error),
        }
    });
    report(what, &trial);
}

/// A complaint is text, too: made without panic, never empty.
fn complaint(error: &dyn Display) -> Option<Vec<u8>> {
    assert!(!error.to_string().is_empty());
    None
}

fn texts(list: &str) -> Vec<String> {
    list.split_ascii_whitespace().map(str::to_owned).collect()
}

#[test]
fn names() {
    let packages = "a rocket low-poly_trees a-b_c-d x0 0x sky sky-box sky_box island harbour2 com10 console null \
                    t-1 t_1 a1b2c3 lighthouse the-very-long-name-of-a-package-with-many-words-in-its-own-name z9";
    survey::<PackageName>("package name", &texts(packages), true);
    let handles = "a alice alice-b alice.dev a1.b2.example xn--bcher-kva.example 1.2.3.x bob carol dave eve team-7 \
                   sub.domain.example.org x-y-z.dev 0 9lives a.b.c.d.e.f.g.h studio.games my-team.io m";
    survey::<Handle>("handle", &texts(handles), true);
    let refs = "stable beta nightly feature/night-sky v1.2 a x_y release/2026.1 v1.2.3-rc.1 main lts user/alice/try \
                fix.1 fix_2 fix-3 a/b/c/d/e long-lived.branch_name z v1 draft";
    survey::<RefName>("ref name", &texts(refs), true);
}

#[test]
fn versions_and_requirements() {
    let versions = "0.0.0 1.2.3 1.2.3-beta.1 1.0.0-rc-1 18446744073709551615.0.0 10.20.30 1.0.0-alpha 1.0.0-alpha.1 \
                    1.0.0-0.3.7 1.0.0-x.7.z.92 0.1.0 0.0.1 2.0.0 1.1.2-prerelease 1.0.0-a-b 99.99.99 1.0.0-1 3.2.1 \
                    4.5.6-dev.20260101 1.0.0--";
    survey::<Version>("version", &texts(versions), true);
    let reqs =
        ["*", "1", "1.2", "1.2.3", "=1.2.3", "^1.2", "~1.2.3", ">=0.3, <0.5", ">1", "<2", "<=2.1", "1.*", "1.2.*"];
    let more = ["^0.0.3", ">=1.0.0-rc.1", "=1.2.3-a", ">1.2, <1.9, =1", "~1", "^1", ">=0.3,<0.5", " = 1", "1.x"];
    let reqs: Vec<String> = reqs.iter().chain(&more).map(|&req| req.to_owned()).collect();
    survey::<VersionReq>("version requirement", &reqs, false);
}

#[test]
fn paths() {
    let paths = "a a/b/c syncra.toml scripts/main.syn .syncraignore a/.syncra Ünïcødé/ラケット.png ❤\u{fe0f}.png x.tar.gz con1/comma.txt \
                 ..a/b..c auxiliary com10 これは？/１：２.txt straße 가각 עברית/x.txt 日本語 a/b/c/d/e/f/g/h textures/sky_4k.ktx2";
    survey::<EntryPath>("path", &texts(paths), true);
}

#[test]
fn references() {
    let (package, root, release) = (base32(&[1; 32]), base32(&[2; 32]), base32(&[3; 32]));
    let mut seeds = texts(
        "@alice/rocket @alice.dev/rocket @alice~k3v4x2m4q7ab/rocket @alice~k3v4x2m4q7ab/rocket@1.2.3 @a/b@1.2.3-beta.1 @a/b@^1.2 \
         @a/b@=1.2.3 @a/b@* @a/b@stable @a/b@feature/night-sky @a/b@~1.2 @a/b@>=1 @a/b@1.* @a/b@1",
    );
    seeds.extend([
        format!("@alice/rocket@r:{release}"),
        format!("syncra:{package}"),
        format!("syncra:{package}@1.0.0"),
        format!("syncra:{package}@beta"),
        format!("syncra:{package}@r:{release}"),
        format!("syncra:b3:{root}"),
        "@alice/rocket@>=0.3, <0.5".to_owned(),
    ]);
    survey::<Reference>("reference", &seeds, false);
}

#[test]
fn links() {
    let (package, release) = (base32(&[1; 32]), base32(&[3; 32]));
    let peer = "12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuS";
    let addresses: Vec<String> = texts(
        "/ip4/192.0.2.7/tcp/4001 /ip4/192.0.2.7/udp/4001/quic-v1 /ip6/2001:db8::7/tcp/4001 /ip6/::1/udp/1/quic-v1 \
         /dns/nodes.example.org/tcp/4001 /dns4/a.example/udp/65535/quic-v1 /dns6/b.example/tcp/1 /dnsaddr/example.org \
         /a/b /future/transport_2/x-y",
    )
    .into_iter()
    .map(|address| format!("{address}/p2p/{peer}"))
    .collect();
    let hints = [String::new(), "?name=@alice~k3v4x2m4q7ab/rocket".to_owned(), "?later=a%20b&flag".to_owned()];
    let selectors = ["", "@stable", "@1.2.3", "@%5E1.2", "@%3E%3D0.3%2C%20%3C0.5", &format!("@r:{release}")];
    let mut links: Vec<String> = addresses.iter().map(|at| format!("syncra:{package}?at={at}")).collect();
    for (selector, hint) in selectors.iter().flat_map(|selector| hints.iter().map(move |hint| (selector, hint))) {
        links.push(format!("syncra:{package}{selector}{hint}"));
    }
    links.push(format!("syncra:{package}@1?name=@a/b&at={}&at={}", addresses[0], addresses[1].replace('/', "%2F")));
    links.push(format!(" <SYNCRA:{package}@>=0.3, <0.5> "));
    survey::<Link>("link", &links, false);
    let twice = |address: &String| [address.clone(), address.replace(['4', 'a'], "b")];
    survey::<PeerAddress>("peer address", &addresses.iter().flat_map(twice).collect::<Vec<_>>(), true);
}

fn manifest_texts() -> Vec<String> {
    let mut texts: Vec<String> = manifest_vectors::cases().into_iter().map(|case| case.toml).collect();
    let name = PackageName::parse("rocket").expect("a name");
    texts.extend(PackageKind::ALL.map(|kind| {
        let template = Manifest::template(kind, &name);
        template.lines().filter_map(|line| line.split('#').next()).collect::<Vec<_>>().join("\n")
    }));
    let minimal = "[package]\nname = \"a\"\nversion = \"1.2.3\"\nkind = \"asset\"\n";
    texts.extend(
        [
            "keywords = [\"a\", 'b']",
            "engine = \"\"\"^1\"\"\"",
            "[files]\ninclude = [\n\"a\",\n]",
            "[ci]\nsteps = [{ name = \"a\", run = \"b\" }]",
            "[[ci.steps]]\nname = \"a\"\nrun = \"b\"",
            "[run]\nheadless = \"s.syn\"",
            "[dependencies.\"@a/b\"]\nversion = \"1\"",
            "description = \"\\u00e9\"",
            "[permissions]\nfiles = \"write\"\nnet = true",
        ]
        .map(|more| format!("{minimal}{more}\n")),
    );
    texts
}

/// The published form, all names resolved to some package.
fn publish(manifest: &Manifest) -> Option<ResolvedManifest> {
    let ids = (1..=u8::MAX).map(|n| PackageId::from_bytes([n; 32]));
    let known: BTreeMap<_, _> = manifest.unresolved().cloned().zip(ids).collect();
    manifest.resolve(&known).ok()
}

#[test]
fn manifest_text() {
    let seeds: Vec<Vec<u8>> = manifest_texts().into_iter().map(String::into_bytes).collect();
    let trial = try_decoder("manifest text", &seeds, |bytes| match Manifest::parse(std::str::from_utf8(bytes).ok()?) {
        Ok(manifest) => {
            if let Some(resolved) = publish(&manifest) {
                assert_eq!(ResolvedManifest::decode(&resolved.canonical_bytes()), Ok(resolved));
            }
            Some(bytes.to_vec())
        }
        Err(error) => complaint(&error),
    });
    report("manifest text", &trial);
}

#[test]
fn manifest_bytes() {
    let manifests = manifest_texts().into_iter().map(|text| Manifest::parse(&text).expect("a good manifest"));
    let seeds: Vec<Vec<u8>> =
        manifests.map(|manifest| publish(&manifest).expect("it can be published").canonical_bytes()).collect();
    let trial = try_decoder("manifest bytes", &seeds, |bytes| match ResolvedManifest::decode(bytes) {
        Ok(resolved) => Some(resolved.canonical_bytes()),
        Err(error) => complaint(&error),
    });
    report("manifest bytes", &trial);
}
