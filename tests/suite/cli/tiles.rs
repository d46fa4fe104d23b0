//! Logs for foreign tools: written out, and served by the gateway. Who audits them is Go's own checksum-database code.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use syncra_node::api::Service;
use syncra_node::api::verbs::identity::{SetHandle, SetHandleRequest};
use syncra_node::progress::Progress;
use syncra_tests::{Home, Output, skip};

/// Debian's Go packages: nothing is fetched.
const GOPATH: &str = "/usr/share/gocode";

/// The auditor, built once for all tests of this run; none without Go and its `x/mod`.
fn auditor(test: &str) -> Option<&'static Path> {
    static BUILT: std::sync::OnceLock<Option<PathBuf>> = std::sync::OnceLock::new();
    let build = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("audit/main.go");
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = dir.join("audit");
        if !Path::new(GOPATH).join("src/golang.org/x/mod/sumdb/tlog").is_dir() {
            return None;
        }
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).arg(source);
        go.env("GO111MODULE", "off").env("GOPATH", GOPATH).env("GOCACHE", dir.join("gocache")).env("GOFLAGS", "");
        match go.output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            built => {
                let built = built.expect("go starts");
                assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
                Some(program)
            }
        }
    };
    let built = BUILT.get_or_init(build).as_deref();
    if built.is_none() {
        skip(test, "no Go, or not its x/mod");
    }
    built
}

/// What the auditor says of these logs, a line for each; else why not.
fn audit(program: &Path, root: &str, origins: &[String]) -> Result<Vec<String>, String> {
    let mut command = Command::new(program);
    command.arg(root).args(origins);
    let Output { code, stdout, stderr } = Output::of(command);
    if code == 0 { Ok(stdout.lines().map(str::to_owned).collect()) } else { Err(stderr) }
}

/// A home with a package of one release, and an identity whose log has that many entries more.
fn home_with(n_handles: u32) -> Home {
    let home = Home::in_memory("home");
    home.json(["new", "script", "lamp"]);
    home.json(["publish", "lamp", "--yes"]);
    let work = async {
        let opened = syncra_node::home::Home::open(home.path()).expect("the home opens");
        let service = Service::open(opened).await.expect("the service opens");
        for n in 0..n_handles {
            let request = SetHandleRequest { handle: format!("alice-{n}"), dry_run: false };
            service.run::<SetHandle>(request, &Progress::unwatched()).await.expect("one more entry");
        }
        service.close().await;
    };
    tokio::runtime::Runtime::new().expect("a runtime").block_on(work);
    home
}

fn reference(home: &Home) -> String {
    home.json(["list"])["packages"][0]["ref"].as_str().expect("a reference").to_owned()
}

fn origins(exported: &serde_json::Value) -> Vec<String> {
    let logs = exported["logs"].as_array().expect("logs");
    logs.iter().map(|log| log["origin"].as_str().expect("an origin").to_owned()).collect()
}

/// Every file below `dir`, sorted.
fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn a_foreign_auditor_accepts_what_was_written_and_refuses_it_after_any_change() {
    let Some(program) = auditor("a_foreign_auditor_accepts_what_was_written_and_refuses_it_after_any_change") else {
        return;
    };
    let home = home_with(300);
    let package = reference(&home);
    let would = home.json(["log", &package, "--export-tiles", "logs", "--dry-run"]);
    assert!(!home.work().join("logs").exists());
    let exported = home.json(["log", &package, "--export-tiles", "logs"]);
    assert_eq!(would, exported);
    let (dir, origins) = (home.work().join("logs"), origins(&exported));
    let root = dir.to_str().expect("UTF-8");
    let said = audit(program, root, &origins).expect("verifies");
    assert_eq!(said.len(), 2, "the package's log and its owner's: {said:?}");
    assert!(said.iter().any(|said| said.contains("3 tiles")), "{said:?}");
    let written = files(&dir);
    let told: u64 = exported["logs"].as_array().expect("logs").iter().map(|log| log["n_files"].as_u64().unwrap()).sum();
    assert_eq!(written.len() as u64, told);
    assert!(written.iter().any(|path| path.ends_with("tile/entries/000")), "{written:?}");

    for path in written {
        let bytes = std::fs::read(&path).expect("written");
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).expect("changed");
            assert!(audit(program, root, &origins).is_err(), "byte {at} of {} is believed", path.display());
        }
        std::fs::remove_file(&path).expect("removed");
        assert!(audit(program, root, &origins).is_err(), "{} is not missed", path.display());
        std::fs::write(&path, bytes).expect("put back");
    }
    audit(program, root, &origins).expect("verifies again");
}

#[test]
fn nothing_is_written_over() {
    let home = home_with(0);
    let package = reference(&home);
    home.json(["log", &package, "--export-tiles", "logs"]);
    let beside = || files(home.work()).into_iter().filter(|path| !path.starts_with(home.path())).collect::<Vec<_>>();
    let before = beside();
    let (exit, error) = home.fails(["log", &package, "--export-tiles", "logs"]);
    assert_eq!((exit, error["code"].as_str()), (7, Some("E0701")));
    std::fs::write(home.work().join("file"), "x").expect("written");
    assert_eq!(home.fails(["log", &package, "--export-tiles", "file"]).0, 7);
    std::fs::remove_file(home.work().join("file")).expect("removed");
    assert_eq!(beside(), before, "nothing is left of what was refused");
    std::fs::create_dir(home.work().join("empty")).expect("made");
    home.json(["log", &package, "--export-tiles", "empty"]);
    assert_eq!(home.fails(["log", &package, "--dry-run"]).0, 2);
    assert_eq!(home.fails(["log", "@nobody/lamp", "--export-tiles", "other"]).0, 3);
    assert!(!home.work().join("other").exists());
}

