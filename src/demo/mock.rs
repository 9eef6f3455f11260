//! Mock providers of all six types: one blocking server on loopback that answers as their APIs do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

/// What the provider's side saw of one request.
pub(super) struct Seen {
    /// The head as it arrived.
    pub head: String,
    /// When its last byte had been read.
    pub at: Instant,
    /// When each event of the answer was written.
    pub events: Vec<Instant>,
}

/// Events of a streamed answer.
pub(super) const EVENTS: [&str; 8] = [
    "Requests", " in,", " tokens", " out:", " nothing", " lost,", " nothing", " added.",
];

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
        let events = match (path.contains("/models"), streamed) {
            (true, _) => json(&mut output, MODELS)?,
            (false, false) => json(&mut output, message(path))?,
            // `x-demo-pace` is this demo's own: how long the model takes for an event.
            (false, true) => stream_events(&mut output, path, pace(&head))?,
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
    let length = field(&head, "content-length")
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    Ok(Some((head, String::from_utf8_lossy(&body).into_owned())))
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

fn json(output: &mut TcpStream, body: &str) -> io::Result<Vec<Instant>> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    output.write_all(format!("{head}{body}").as_bytes())?;
    Ok(Vec::new())
}

fn stream_events(output: &mut TcpStream, path: &str, pace: Duration) -> io::Result<Vec<Instant>> {
    output.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    let mut written = Vec::new();
    for text in EVENTS {
        rest(pace);
        let event = event(path, text);
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

fn event(path: &str, text: &str) -> String {
    if path.ends_with("/messages") {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
        )
    } else if path.ends_with("/responses") {
        format!(
            "event: response.output_text.delta\n\
             data: {{\"type\":\"response.output_text.delta\",\"delta\":\"{text}\"}}\n\n"
        )
    } else {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    }
}

const MODELS: &str = "{\"object\":\"list\",\"data\":[{\"id\":\"demo-model\",\"object\":\"model\",\
                      \"type\":\"model\",\"display_name\":\"Demo\"}],\"has_more\":false}";

fn message(path: &str) -> &'static str {
    if path.ends_with("/messages") {
        "{\"id\":\"msg_demo\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"demo-model\",\
         \"content\":[{\"type\":\"text\",\"text\":\"Hello from the demo.\"}],\"stop_reason\":\"end_turn\",\
         \"stop_sequence\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":5}}"
    } else if path.ends_with("/responses") {
        "{\"id\":\"resp_demo\",\"object\":\"response\",\"created_at\":0,\"status\":\"completed\",\
         \"model\":\"demo-model\",\"output\":[{\"type\":\"message\",\"id\":\"msg_demo\",\"status\":\"completed\",\
         \"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hello from the demo.\",\
         \"annotations\":[]}]}],\"parallel_tool_calls\":true,\"tool_choice\":\"auto\",\"tools\":[]}"
    } else {
        "{\"id\":\"chatcmpl-demo\",\"object\":\"chat.completion\",\"created\":0,\"model\":\"demo-model\",\
         \"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello from the demo.\"},\
         \"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}"
    }
}
