//! The real `syncra` program in a home of its own.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// After this a program that says nothing is taken for hung and killed: far above anything a loaded machine needs.
const HUNG: Duration = Duration::from_secs(180);

/// The built program: what `SYNCRA_BIN` names, else built now, once, beside this test and in its profile.
///
/// # Panics
/// When it cannot be built.
pub fn syncra_bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| std::env::var_os("SYNCRA_BIN").map_or_else(build, PathBuf::from))
}

/// This test lies in `<target>/<profile>/deps/`, the program one directory above.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    let dir = test.parent().and_then(Path::parent).expect("tests lie in <target>/<profile>/deps");
    let profile = match dir.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let target = dir.parent().expect("the profile's directory lies in the target directory");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "syncra-node", "--bin", "syncra", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status();
    assert!(status.is_ok_and(|status| status.success()), "the program does not build");
    dir.join(format!("syncra{}", std::env::consts::EXE_SUFFIX))
}

/// A home in a temporary directory, removed at the end.
#[derive(Debug)]
pub struct Home {
    dir: tempfile::TempDir,
    path: PathBuf,
    /// The process that holds the network namespace of its programs, if that is not ours.
    host: Option<u32>,
    /// What its programs find in their environment besides.
    environment: Vec<(&'static str, String)>,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// A home that does not exist yet.
    #[must_use]
    pub fn new() -> Self {
        Self::named("home")
    }

    /// A home that does not exist yet, in a directory of this name.
    ///
    /// # Panics
    /// When there is no temporary directory.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(name);
        Self { dir, path, host: None, environment: Vec::new() }
    }

    /// A home that does not exist yet, in memory where the system has such a place: for tests that start the program a
    /// thousand times and would wait for the disk's syncs.
    ///
    /// # Panics
    /// When there is no temporary directory.
    #[must_use]
    pub fn in_memory(name: &str) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        let path = dir.path().join(name);
        Self { dir, path, host: None, environment: Vec::new() }
    }

    /// A home whose programs run on a host of [`crate::hosts`], with the network settings that a user would have.
    ///
    /// # Panics
    /// When there is no temporary directory.
    #[must_use]
    pub fn on_host(host: u32) -> Self {
        Self { host: Some(host), ..Self::new() }
    }

    /// The same home, whose programs find this in their environment.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.environment.push((name, value));
        self
    }

    /// The home.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory beside the home for packages and outputs; verbs run in it.
    #[must_use]
    pub fn work(&self) -> &Path {
        self.dir.path()
    }

    /// `syncra` on this home, not started yet: nothing of the caller's environment reaches it.
    #[must_use]
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = match self.host {
            None => Command::new(syncra_bin()),
            Some(host) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &host.to_string(), "-n"]).arg(syncra_bin());
                command
            }
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SYNCRA_") || name == "NO_COLOR" {
                command.env_remove(name);
            }
        }
        // Tests look for nobody unless they make a LAN of their own: what runs beside them must not meet them.
        if self.host.is_none() {
            command.env("SYNCRA_LAN_PORT", "0");
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.work()).env("SYNCRA_HOME", &self.path).stdin(Stdio::null()).args(args);
        command
    }

    /// Runs a verb to its end.
    ///
    /// # Panics
    /// When it cannot be started or hangs.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        Output::of(self.command(args))
    }

    /// Runs a verb with `--json` that has to succeed; returns its `data`.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn json<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Value {
        let mut command = self.command(args);
        command.arg("--json");
        Output::of(command).data()
    }

    /// Runs a verb with `--json` that has to fail; returns the exit code and the `error`.
    ///
    /// # Panics
    /// When it succeeds, or prints to stdout all the same.
    pub fn fails<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> (i32, Value) {
        let mut command = self.command(args);
        command.arg("--json");
        Output::of(command).error()
    }

    /// Starts the node and waits for its ready line.
    ///
    /// # Panics
    /// When it ends before it is ready, with what it said.
    #[must_use]
    pub fn up<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Node {
        Node::start(self, args)
    }
}

/// What a finished program said.
#[derive(Debug)]
pub struct Output {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Output {
    /// Runs `command` to its end.
    ///
    /// # Panics
    /// When it cannot be started or hangs.
    pub fn of(mut command: Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        Self::at_the_end_of(child, &format!("{command:?}"))
    }

