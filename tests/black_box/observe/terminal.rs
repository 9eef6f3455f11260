//! The log on a terminal: lines for people, with colours and without.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use crate::support::screen::Screen;
use crate::support::{PATIENCE, Setup, get};

/// A gateway on a terminal, and a client of it.
fn on_a_terminal(variables: &[(&str, &str)]) -> (Screen, UnixStream, Setup) {
    let setup = Setup::new();
    let socket = setup.dir().join("s");
    let mut command = setup.command(&[]);
    command
        .env_remove("LOG_FORMAT")
        .env("SLUICEGATE_LISTEN", format!("unix:{}", socket.display()))
        .envs(variables.iter().copied());
    let screen = Screen::start(command);
    let begun = Instant::now();
    loop {
        match UnixStream::connect(&socket) {
            Ok(client) => return (screen, client, setup),
            Err(_) => assert!(begun.elapsed() < PATIENCE, "it does not listen"),
        }
        std::thread::yield_now();
    }
}

fn ask(client: &mut UnixStream, path: &str) {
    client.write_all(get(path).as_bytes()).unwrap();
    let mut room = [0; 4096];
    assert!(client.read(&mut room).unwrap() > 0);
}

#[test]
fn a_request_is_a_short_line_in_colours() {
    let (screen, mut client, _setup) = on_a_terminal(&[]);
    screen.wait("Z\x1b[0m info  starting driver=");
    ask(&mut client, "/nothing/here");
    screen.wait("\x1b[33m404\x1b[0m GET /nothing/here ");
    screen.wait("\x1b[33mnot_found: no such route");
}

#[test]
fn without_colours_nothing_is_sent_that_a_terminal_obeys() {
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (screen, mut client, _setup) = on_a_terminal(&[variable]);
        ask(&mut client, "/nothing/%1b/here");
        screen.wait("Z 404 GET /nothing/%1b/here ");
        assert!(!screen.seen().contains('\x1b'), "{}", screen.seen());
    }
}

#[test]
fn a_format_that_was_chosen_is_kept() {
    let (screen, mut client, _setup) = on_a_terminal(&[("LOG_FORMAT", "json")]);
    ask(&mut client, "/nothing/here");
    screen.wait("\"path\":\"/nothing/here\",\"status\":404");
}
