//! The bridge to git: whole histories there and back, what cannot be taken in, and repositories that mean harm.
#![cfg(unix)]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use syncra_tests::{Home, skip};

/// Whether there is a git; the test is counted as skipped if not.
pub(crate) fn has_git(test: &str) -> bool {
    let found = Command::new("git").arg("--version").output().is_ok();
    if !found {
        skip(test, "no git");
    }
    found
}

/// A repository that its author makes, with settings of nobody.
pub(crate) struct Repo(pub(crate) PathBuf);

impl Repo {
    pub(crate) fn new(home: &Home, name: &str) -> Self {
        let dir = home.work().join(name);
        fs::create_dir_all(&dir).expect("made");
        let repo = Self(dir);
        repo.git(&["init", "--quiet", "--initial-branch", "main"]);
        repo
    }

    pub(crate) fn at(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.0).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "Zoë Maker").env(format!("GIT_{who}_EMAIL"), "zoe@example.org");
            git.env(format!("GIT_{who}_DATE"), "1700000000 +0100");
        }
        git
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let done = self.command(args).stdin(Stdio::null()).output().expect("git runs");
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all", "--force"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Every branch and tag with its object.
    fn refs(&self) -> String {
        self.git(&["for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags"])
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }
}

pub(crate) fn manifest(name: &str, version: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nkind = \"script\"\n")
}

/// The reference of the only package.
pub(crate) fn reference(home: &Home) -> String {
    home.json(["list"])["packages"][0]["ref"].as_str().expect("a package").to_owned()
}

/// A history with what histories have: merges, modes, several tags, odd names, another encoding.
fn eventful(home: &Home) -> Repo {
    let repo = Repo::new(home, "repo");
    repo.write("syncra.toml", manifest("rocket", "1.0.0"));
    repo.write("src/main.syn", "one\n");
    repo.write("run", "#!/bin/sh\n");
    fs::set_permissions(repo.0.join("run"), fs::Permissions::from_mode(0o755)).expect("executable");
    repo.write("target/kept", "git has it");
    repo.write(".syncraignore", "src\n");
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    repo.write("big.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n");
    repo.commit("First\n\nwith a body\n-- \nand a signature");
    repo.git(&["tag", "v1.0.0", "-a", "-m", "the first"]);
    repo.git(&["checkout", "--quiet", "-b", "Feature/JIRA-7"]);
    repo.write("src/deep/er/door.syn", "door\n");
    repo.write("copy/main.syn", "one\n");
    repo.commit("Door");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.write("src/main.syn", "two\n");
    repo.write("large.dat", vec![7_u8; 3 << 20]);
    repo.commit("Two");
    repo.git(&["merge", "--quiet", "--no-ff", "-m", "Merge the door", "Feature/JIRA-7"]);
    repo.git(&["tag", "2021.04"]);
    repo.git(&["tag", "release-notes", "-a", "-m", "not a version"]);
    repo.git(&["checkout", "--quiet", "--orphan", "pages"]);
    repo.git(&["rm", "-r", "--quiet", "--cached", "."]);
    fs::remove_dir_all(repo.0.join("src")).expect("removed");
    for file in ["run", "syncra.toml", "large.dat", "big.bin", ".syncraignore", ".gitattributes"] {
        fs::remove_file(repo.0.join(file)).expect("removed");
    }
    for dir in ["target", "copy"] {
        fs::remove_dir_all(repo.0.join(dir)).expect("removed");
    }
    repo.write("index.html", "<p>\n");
    repo.git(&["add", "--all"]);
    repo.git(&["-c", "i18n.commitEncoding=latin1", "commit", "--quiet", "-m", "gr\u{fc}n"]);
    repo.git(&["checkout", "--quiet", "main"]);
    repo.git(&["tag", "1.1.0-rc.1"]);
    repo
}

