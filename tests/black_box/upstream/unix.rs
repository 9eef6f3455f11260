//! Unix sockets on both sides: to listen on, and as providers.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::support::proxy::UnixUpstream;
use crate::support::{End, PATIENCE, Setup, get, ok, post};

/// Listens on a free port, and on `gate.sock` in the working directory.
fn listening(setup: Setup) -> Setup {
    setup.env(
        "SLUICEGATE_LISTEN",
        "127.0.0.1:0,unix:/proc/self/cwd/gate.sock",
    )
}

/// The answer to `/health` on the gateway's socket.
fn health(setup: &Setup) -> String {
    let mut client = UnixStream::connect(setup.dir().join("gate.sock")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_socket_that_nobody_listens_on_is_taken_over() {
    let setup = listening(Setup::new());
    // The file stays when the listener goes, as it does with a process that was killed.
    drop(UnixListener::bind(setup.dir().join("gate.sock")).unwrap());
    let gateway = setup.start();
    assert!(health(gateway.setup()).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_socket_that_somebody_listens_on_is_left_alone() {
    let setup = listening(Setup::new());
    let path = setup.dir().join("gate.sock");
    let other = UnixListener::bind(&path).unwrap();
    let finished = setup.run();
    assert_eq!(finished.code, Some(1), "{}", finished.all());
    assert!(finished.stderr.contains("gate.sock"), "{}", finished.all());
    drop(other);
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let setup = listening(Setup::new()).file("gate.sock", "precious");
    let link = setup.dir().join("link.sock");
    std::os::unix::fs::symlink(setup.dir().join("gate.sock"), &link).unwrap();
    for name in ["gate.sock", "link.sock"] {
        let listen = format!("127.0.0.1:0,unix:{}", setup.dir().join(name).display());
        let mut command = setup.command(&[]);
        let ended = command.env("SLUICEGATE_LISTEN", listen).output().unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(
            String::from_utf8_lossy(&ended.stderr).contains(name),
            "{ended:?}"
        );
        assert_eq!(
            fs::read(setup.dir().join("gate.sock")).unwrap(),
            b"precious"
        );
    }
    assert!(fs::symlink_metadata(link).unwrap().is_symlink());
}

#[test]
fn who_may_connect_is_what_the_umask_says() {
    for (umask, mode) in [("0117", 0o660), ("0077", 0o700), ("0022", 0o755)] {
        let gateway = listening(Setup::new()).start_with_umask(umask);
        let file = fs::metadata(gateway.setup().dir().join("gate.sock")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, mode, "{umask}");
        assert!(health(gateway.setup()).starts_with("HTTP/1.1 200 "));
    }
}

/// A provider `near` on `near.sock` in the working directory.
fn near(path: &str) -> Setup {
    Setup::new().toml(&format!(
        "[providers.near]\ntype = \"openai\"\ncredential = \"none\"\n\
         base_url = \"http+unix://%2Fproc%2Fself%2Fcwd%2Fnear.sock{path}\"\n"
    ))
}

#[test]
fn a_provider_may_be_a_unix_socket() {
    let setup = near("/deep/v1");
    let upstream = UnixUpstream::listen(&setup.dir().join("near.sock"));
    let gateway = setup.env("HTTP_PROXY", "http://127.0.0.1:1").start();
    let mut client = gateway.connect();
    let body = "b".repeat(1 << 20);
    client.send(post("/p/near/chat/completions?q", &body));
    let mut peer = upstream.accept();
    let got = peer.request();
    assert_eq!(got.head.target(), "/deep/v1/chat/completions?q");
    assert_eq!(got.head.values("host"), ["localhost"]);
    assert_eq!(got.body.len(), body.len());
    peer.send(ok(&body));
    assert_eq!(client.response().body.len(), body.len());
    // The connection is kept, and its end is noticed.
    client.send(get("/p/near/models"));
    assert_eq!(peer.request().head.target(), "/deep/v1/models");
    peer.send(ok("again"));
    assert_eq!(client.response().text(), "again");
    peer.close();
    client.send(post("/p/near/x", "other"));
    let mut peer = upstream.accept();
    assert_eq!(peer.request().text(), "other");
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut");
    drop(peer);
    assert!(client.try_response().is_err());
}

#[test]
fn a_client_that_leaves_ends_the_connection_to_a_unix_socket() {
    let setup = near("");
    let upstream = UnixUpstream::listen(&setup.dir().join("near.sock"));
    let gateway = setup.start();
    let mut client = gateway.connect();
    client.send(post("/p/near/x", "content"));
    let mut peer = upstream.accept();
    peer.request();
    client.reset();
    assert!(matches!(peer.expect_end(), End::Clean | End::Reset));
}

#[test]
fn a_unix_socket_that_nobody_listens_on_is_502() {
    let setup = near("");
    let path = setup.dir().join("near.sock");
    let gateway = setup.start();
    let mut client = gateway.connect();
    let mut refused = || {
        client.send(post("/p/near/x", "content"));
        let got = client.response();
        assert_eq!(got.status(), 502, "{}", got.text());
        assert!(
            got.text().contains("\"upstream_connect\""),
            "{}",
            got.text()
        );
        assert_eq!(got.value("x-should-retry"), Some("true"));
    };
    refused();
    drop(UnixListener::bind(&path).unwrap());
    refused();
    fs::remove_file(&path).unwrap();
    let upstream = UnixUpstream::listen(&path);
    client.send(get("/p/near/x"));
    upstream.accept().request();
}

#[test]
fn a_full_queue_of_a_unix_socket_is_waited_for() {
    let setup = near("");
    let path = setup.dir().join("near.sock");
    let upstream = UnixUpstream::listen_with_queue(&path, 0);
    let gateway = setup.start();
    // One waits to be accepted, which is one more than there is room for.
    let other = UnixStream::connect(&path).unwrap();
    let mut client = gateway.connect();
    client.send(get("/p/near/x"));
    // The gateway has tried by the time that it answers somebody else.
    let mut barrier = gateway.connect();
    barrier.send("GET /health HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(barrier.response().status(), 200);
    drop(upstream.accept());
    upstream.accept().request();
    drop(other);
}
