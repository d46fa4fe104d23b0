//! From calls to events: which inode each call changed, and how.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use super::disk::{Change, Disk, Inode, Kind, Node};
use super::strace::{self, Call, KillPoint};

/// One change, in the order in which they took effect.
#[derive(Debug, Clone)]
pub struct Event {
    /// The thread that made it.
    pub thread: u32,
    /// The call.
    pub call: String,
    /// The file or directory it was about, from the recorded directory; empty for stdout.
    pub path: String,
    /// Where in the log the call began and ended.
    pub began: usize,
    /// See `began`.
    pub ended: usize,
    /// When.
    pub at: SystemTime,
    /// What it did.
    pub what: What,
}

/// What an event did.
#[derive(Debug, Clone)]
pub enum What {
    /// Changed a file.
    Data(Inode, Change),
    /// Gave or took names, all at once.
    Names(Vec<(Inode, String, Option<Inode>)>),
    /// Synced a file's bytes or a directory's names: everything that ended before this began.
    Sync(Inode),
    /// Wrote to stdout.
    Said(Vec<u8>),
}

/// A command's run, as far as it changed one directory.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Before the run, all of it on the medium; nodes made later are there too, empty and without a name.
    pub start: Disk,
    /// What happened.
    pub events: Vec<Event>,
    /// Afterwards.
    pub end: Disk,
    /// What the command said.
    pub output: Output,
}

impl Recording {
    /// Runs `command` and records what it changes below `base`.
    ///
    /// # Panics
    /// When it does something that is not modelled, or the model does not come out as the real directory did.
    #[must_use]
    pub fn of(command: &Command, base: &Path) -> Self {
        let start = Disk::read(base);
        let (output, calls) = strace::run(command);
        let cwd = command.get_current_dir().expect("commands are given a directory");
        let mut recorder = Recorder::new(base, cwd, start.clone());
        for call in &calls {
            recorder.take(call);
        }
        let mut start = start;
        let mut replay = start.clone();
        let births = &recorder.disk.nodes[start.nodes.len()..];
        start.nodes.extend(births.iter().map(empty));
        replay.nodes.extend(births.iter().map(empty));
        for event in &recorder.events {
            apply(&mut replay, event);
        }
        let real = Disk::read(base);
        assert_eq!(
            replay.files().keys().collect::<Vec<_>>(),
            real.files().keys().collect::<Vec<_>>(),
            "the model lost a name"
        );
        for (path, bytes) in real.files() {
            assert!(replay.files()[&path] == bytes, "the model has other bytes in {path}");
        }
        Self { start, events: recorder.events, end: replay, output }
    }

