//! What comes to a node's ports that is no node of its kind, and ports that are not free.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use syncra_tests::{Home, own_ip};

use crate::people::{LOOPBACK, address, noise, publish, text};

/// The port of `/ip4/127.0.0.1/tcp/…`.
fn port(address: &str) -> u16 {
    address.split('/').nth(4).and_then(|port| port.parse().ok()).expect("a TCP address")
}

#[test]
fn a_taken_listening_port_is_a_conflict() {
    let (home, ip) = (Home::new(), own_ip());
    let taken = TcpListener::bind((ip, 0)).expect("a free port");
    let listen = format!("/ip4/{ip}/tcp/{}", taken.local_addr().expect("it is bound").port());
    let (exit, error) = home.fails(["up", "--listen", &listen]);
    assert_eq!((exit, error["code"].as_str()), (7, Some("E0703")), "{error}");
    drop(taken);
    let up = home.up(["--listen", &listen]);
    assert!(address(&up).starts_with(&listen), "{}", up.ready());
}

#[test]
fn garbage_and_foreign_protocols_on_the_port_disturb_nobody() {
    let (alice, bob) = (Home::new(), Home::new());
    let (alice_up, _bob_up) = (alice.up(LOOPBACK), bob.up(LOOPBACK));
    let published = publish(&alice, "1.0.0", 100_000);
    let port = port(address(&alice_up));
    let offer = |protocol: &str| {
        let line = |text: &str| [&[u8::try_from(text.len() + 1).expect("short")], text.as_bytes(), b"\n"].concat();
        [line("/multistream/1.0.0"), line(protocol)].concat()
    };
    let strangers = [
        noise(7, 100_000),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        // A security protocol of a version that nobody speaks.
        offer("/tls/9.0.0"),
        vec![0xff; 70_000],
    ];
    for bytes in strangers {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
        // It may hang up while we still talk.
        drop(stream.write_all(&bytes));
        drop(stream.shutdown(std::net::Shutdown::Write));
        drop(stream.read_to_end(&mut Vec::new()));
    }
    bob.json(["connect", address(&alice_up)]);
    bob.json(["get", &published.reference, "-o", text(&bob.work().join("out"))]);
    assert_eq!(alice_up.stop().0, 0);
}
