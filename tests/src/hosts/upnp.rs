//! A router that forwards ports to whoever asks by UPnP, as those at homes do: Debian's miniupnpd.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::internet::nft;

/// The daemon on a router made by [`super::Internet::home_behind`]; it ends with this value.
#[derive(Debug)]
pub struct Upnp {
    daemon: Child,
    router: u32,
    _files: tempfile::TempDir,
}

/// What the router forwards, as its kernel says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forwarded {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The port outside.
    pub port: u16,
    /// The address and the port inside.
    pub to: String,
}

impl Upnp {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// What it said when it is not there, or does not run in a namespace: a reason to [`crate::skip`].
    ///
    /// # Panics
    /// When there is no place for its files.
    pub fn start(router: u32) -> Result<Self, String> {
        // The chains that the daemon fills. The router lets through whatever they forward.
        let chains = "table inet upnp {
            chain miniupnpd { }
            chain prerouting_miniupnpd { }
            chain postrouting_miniupnpd { }
            chain in { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
        }";
        nft(router, chains);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let settings = dir.path().join("settings");
        let leases = dir.path().join("leases");
        let lines = format!(
            "ext_ifname=card\nlistening_ip=inside\nport=0\nenable_upnp=yes\nenable_natpmp=no\nsecure_mode=yes\n\
             upnp_table_name=upnp\nupnp_nat_table_name=upnp\nuuid=6f1ab1f5-93b4-4b6f-9a7d-5a3c5a3fcf01\nlease_file={}\n\
             allow 1024-65535 192.168.0.0/16 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n",
            leases.display()
        );
        std::fs::write(&settings, lines).expect("a file");
        let mut command = Command::new("nsenter");
        command.args(["-t", &router.to_string(), "-n", "miniupnpd", "-d", "-f"]).arg(&settings).arg("-P");
        command.arg(dir.path().join("pid")).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut daemon = command.spawn().map_err(|error| error.to_string())?;
        let mut said = BufReader::new(daemon.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut before = Vec::new();
        let is_ready = said.by_ref().any(|line| {
            let is_ready = line.contains("HTTP listening on port");
            before.push(line);
            is_ready
        });
        // Read all the time: a daemon whose log nobody reads would stop at a full pipe.
        std::thread::spawn(move || said.for_each(drop));
        let upnp = Self { daemon, router, _files: dir };
        if is_ready { Ok(upnp) } else { Err(format!("miniupnpd does not run: {}", before.join("; "))) }
    }

    /// What is forwarded now, in order.
    ///
    /// # Panics
    /// When the router is gone.
    #[must_use]
    pub fn forwarded(&self) -> Vec<Forwarded> {
        let mut nft = Command::new("nsenter");
        nft.args([
            "-t",
            &self.router.to_string(),
            "-n",
            "nft",
            "list",
            "chain",
            "inet",
            "upnp",
            "prerouting_miniupnpd",
        ]);
        let output = nft.output().expect("`nft` runs");
        assert!(output.status.success(), "{output:?}");
        let rules = String::from_utf8(output.stdout).expect("UTF-8");
        let mut all: Vec<_> = rules.lines().filter(|line| line.contains("dnat")).map(Forwarded::of).collect();
        all.sort();
        all
    }
}

impl Forwarded {
    /// From a rule like `iif "card" @nh,72,8 0x11 th dport 4001 dnat ip to 192.168.1.2:4001`: the ninth byte of the IP
    /// header is the number of the protocol.
    fn of(rule: &str) -> Self {
        let after = |word: &str| rule.split_once(word).and_then(|(_, rest)| rest.split_ascii_whitespace().next());
        let protocol = match after("@nh,72,8 ") {
            Some("0x6") => "tcp",
            Some("0x11") => "udp",
            other => panic!("forwards {other:?}: {rule}"),
        };
        let port = after("dport ").and_then(|port| port.parse().ok()).expect("a port outside");
        Self { protocol, port, to: after(" to ").expect("a place inside").to_owned() }
    }
}

impl Drop for Upnp {
    fn drop(&mut self) {
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}
