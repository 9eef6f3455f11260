//! The demo's client: one kept connection, streamed requests, a time stamp per event.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

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
        while let Some(event) = self.chunk()? {
            events.push((Instant::now(), event));
        }
        Ok(Exchange {
            sent,
            began,
            answer,
            events,
        })
    }

    /// One chunk, or `None` behind the last.
    fn chunk(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        self.input.read_line(&mut line)?;
        let size = line.trim_end().chars().try_fold(0_usize, |size, digit| {
            let digit = usize::try_from(digit.to_digit(16)?).ok()?;
            size.checked_mul(16)?.checked_add(digit)
        });
        let size = size.ok_or_else(|| io::Error::other("malformed chunk size"))?;
        let mut chunk = vec![0; size + 2];
        self.input.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok((size > 0).then(|| String::from_utf8_lossy(&chunk).into_owned()))
    }
}
