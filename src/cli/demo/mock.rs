//! Mock providers of all six types: one blocking server on loopback that answers as their APIs do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use super::answers::{Answer, answer};
use super::client::chunk;

/// What the provider's side saw of one request.
pub(super) struct Seen {
    /// The head as it arrived.
    pub head: String,
    /// When its last byte had been read.
    pub at: Instant,
    /// When each event of the answer was written.
    pub events: Vec<Instant>,
}

/// Serves on a port of its own; what it saw of `POST` requests goes to `report`.
///
/// # Errors
/// When loopback is not to be had.
pub(super) fn start(report: Sender<Seen>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::Builder::new().name("mock".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let report = report.clone();
            let served = thread::Builder::new().name("mock-connection".into());
            // A connection that breaks off is the client's business.
            let _ = served.spawn(move || serve(stream, &report));
        }
    })?;
    Ok(addr)
}

fn serve(stream: TcpStream, report: &Sender<Seen>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream;
    while let Some((head, body)) = read_request(&mut input)? {
        let at = Instant::now();
        let streamed = body.contains("\"stream\":true") || body.contains("\"stream\": true");
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let path = target.split('?').next().unwrap_or_default();
        let events = match answer(path, streamed) {
            Answer::Document(status, json) => {
                let content = if head.starts_with("HEAD ") { "" } else { json };
                document(&mut output, status, json.len(), content)?
            }
            // `x-demo-pace` is this demo's own: how long the model takes for an event.
            Answer::Events(events) => stream_events(&mut output, &events, pace(&head))?,
        };
        let _ = report.send(Seen { head, at, events });
    }
    Ok(())
}

/// A head and its content, or `None` at the end of the connection.
fn read_request(input: &mut BufReader<TcpStream>) -> io::Result<Option<(String, String)>> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if input.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head.get(before..).is_some_and(|line| line == "\r\n") {
            break;
        }
    }
    let mut body = String::new();
    if field(&head, "transfer-encoding").is_some() {
        while let Some(part) = chunk(input)? {
            body.push_str(&part);
        }
    } else {
        let length = field(&head, "content-length").and_then(|value| value.parse().ok());
        let mut content = Vec::new();
        // Grows with what arrives: a length alone allocates nothing.
        input
            .by_ref()
            .take(length.unwrap_or(0))
            .read_to_end(&mut content)?;
        body.push_str(&String::from_utf8_lossy(&content));
    }
    Ok(Some((head, body)))
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let pairs = head.lines().filter_map(|line| line.split_once(':'));
    pairs
        .filter(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .next()
}

fn pace(head: &str) -> Duration {
    let millis = field(head, "x-demo-pace")
        .and_then(|value| value.parse().ok())
        .unwrap_or(40);
    Duration::from_millis(millis)
}

/// Writes a head that announces `length` bytes, and `content`, which is nothing for a `HEAD`.
fn document(
    output: &mut TcpStream,
    status: &str,
    length: usize,
    content: &str,
) -> io::Result<Vec<Instant>> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    output.write_all(format!("{head}{content}").as_bytes())?;
    Ok(Vec::new())
}

fn stream_events(
    output: &mut TcpStream,
    events: &[String],
    pace: Duration,
) -> io::Result<Vec<Instant>> {
    output.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    let mut written = Vec::with_capacity(events.len());
    for event in events {
        rest(pace);
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        written.push(Instant::now());
        output.write_all(chunk.as_bytes())?;
    }
    output.write_all(b"0\r\n\r\n")?;
    Ok(written)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a mock model thinks on a thread of its own"
)]
fn rest(time: Duration) {
    thread::sleep(time);
}