#[test]
fn a_history_goes_there_and_back_and_every_id_is_the_same() {
    if !has_git("a_history_goes_there_and_back") {
        return;
    }
    let home = Home::in_memory("home");
    let repo = eventful(&home);
    let planned = home.json(["import", "git", repo.path(), "--dry-run"]);
    assert_eq!(
        (&planned["first"], &planned["new_commits"], &planned["dry_run"]),
        (&true.into(), &5.into(), &true.into())
    );
    assert_eq!(home.json(["list"])["packages"].as_array().map(Vec::len), Some(0), "a look changes nothing");
    let done = home.json(["import", "git", repo.path(), "--yes"]);
    assert_eq!((done["commits"].as_u64(), done["lfs_pointers"].as_u64()), (Some(5), Some(1)), "{done}");
    let versions: Vec<_> = done["versions"].as_array().expect("versions").iter().filter_map(|v| v.as_str()).collect();
    assert_eq!(versions, ["1.1.0-rc.1", "1.0.0"]);
    // What is known is not taken in again.
    let again = home.json(["import", "git", repo.path(), "--yes"]);
    assert_eq!((&again["entries"], &again["new_commits"]), (&0.into(), &0.into()), "{again}");
    let package = reference(&home);
    // The channel is the highest release; pre-releases are none.
    home.json(["get", &package, "-o", "installed"]);
    assert_eq!(fs::read_to_string(home.work().join("installed/src/main.syn")).ok().as_deref(), Some("one\n"));
    let branches = home.json(["branch", &package]);
    assert!(branches.to_string().contains("git/zfeature/zjzizrza-7"), "{branches}");
    let back = home.json(["export", "git", &package, "back"]);
    assert_eq!((&back["changed"], &back["same"], &back["commits"]), (&0.into(), &5.into(), &5.into()), "{back}");
    let exported = Repo::at(&home.work().join("back"));
    assert_eq!(exported.refs(), repo.refs());
    exported.git(&["fsck", "--strict", "--no-dangling"]);
    // The checked-out branch is there as files.
    assert_eq!(exported.git(&["status", "--porcelain", "--branch"]), "## main");
    let mode = fs::metadata(exported.0.join("run")).expect("there").permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
}

#[test]
fn what_is_new_is_added_and_what_was_moved_by_hand_stays() {
    if !has_git("what_is_new_is_added") {
        return;
    }
    let home = Home::in_memory("home");
    let repo = Repo::new(&home, "repo");
    repo.write("a", "1");
    repo.commit("one");
    home.json(["import", "git", repo.path(), "--name", "rocket", "--kind", "asset", "--yes"]);
    repo.write("a", "2");
    repo.commit("two");
    repo.git(&["tag", "v0.1.0"]);
    repo.git(&["branch", "next"]);
    let import = ["import", "git", repo.path(), "--name", "rocket", "--kind", "asset", "--yes"];
    let done = home.json(import);
    // A commit, a version; two branches, a tag, a channel.
    assert_eq!((done["new_commits"].as_u64(), done["entries"].as_u64()), (Some(1), Some(6)), "{done}");
    let package = reference(&home);
    // Somebody points a branch to what he published himself: an import does not take it away.
    fs::create_dir(home.work().join("own")).expect("made");
    fs::write(home.work().join("own/a"), "3").expect("written");
    home.json(["publish", "own", "--name", "rocket", "--kind", "asset", "--version", "0.2.0", "--yes"]);
    home.json(["branch", &package, "next", "0.2.0"]);
    repo.git(&["checkout", "--quiet", "next"]);
    repo.write("a", "4");
    repo.commit("four");
    let done = home.json(import);
    assert_eq!(done["kept"], serde_json::json!(["branch next"]), "{done}");
    // The version went on in git with other files: a conflict, and nothing is half taken in.
    repo.git(&["tag", "v0.2.0"]);
    repo.write("a", "5");
    let last = repo.commit("five");
    let (code, error) = home.fails(import);
    assert_eq!((code, error["code"].as_str()), (7, Some("E0704")), "{error}");
    let info = home.json(["info", &package]).to_string();
    assert!(!info.contains(&last), "{info}");
    let done = home.json(import.into_iter().chain(["--skip", "tags"]));
    assert_eq!(done["left_out_examples"], serde_json::json!(["tag v0.2.0"]), "{done}");
}

