//! An internet of a test's own: hosts with public addresses, and homes behind routers that translate addresses.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{Host, ip, on};

/// Which port outside a router gives to a port inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// The same, whoever is talked to: most routers at homes.
    Kept,
    /// Another for everybody who is talked to ("symmetric"): nobody who was told one can use it.
    Random,
}

/// Addresses that libraries and routers take for the internet's, as they do not those set aside for documentation; nobody
/// announces them to the world.
const PUBLIC: &str = "11.77.0";

/// One wire between public hosts and routers. There is no way out.
#[derive(Debug, Default)]
pub struct Internet {
    hosts: Vec<Host>,
    n_public: u8,
    n_homes: u8,
}

impl Internet {
    /// Without hosts. Only where [`super::ran_inside`] was `false`.
    #[must_use]
    pub fn new() -> Self {
        ip("link add internet type bridge");
        ip("link set internet up");
        Self::default()
    }

    /// A host with a public address: what to give [`crate::Home::on_host`], and the address.
    #[must_use]
    pub fn public(&mut self) -> (u32, String) {
        let (host, id) = Host::start();
        self.n_public += 1;
        let (n, address) = (self.n_public, format!("{PUBLIC}.{}", self.n_public));
        ip(&format!("link add public{n} type veth peer name card netns {id}"));
        ip(&format!("link set public{n} master internet up"));
        on(id, &format!("ip addr add {address}/24 dev card"));
        on(id, "ip link set card up");
        self.hosts.push(host);
        (id, address)
    }

    /// A host at home, behind a router that lets out everybody and in only answers.
    #[must_use]
    pub fn home(&mut self, mapping: Mapping) -> u32 {
        self.home_behind(mapping).0
    }

    /// The same, and the router.
    #[must_use]
    pub fn home_behind(&mut self, mapping: Mapping) -> (u32, u32) {
        let (router, _) = self.public();
        let (host, id) = Host::start();
        self.n_homes += 1;
        let n = self.n_homes;
        on(router, &format!("ip link add inside type veth peer name card netns {id}"));
        on(router, &format!("ip addr add 192.168.{n}.1/24 dev inside"));
        on(router, "ip link set inside up");
        on(id, &format!("ip addr add 192.168.{n}.2/24 dev card"));
        on(id, "ip link set card up");
        on(id, &format!("ip route add default via 192.168.{n}.1"));
        translate(router, mapping);
        self.hosts.push(host);
        (id, router)
    }
}

/// Bytes that have passed a host's card, both ways.
///
/// # Panics
/// When the host is gone.
#[must_use]
pub fn passed(host: u32) -> u64 {
    let table = std::fs::read_to_string(format!("/proc/{host}/net/dev")).expect("the host is there");
    let card = table.lines().find_map(|line| line.trim().strip_prefix("card:")).expect("it has a card");
    let fields: Vec<u64> = card.split_ascii_whitespace().map(|field| field.parse().expect("a count")).collect();
    fields[0] + fields[8]
}

/// Makes a host a router between its cards `card` and `inside`.
fn translate(router: u32, mapping: Mapping) {
    let how = match mapping {
        Mapping::Kept => "masquerade",
        Mapping::Random => "masquerade random,fully-random",
    };
    // What comes unasked is dropped before it is tracked as a connection: otherwise it would take the port that a
    // connection from inside is about to keep. What the router was asked to forward (see `Upnp`) was asked for.
    let rules = format!(
        "table ip router {{
            chain out {{ type nat hook postrouting priority srcnat; oifname card {how}; }}
            chain through {{ type filter hook forward priority filter; iifname card ct status dnat accept; iifname card ct state new drop; }}
            chain to {{ type filter hook input priority filter; iifname card ct state new drop; }}
        }}"
    );
    nft(router, &rules);
    let mut forward = Command::new("nsenter");
    forward.args(["-t", &router.to_string(), "-n", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    assert!(forward.status().is_ok_and(|status| status.success()), "it does not forward");
}

/// A firewall on a host that lets in only answers.
pub fn shut(host: u32) {
    nft(
        host,
        "table ip firewall {
            chain to { type filter hook input priority filter; iifname card ct state new drop; }
        }",
    );
}

pub(super) fn nft(host: u32, rules: &str) {
    let mut nft = Command::new("nsenter");
    nft.args(["-t", &host.to_string(), "-n", "nft", "-f", "-"]).stdin(Stdio::piped());
    let mut nft = nft.spawn().expect("`nft` runs");
    nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("it reads");
    assert!(nft.wait().is_ok_and(|status| status.success()), "the rules were refused");
}