    /// Everything said on stdout before event `cut`.
    #[must_use]
    pub fn said_before(&self, cut: usize) -> String {
        let said = self.events[..cut].iter().filter_map(|event| match &event.what {
            What::Said(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        String::from_utf8(said.collect::<Vec<_>>().concat()).expect("UTF-8")
    }

    /// The calls at which the program can be killed, each the n-th of its thread on its path, with the number of the
    /// event that it made.
    #[must_use]
    pub fn kill_points(&self) -> Vec<(usize, KillPoint)> {
        let mut counts: BTreeMap<(u32, &str, &str), usize> = BTreeMap::new();
        let mut points: Vec<(usize, KillPoint)> = Vec::new();
        for (index, event) in self.events.iter().enumerate().filter(|(_, event)| !event.path.is_empty()) {
            let n = counts.entry((event.thread, &event.call, &event.path)).or_default();
            *n += 1;
            let point = KillPoint { name: event.call.clone(), path: event.path.clone(), n: *n };
            if points.iter().all(|(_, known)| *known != point) {
                points.push((index, point));
            }
        }
        points
    }
}

/// A node as it is born.
fn empty(node: &Node) -> Node {
    let kind = match node.kind {
        Kind::File(_) => Kind::File(Vec::new()),
        Kind::Dir(_) => Kind::Dir(BTreeMap::new()),
    };
    Node { kind, ..node.clone() }
}

/// Does to a disk what an event did.
pub(super) fn apply(disk: &mut Disk, event: &Event) {
    match &event.what {
        What::Data(inode, change) => disk.change(*inode, change, event.at),
        What::Names(names) => disk.rename(names),
        What::Sync(_) | What::Said(_) => {}
    }
}

/// What an open handle is on; handles made with `dup` share it.
#[derive(Debug)]
struct Open {
    inode: Inode,
    position: u64,
    appends: bool,
}

struct Recorder {
    base: PathBuf,
    cwd: PathBuf,
    disk: Disk,
    paths: HashMap<Inode, String>,
    handles: HashMap<i64, usize>,
    opened: Vec<Open>,
    events: Vec<Event>,
}

/// A name in a directory, and what it leads to.
struct Place {
    dir: Inode,
    name: String,
    found: Option<Inode>,
}

impl Recorder {
    fn new(base: &Path, cwd: &Path, disk: Disk) -> Self {
        let (base, cwd) = (base.to_owned(), cwd.to_owned());
        let mut recorder = Self {
            base,
            cwd,
            disk,
            paths: HashMap::from([(0, ".".to_owned())]),
            handles: HashMap::new(),
            opened: Vec::new(),
            events: Vec::new(),
        };
        for dir in 0..recorder.disk.nodes.len() {
            // Parents are read before their children.
            if let Kind::Dir(names) = recorder.disk.nodes[dir].kind.clone() {
                for (name, child) in names {
                    recorder.named(dir, &name, child);
                }
            }
        }
        recorder
    }

    fn named(&mut self, dir: Inode, name: &str, child: Inode) {
        let path = if dir == 0 { name.to_owned() } else { format!("{}/{name}", self.paths[&dir]) };
        self.paths.insert(child, path);
    }

    fn take(&mut self, call: &Call) {
        if call.result < 0 {
            return;
        }
        match call.name.as_str() {
            "open" | "creat" | "openat" | "openat2" => self.open(call),
            "close" => drop(self.handles.remove(&call.number(0))),
            "dup" | "dup2" | "dup3" => self.duplicate(call),
            "fcntl" if call.has(1, "F_DUPFD") || call.has(1, "F_DUPFD_CLOEXEC") => self.duplicate(call),
            "fcntl" => {}
            "lseek" => {
                let position = u64::try_from(call.result).expect("not negative");
                if let Some(open) = self.handle(call, 0) {
                    open.position = position;
                }
            }
            "write" | "writev" | "pwrite64" | "pwritev" => self.write(call),
            "ftruncate" => self.data(call, |_| Change::Length(call.number(1).unsigned_abs())),
            "fallocate" => self.data(call, |disk_bytes| {
                assert_eq!(call.args[1], "0", "{call:?} is not modelled");
                Change::Length(disk_bytes.max(call.number(2).unsigned_abs() + call.number(3).unsigned_abs()))
            }),
            "fsync" | "fdatasync" => {
                if let Some(inode) = self.handle(call, 0).map(|open| open.inode) {
                    self.push(call, inode, What::Sync(inode));
                }
            }
            "rename" | "renameat" | "renameat2" | "link" | "linkat" | "unlink" | "unlinkat" | "rmdir" | "mkdir"
            | "mkdirat" => self.names(call),
            "utimensat" => self.times(call),
            "chmod" | "fchmod" | "fchmodat" => self.mode(call),
            _ => self.refuse_if_inside(call),
        }
    }

    fn push(&mut self, call: &Call, about: Inode, what: What) {
        let path = self.paths.get(&about).cloned().unwrap_or_default();
        self.push_at(call, path, what);
    }

    fn push_at(&mut self, call: &Call, path: String, what: What) {
        let event = Event {
            thread: call.thread,
            call: call.name.clone(),
            path,
            began: call.began,
            ended: call.ended,
            at: call.at,
            what,
        };
        apply(&mut self.disk, &event);
        self.events.push(event);
    }

    fn handle(&mut self, call: &Call, index: usize) -> Option<&mut Open> {
        let number = call.args.get(index)?.parse::<i64>().ok()?;
        self.opened.get_mut(*self.handles.get(&number)?)
    }

    /// Where the path in argument `index` leads, relative to the handle in `dir` if there is one; none outside.
    fn place(&self, call: &Call, dir: Option<usize>, index: usize) -> Option<Place> {
        let path = call.path(index);
        let mut at = 0;
        let below = match dir.map(|index| call.args[index].as_str()).filter(|_| !path.starts_with('/')) {
            Some(handle) if handle != "AT_FDCWD" => {
                at = self.opened[*self.handles.get(&handle.parse::<i64>().ok()?)?].inode;
                PathBuf::from(path)
            }
            _ => self.cwd.join(path).strip_prefix(&self.base).ok()?.to_owned(),
        };
        let mut place = Place { dir: 0, name: ".".to_owned(), found: Some(at) };
        for part in below.iter().map(|part| part.to_str().expect("UTF-8")).filter(|part| *part != ".") {
            assert_ne!(part, "..", "{call:?} is not modelled");
            let dir = place.found?;
            let Kind::Dir(names) = &self.disk.nodes[dir].kind else { return None };
            place = Place { dir, name: part.to_owned(), found: names.get(part).copied() };
        }
        Some(place)
    }

    fn open(&mut self, call: &Call) {
        let (dir, path) = if call.name.starts_with("openat") { (Some(0), 1) } else { (None, 0) };
        let flags = path + 1;
        // A number used anew is whatever it is now.
        self.handles.remove(&call.result);
        let Some(place) = self.place(call, dir, path) else { return };
        let options = if call.name == "openat2" {
            call.args[flags].trim_matches(['{', '}']).replace("flags=", "").replace(", ", "|")
        } else {
            call.args[flags].clone()
        };
        let has =
            |flag: &str| call.name == "creat" && flag != "O_APPEND" || options.split('|').any(|found| found == flag);
        assert!(!options.contains("O_TMPFILE"), "{call:?} is not modelled");
        let inode = place.found.unwrap_or_else(|| {
            assert!(has("O_CREAT"), "{call:?} opened what is not there");
            let mode = call.args.last().and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0o666);
            self.birth(call, &place, Kind::File(Vec::new()), mode)
        });
        let is_file = matches!(self.disk.nodes[inode].kind, Kind::File(_));
        if is_file && has("O_TRUNC") && !self.disk.bytes(inode).is_empty() {
            self.push(call, inode, What::Data(inode, Change::Length(0)));
        }
        self.handles.insert(call.result, self.opened.len());
        self.opened.push(Open { inode, position: 0, appends: has("O_APPEND") });
    }

    fn birth(&mut self, call: &Call, place: &Place, kind: Kind, mode: u32) -> Inode {
        let inode = self.disk.nodes.len();
        self.disk.nodes.push(Node { kind, modified: call.at, mode: mode & !0o022 });
        self.named(place.dir, &place.name, inode);
        self.push(call, inode, What::Names(vec![(place.dir, place.name.clone(), Some(inode))]));
        inode
    }

    fn duplicate(&mut self, call: &Call) {
        self.handles.remove(&call.result);
        if let Some(open) = self.handles.get(&call.number(0)).copied() {
            self.handles.insert(call.result, open);
        }
    }

    fn write(&mut self, call: &Call) {
        let written = usize::try_from(call.result).expect("not negative");
        let bytes = || {
            let mut bytes = call.bytes(1);
            assert!(bytes.len() >= written, "the log has all bytes of {}", call.name);
            bytes.truncate(written);
            bytes
        };
        let positioned = call.name.starts_with('p');
        let offset = positioned.then(|| call.number(3).unsigned_abs());
        if call.args[0] == "1" && !positioned && !self.handles.contains_key(&1) {
            return self.push_at(call, String::new(), What::Said(bytes()));
        }
        let Some(open) = self.handle(call, 0) else { return };
        let (inode, appends, position) = (open.inode, open.appends, open.position);
        let at = if appends { self.disk.bytes(inode).len() as u64 } else { offset.unwrap_or(position) };
        if !positioned {
            self.handle(call, 0).expect("found above").position = at + written as u64;
        }
        self.push(call, inode, What::Data(inode, Change::Write { at, bytes: bytes() }));
    }

    fn data(&mut self, call: &Call, change: impl FnOnce(u64) -> Change) {
        let Some(inode) = self.handle(call, 0).map(|open| open.inode) else { return };
        let change = change(self.disk.bytes(inode).len() as u64);
        self.push(call, inode, What::Data(inode, change));
    }

    fn names(&mut self, call: &Call) {
        let relative = call.name.ends_with("at") || call.name.ends_with("at2");
        let (dir, path) = if relative { (Some(0), 1) } else { (None, 0) };
        let Some(place) = self.place(call, dir, path) else { return self.refuse_if_inside(call) };
        if call.name.starts_with("mkdir") {
            let mode = u32::from_str_radix(&call.args[path + 1], 8).expect("an octal mode");
            self.birth(call, &place, Kind::Dir(BTreeMap::new()), mode);
            return;
        }
        let inode = place.found.unwrap_or_else(|| panic!("{call:?} on what is not there"));
        let gone = (place.dir, place.name.clone(), None);
        if call.name.starts_with("unlink") || call.name == "rmdir" {
            return self.push(call, inode, What::Names(vec![gone]));
        }
        assert!(!call.args.iter().any(|arg| arg.contains("RENAME_EXCHANGE")), "{call:?} is not modelled");
        let (dir, path) = if relative { (Some(2), 3) } else { (None, 1) };
        let target = self.place(call, dir, path).unwrap_or_else(|| panic!("{call:?} leads out of the directory"));
        let given = (target.dir, target.name.clone(), Some(inode));
        let names = if call.name.starts_with("rename") { vec![gone, given] } else { vec![given] };
        self.push(call, inode, What::Names(names));
        self.renamed(target.dir, &target.name, inode);
    }

    fn renamed(&mut self, dir: Inode, name: &str, inode: Inode) {
        self.named(dir, name, inode);
        if let Kind::Dir(names) = self.disk.nodes[inode].kind.clone() {
            for (name, child) in names {
                self.renamed(inode, &name, child);
            }
        }
    }

    fn times(&mut self, call: &Call) {
        let inode = if call.args[1] == "NULL" {
            self.handle(call, 0).map(|open| open.inode)
        } else {
            self.place(call, Some(0), 1).and_then(|place| place.found)
        };
        let Some(inode) = inode else { return };
        let modified = call.args[2].rsplit("tv_sec=").next().unwrap_or_default();
        let (seconds, rest) = modified.split_once(", tv_nsec=").unwrap_or_else(|| panic!("{call:?} is not modelled"));
        let nanos: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let since = Duration::new(seconds.parse().expect("seconds"), nanos.parse().expect("nanoseconds"));
        self.push(call, inode, What::Data(inode, Change::Modified(SystemTime::UNIX_EPOCH + since)));
    }

    /// Permissions are taken as if they were there from the beginning.
    fn mode(&mut self, call: &Call) {
        let inode = match call.name.as_str() {
            "fchmod" => self.handle(call, 0).map(|open| open.inode),
            "chmod" => self.place(call, None, 0).and_then(|place| place.found),
            _ => self.place(call, Some(0), 1).and_then(|place| place.found),
        };
        let mode =
            call.args.iter().rev().find_map(|arg| arg.starts_with('0').then(|| u32::from_str_radix(arg, 8).ok()));
        if let (Some(inode), Some(Some(mode))) = (inode, mode) {
            self.disk.nodes[inode].mode = mode & 0o777;
        }
    }

    /// A call that is not modelled must not touch the directory.
    fn refuse_if_inside(&mut self, call: &Call) {
        let harmless = match call.name.as_str() {
            "mmap" => !(call.has(2, "PROT_WRITE") && call.has(3, "MAP_SHARED")),
            "ioctl" => !call.args[1].starts_with("FI"),
            _ => false,
        };
        if harmless {
            return;
        }
        let by_handle = (0..call.args.len()).any(|index| self.handle(call, index).is_some());
        let by_path = (0..call.args.len()).any(|index| {
            let is_path = call.args[index].starts_with('"');
            is_path && self.cwd.join(String::from_utf8_lossy(&call.bytes(index)).as_ref()).starts_with(&self.base)
        });
        assert!(!by_handle && !by_path, "{call:?} is not modelled");
    }
}