#[test]
fn what_cannot_be_a_package_is_named_with_its_commit_and_nothing_is_taken_in() {
    if !has_git("what_cannot_be_a_package_is_named") {
        return;
    }
    let home = Home::in_memory("home");
    let key = format!("-----BEGIN {} KEY-----\n", "PRIVATE");
    type Spoil<'a> = Box<dyn Fn(&Repo) + 'a>;
    let odd = |name: &'static [u8]| {
        let name = os_name(name).to_owned();
        move |repo: &Repo| fs::write(repo.0.join(&name), "x").expect("written")
    };
    let cases: [(&str, Spoil<'_>, i32, &str); 8] = [
        ("link", Box::new(|repo| symlink("a", repo.0.join("link")).expect("linked")), 1, "links"),
        ("aux.txt", Box::new(odd(b"aux.txt")), 1, "names"),
        ("a:b", Box::new(odd(b"a:b")), 1, "names"),
        // Git has it first.
        ("a", Box::new(odd(b"A")), 1, "names"),
        ("\u{fffd}", Box::new(odd(b"\xff")), 1, "names"),
        (".env", Box::new(odd(b".env")), 8, "secrets"),
        ("note.txt", Box::new(|repo| fs::write(repo.0.join("note.txt"), &key).expect("written")), 8, "secrets"),
        (
            "module",
            Box::new(|repo| {
                let commit = repo.git(&["rev-parse", "HEAD"]);
                repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},module")]);
            }),
            1,
            "modules",
        ),
    ];
    for (n, (path, spoil, exit, way)) in cases.iter().enumerate() {
        let repo = Repo::new(&home, &format!("repo{n}"));
        repo.write("a", "1");
        repo.commit("good");
        spoil(&repo);
        if *path != "module" {
            repo.git(&["add", "--all"]);
        }
        repo.git(&["commit", "--quiet", "-m", "bad"]);
        let bad = repo.git(&["rev-parse", "HEAD"]);
        // It is gone from the files, and still in the history.
        repo.git(&["rm", "-r", "--quiet", "--cached", "."]);
        repo.git(&["add", "a"]);
        repo.git(&["commit", "--quiet", "-m", "good again"]);
        let name = format!("p{n}");
        let import = ["import", "git", repo.path(), "--name", &name, "--kind", "asset", "--yes"];
        let (code, error) = home.fails(import);
        let message = error["message"].as_str().unwrap_or_default();
        assert_eq!(code, *exit, "{path}: {error}");
        assert!(message.contains(&format!("`{path}`")) && message.contains(&bad), "{path}: {message}");
        assert!(error["hint"].as_str().unwrap_or_default().contains(&format!("--skip {way}")), "{path}: {error}");
        assert_eq!(home.json(["list"])["packages"].as_array().map(Vec::len), Some(n), "{path}: nothing of it is here");
        let done = home.json(import.into_iter().chain(["--skip", way]));
        assert!(done["left_out"].as_u64() > Some(0), "{path}: {done}");
    }
}

/// Bytes as a name: no text is needed for one.
fn os_name(name: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name)
}