/// One HTTP exchange: the head of the answer in lower case, and the body.
fn exchange(address: &str, request: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    write!(stream, "{request} HTTP/1.1\r\nhost: logs.example\r\nconnection: close\r\n\r\n").expect("asked");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer.split_off(end))
}

#[test]
fn the_gateway_serves_the_same_to_everybody_and_nothing_else() {
    let home = home_with(300);
    let package = reference(&home);
    let exported = home.json(["log", &package, "--export-tiles", "logs"]);
    let id = home.json(["info", &package])["package_id"].as_str().expect("an id").to_owned();
    let node = home.up(["--gateway", "127.0.0.1:0"]);
    let gateway = node.ready()["gateway"].as_str().expect("a gateway").to_owned();
    assert_eq!(home.json(["status"])["gateway"].as_str(), Some(&*gateway));

    let dir = home.work().join("logs");
    for path in files(&dir) {
        let name = path.strip_prefix(&dir).expect("below").to_str().expect("UTF-8").to_owned();
        let (head, body) = exchange(&gateway, &format!("GET /{name}"));
        assert!(head.starts_with("http/1.1 200"), "{name}: {head}");
        let is_bundle = name.contains("/tile/entries/");
        let body = if is_bundle { unchunked(&body) } else { body };
        assert_eq!(body, std::fs::read(&path).expect("written"), "{name}");
        let is_tile = name.contains("/tile/");
        let content_type = if is_tile { "application/octet-stream" } else { "text/plain; charset=utf-8" };
        assert!(head.contains(&format!("content-type: {content_type}\r\n")), "{name}: {head}");
        let cache = if name.ends_with("checkpoint") { "max-age=5\r\n" } else { "max-age=31536000, immutable\r\n" };
        assert!(head.contains(cache), "{name}: {head}");
        let (head, body) = exchange(&gateway, &format!("HEAD /{name}"));
        assert!(head.starts_with("http/1.1 200") && body.is_empty(), "{name}: {head}");
    }
    let (head, vkeys) = exchange(&gateway, &format!("GET /syncra/pkg/{id}/vkeys"));
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let vkeys = String::from_utf8(vkeys).expect("text");
    let found: Vec<&str> = vkeys.lines().filter_map(|line| line.split('+').next()).collect();
    assert_eq!(found, origins(&exported), "who knows the package finds its logs");

    let log = &origins(&exported)[0];
    for (request, status) in [
        (format!("GET /{log}/tile/0/009"), 404),
        (format!("GET /{log}/tile/entries/000.p/0"), 404),
        (format!("GET /{log}/../checkpoint"), 404),
        (format!("GET /{}/checkpoint", log.replace("syncra/pkg", "syncra/id")), 404),
        ("GET /".to_owned(), 404),
        ("GET /api/v1/status".to_owned(), 404),
        (format!("POST /{log}/checkpoint"), 405),
        (format!("DELETE /{log}/tile/0/000"), 405),
        ("PUT /".to_owned(), 404),
        ("OPTIONS *".to_owned(), 404),
    ] {
        let (head, _) = exchange(&gateway, &request);
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{request}: {head}");
        assert!(head.contains("cache-control: no-store\r\n"), "{request}: {head}");
    }
    if let Some(program) = auditor("the_gateway_serves_the_same_to_everybody_and_nothing_else") {
        audit(program, &format!("http://{gateway}"), &origins(&exported)).expect("verifies");
    }
    let (code, log) = node.stop();
    assert_eq!(code, 0, "{log}");
}

/// A body that came in pieces (RFC 9112 §7.1).
fn unchunked(body: &[u8]) -> Vec<u8> {
    let (mut rest, mut whole) = (body, Vec::new());
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").expect("a length");
        let text = std::str::from_utf8(&rest[..line]).expect("hexadecimal digits");
        let length = usize::from_str_radix(text, 16).expect("hexadecimal digits");
        let piece = &rest[line + 2..];
        if length == 0 {
            return whole;
        }
        whole.extend(&piece[..length]);
        rest = &piece[length + 2..];
    }
}

#[test]
fn a_gateway_is_there_only_when_it_is_asked_for() {
    let home = home_with(0);
    let node = home.up([""; 0]);
    assert!(node.ready().get("gateway").is_none(), "{}", node.ready());
    assert_eq!(node.stop().0, 0);
    home.json(["config", "set", "gateway.listen", "127.0.0.1:0"]);
    let node = home.up([""; 0]);
    assert!(node.ready()["gateway"].is_string(), "{}", node.ready());
    assert_eq!(node.stop().0, 0);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (exit, error) = home.fails(["up", "--gateway", &address]);
    assert_eq!((exit, error["code"].as_str()), (7, Some("E0703")));
}
