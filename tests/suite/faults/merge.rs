//! A merge that is cut off: whatever moment that was, it can be taken back, and what somebody saved since is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use syncra_tests::crash::{Disk, Loss, Recording, Rng, Stage, What, is_permitted};
use syncra_tests::{Home, Output, skip};

use crate::lab::{first_seed, n_trials};

type Files = BTreeMap<String, String>;

/// A checkout with work in it that nobody has published, behind a release of somebody faster.
struct Desk {
    home: Home,
    start: Disk,
    before: Files,
}

impl Desk {
    fn new() -> Self {
        let home = Home::in_memory("home");
        let write = |path: &str, bytes: &str| {
            let path = home.work().join(path);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, bytes).expect("written");
        };
        let manifest =
            |version: &str| format!("[package]\nname = \"lamp\"\nversion = \"{version}\"\nkind = \"script\"\n");
        write("lamp/syncra.toml", &manifest("1.0.0"));
        write("lamp/src/main.syn", "one\ntwo\nthree\nfour\nfive\n");
        write("lamp/gone/file.txt", "gone\n");
        home.json(["publish", "lamp", "--yes"]);
        let package = home.json(["list"])["packages"][0]["ref"].as_str().expect("a package").to_owned();
        home.json(["checkout", &package, "desk"]);
        write("lamp/syncra.toml", &manifest("1.1.0"));
        write("lamp/src/main.syn", "one\ntwo\nthree\nfour\nFIVE\n");
        write("lamp/new/file.txt", "new\n");
        fs::remove_dir_all(home.work().join("lamp/gone")).expect("removed");
        home.json(["publish", "lamp"]);
        write("desk/src/main.syn", "ONE\ntwo\nthree\nfour\nfive\n");
        write("desk/notes.txt", "not published yet\n");
        let dir = home.work().join("desk");
        Self { start: Disk::read(&dir), before: files(&dir), home }
    }

    fn dir(&self) -> PathBuf {
        self.home.work().join("desk")
    }

    fn put(&self, disk: &Disk) {
        Stage::new(&self.dir(), "none").put(disk);
    }

    fn merge(&self) -> Command {
        let mut command = self.home.command(["merge", "--into", "desk", "--offline"]);
        command.arg("--json");
        command
    }

    /// Takes back what was begun. False if nothing was noted, and so nothing may have changed.
    fn take_back(&self) -> Result<bool, String> {
        let mut command = self.home.command(["merge", "--into", "desk", "--abort"]);
        command.arg("--json");
        let done = Output::of(command);
        match done.code {
            0 => Ok(true),
            3 => Ok(false),
            _ => Err(format!("it is not taken back: {}", done.stderr)),
        }
    }

    /// What must hold however a merge ended.
    fn check(&self, merged: &Files) -> Result<(), String> {
        let note = fs::read_to_string(self.dir().join(".syncra/base.toml")).map_err(|error| error.to_string())?;
        if note.contains("complete = true") && files(&self.dir()) != *merged {
            return Err("it is noted as complete, and is not".to_owned());
        }
        self.take_back()?;
        let now = files(&self.dir());
        if now == self.before { Ok(()) } else { Err(format!("afterwards there is {now:?}")) }
    }
}

/// The files of a directory but ours.
fn files(dir: &Path) -> Files {
    let mut found = Files::new();
    let mut ahead = vec![dir.to_owned()];
    while let Some(at) = ahead.pop() {
        for path in fs::read_dir(&at).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            match path.is_dir() {
                true if path.ends_with(".syncra") => {}
                true => ahead.push(path),
                false => {
                    let name = path.strip_prefix(dir).expect("below").to_str().expect("UTF-8").to_owned();
                    found.insert(name, String::from_utf8_lossy(&fs::read(&path).expect("there")).into_owned());
                }
            }
        }
    }
    found
}

/// Calls that change names, and those that make changes durable.
const CALLS: [&str; 8] = ["rename", "renameat", "renameat2", "unlinkat", "rmdir", "mkdirat", "fsync", "fdatasync"];

/// Kills a command again and again: as one of its threads makes its first, second and so on of each of the calls. `then` hears
/// of each kill; before, `begin` puts everything back.
fn kill_everywhere(command: &Command, begin: impl Fn(), mut then: impl FnMut(&str)) {
    for call in CALLS {
        for n in 1.. {
            begin();
            if !killed_at(command, call, n) {
                break;
            }
            then(&format!("killed at `{call}` number {n}"));
        }
    }
}