#[test]
fn what_was_left_out_changes_ids_and_signatures_do_not_lie() {
    if !has_git("what_was_left_out_changes_ids") {
        return;
    }
    let home = Home::in_memory("home");
    let repo = Repo::new(&home, "repo");
    repo.commit("no files yet");
    repo.write("a", "1");
    symlink("a", repo.0.join("link")).expect("linked");
    repo.commit("with a link");
    // A commit that claims to be signed.
    let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
    let who = "Zoë Maker <zoe@example.org> 1700000000 +0100";
    let raw = format!(
        "tree {tree}\nparent {}\nauthor {who}\ncommitter {who}\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n -----END PGP SIGNATURE-----\n\nsigned\n",
        repo.git(&["rev-parse", "HEAD"])
    );
    fs::write(home.work().join("signed"), raw).expect("written");
    let signed = repo.git(&["hash-object", "-t", "commit", "-w", home.work().join("signed").to_str().expect("text")]);
    repo.git(&["reset", "--quiet", "--hard", &signed]);
    let import = ["import", "git", repo.path(), "--name", "rocket", "--kind", "asset", "--yes", "--skip", "links"];
    let done = home.json(import);
    assert_eq!((done["without_files"].as_u64(), done["new_commits"].as_u64()), (Some(1), Some(2)), "{done}");
    let back = home.json(["export", "git", &reference(&home), "back"]);
    assert_eq!((back["changed"].as_u64(), back["same"].as_u64()), (Some(2), Some(0)), "{back}");
    let exported = Repo::at(&home.work().join("back"));
    assert_eq!(exported.git(&["ls-tree", "-r", "--name-only", "HEAD"]), "a");
    let head = exported.git(&["cat-file", "commit", "HEAD"]);
    assert!(head.contains("signed") && head.contains("Zoë Maker") && !head.contains("gpgsig"), "{head}");
    exported.git(&["fsck", "--strict"]);
}

#[test]
fn a_repository_that_means_harm_runs_nothing() {
    if !has_git("a_repository_that_means_harm") {
        return;
    }
    let home = Home::in_memory("home");
    let repo = Repo::new(&home, "repo");
    repo.write("a", "1");
    repo.write(".gitattributes", "* filter=evil diff=evil ident\n");
    let good = repo.commit("one");
    repo.git(&["tag", "v1.0.0"]);
    repo.write("a", "2");
    let partial = repo.commit("two");
    let lost = repo.git(&["rev-parse", "HEAD:a"]);
    repo.git(&["reset", "--quiet", "--hard", &good]);
    fs::remove_file(repo.0.join(format!(".git/objects/{}/{}", &lost[..2], &lost[2..]))).expect("removed");
    let ran = home.work().join("ran");
    let evil = home.work().join("evil");
    fs::write(&evil, format!("#!/bin/sh\necho \"$0 $@\" >> {}\n", ran.display())).expect("written");
    fs::set_permissions(&evil, fs::Permissions::from_mode(0o755)).expect("executable");
    let evil = evil.to_str().expect("text");
    for name in [
        "core.fsmonitor",
        "core.sshCommand",
        "core.gitProxy",
        "core.askPass",
        "core.editor",
        "core.pager",
        "core.alternateRefsCommand",
        "diff.external",
        "credential.helper",
        "gpg.program",
        "gpg.ssh.program",
        "uploadpack.packObjectsHook",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "diff.evil.textconv",
        "alias.log",
        "alias.cat-file",
        "pager.log",
    ] {
        repo.git(&["config", name, evil]);
    }
    repo.git(&["config", "log.showSignature", "true"]);
    for hook in ["reference-transaction", "post-index-change", "post-checkout", "pre-auto-gc"] {
        fs::create_dir_all(repo.0.join(".git/hooks")).expect("made");
        fs::copy(evil, repo.0.join(".git/hooks").join(hook)).expect("copied");
    }
    // A partial clone whose missing part is to be had from a program.
    repo.git(&["config", "remote.evil.url", &format!("ext::{evil} %S")]);
    repo.git(&["config", "remote.evil.promisor", "true"]);
    repo.git(&["config", "extensions.partialClone", "evil"]);
    repo.git(&["config", "core.repositoryFormatVersion", "1"]);
    repo.git(&["config", "protocol.ext.allow", "always"]);
    fs::remove_file(&ran).ok();
    let import = ["import", "git", repo.path(), "--name", "rocket", "--kind", "asset", "--yes"];
    home.json(import);
    home.json(["export", "git", &reference(&home), "back"]);
    assert!(!ran.exists(), "{}", fs::read_to_string(&ran).unwrap_or_default());
    // The trap works where nobody takes care.
    drop(repo.command(&["status"]).output());
    assert!(ran.exists(), "the settings are obeyed by an ordinary call");
    fs::remove_file(&ran).expect("removed");
    // A branch of which something is missing, and could be fetched.
    fs::write(repo.0.join(".git/refs/heads/partial"), format!("{partial}\n")).expect("written");
    let (code, error) = home.fails(import);
    assert_eq!(code, 1, "{error}");
    assert!(!ran.exists(), "{}", fs::read_to_string(&ran).unwrap_or_default());
}

