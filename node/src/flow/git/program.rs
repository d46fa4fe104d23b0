//! Calls of the `git` program, on repositories that nobody vouches for.
//!
//! Only plumbing that reads or writes objects and refs is called, never a verb that runs hooks, filters or transports; and
//! whatever a repository's own settings name to be run is overruled by ours, so that looking into one runs nothing of it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::GitError;
use super::object::{Oid, Type};

/// What a repository could name to be run, and what we say instead. Settings of the command line win over its own.
const SETTINGS: &[&str] = &[
    "safe.directory=*",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.sshCommand=false",
    "core.gitProxy=false",
    "core.askPass=false",
    "core.editor=false",
    "core.pager=cat",
    "core.alternateRefsCommand=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.logAllRefUpdates=false",
    "core.autocrlf=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "credential.helper=",
    "diff.external=",
    "gc.auto=0",
    "gpg.program=false",
    "maintenance.auto=false",
    "protocol.allow=never",
    "uploadpack.packObjectsHook=",
];
/// All that git inherits of our environment: where programs are, and what Windows needs to start one.
const INHERITED: &[&str] = &["PATH", "SystemRoot", "TMPDIR", "TEMP", "TMP"];
/// Bytes of what git says that are shown to people.
const SAID_BYTES: u64 = 2_048;

/// A repository that is called through the program.
#[derive(Debug, Clone)]
pub(super) struct Git {
    git_dir: PathBuf,
    work_tree: Option<PathBuf>,
}

impl Git {
    /// The repository whose top (or bare directory) is `dir`.
    pub(super) fn open(dir: &Path) -> Result<Self, GitError> {
        if !dir.is_dir() {
            return Err(GitError::NoRepository { dir: dir.to_owned() });
        }
        let mut ask = bare_command();
        // What lies above is not what was named.
        if let Some(parent) = dir.parent() {
            ask.env("GIT_CEILING_DIRECTORIES", parent);
        }
        ask.current_dir(dir).args(["rev-parse", "--absolute-git-dir", "--is-shallow-repository", "--show-prefix"]);
        let said = match run(ask, "rev-parse") {
            Err(GitError::Program { said, .. }) if said.contains("not a git repository") => {
                return Err(GitError::NoRepository { dir: dir.to_owned() });
            }
            said => said?,
        };
        let mut lines = said.split(|byte| *byte == b'\n');
        let git_dir = lines.next().and_then(|line| std::str::from_utf8(line).ok()).filter(|line| !line.is_empty());
        let git_dir = git_dir.ok_or(GitError::Garbled { verb: "rev-parse" })?;
        if lines.next() == Some(b"true") {
            return Err(GitError::Shallow { dir: dir.to_owned() });
        }
        Ok(Self { git_dir: PathBuf::from(git_dir), work_tree: None })
    }

    /// A new repository in the empty directory `dir`, with this branch checked out.
    pub(super) fn init(dir: &Path, branch: &OsStr) -> Result<Self, GitError> {
        let mut init = bare_command();
        init.args(["init", "--quiet", "--template=", "--initial-branch"]).arg(branch).arg(dir);
        run(init, "init")?;
        Ok(Self { git_dir: dir.join(".git"), work_tree: Some(dir.to_owned()) })
    }

