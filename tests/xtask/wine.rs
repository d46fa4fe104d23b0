//! Tries the program as built for Windows, under Wine: its files, its door, its network, on an ordinary day.
//!
//! Wine is not Windows. It has no birth of directories, so a home looks copied at its second start and signs nothing more;
//! and it lacks what QUIC asks of a socket, so the node listens on TCP alone.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::run::{say, succeeded, target_dir};

/// What Rust's library asks of Windows for random bytes, and Wine before 8.3 does not have.
const RANDOM_DLL: &str = r"
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T n) { return SystemFunction036(to, (ULONG)n); }
";

struct Wine {
    dir: PathBuf,
    program: PathBuf,
}

/// A node that ends with the trial.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the program at `program` through an ordinary day.
///
/// # Errors
/// A text for people: what did not go as it should.
pub(crate) fn try_out(program: &Path) -> Result<(), String> {
    let dir = target_dir().join("wine");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let wine = Wine { program: dir.join("syncra.exe"), dir };
    // A debug build is large.
    std::fs::hard_link(program, &wine.program).map_err(|error| format!("{}: {error}", program.display()))?;
    wine.make_random_dll()?;
    wine.day()?;
    say("tried under Wine: it works");
    Ok(())
}

impl Wine {
    fn make_random_dll(&self) -> Result<(), String> {
        let source = self.dir.join("random.c");
        std::fs::write(&source, RANDOM_DLL).map_err(|error| format!("{}: {error}", source.display()))?;
        let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
        compiler.args(["-shared", "-o", "bcryptprimitives.dll", "random.c", "-ladvapi32"]).current_dir(&self.dir);
        succeeded("x86_64-w64-mingw32-gcc", compiler.status())
    }

    fn day(&self) -> Result<(), String> {
        self.run(&["--version"], 0)?;
        self.run(&["new", "world", "harbour"], 0)?;
        self.run(&["check", "harbour"], 0)?;
        let published = self.run(&["publish", "harbour", "--yes"], 0)?;
        let reference = published.lines().find_map(|line| line.strip_prefix("published: ")).map(str::trim);
        let reference = reference.ok_or_else(|| format!("nothing was published: {published}"))?;
        self.run(&["publish", "harbour"], 0)?;
        self.run(&["verify"], 0)?;
        self.run(&["get", reference, "-o", "got"], 0)?;
        self.run(&["add", reference], 0)?;
        self.run(&["rollback"], 0)?;
        self.run(&["export", reference, "-o", "harbour.syncpack"], 0)?;
        self.run(&["import", "harbour.syncpack", "--home", "other"], 0)?;
        self.run(&["get", reference, "-o", "again", "--home", "other", "--offline"], 0)?;
        self.run(&["info", "@nobody/harbour"], 3)?;
        self.run(&["status"], 0)?;
        let node = self.node()?;
        // Over loopback, with the token that stands in the home.
        let status = self.run(&["status"], 0)?;
        if !status.contains("running") {
            return Err(format!("the node was not asked: {status}"));
        }
        self.run(&["add", reference], 0)?;
        self.run(&["peers"], 0)?;
        drop(node);
        self.run(&["peers"], 10).map(drop)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("wine");
        command.arg(&self.program).args(args).current_dir(&self.dir).stdin(Stdio::null());
        command.env("WINEPREFIX", self.dir.join("prefix")).env("WINEDEBUG", "-all");
        // A relative path is one for Windows, too.
        command.env("SYNCRA_HOME", "home").env("SYNCRA_LAN_PORT", "0");
        command
    }

    /// Runs a verb that has to end with this exit code; what it printed.
    fn run(&self, args: &[&str], exit: i32) -> Result<String, String> {
        let failed = |error| format!("wine cannot be started: {error}");
        let Output { status, stdout, stderr } = self.command(args).output().map_err(failed)?;
        let (said, talk) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        if status.code() != Some(exit) {
            return Err(format!("syncra {}: {status}, not {exit}\n{said}{talk}", args.join(" ")));
        }
        say(&format!("wine: syncra {}: exit {exit}", args.join(" ")));
        Ok(said.replace('\r', ""))
    }

    /// Starts the node and waits for its ready line.
    fn node(&self) -> Result<Running, String> {
        use std::io::{BufRead as _, BufReader};
        let mut command = self.command(&["up", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut node = Running(command.spawn().map_err(|error| format!("wine cannot be started: {error}"))?);
        let stdout = node.0.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        if line.starts_with("ready: ") { Ok(node) } else { Err(format!("the node is not ready: {line}")) }
    }
}
