//! The node in the foreground, and verbs that talk to it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::Value;
use syncra_tests::program::signal;
use syncra_tests::{Home, Output, own_ip};

#[test]
fn the_ready_line_says_where_the_node_is() {
    let home = Home::new();
    let node = home.up(["--api", "127.0.0.1:0"]);
    assert!(node.peer_id().starts_with("12D3Koo"), "{}", node.ready());
    assert!(node.ready()["listen"].is_array());
    let tcp = node.ready()["api"]["tcp"].as_str().expect("a TCP door").to_owned();
    let (exit, error) = home.fails(["status", "--api", &tcp]);
    assert_eq!((exit, error["code"].as_str()), (4, Some("E0401")));
    let secret = home.json(["token", "create", "--scope", "read"])["secret"].as_str().expect("told once").to_owned();
    let mut command = home.command(["status", "--json", "--api", &tcp]);
    assert_eq!(
        Output::of({
            command.env("SYNCRA_TOKEN", &secret);
            command
        })
        .data()["running"],
        true
    );
    let mut command = home.command(["token", "list", "--json", "--api", &tcp]);
    command.env("SYNCRA_TOKEN", &secret);
    let (exit, error) = Output::of(command).error();
    assert_eq!((exit, error["code"].as_str()), (4, Some("E0402")));
}

#[cfg(unix)]
#[test]
fn it_stops_in_order_when_asked() {
    for name in ["TERM", "INT"] {
        let home = Home::new();
        let node = home.up([""; 0]);
        let socket = node.ready()["api"]["socket"].as_str().expect("a socket").to_owned();
        let (code, log) = node.stop_by(name);
        assert_eq!(code, 0, "{name}: {log}");
        assert!(!std::path::Path::new(&socket).exists());
        assert_eq!(home.json(["status"])["running"], false);
    }
}

#[test]
fn down_stops_it_and_waits_until_the_home_is_free() {
    let home = Home::new();
    let (exit, error) = home.fails(["down"]);
    assert_eq!((exit, error["code"].as_str()), (10, Some("E1000")));
    for _ in 0..3 {
        let node = home.up([""; 0]);
        assert_eq!(home.json(["down", "--dry-run"])["dry_run"], true);
        assert_eq!(home.json(["status"])["running"], true);
        let stopped = home.json(["down"]);
        assert_eq!(stopped["dry_run"], false);
        // No second look: the home is free at once, also for another node.
        assert_eq!(home.json(["status"])["running"], false);
        let (code, log) = node.wait();
        assert_eq!(code, 0, "{log}");
    }
}

#[test]
fn only_an_admin_may_stop_it_through_tcp() {
    let home = Home::new();
    let node = home.up(["--api", "127.0.0.1:0"]);
    let tcp = node.ready()["api"]["tcp"].as_str().expect("a TCP door").to_owned();
    let stop_as = |scope: &str| {
        let secret = home.json(["token", "create", "--scope", scope])["secret"].as_str().expect("told").to_owned();
        let mut command = home.command(["down", "--json", "--api", &tcp]);
        command.env("SYNCRA_TOKEN", &secret);
        Output::of(command)
    };
    let (exit, error) = stop_as("publish").error();
    assert_eq!((exit, error["code"].as_str()), (4, Some("E0402")));
    assert!(stop_as("admin").data()["pid"].is_u64());
    let (code, log) = node.wait();
    assert_eq!(code, 0, "{log}");
}

/// The program was replaced by a newer one while its node ran.
#[test]
fn a_node_that_does_not_know_a_verb_is_too_old() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let node = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a call");
        let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let body = r#"{"schema":"syncra/v1/error","error":{"code":"E0301","kind":"not_found","message":"there is no `/api/v1/stop`","retryable":false}}"#;
        let head = format!(
            "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        (&stream).write_all(format!("{head}{body}").as_bytes()).expect("answered");
    });
    let (exit, error) = Home::new().fails(["down", "--api", &address]);
    assert_eq!((exit, error["code"].as_str()), (3, Some("E0301")));
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("another version")), "{error}");
    node.join().expect("it answered");
}

#[test]
fn a_taken_port_is_a_conflict() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (exit, error) = home.fails(["up", "--api", &address]);
    assert_eq!((exit, error["code"].as_str(), error["kind"].as_str()), (7, Some("E0703"), Some("conflict")));
    for wrong in ["0.0.0.0:0", "nowhere", "127.0.0.1", "127.0.0.1:99999"] {
        assert_eq!(home.fails(["up", "--api", wrong]).0, 2, "{wrong}");
    }
}

#[test]
fn verbs_that_need_a_node_say_so() {
    let home = Home::new();
    let (exit, error) = home.fails(["events"]);
    assert_eq!((exit, error["code"].as_str()), (10, Some("E1000")));
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("`syncra up`")));
    let gone = std::net::TcpListener::bind((own_ip(), 0)).and_then(|l| l.local_addr()).expect("a free port");
    assert_eq!(home.fails(["status", "--api", &gone.to_string()]).0, 10);
    #[cfg(unix)]
    assert_eq!(home.fails(["status", "--api", "unix:/nowhere/api.sock"]).0, 10);
}

#[test]
fn events_stream_as_lines_and_end_with_the_node() {
    let home = Home::new();
    let node = home.up([""; 0]);
    let mut command = home.command(["events", "--since", "0", "--json"]);
    let mut reader = command.stdout(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(reader.stdout.take().expect("piped")).lines();
    let mut next = move || lines.next().map(|line| serde_json::from_str::<Value>(&line.expect("UTF-8")).expect("JSON"));
    let first = next().expect("the node's start");
    assert_eq!(first["event"]["type"], "node_started");
    let id = home.json(["token", "create", "--scope", "runner"])["token"]["id"].clone();
    let second = next().expect("the token");
    assert_eq!((&second["event"]["type"], &second["event"]["id"]), (&Value::from("token_created"), &id));
    assert_eq!(second["seq"].as_u64(), first["seq"].as_u64().map(|seq| seq + 1));
    assert_eq!(node.stop().0, 0);
    assert_eq!(next().expect("the end")["event"]["type"], "node_stopping");
    assert_eq!(next(), None);
    assert_eq!(reader.wait().expect("ends").code(), Some(0));
}

#[cfg(unix)]
#[test]
fn ctrl_c_exits_130() {
    let home = Home::new();
    let _node = home.up([""; 0]);
    let mut command = home.command(["events", "--since", "0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    // Its first line: now it surely listens for signals.
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    signal(child.id(), "INT");
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error: interrupted [E1100]"));
}

#[test]
fn the_api_describes_itself() {
    let home = Home::new();
    let node = home.up(["--api", "127.0.0.1:0"]);
    let tcp = node.ready()["api"]["tcp"].as_str().expect("a TCP door").to_owned();
    let secret = home.json(["token", "create", "--scope", "read"])["secret"].as_str().expect("told once").to_owned();
    let document = http_get(&tcp, "/api/v1/openapi.json", &secret);
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
    assert!(document["paths"]["/api/v1/status"]["get"].is_object());
}

/// The smallest HTTP client: whoever reads the guide with `nc` does the same.
fn http_get(host: &str, path: &str, token: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(host).expect("the door is open");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}
