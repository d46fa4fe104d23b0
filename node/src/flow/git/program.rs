//! Calls of the `git` program, on repositories that nobody vouches for.
//!
//! Only plumbing that reads or writes objects and refs is called, never a verb that runs hooks, filters or transports; and
//! whatever a repository's own settings name to be run is overruled by ours, so that looking into one runs nothing of it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::GitError;
use super::object::{Hasher, Oid, Type};

/// What a repository could name to be run, and what we say instead. Settings of the command line win over its own.
const SETTINGS: &[&str] = &[
    "safe.directory=*",
    "core.fsmonitor=false",
    // A cache of what commits say, which may say something else.
    "core.commitGraph=false",
    "advice.graftFileDeprecated=false",
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
/// What of a repository is read.
const READ: &[&str] = &["HEAD", "objects", "packed-refs", "refs", "reftable"];
/// Bytes of a line: an id and the name of a ref.
const LINE_BYTES: usize = 64 << 10;
/// Bytes of an answer that is kept whole: a few paths.
const ANSWER_BYTES: usize = 1 << 20;
/// How long a repository that nobody vouches for may keep git silent. The longest honest silence is `rev-list` sorting all
/// commits: some seconds. A pipe in place of a file would keep it for ever.
const SILENCE: Duration = Duration::from_secs(120);
/// Pieces of what it writes that wait to be read.
const PIECES: usize = 4;
const PIECE_BYTES: usize = 1 << 16;

/// A repository that is called through the program.
#[derive(Debug, Clone)]
pub(super) struct Git {
    git_dir: PathBuf,
    work_tree: Option<PathBuf>,
    /// How long it may be silent.
    patience: Duration,
}

impl Git {
    /// The repository whose top (or bare directory) is `dir`, with all that is read of it inside.
    pub(super) fn open(dir: &Path) -> Result<Self, GitError> {
        let none = || GitError::NoRepository { dir: dir.to_owned(), outside: None };
        let top = dir.canonicalize().ok().filter(|top| top.is_dir()).ok_or_else(none)?;
        // Named here, so that git looks for none above: what lies there is not what was named.
        let inner = dir.join(".git");
        let named = if inner.symlink_metadata().is_ok() { inner } else { dir.to_owned() };
        let named = std::path::absolute(&named).map_err(|_| none())?;
        let mut ask = bare_command();
        ask.current_dir(dir).arg("--git-dir").arg(&named);
        ask.args(["rev-parse", "--is-shallow-repository", "--absolute-git-dir", "--git-common-dir"]);
        let said = match run(ask, "rev-parse", SILENCE) {
            Err(GitError::Program { said, .. }) if said.contains("not a git repository") => return Err(none()),
            said => said?,
        };
        // The paths last: a line end in one makes one line too many.
        let garbled = || GitError::Garbled { verb: "rev-parse" };
        let text = std::str::from_utf8(&said).map_err(|_| garbled())?;
        let lines: Vec<&str> = text.lines().collect();
        let [shallow, git_dir, common] = lines[..] else { return Err(garbled()) };
        // The second is relative to where it was asked.
        for place in [PathBuf::from(git_dir), dir.join(common)] {
            let place = place.canonicalize().map_err(|_| garbled())?;
            let outside = if place.starts_with(&top) { outside(&top, &place) } else { Some(place) };
            if outside.is_some() {
                return Err(GitError::NoRepository { dir: dir.to_owned(), outside });
            }
        }
        if shallow == "true" {
            return Err(GitError::Shallow { dir: dir.to_owned() });
        }
        Ok(Self { git_dir: PathBuf::from(git_dir), work_tree: None, patience: SILENCE })
    }

    /// A new repository in the empty directory `dir`, with this branch checked out.
    pub(super) fn init(dir: &Path, branch: &OsStr) -> Result<Self, GitError> {
        let mut init = bare_command();
        init.args(["init", "--quiet", "--template=", "--initial-branch"]).arg(branch).arg(dir);
        // Ours means no harm, and a large file takes long to hash.
        let patience = Duration::MAX;
        run(init, "init", patience)?;
        Ok(Self { git_dir: dir.join(".git"), work_tree: Some(dir.to_owned()), patience })
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
        run(self.command(args), args[0], self.patience)
    }

    /// Runs it with an input; `line` hears every line of what it writes, without its end.
    pub(super) fn lines(
        &self,
        args: &[&'static str],
        input: Vec<u8>,
        mut line: impl FnMut(&[u8]) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        let mut running = Running::start(self.command(args), args[0], self.patience)?;
        let mut stdin = running.stdin.take().expect("piped");
        // On a thread, because git may write before it has read everything.
        let feeder = std::thread::spawn(move || stdin.write_all(&input));
        let mut bytes = Vec::new();
        let heard = loop {
            match running.read_line(&mut bytes) {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
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
        Ok(Objects(Running::start(self.command(&["cat-file", "--batch"]), "cat-file", self.patience)?))
    }

    /// Makes objects of files, one after the other, of one process.
    pub(super) fn hasher(&self, kind: Type) -> Result<Asked, GitError> {
        let args = ["hash-object", "-w", "--no-filters", "--stdin-paths", "-t", kind.as_str()];
        Ok(Asked(Running::start(self.command(&args), "hash-object", self.patience)?))
    }

    /// Makes trees of lists of their entries.
    pub(super) fn tree_maker(&self) -> Result<Asked, GitError> {
        Ok(Asked(Running::start(self.command(&["mktree", "--batch"]), "mktree", self.patience)?))
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

/// `git cat-file --batch`; what it answers is hashed, for it may be something else than was asked for.
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
        let mut hasher = Hasher::new(id, kind, size);
        hasher.update(&bytes);
        hasher.check(id)?;
        Ok(bytes)
    }

    /// A blob of any size: `begin` hears how large it is, then `piece` its bytes in pieces of at most `buffer`. Whether they
    /// are its bytes shows at the end.
    pub(super) fn stream<T>(
        &mut self,
        id: Oid,
        buffer: &mut [u8],
        begin: impl FnOnce(u64) -> T,
        mut piece: impl FnMut(&mut T, &[u8]) -> Result<(), GitError>,
    ) -> Result<T, GitError> {
        let size = self.find(id, Type::Blob)?;
        let mut state = begin(size);
        let mut hasher = Hasher::new(id, Type::Blob, size);
        let mut left = size;
        while left > 0 {
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            self.fill(&mut buffer[..n])?;
            hasher.update(&buffer[..n]);
            piece(&mut state, &buffer[..n])?;
            left -= n as u64;
        }
        self.end()?;
        hasher.check(id)?;
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
    stdout: BufReader<Output>,
    /// What it complains about, read on a thread so that it never waits for us.
    said: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    fn start(mut command: Command, verb: &'static str, patience: Duration) -> Result<Self, GitError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(GitError::Start)?;
        let stdin = child.stdin.take().map(BufWriter::new);
        let stdout = Output::of(child.stdout.take().expect("piped"), patience);
        let stdout = BufReader::with_capacity(PIECE_BYTES, stdout);
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
        self.read_line(&mut line)?;
        match line.pop() {
            Some(b'\n') => Ok(line),
            _ => Err(self.broke(std::io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// The next line with its end, in place of what is in `line`; returns its length, 0 at the end of all.
    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<usize, GitError> {
        line.clear();
        let n = match (&mut self.stdout).take(LINE_BYTES as u64).read_until(b'\n', line) {
            Ok(n) => n,
            Err(error) => return Err(self.broke(error)),
        };
        if n == LINE_BYTES && !line.ends_with(b"\n") {
            return Err(GitError::TooMany { what: "bytes in a line of git", max: LINE_BYTES });
        }
        Ok(n)
    }

    /// Why it does not go on: what it said, else what the system says.
    fn broke(&mut self, error: std::io::Error) -> GitError {
        self.kill();
        let said = self.said.take();
        // After a silence nobody waits for more: what git has started may live on, and never close what it was given.
        let said = said.filter(|_| error.kind() != std::io::ErrorKind::TimedOut).and_then(|said| said.join().ok());
        let said = said.filter(|said| !said.is_empty());
        GitError::Program { verb: self.verb, said: said.unwrap_or_else(|| error.to_string()) }
    }

    fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Closes its input and waits for its end.
    fn finish(mut self) -> Result<(), GitError> {
        drop(self.stdin.take());
        // Nothing more is expected; but only what is read has a deadline.
        if let Err(error) = std::io::copy(&mut self.stdout, &mut std::io::sink()) {
            return Err(self.broke(error));
        }
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

/// What a program writes, from a thread that waits for it in our place: a pipe cannot be read with a deadline.
#[derive(Debug)]
struct Output {
    pieces: Receiver<std::io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    /// What of the piece was read.
    at: usize,
    patience: Duration,
}

impl Output {
    fn of(stdout: ChildStdout, patience: Duration) -> Self {
        let (out, pieces) = sync_channel(PIECES);
        std::thread::spawn(move || pass_on(stdout, &out));
        Self { pieces, piece: Vec::new(), at: 0, patience }
    }
}

fn pass_on(mut stdout: ChildStdout, out: &SyncSender<std::io::Result<Vec<u8>>>) {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let piece = match stdout.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => Ok(buffer[..n].to_vec()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_last = piece.is_err();
        if out.send(piece).is_err() || is_last {
            return;
        }
    }
}

impl Read for Output {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.piece.len() {
            self.piece = match self.pieces.recv_timeout(self.patience) {
                Ok(piece) => piece?,
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) => {
                    let text = format!("it was silent for {} s", self.patience.as_secs());
                    return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text));
                }
            };
            self.at = 0;
        }
        let n = buf.len().min(self.piece.len() - self.at);
        buf[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// What git would read from outside of `top`: objects that the repository borrows, or behind a symbolic link. Who unpacks a
/// stranger's repository would else publish what another one of this machine holds.
fn outside(top: &Path, git_dir: &Path) -> Option<PathBuf> {
    let borrows = git_dir.join("objects/info/alternates");
    if let Ok(found) = borrows.symlink_metadata() {
        // A pipe would be read for ever.
        let list = found.is_file().then(|| std::fs::read_to_string(&borrows)).and_then(Result::ok).unwrap_or_default();
        return Some(list.lines().next().map_or(borrows, PathBuf::from));
    }
    let mut ahead: Vec<PathBuf> = READ.iter().map(|name| git_dir.join(name)).collect();
    while let Some(path) = ahead.pop() {
        let Ok(found) = path.symlink_metadata() else { continue };
        if found.is_dir() {
            // What cannot be listed git cannot read either, and says so. Most entries are objects: only their kind is asked.
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            let is_more = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| !kind.is_file());
            ahead.extend(entries.filter(is_more).map(|entry| entry.path()));
        } else if found.is_symlink() {
            // A file inside is how old versions wrote HEAD; one that is not there is nothing to read.
            let target = path.canonicalize().ok();
            let target = target.filter(|target| !target.starts_with(top) || target.is_dir());
            if target.is_some() {
                return target;
            }
        }
    }
    None
}

fn run(command: Command, verb: &'static str, patience: Duration) -> Result<Vec<u8>, GitError> {
    let mut running = Running::start(command, verb, patience)?;
    drop(running.stdin.take());
    let mut bytes = Vec::new();
    let read = (&mut running.stdout).take(ANSWER_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| running.broke(error))?;
    if bytes.len() > ANSWER_BYTES {
        return Err(GitError::Garbled { verb });
    }
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
        // Commits have the parents that they say, not those of a list beside them.
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_GRAFT_FILE", "/dev/null")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A `git` that is found before the real one.
    fn hanging(dir: &Path, script: &str) -> Command {
        let git = dir.join("git");
        std::fs::write(&git, format!("#!/bin/sh\necho $$ > {}/pid\n{script}\n", dir.display())).unwrap();
        std::fs::set_permissions(&git, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = bare_command();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", dir.display())).arg("rev-list");
        command
    }

    #[test]
    fn a_git_that_says_nothing_is_ended() {
        let patience = Duration::from_millis(300);
        // Silent from the beginning, behind half a line, and in something that it has started and that outlives it.
        for script in ["exec cat \"$0.hold\"", "printf half; exec cat \"$0.hold\"", "cat \"$0.hold\"; true"] {
            let dir = tempfile::tempdir().unwrap();
            // A pipe that nobody writes to.
            let hold = dir.path().join("git.hold");
            assert!(Command::new("mkfifo").arg(&hold).status().unwrap().success());
            let error = run(hanging(dir.path(), script), "rev-list", patience).unwrap_err();
            assert!(error.to_string().contains("rev-list"), "{error}");
            let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
            // Waited for, so nobody of that number is left.
            let alive = Command::new("kill").args(["-0", pid.trim()]).stderr(Stdio::null()).status().unwrap();
            assert!(!alive.success(), "it goes on");
            // Whoever is left comes to its end.
            drop(std::fs::File::options().read(true).write(true).open(&hold));
        }
    }

    #[test]
    fn a_git_that_answers_slowly_is_not_ended() {
        let dir = tempfile::tempdir().unwrap();
        let script = "for n in 1 2 3 4; do sleep 0.1; echo $n; done";
        let said = run(hanging(dir.path(), script), "rev-list", Duration::from_secs(60)).unwrap();
        assert_eq!(said, b"1\n2\n3\n4\n");
    }
}