#[test]
fn a_commit_is_what_its_id_says() {
    if !has_git("a_commit_is_what_its_id_says") {
        return;
    }
    let home = Home::in_memory("home");
    let repo = Repo::new(&home, "repo");
    repo.write("a", "1");
    repo.commit("one");
    repo.write("a", "2");
    repo.commit("two");
    repo.write("a", "3");
    let last = repo.commit("three");
    let import = ["import", "git", repo.path(), "--name", "rocket", "--kind", "asset", "--yes"];
    // Each object in the place of another of its type and length: whole, but not what its id says.
    let loose = |id: &str| repo.0.join(format!(".git/objects/{}/{}", &id[..2], &id[2..]));
    for (named, other) in [("HEAD:a", "HEAD~:a"), ("HEAD^{tree}", "HEAD~^{tree}"), ("HEAD~", "HEAD~2")] {
        let (id, other) = (repo.git(&["rev-parse", named]), repo.git(&["rev-parse", other]));
        let whole = fs::read(loose(&id)).expect("a loose object");
        fs::set_permissions(loose(&id), fs::Permissions::from_mode(0o644)).expect("writable");
        fs::copy(loose(&other), loose(&id)).expect("replaced");
        let (code, error) = home.fails(import);
        let names_it = error["message"].as_str().is_some_and(|text| text.contains(&id));
        assert!(code == 1 && (names_it || named == "HEAD~"), "{named}: {error}");
        // Copied with its mode.
        fs::remove_file(loose(&id)).expect("removed");
        fs::write(loose(&id), whole).expect("restored");
    }
    assert_eq!(home.json(["list"])["packages"].as_array().map(Vec::len), Some(0));
    // A list beside the history that says that the last has no parents.
    fs::create_dir_all(repo.0.join(".git/info")).expect("made");
    fs::write(repo.0.join(".git/info/grafts"), format!("{last}\n")).expect("written");
    assert_eq!(repo.git(&["rev-list", "--count", "HEAD"]), "1", "an ordinary call obeys it");
    let done = home.json(import);
    assert_eq!(done["new_commits"].as_u64(), Some(3), "{done}");
}

#[test]
fn only_the_repository_that_was_named_is_taken_in() {
    if !has_git("only_the_repository_that_was_named") {
        return;
    }
    let home = Home::in_memory("home");
    // A list of places where git looks no further up is separated by colons.
    let repo = Repo::new(&home, "a:b");
    repo.write("private", "1");
    repo.commit("one");
    fs::create_dir(repo.0.join("sub")).expect("made");
    let theirs = home.work().join("theirs");
    let refused = |dir: &Path, told: &str| {
        let dir = dir.to_str().expect("text");
        let (code, error) = home.fails(["import", "git", dir, "--name", "rocket", "--kind", "asset", "--yes"]);
        let is_told = error["message"].as_str().is_some_and(|text| text.contains(told));
        assert!(code == 3 && is_told, "{dir}: {error}");
    };
    refused(&repo.0.join("sub"), "is not the top");
    fs::create_dir(&theirs).expect("made");
    fs::write(theirs.join(".git"), format!("gitdir: {}/.git\n", repo.path())).expect("written");
    refused(&theirs, "which is outside");
    fs::remove_file(theirs.join(".git")).expect("removed");
    symlink(repo.0.join(".git"), theirs.join(".git")).expect("linked");
    refused(&theirs, "which is outside");
    repo.git(&["worktree", "add", "--quiet", "../tree"]);
    refused(&home.work().join("tree"), "which is outside");
    repo.git(&["clone", "--quiet", "--shared", ".", "../shared"]);
    refused(&home.work().join("shared"), "which is outside");
    let linked = Repo::new(&home, "linked");
    fs::remove_dir_all(linked.0.join(".git/refs/heads")).expect("removed");
    symlink(repo.0.join(".git/refs/heads"), linked.0.join(".git/refs/heads")).expect("linked");
    refused(&linked.0, "which is outside");
    assert_eq!(home.json(["list"])["packages"].as_array().map(Vec::len), Some(0));
    // The whole one, by its own name, and a bare one.
    repo.git(&["clone", "--quiet", "--bare", ".", "../bare"]);
    for (dir, name) in [(repo.0.clone(), "whole"), (home.work().join("bare"), "bare")] {
        home.json(["import", "git", dir.to_str().expect("text"), "--name", name, "--kind", "asset", "--yes"]);
    }
}

