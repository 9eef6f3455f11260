//! Asks a gateway something through its socket for commands: one line there, one back. Blocks its thread.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::net::sockets::dial::{self, Bound, Socket, Timed};
use crate::process::control::answer::{ANSWER_BYTES_MAX, Answer, Instance};
use crate::process::control::request::Request;

/// How all instances of a gateway are.
pub(super) struct Asked {
    pub(super) instances: Vec<Instance>,
    /// Another process still ends requests that are not counted there.
    pub(super) predecessor: bool,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a gateway may say that it is to be asked again: longer than a successor may take to start.
const BUSY_WITHIN: Duration = Duration::from_secs(65);
/// Between two questions then.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The answer; asks again while the gateway says so, or has just given its place to the next process.
///
/// # Errors
/// Why there is none, for people.
pub(super) fn ask(path: &Path, request: &Request) -> Result<Answer, String> {
    let line = request.line();
    let line = line.ok_or("expected a name of printable characters, such as vllm/2")?;
    let begin = Instant::now();
    // Held to the end, so that waiting is all that receiving comes to.
    let (_held, never) = channel::<()>();
    loop {
        let answer = once(path, &line).map_err(|error| said(path, &error))?;
        let answer = match answer.is_empty() {
            // It ended its work for this socket while it was asked: whoever follows answers.
            true => Some(Answer::Again),
            false => Answer::read(&answer),
        };
        match answer {
            Some(Answer::Again) if begin.elapsed() < BUSY_WITHIN => {
                let _ = never.recv_timeout(AGAIN_AFTER);
            }
            Some(Answer::Again) => return Err("the gateway has no time for commands".to_owned()),
            Some(answer) => return Ok(answer),
            None => {
                let path = path.display();
                return Err(format!("{path}: whoever answers there is no gateway"));
            }
        }
    }
}

fn once(path: &Path, line: &str) -> io::Result<String> {
    let bound = Bound::of(PATIENCE);
    let mut stream = Timed::new(Socket::Unix(dial::unix(path, &bound)?), bound);
    let mut answer = String::new();
    let asked = stream.write_all(line.as_bytes());
    // Whoever is turned away is told why before the line was read.
    let read = stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer);
    match read.and(asked) {
        Err(error) if answer.is_empty() && !is_end(&error) => Err(error),
        _ => Ok(answer),
    }
}

/// Whether an error says that the other side has closed.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

fn said(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
            "{path}: no gateway listens there ({error}); expected a running one that was started with this server.control"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("{path}: {error}; expected to be run by the gateway's own account, or by root")
        }
        _ => format!("{path}: {error}"),
    }
}
