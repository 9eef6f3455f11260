//! The demo's client: one kept connection, streamed requests, a time stamp per event.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::base::hex;

/// One streamed exchange as the client saw it.
pub(super) struct Exchange {
    /// The head that was sent.
    pub sent: String,
    /// Just before the request was written.
    pub began: Instant,
    /// The head that came back.
    pub answer: String,
    /// Each event and when it had been read.
    pub events: Vec<(Instant, String)>,
}

/// A connection to the gateway, or straight to the mock.
pub(super) struct Client {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

/// How long any step may take; only a fault takes that long.
const PATIENCE: Duration = Duration::from_secs(10);

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn connect(addr: SocketAddr) -> io::Result<Self> {
        let output = TcpStream::connect(addr)?;
        output.set_nodelay(true)?;
        output.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            input: BufReader::new(output.try_clone()?),
            output,
        })
    }

    /// Sends a streamed request for an Anthropic message and reads the whole answer.
    ///
    /// # Errors
    /// What the system says, or that the answer is not what was expected.
    pub(super) fn stream(
        &mut self,
        target: &str,
        key: &str,
        pace: Duration,
    ) -> io::Result<Exchange> {
        let body = "{\"model\":\"demo-model\",\"max_tokens\":64,\"stream\":true,\
                    \"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}";
        let sent = format!(
            "POST {target} HTTP/1.1\r\nHost: gateway\r\nx-api-key: {key}\r\n\
             anthropic-version: 2023-06-01\r\nContent-Type: application/json\r\n\
             User-Agent: sluicegate-demo\r\nConnection: keep-alive\r\nx-demo-pace: {}\r\n\
             Content-Length: {}\r\n\r\n",
            pace.as_millis(),
            body.len()
        );
        let began = Instant::now();
        self.output.write_all(format!("{sent}{body}").as_bytes())?;
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            if self.input.read_line(&mut answer)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !answer.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(format!("unexpected answer: {answer}")));
        }
        let mut events = Vec::new();
        while let Some(event) = chunk(&mut self.input)? {
            events.push((Instant::now(), event));
        }
        Ok(Exchange {
            sent,
            began,
            answer,
            events,
        })
    }
}

/// One chunk, or `None` behind the last; there are no trailers and no extensions in a demo.
///
/// # Errors
/// What the system says, or that it is not a chunk.
pub(super) fn chunk(input: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let size = line.trim_end().bytes().try_fold(0_u64, |size, byte| {
        size.checked_mul(16)?.checked_add(hex::digit(byte)?.into())
    });
    let size = size.filter(|_| line.ends_with("\r\n"));
    let size = size.ok_or_else(|| io::Error::other("malformed chunk size"))?;
    // Grows with what arrives: a size alone allocates nothing.
    let mut data = Vec::new();
    input.by_ref().take(size).read_to_end(&mut data)?;
    input.read_exact(&mut [0; 2])?;
    Ok((size > 0).then(|| String::from_utf8_lossy(&data).into_owned()))
}