    /// Where its objects are.
    pub(super) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// A call on this repository.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = bare_command();
        command.arg("--git-dir").arg(&self.git_dir);
        if let Some(work_tree) = &self.work_tree {
            command.arg("--work-tree").arg(work_tree).current_dir(work_tree);
        }
        command.args(args);
        command
    }

    /// Runs it to its end; returns what it wrote.
    pub(super) fn run(&self, args: &[&'static str]) -> Result<Vec<u8>, GitError> {
        run(self.command(args), args[0])
    }

    /// Runs it with an input; `line` hears every line of what it writes, without its end.
    pub(super) fn lines(
        &self,
        args: &[&'static str],
        input: Vec<u8>,
        mut line: impl FnMut(&[u8]) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        let mut running = Running::start(self.command(args), args[0])?;
        let mut stdin = running.stdin.take().expect("piped");
        // On a thread, because git may write before it has read everything.
        let feeder = std::thread::spawn(move || stdin.write_all(&input));
        let mut bytes = Vec::new();
        let heard = loop {
            bytes.clear();
            match running.stdout.read_until(b'\n', &mut bytes) {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(running.broke(error)),
            }
            if let Err(error) = line(bytes.strip_suffix(b"\n").unwrap_or(&bytes)) {
                break Err(error);
            }
        };
        if heard.is_err() {
            running.kill();
        }
        // A feeder whose reader is gone fails; why is what git says.
        drop(feeder.join());
        heard?;
        running.finish()
    }

    /// Reads objects, one after the other, of one process.
    pub(super) fn objects(&self) -> Result<Objects, GitError> {
        Ok(Objects(Running::start(self.command(&["cat-file", "--batch"]), "cat-file")?))
    }

    /// Makes objects of files, one after the other, of one process.
    pub(super) fn hasher(&self, kind: Type) -> Result<Asked, GitError> {
        let args = ["hash-object", "-w", "--no-filters", "--stdin-paths", "-t", kind.as_str()];
        Ok(Asked(Running::start(self.command(&args), "hash-object")?))
    }

    /// Makes trees of lists of their entries.
    pub(super) fn tree_maker(&self) -> Result<Asked, GitError> {
        Ok(Asked(Running::start(self.command(&["mktree", "--batch"]), "mktree")?))
    }
}

/// A program that answers every question with one id in a line.
#[derive(Debug)]
pub(super) struct Asked(Running);

impl Asked {
    /// The answer to `question`, which has its own end.
    pub(super) fn ask(&mut self, question: &[u8]) -> Result<Oid, GitError> {
        let stdin = self.0.stdin.as_mut().expect("open until it is finished");
        if let Err(error) = stdin.write_all(question).and_then(|()| stdin.flush()) {
            return Err(self.0.broke(error));
        }
        let line = self.0.line()?;
        Oid::parse_hex(&line).ok_or(GitError::Garbled { verb: self.0.verb })
    }

    /// Lets it end.
    pub(super) fn finish(self) -> Result<(), GitError> {
        self.0.finish()
    }
}

/// `git cat-file --batch`.
#[derive(Debug)]
pub(super) struct Objects(Running);

impl Objects {
    /// A whole object of at most `limit` bytes.
    pub(super) fn read(&mut self, id: Oid, kind: Type, limit: u64) -> Result<Vec<u8>, GitError> {
        let size = self.find(id, kind)?;
        if size > limit {
            return Err(GitError::TooLarge { id, size, limit });
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| GitError::TooLarge { id, size, limit })?];
        self.fill(&mut bytes)?;
        self.end()?;
        Ok(bytes)
    }

    /// A blob of any size: `begin` hears how large it is, then `piece` its bytes in pieces of at most `buffer`.
    pub(super) fn stream<T>(
        &mut self,
        id: Oid,
        buffer: &mut [u8],
        begin: impl FnOnce(u64) -> T,
        mut piece: impl FnMut(&mut T, &[u8]) -> Result<(), GitError>,
    ) -> Result<T, GitError> {
        let size = self.find(id, Type::Blob)?;
        let mut state = begin(size);
        let mut left = size;
        while left > 0 {
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            self.fill(&mut buffer[..n])?;
            piece(&mut state, &buffer[..n])?;
            left -= n as u64;
        }
        self.end()?;
        Ok(state)
    }

    /// Asks for an object; returns its size.
    fn find(&mut self, id: Oid, kind: Type) -> Result<u64, GitError> {
        let stdin = self.0.stdin.as_mut().expect("open while it lives");
        if let Err(error) = writeln!(stdin, "{id}").and_then(|()| stdin.flush()) {
            return Err(self.0.broke(error));
        }
        let line = self.0.line()?;
        let line = std::str::from_utf8(&line).map_err(|_| GitError::Garbled { verb: "cat-file" })?;
        let mut words = line.split(' ').skip(1);
        match (words.next(), words.next().map(str::parse::<u64>)) {
            (Some("missing"), None) => Err(GitError::Missing { id }),
            (Some(found), Some(Ok(size))) if found == kind.as_str() => Ok(size),
            (Some(_), Some(Ok(_))) => Err(GitError::OtherType { id, wanted: kind }),
            _ => Err(GitError::Garbled { verb: "cat-file" }),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), GitError> {
        self.0.stdout.read_exact(bytes).map_err(|error| self.0.broke(error))
    }

    /// The line end behind every object.
    fn end(&mut self) -> Result<(), GitError> {
        self.fill(&mut [0])
    }
}

/// A running git, which ends with this value.
#[derive(Debug)]
struct Running {
    verb: &'static str,
    child: Child,
    stdin: Option<BufWriter<ChildStdin>>,
    stdout: BufReader<ChildStdout>,
    /// What it complains about, read on a thread so that it never waits for us.
    said: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    fn start(mut command: Command, verb: &'static str) -> Result<Self, GitError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(GitError::Start)?;
        let stdin = child.stdin.take().map(BufWriter::new);
        let stdout = BufReader::with_capacity(1 << 16, child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take().expect("piped");
        let said = std::thread::spawn(move || {
            let mut said = Vec::new();
            drop((&mut stderr).take(SAID_BYTES).read_to_end(&mut said));
            drop(std::io::copy(&mut stderr, &mut std::io::sink()));
            String::from_utf8_lossy(&said).trim().to_owned()
        });
        Ok(Self { verb, child, stdin, stdout, said: Some(said) })
    }

    fn line(&mut self) -> Result<Vec<u8>, GitError> {
        let mut line = Vec::new();
        match self.stdout.read_until(b'\n', &mut line) {
            Ok(_) if line.pop() == Some(b'\n') => Ok(line),
            Ok(_) => Err(self.broke(std::io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.broke(error)),
        }
    }

    /// Why it does not go on: what it said, else what the system says.
    fn broke(&mut self, error: std::io::Error) -> GitError {
        self.kill();
        let said = self.said.take().and_then(|said| said.join().ok()).filter(|said| !said.is_empty());
        GitError::Program { verb: self.verb, said: said.unwrap_or_else(|| error.to_string()) }
    }

    fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Closes its input and waits for its end.
    fn finish(mut self) -> Result<(), GitError> {
        drop(self.stdin.take());
        let status = self.child.wait().map_err(GitError::Start)?;
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        if status.success() { Ok(()) } else { Err(GitError::Program { verb: self.verb, said }) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(command: Command, verb: &'static str) -> Result<Vec<u8>, GitError> {
    let mut running = Running::start(command, verb)?;
    drop(running.stdin.take());
    let mut bytes = Vec::new();
    running.stdout.read_to_end(&mut bytes).map_err(|error| running.broke(error))?;
    running.finish()?;
    Ok(bytes)
}

/// A call that nothing but its arguments decides on: no settings of the system or the user, no terminal, no network.
fn bare_command() -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ATTR_NOSYSTEM", "1")
        // Objects that a partial clone left out are not fetched: a fetch runs what the repository's settings name.
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_ALLOW_PROTOCOL", "none")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command
}