    fn at_the_end_of(child: Child, what: &str) -> Self {
        let (done, wait) = mpsc::channel();
        let id = child.id();
        // A thread, so that a hung program fails its test instead of the whole run.
        std::thread::spawn(move || drop(done.send(child.wait_with_output())));
        let Ok(output) = wait.recv_timeout(HUNG) else {
            signal(id, "KILL");
            panic!("{what} hangs");
        };
        let output = output.expect("its output can be read");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: code(output.status), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The `data` of the JSON on stdout.
    ///
    /// # Panics
    /// When the program failed or printed something else.
    #[must_use]
    pub fn data(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        let mut envelope: Value = serde_json::from_str(&self.stdout).expect("one JSON value on stdout");
        let schema = envelope["schema"].as_str().unwrap_or_default();
        assert!(schema.starts_with("syncra/v1/"), "{schema}");
        envelope["data"].take()
    }

    /// The exit code and the `error` of the JSON on stderr.
    ///
    /// # Panics
    /// When the program succeeded, or there is anything on stdout.
    #[must_use]
    pub fn error(&self) -> (i32, Value) {
        assert_ne!(self.code, 0, "it succeeded: {}", self.stdout);
        assert_eq!(self.stdout, "", "on failure stdout is empty");
        let mut values = self.stderr.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut failure = values.next().unwrap_or_else(|| panic!("no JSON on stderr: {}", self.stderr));
        assert!(failure["error"]["code"].is_string(), "{failure}");
        (self.code, failure["error"].take())
    }
}

impl From<Child> for Output {
    /// Waits for the end of a program that was started with its output piped.
    ///
    /// # Panics
    /// When it hangs.
    fn from(child: Child) -> Self {
        let what = format!("process {}", child.id());
        Self::at_the_end_of(child, &what)
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// A running node; killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    ready: Value,
    rest: Option<std::thread::JoinHandle<String>>,
}

impl Node {
    fn start<A: AsRef<OsStr>>(home: &Home, args: impl IntoIterator<Item = A>) -> Self {
        let mut command = home.command(["up", "--json"]);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stderr = child.stderr.take().expect("piped");
        // Read all the time: a node whose log nobody reads would stop at a full pipe.
        let rest = std::thread::spawn(move || {
            let mut text = Vec::new();
            drop(stderr.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        let stdout = child.stdout.take().expect("piped");
        let (line, wait) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines();
            drop(line.send(lines.next()));
            lines.for_each(drop);
        });
        let mut node = Self { child, ready: Value::Null, rest: Some(rest) };
        match wait.recv_timeout(HUNG) {
            Ok(Some(Ok(line))) => {
                let mut ready: Value = serde_json::from_str(&line).expect("the ready line is JSON");
                node.ready = ready["data"].take();
                node
            }
            other => panic!("the node is not ready ({other:?}): {}", node.end().1),
        }
    }

    /// The ready line's data: `peer_id`, `listen`, `api`.
    #[must_use]
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Its peer id.
    ///
    /// # Panics
    /// When the ready line has none.
    #[must_use]
    pub fn peer_id(&self) -> &str {
        self.ready["peer_id"].as_str().expect("a peer id")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop as a service manager does, and waits; returns the exit code and its log.
    #[must_use]
    pub fn stop(self) -> (i32, String) {
        self.stop_by("TERM")
    }

    /// Sends it one signal, for instance `INT`, and waits. A second one would mean: stop at once.
    #[must_use]
    pub fn stop_by(mut self, name: &str) -> (i32, String) {
        signal(self.child.id(), name);
        self.end()
    }

    /// Kills it in the middle of whatever it does; returns its log.
    #[must_use]
    pub fn kill(mut self) -> String {
        drop(self.child.kill());
        self.end().1
    }

    /// Waits until it has ended by itself, or because somebody asked it to.
    #[must_use]
    pub fn wait(mut self) -> (i32, String) {
        self.end()
    }

    fn end(&mut self) -> (i32, String) {
        let code = self.child.wait().map_or(-1, code);
        let log = self.rest.take().and_then(|rest| rest.join().ok()).unwrap_or_default();
        (code, log)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.rest.is_some() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Sends a signal by name; where there are no signals, ends the process.
///
/// # Panics
/// When the system has no tool for it.
pub fn signal(pid: u32, name: &str) {
    #[cfg(unix)]
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    #[cfg(windows)]
    let status = {
        let _ = name;
        Command::new("taskkill").args(["/F", "/PID", &pid.to_string()]).status()
    };
    // A process that has ended already is what the caller wants.
    let _ = status.expect("the system can signal a process");
}
