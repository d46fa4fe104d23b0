use super::*;

fn id(fill: u8) -> String {
    base32(&[fill; 32])
}

#[test]
fn every_form_parses_and_prints_the_same() {
    let (package, root, release) = (id(1), id(2), id(3));
    for text in [
        "@alice/rocket".to_owned(),
        "@alice.dev/rocket".to_owned(),
        "@alice~k3v4x2m4q7ab/rocket".to_owned(),
        "@alice~k3v4x2m4q7ab/rocket@1.2.3".to_owned(),
        "@alice/rocket@1.2.3-beta.1".to_owned(),
        "@alice/rocket@^1.2".to_owned(),
        "@alice/rocket@>=0.3, <0.5".to_owned(),
        "@alice/rocket@=1.2.3".to_owned(),
        "@alice/rocket@*".to_owned(),
        "@alice/rocket@stable".to_owned(),
        "@alice/rocket@feature/night-sky".to_owned(),
        format!("@alice/rocket@r:{release}"),
        format!("syncra:{package}"),
        format!("syncra:{package}@1.0.0"),
        format!("syncra:{package}@beta"),
        format!("syncra:{package}@r:{release}"),
        format!("syncra:b3:{root}"),
    ] {
        let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(reference.to_string(), text);
    }
}

#[test]
fn a_whole_version_is_exact_and_a_part_is_a_requirement() {
    let selector = |text: &str| Selector::parse(text).unwrap();
    assert_eq!(selector("1.2.3"), Selector::Version(Version::new(1, 2, 3)));
    assert_eq!(selector("1.2"), Selector::Req(VersionReq::parse("^1.2").unwrap()));
    assert_eq!(selector("1.2.*"), Selector::Req(VersionReq::parse("1.2.*").unwrap()));
    assert_eq!(selector("1.2").to_string(), "^1.2");
    assert_eq!(selector("x"), Selector::Channel(RefName::parse("x").unwrap()));
    assert_eq!(Selector::parse("1.2.3+a"), Err(ReferenceFault::Version(VersionError::BuildMetadata)));
}

#[test]
fn an_owner_key_is_the_beginning_of_an_id() {
    let identity = IdentityId::from_bytes([7; 32]);
    let key = OwnerKey::of(&identity);
    assert_eq!(key.to_string(), identity.fmt_short());
    assert!(key.matches(&identity));
    assert!(!key.matches(&IdentityId::from_bytes([8; 32])));
    for text in ["", "k3v9x2m4q7ab", "k3v4x2m4q7a", "k3v4x2m4q7abc", "K3V4X2M4Q7AB", "k3v4x2m4q7é"] {
        assert_eq!(OwnerKey::parse(text), Err(OwnerKeyError), "{text}");
    }
}

#[test]
fn hints_show_what_was_meant_and_parse_themselves() {
    let package = id(1);
    for (wrote, meant) in [
        ("rocket", "@owner/rocket"),
        ("rocket@1.2", "@owner/rocket@1.2"),
        ("@rocket", "@owner/rocket"),
        ("alice/rocket", "@alice/rocket"),
        ("@Alice/Rocket", "@alice/rocket"),
        ("@alice/My Rocket", "@alice/my-rocket"),
        (" @alice/rocket ", "@alice/rocket"),
        ("@alice/rocket@v1.2.3", "@alice/rocket@v1.2.3"),
        ("@alice/rocket@Stable", "@alice/rocket@stable"),
        ("alice/rocket@v1.2.3", "@alice/rocket@1.2.3"),
        ("@alice~K3V4X2M4Q7AB/rocket", "@alice~k3v4x2m4q7ab/rocket"),
        (&*package, &*format!("syncra:{package}")),
        (&*format!("syncra:{}@1.0.0", package.to_uppercase()), &*format!("syncra:{package}@1.0.0")),
        (&*format!("b3:{package}"), &*format!("syncra:b3:{package}")),
        (&*format!("syncra:b3:{package}@1.0.0"), &*format!("syncra:b3:{package}")),
    ] {
        match Reference::parse(wrote) {
            Ok(reference) => assert_eq!(reference.to_string(), meant),
            Err(error) => {
                assert_eq!(error.hint(), Some(meant), "{wrote}: {error}");
                assert!(Reference::parse(meant).is_ok());
            }
        }
    }
    for hopeless in ["", "@", "@/", "ラケット", "@alice/", "syncra:", &"x/".repeat(400)] {
        let error = Reference::parse(hopeless).unwrap_err();
        assert_eq!(error.hint(), None, "{hopeless}: {error}");
    }
}

#[test]
fn each_fault_is_told() {
    let fault = |text: &str| Reference::parse(text).unwrap_err().fault;
    assert_eq!(fault("rocket"), ReferenceFault::NoOwner);
    assert_eq!(fault("alice/rocket"), ReferenceFault::Form);
    assert_eq!(fault("@alice"), ReferenceFault::Form);
    assert_eq!(fault("https://example/rocket"), ReferenceFault::Form);
    assert_eq!(fault("@alice~short/rocket"), ReferenceFault::Key(OwnerKeyError));
    assert_eq!(fault("syncra:abc"), ReferenceFault::Id(IdError::Alphabet));
    assert_eq!(fault(&format!("syncra:b3:{}@1.0.0", id(1))), ReferenceFault::ContentHasNoVersions);
    assert!(matches!(fault("@alice/Rocket"), ReferenceFault::Name(_)));
    assert!(matches!(fault("@alice/rocket@1.2.3@2"), ReferenceFault::Version(_)));
    assert!(matches!(fault("@alice/rocket@"), ReferenceFault::Version(_)));
    assert_eq!(fault(&"x".repeat(513)), ReferenceFault::TooLong { len: 513 });
}
