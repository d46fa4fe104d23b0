use super::*;
use crate::id::base32;

const PEER: &str = "12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuS";

fn id() -> String {
    base32(&[1; 32])
}

fn at(address: &str) -> String {
    format!("{address}/p2p/{PEER}")
}

fn error(text: &str) -> LinkError {
    Link::parse(text).expect_err(text)
}

#[test]
fn every_form_parses_and_prints_the_same() {
    let (id, tcp, quic) = (id(), at("/ip4/192.0.2.7/tcp/4001"), at("/ip6/2001:db8::7/udp/4001/quic-v1"));
    for text in [
        format!("syncra:{id}"),
        format!("syncra:{id}@1.2.3"),
        format!("syncra:{id}?name=@alice~k3v4x2m4q7ab/rocket"),
        format!("syncra:{id}?at={tcp}"),
        format!("syncra:{id}@stable?name=@alice.dev/rocket&at={tcp}&at={quic}"),
        format!("syncra:{id}@%5E1.2?at={}", at("/dnsaddr/nodes.example.org")),
        format!("syncra:{id}@%3E%3D0.3%2C%20%3C0.5?at={}", at("/some/future/transport")),
        format!("syncra:{id}@r:{}?name=@alice/rocket", base32(&[2; 32])),
    ] {
        let link = Link::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(link.to_string(), text);
    }
}

#[test]
fn what_people_paste_is_taken() {
    let (id, tcp) = (id(), at("/ip4/192.0.2.7/tcp/4001"));
    let link = Link::parse(&format!("syncra:{id}?name=@alice/rocket&at={tcp}")).unwrap();
    for text in [
        format!("  syncra:{id}?name=@alice/rocket&at={tcp}\n"),
        format!("<syncra:{id}?name=@alice/rocket&at={tcp}>"),
        format!("\t< SYNCRA:{id}?name=%40alice%2Frocket&at={} >", tcp.replace('/', "%2f").replace(':', "%3A")),
        format!("Syncra:{id}?at={tcp}&name=@alice/rocket&at={tcp}"),
        format!("syncra:{id}?utm_source=x%20y&fbclid&&name=@alice/rocket&at={tcp}&new=(1,2)"),
    ] {
        assert_eq!(Link::parse(&text), Ok(link.clone()), "{text}");
    }
    // A reference is a link without hints, in its own spelling.
    let bare = Link::parse(&format!("syncra:{id}@>=0.3, <0.5")).unwrap();
    assert_eq!(bare.to_string(), format!("syncra:{id}@%3E%3D0.3%2C%20%3C0.5"));
    assert_eq!(bare.reference(), format!("syncra:{id}@>=0.3, <0.5").parse().unwrap());
}

#[test]
fn the_rest_is_refused_with_a_reason() {
    let (id, tcp) = (id(), at("/ip4/192.0.2.7/tcp/4001"));
    assert_eq!(error("@alice/rocket"), LinkError::Scheme);
    assert_eq!(error("https://example.org/rocket"), LinkError::Scheme);
    assert_eq!(error(&format!("syncra:b3:{id}")), LinkError::Content);
    assert!(matches!(error(&format!("syncra:{}?x", &id[..51])), LinkError::Id(_)));
    assert_eq!(error(&format!("syncra:{}?x", &id[..40])), LinkError::Id(IdError::Length(40)));
    assert_eq!(error(&format!("syncra:{}?x", id.to_uppercase())), LinkError::Id(IdError::Alphabet));
    assert!(matches!(error(&format!("syncra:{}", &id[..51])), LinkError::Reference(_)));
    assert!(matches!(error(&format!("syncra:{id}@1.2.3.4?x")), LinkError::Selector(_)));
    assert_eq!(error(&format!("syncra:{id}?x#y")), LinkError::Character { at: 1 });
    assert_eq!(error(&format!("syncra:{id}?x=é")), LinkError::Character { at: 0 });
    assert_eq!(error(&format!("syncra:{id}?x=%2")), LinkError::Escape);
    assert_eq!(error(&format!("syncra:{id}?x=%ff")), LinkError::Escape);
    assert_eq!(error(&format!("syncra:{id}?at")), LinkError::NoValue("at"));
    assert_eq!(error(&format!("syncra:{id}?name=@a/b&name=@a/b")), LinkError::SecondName);
    assert!(matches!(error(&format!("syncra:{id}?name=rocket")), LinkError::Name(_)));
    assert!(matches!(error(&format!("syncra:{id}?name=@a/b%1B[2J")), LinkError::Character { .. }));
    for cut in [1, 20, PEER.len(), PEER.len() + 4, tcp.len() - 1] {
        let text = format!("syncra:{id}?at={}", &tcp[..tcp.len() - cut]);
        assert!(matches!(error(&text), LinkError::Address(_)), "{text}");
    }
}