/// Runs a command and kills it as one of its threads makes the n-th call of a name; false if none makes as many.
fn killed_at(command: &Command, call: &str, n: usize) -> bool {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    traced.args(["-e", &format!("inject={call}:signal=KILL:when={n}")]);
    traced.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    traced.current_dir(command.get_current_dir().expect("a directory"));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    let output = traced.output().expect("strace starts");
    let is_killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
    assert!(is_killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    is_killed
}

#[test]
fn what_is_saved_after_a_merge_was_killed_survives_its_taking_back() {
    let test = "what_is_saved_after_a_merge_was_killed_survives_its_taking_back";
    if !is_permitted() {
        return skip(test, "processes may not be traced here");
    }
    let desk = Desk::new();
    // How often it was killed with nothing noted, and with something to take back.
    let mut kills = [0, 0];
    let begin = || desk.put(&desk.start);
    kill_everywhere(&desk.merge(), begin, |when| {
        let work = "somebody went on here\n";
        fs::write(desk.dir().join("src/main.syn"), work).expect("saved");
        fs::create_dir_all(desk.dir().join("new")).expect("made");
        fs::write(desk.dir().join("new/file.txt"), work).expect("saved");
        let was_noted = desk.take_back().unwrap_or_else(|why| panic!("{when}: {why}"));
        kills[usize::from(was_noted)] += 1;
        let now = files(&desk.dir());
        // The same again changes nothing.
        assert_eq!((desk.take_back(), files(&desk.dir())), (Ok(false), now.clone()), "{when}");
        // Where there was a file before there is that, and the work beside; where there was none there is the work.
        let mut wanted = desk.before.clone();
        wanted.insert("new/file.txt".to_owned(), work.to_owned());
        match was_noted {
            true => wanted.insert("src/main.syn.saved".to_owned(), work.to_owned()),
            false => wanted.insert("src/main.syn".to_owned(), work.to_owned()),
        };
        assert_eq!(now, wanted, "{when}, noted: {was_noted}");
    });
    assert!(kills[0] >= 3 && kills[1] >= 3, "killed before and behind the note: {kills:?}");
}

#[test]
fn a_taking_back_that_is_killed_too_is_gone_on_with() {
    let test = "a_taking_back_that_is_killed_too_is_gone_on_with";
    if !is_permitted() {
        return skip(test, "processes may not be traced here");
    }
    let desk = Desk::new();
    assert_eq!(Output::of(desk.merge()).code, 0);
    let work = "somebody went on here\n";
    fs::write(desk.dir().join("src/main.syn"), work).expect("saved");
    let merged = Disk::read(&desk.dir());
    let mut abort = desk.home.command(["merge", "--into", "desk", "--abort"]);
    abort.arg("--json");
    let mut wanted = desk.before.clone();
    wanted.insert("src/main.syn.saved".to_owned(), work.to_owned());
    let mut n_kills = 0;
    kill_everywhere(
        &abort,
        || desk.put(&merged),
        |when| {
            n_kills += 1;
            desk.take_back().unwrap_or_else(|why| panic!("{when}: {why}"));
            assert_eq!(files(&desk.dir()), wanted, "{when}");
        },
    );
    assert!(n_kills >= 10, "killed {n_kills} times only");
}

#[test]
fn power_cuts_during_a_merge_leave_what_was_there_to_be_given_back() {
    let test = "power_cuts_during_a_merge_leave_what_was_there_to_be_given_back";
    if !is_permitted() {
        return skip(test, "processes may not be traced here");
    }
    let desk = Desk::new();
    let recording = Recording::of(&desk.merge(), &desk.dir());
    assert!(recording.output.status.success(), "{}", String::from_utf8_lossy(&recording.output.stderr));
    let merged = files(&desk.dir());
    assert_eq!(merged["src/main.syn"], "ONE\ntwo\nthree\nfour\nFIVE\n");
    let mut rng = Rng::new(first_seed());
    for seed in (first_seed()..).take(n_trials(60)) {
        let cut = 1 + rng.below(recording.events.len());
        let loss = Loss::ALL[rng.below(Loss::ALL.len())];
        desk.put(&recording.after_cut(cut, loss, seed));
        let event = &recording.events[cut - 1];
        let checked = desk.check(&merged);
        assert_eq!(checked, Ok(()), "cut behind `{}` of `{}`, lost: {loss:?}, seed {seed}", event.call, event.path);
    }
    // The check can fail: without any one kind of sync something is lost.
    for forgotten in [".syncra/merge/old-", ".syncra/merge/new-", ".syncra/merge", "src", "new"] {
        let is_forgotten = |path: &str| match forgotten.ends_with('-') {
            true => path.starts_with(forgotten),
            false => path == forgotten,
        };
        let mut careless = recording.clone();
        careless.events.retain(|event| !(matches!(event.what, What::Sync(_)) && is_forgotten(&event.path)));
        assert!(careless.events.len() < recording.events.len(), "{forgotten} is never synced");
        let mut cuts = (1..=careless.events.len()).rev();
        let is_found = cuts.any(|cut| {
            [Loss::Everything, Loss::Bytes].into_iter().any(|loss| {
                desk.put(&careless.after_cut(cut, loss, 0));
                desk.check(&merged).is_err()
            })
        });
        assert!(is_found, "syncs of {forgotten} were left out, and nothing was missed");
    }
}
