//! Running a command under `strace`, reading its log, and killing it at a chosen call.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

/// Every call that changes a file system, moves an offset or makes a handle.
const CALLS: &str = "trace=open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,\
    fallocate,copy_file_range,sendfile,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,\
    mkdir,mkdirat,mknod,mknodat,chmod,fchmod,fchmodat,utimensat,fsync,fdatasync,sync,syncfs,msync,close,dup,dup2,dup3,\
    fcntl,lseek,ioctl,mmap,io_uring_setup";

/// One finished call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The thread.
    pub thread: u32,
    /// Its name.
    pub name: String,
    /// Its arguments, as `strace` writes them; strings are all in hexadecimal.
    pub args: Vec<String>,
    /// What it returned.
    pub result: i64,
    /// Line of the log where it began and where it ended: calls of several threads overlap.
    pub began: usize,
    /// See `began`.
    pub ended: usize,
    /// When it began.
    pub at: SystemTime,
}

impl Call {
    /// An argument that is a number.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn number(&self, index: usize) -> i64 {
        let text = self.args.get(index).unwrap_or_else(|| panic!("{self:?} has no argument {index}"));
        text.parse().unwrap_or_else(|_| panic!("argument {index} of {self:?} is no number"))
    }

    /// The bytes of all strings in an argument, one after the other.
    #[must_use]
    pub fn bytes(&self, index: usize) -> Vec<u8> {
        let quoted = self.args[index].split('"').skip(1).step_by(2);
        quoted.flat_map(|hex| hex.split("\\x").skip(1).map(byte)).collect()
    }

    /// An argument that is a path.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn path(&self, index: usize) -> String {
        String::from_utf8(self.bytes(index)).expect("a path in UTF-8")
    }

    /// True if a flag is set in an argument.
    #[must_use]
    pub fn has(&self, index: usize, flag: &str) -> bool {
        self.args.get(index).is_some_and(|flags| flags.split('|').any(|found| found == flag))
    }
}

fn byte(hex: &str) -> u8 {
    u8::from_str_radix(hex, 16).expect("two hexadecimal digits")
}

/// True if processes may be traced here; containers often forbid it.
#[must_use]
pub fn is_permitted() -> bool {
    let traced = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    traced.is_ok_and(|status| status.success())
}

/// Runs `command` to its end under `strace`; returns its output and its calls in the order in which they took effect.
///
/// # Panics
/// When `strace` cannot be started or its log not be read.
#[must_use]
pub fn run(command: &Command) -> (Output, Vec<Call>) {
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let options = ["-f", "-qq", "-ttt", "-xx", "-s", "16777216", "-e", CALLS];
    let output = traced(command, log.path(), &options).output().expect("strace starts");
    (output, parse(&std::fs::read_to_string(log.path()).expect("its log")))
}

/// A call to be killed at: the n-th of its name on a path by one thread.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KillPoint {
    /// The call.
    pub name: String,
    /// The path, from the directory that was recorded.
    pub path: String,
    /// Which one, from 1.
    pub n: usize,
}

/// Runs `command` and kills it (SIGKILL, no time to clean up) as it enters the call; returns what it had said on stdout,
/// or none if it never came there.
///
/// # Panics
/// When `strace` cannot be started.
#[must_use]
pub fn kill_at(command: &Command, base: &Path, point: &KillPoint) -> Option<String> {
    let path = if point.path == "." { base.to_owned() } else { base.join(&point.path) };
    let path = path.to_str().expect("a path in UTF-8");
    let trace = format!("trace={}", point.name);
    let inject = format!("inject={}:signal=KILL:when={}", point.name, point.n);
    let options = ["-f", "-qq", "-P", path, "-e", &trace, "-e", &inject];
    let output = traced(command, Path::new("/dev/null"), &options).output().expect("strace starts");
    // Strace ends itself with the signal that ended the program.
    let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
    killed.then(|| String::from_utf8(output.stdout).expect("UTF-8"))
}

/// Runs `command` to its end; of each of its threads the `n`-th call of a name on `path`, and all after it, fail with an
/// error like `ENOSPC`.
///
/// # Panics
/// When `strace` cannot be started.
#[must_use]
pub fn fail_from(command: &Command, path: &Path, call: &str, error: &str, n: usize) -> Output {
    let path = path.to_str().expect("a path in UTF-8");
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}:when={n}+"));
    let options = ["-f", "-qq", "-P", path, "-e", &trace, "-e", &inject];
    traced(command, Path::new("/dev/null"), &options).output().expect("strace starts")
}

/// `command` below `strace`, with its directory and environment.
fn traced(command: &Command, log: &Path, options: &[&str]) -> Command {
    let mut traced = Command::new("strace");
    traced.args(options).arg("-o").arg(log).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    if let Some(dir) = command.get_current_dir() {
        traced.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced
}

/// Reads a log written with `-f -ttt -xx`.
fn parse(log: &str) -> Vec<Call> {
    let mut unfinished: HashMap<u32, (usize, SystemTime, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (line, text) in log.lines().enumerate() {
        let mut words = text.splitn(3, ' ').filter(|word| !word.is_empty());
        let thread: u32 = words.next().and_then(|word| word.parse().ok()).expect("a line begins with its thread");
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let (time, rest) = rest.split_once(' ').expect("a time");
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(time.parse().expect("seconds"));
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (line, at, begun.to_owned()));
        } else if let Some((_, end)) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            let (began, at, begun) = unfinished.remove(&thread).expect("it was begun");
            calls.extend(finished(thread, &format!("{begun}{end}"), (began, line), at));
        } else {
            calls.extend(finished(thread, rest, (line, line), at));
        }
    }
    // A handle may be used anew before the log shows that its closing ended.
    calls.sort_by_key(|call| if call.name == "close" { call.began } else { call.ended });
    calls
}

/// `name(arguments) = result`; none for signals, ends and calls that never came back.
fn finished(thread: u32, text: &str, (began, ended): (usize, usize), at: SystemTime) -> Option<Call> {
    let (call, result) = text.rsplit_once(" = ")?;
    let (name, args) = call.trim_end().strip_suffix(')')?.split_once('(')?;
    let result = result.split(' ').next()?;
    let result = match result.strip_prefix("0x") {
        Some(address) => i64::from_str_radix(address, 16).ok()?,
        None => result.parse().ok()?,
    };
    Some(Call { thread, name: name.to_owned(), args: split(args), result, began, ended, at })
}

/// Splits at the commas outside of brackets; strings in hexadecimal have none.
fn split(args: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for c in args.chars() {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("never empty").push(c);
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}