#[test]
fn what_is_no_whole_repository_is_told() {
    if !has_git("what_is_no_whole_repository") {
        return;
    }
    let home = Home::in_memory("home");
    let repo = Repo::new(&home, "repo");
    let import = |dir: &Path| {
        let dir = dir.to_str().expect("text");
        home.fails(["import", "git", dir, "--name", "rocket", "--kind", "asset", "--yes"])
    };
    let (code, error) = import(&repo.0);
    assert_eq!((code, error["code"].as_str()), (3, Some("E0300")), "nothing was committed: {error}");
    repo.write("sub/a", "1");
    repo.commit("one");
    repo.write("sub/a", "2");
    repo.commit("two");
    for dir in [home.work().join("nowhere"), repo.0.join("sub"), home.work().join("plain")] {
        fs::create_dir_all(home.work().join("plain")).expect("made");
        let (code, error) = import(&dir);
        assert_eq!((code, error["code"].as_str()), (3, Some("E0300")), "{}: {error}", dir.display());
    }
    let url = format!("file://{}", repo.path());
    repo.git(&["clone", "--quiet", "--depth", "1", &url, "../shallow"]);
    let (code, error) = import(&home.work().join("shallow"));
    assert!(code == 1 && error["message"].as_str().is_some_and(|text| text.contains("shallow")), "{error}");
    // A manifest is asked for where nobody says name and kind.
    let (code, error) = home.fails(["import", "git", repo.path(), "--yes"]);
    assert_eq!((code, error["code"].as_str()), (3, Some("E0302")), "{error}");
    // Each object cut off: never taken for what it was.
    let mut damaged = 0;
    let list = repo.git(&["rev-list", "--objects", "--all", "--no-object-names"]);
    for id in list.lines() {
        let path = repo.0.join(format!(".git/objects/{}/{}", &id[..2], &id[2..]));
        let whole = fs::read(&path).expect("a loose object");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("writable");
        fs::write(&path, &whole[..whole.len() / 2]).expect("cut");
        let (code, error) = import(&repo.0);
        assert_eq!(code, 1, "{id}: {error}");
        fs::write(&path, &whole).expect("restored");
        damaged += 1;
    }
    assert_eq!(damaged, 8, "{list}");
    assert_eq!(home.json(["list"])["packages"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_package_that_never_was_in_git_becomes_a_repository() {
    if !has_git("a_package_that_never_was_in_git") {
        return;
    }
    let home = Home::in_memory("home");
    home.json(["new", "script", "lamp"]);
    home.json(["publish", "lamp", "--yes", "--note", "the first lamp"]);
    let manifest = home.work().join("lamp/syncra.toml");
    let text = fs::read_to_string(&manifest).expect("there").replace("0.1.0", "0.2.0");
    fs::write(&manifest, text).expect("written");
    home.json(["publish", "lamp", "--yes"]);
    let package = reference(&home);
    let done = home.json(["export", "git", &package, "lamp.git"]);
    assert_eq!((done["commits"].as_u64(), done["refs"].as_u64()), (Some(2), Some(3)), "{done}");
    let repo = Repo::at(&home.work().join("lamp.git"));
    assert_eq!(repo.git(&["log", "--format=%s", "stable"]), "Version 0.2.0\nthe first lamp");
    assert_eq!(repo.git(&["tag"]), "v0.1.0\nv0.2.0");
    repo.git(&["fsck", "--strict"]);
    home.json(["export", "git", &package, "again"]);
    assert_eq!(Repo::at(&home.work().join("again")).refs(), repo.refs(), "the same history, the same commits");
    let (code, error) = home.fails(["export", "git", &package, "again"]);
    assert_eq!((code, error["code"].as_str()), (7, Some("E0701")), "{error}");
    // And it can be taken in again, as another package, with the same files.
    home.json(["import", "git", repo.path(), "--name", "lamp2", "--yes"]);
    home.json(["get", &package, "-o", "one"]);
    let copy = package.replace("/lamp", "/lamp2");
    home.json(["get", &copy, "-o", "two"]);
    let same = Command::new("diff").arg("-r").args(["one", "two"]).current_dir(home.work()).status();
    assert!(same.is_ok_and(|status| status.success()));
}

#[test]
fn a_long_history_is_taken_in_by_few_appends_and_fetched_from_peers() {
    if !has_git("a_long_history_is_taken_in") {
        return;
    }
    let home = Home::in_memory("home");
    let repo = Repo::new(&home, "repo");
    let mut stream = String::new();
    for n in 1..=400 {
        let who = format!("A <a@example.org> {} +0000", 1_600_000_000 + n);
        write!(stream, "commit refs/heads/main\nmark :{n}\nauthor {who}\ncommitter {who}\ndata 6\nc {n:04}")
            .expect("text");
        if n > 1 {
            write!(stream, "\nfrom :{}", n - 1).expect("text");
        }
        let (dir, text) = (n % 7, format!("line {n}\n").repeat(1 + n % 50));
        write!(stream, "\nM 100644 inline d{dir}/f{}\ndata {}\n{text}\n", n % 40, text.len()).expect("text");
    }
    let mut import = repo.command(&["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().expect("git runs");
    import.stdin.take().expect("piped").write_all(stream.as_bytes()).expect("read");
    assert!(import.wait().is_ok_and(|status| status.success()));
    let done = home.json(["import", "git", repo.path(), "--name", "long", "--kind", "asset", "--yes"]);
    assert_eq!((done["new_commits"].as_u64(), done["entries"].as_u64()), (Some(400), Some(401)), "{done}");
    // Somebody else gets it and gives a repository back.
    let node = home.up(["--listen", "/ip4/127.0.0.1/tcp/0"]);
    let other = Home::in_memory("other");
    let at = node.ready()["listen"][0].as_str().expect("an address").to_owned();
    let theirs = other.up(["--listen", "/ip4/127.0.0.1/tcp/0", "--bootstrap", &at]);
    let done = other.json(["export", "git", &reference(&home), "back"]);
    assert_eq!((done["same"].as_u64(), done["changed"].as_u64()), (Some(400), Some(0)), "{done}");
    assert_eq!(Repo::at(&other.work().join("back")).refs(), repo.refs());
    assert_eq!((theirs.stop().0, node.stop().0), (0, 0));
}

#[test]
fn a_file_that_is_called_git_is_still_a_file() {
    let home = Home::in_memory("home");
    assert_eq!(home.fails(["import", "git"]).0, 2);
    assert_eq!(home.fails(["export", "git", "@alice/lamp"]).0, 2);
    fs::write(home.work().join("git"), "no pack").expect("written");
    let (code, error) = home.fails(["import", "./git"]);
    assert_eq!((code, error["code"].as_str()), (5, Some("E0503")), "{error}");
}