#[test]
fn addresses_have_one_form() {
    for good in [at("/ip4/192.0.2.7/tcp/4001"), at("/dns4/a.example/udp/1/quic-v1"), at("/a/b/c_d/e-f")] {
        assert_eq!(PeerAddress::parse(&good).unwrap().as_str(), good);
    }
    let long = format!("/dns/{}", "a".repeat(LINK_BYTES));
    for (text, error) in [
        (at(&long), PeerAddressError::TooLong { len: at(&long).len() }),
        (at("ip4/192.0.2.7/tcp/1"), PeerAddressError::Form),
        (at("/ip4//tcp/1"), PeerAddressError::Form),
        (at("/ip4/192.0.2.7/tcp/1") + "/", PeerAddressError::Form),
        (at("/dns/a%b/tcp/1"), PeerAddressError::Form),
        (format!("/p2p/{PEER}"), PeerAddressError::Peer),
        (at("/ip4/192.0.2.7/tcp/1") + "x", PeerAddressError::Peer),
        (at("/ip4/192.0.2.7/tcp/1").replace("12D3", "12d3"), PeerAddressError::Peer),
        (at("/ip4/192.0.2.7/tcp/1").replace("KSuS", "KSu0"), PeerAddressError::Peer),
    ] {
        assert_eq!(PeerAddress::parse(&text), Err(error), "{text}");
    }
}

#[test]
fn everything_is_bounded() {
    let id = id();
    let ports = |n: usize| (0..n).map(|port| PeerAddress::parse(&at(&format!("/ip4/192.0.2.7/tcp/{port}"))).unwrap());
    let mut link = Link::new(id.parse().unwrap(), None);
    let added = ports(LINK_ADDRESSES + 2).filter(|address| link.add(address.clone())).count();
    assert_eq!((added, link.addresses().len()), (LINK_ADDRESSES, LINK_ADDRESSES));
    assert!(!link.add(link.addresses()[0].clone()));
    let text = ports(LINK_ADDRESSES + 1).map(|address| format!("&at={address}")).collect::<String>();
    assert_eq!(error(&format!("syncra:{id}?{}", &text[1..])), LinkError::TooManyAddresses);
    assert_eq!(error(&format!("syncra:{id}?{}", "&".repeat(LINK_PARAMETERS))), LinkError::TooManyParameters);
    let long = format!("syncra:{id}?x={}", "y".repeat(LINK_BYTES));
    assert_eq!(error(&long), LinkError::TooLong { len: long.len() });

    // Long addresses: as many as there is room for.
    let mut link = Link::new(id.parse().unwrap(), None);
    let wide = |n: usize| PeerAddress::parse(&at(&format!("/dns/{}/tcp/{n}", "a".repeat(180)))).unwrap();
    assert!((0..LINK_ADDRESSES).filter(|n| link.add(wide(*n))).count() < LINK_ADDRESSES);
    assert_eq!(Link::parse(&link.to_string()), Ok(link));
}
