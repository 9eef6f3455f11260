//! Unix sockets on both sides: to listen on, and as providers.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::support::{PATIENCE, Setup};

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
