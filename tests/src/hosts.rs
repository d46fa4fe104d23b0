//! Machines of a test's own on one switch: network namespaces in a user namespace, so no rights are needed and nothing of
//! it outlives the test. There is no route out.

use std::process::{Child, Command, Stdio};

mod internet;
mod upnp;

pub use internet::{Internet, Mapping, passed, shut};
pub use upnp::{Forwarded, Upnp};

/// Says inside the namespaces that the test goes on there.
const INSIDE: &str = "SYNCRA_TEST_INSIDE";

/// How a host's card is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// A private IPv4 address, and the IPv6 address that every card has.
    Private,
    /// Only the IPv6 link-local address that every card has.
    LinkLocal,
    /// A private IPv6 address (ULA) and no IPv4 at all, not even this machine's own.
    Ipv6,
}

/// Runs the test of this full name again, alone, where it may make hosts. `false` inside: there the test goes on. `true`
/// outside, when it has passed, or was skipped because this machine does not allow it.
///
/// # Panics
/// When it failed inside.
#[must_use]
pub fn ran_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    // With the first process of the process namespace everything in there dies, whatever a test leaves running.
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-Urnpf", "--mount-proc", "--kill-child", "sh", "-c", script]);
        command
    };
    let may = inside("ip link set lo up && ip link add switch type bridge && command -v nsenter && nft list ruleset")
        .output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        crate::skip(test, &format!("no namespaces with a bridge here: {may:?}"));
        return true;
    }
    let me = std::env::current_exe().expect("this test is a file");
    // Built now: in there it could not be.
    let program = crate::syncra_bin();
    let mut command = inside(r#"ip link set lo up && "$0" --exact "$1" --nocapture --test-threads 1"#);
    let status = command.arg(me).arg(test).env(INSIDE, "1").env("SYNCRA_BIN", program).status();
    assert!(status.is_ok_and(|status| status.success()), "it failed among its hosts");
    true
}

/// One switch, and the hosts on it.
#[derive(Debug)]
pub struct Lan {
    hosts: Vec<Host>,
    addresses: Addresses,
}

/// A network namespace, held by a process that waits.
#[derive(Debug)]
struct Host(Child);

impl Lan {
    /// A switch without hosts. Only where [`ran_inside`] was `false`.
    #[must_use]
    pub fn new(addresses: Addresses) -> Self {
        ip("link add switch type bridge");
        ip("link set switch up");
        Self { hosts: Vec::new(), addresses }
    }

    /// Plugs in one more host; what to give [`crate::Home::on_host`].
    ///
    /// # Panics
    /// When the system refuses.
    #[must_use]
    pub fn host(&mut self) -> u32 {
        let n = self.hosts.len() + 1;
        let (host, id) = Host::start();
        ip(&format!("link add port{n} type veth peer name card netns {id}"));
        ip(&format!("link set port{n} master switch up"));
        match self.addresses {
            Addresses::Private => on(id, &format!("ip addr add 10.77.0.{n}/24 dev card")),
            Addresses::LinkLocal => {}
            Addresses::Ipv6 => {
                on(id, "ip addr del 127.0.0.1/8 dev lo");
                on(id, &format!("ip -6 addr add fd77::{n}/64 dev card nodad"));
            }
        }
        on(id, "ip link set card up");
        host.wait_for_link_local(id);
        self.hosts.push(host);
        id
    }
}

impl Host {
    /// A host without a card, and what to give [`crate::Home::on_host`].
    fn start() -> (Self, u32) {
        let mut command = Command::new("unshare");
        // Says when its namespace exists, then holds it until its input ends.
        command.args(["-n", "sh", "-c", "ip link set lo up && echo up && read _"]);
        let holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("`unshare` runs");
        let mut host = Self(holder);
        let id = host.wait_until_up();
        (host, id)
    }

    fn wait_until_up(&mut self) -> u32 {
        use std::io::{BufRead as _, BufReader};
        let mut line = String::new();
        let stdout = self.0.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it reads");
        assert_eq!(line, "up\n", "a host did not start");
        self.0.id()
    }

    /// The kernel gives a card its link-local address when the wire carries, and lets it be used when it has seen that
    /// nobody else has it.
    fn wait_for_link_local(&self, id: u32) {
        const TENTATIVE: u8 = 0x40;
        let is_usable = |line: &str| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let flags = fields.get(4).and_then(|flags| u8::from_str_radix(flags, 16).ok());
            fields.first().is_some_and(|address| address.starts_with("fe80"))
                && flags.is_some_and(|flags| flags & TENTATIVE == 0)
        };
        let table = format!("/proc/{id}/net/if_inet6");
        while !std::fs::read_to_string(&table).expect("it can be read").lines().any(is_usable) {
            std::thread::yield_now();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("`ip` runs");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// Runs a command, words apart, on a host; it has to succeed.
///
/// # Panics
/// When it fails.
pub fn on(host: u32, command: &str) {
    let mut nsenter = Command::new("nsenter");
    let output = nsenter.args(["-t", &host.to_string(), "-n"]).args(command.split(' ')).output();
    let output = output.expect("`nsenter` runs");
    assert!(output.status.success(), "{command}: {output:?}");
}
