//! A strict reader of HTTP/1.1 messages, independent of the program's own.

use super::wire::{End, Wire, lossy};

/// Start line and field lines, as received.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// With both line ends at its end.
    pub(crate) raw: Vec<u8>,
    /// Without line ends; one char a byte.
    pub(crate) start: String,
    /// Without line ends; one char a byte.
    pub(crate) lines: Vec<String>,
}

/// How the end of content was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Empty,
    Length,
    Chunked,
    Close,
}

/// A whole message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<String>,
    /// How a close-delimited message ended.
    pub(crate) end: Option<End>,
}

/// A message that did not come to its end.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) head: Option<Head>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Head {
    /// The lines but those with these names.
    pub(crate) fn without(&self, names: &[&str]) -> Vec<String> {
        let is_named = |line: &&String| {
            let (name, _) = line.split_once(':').unwrap();
            names.iter().any(|n| name.eq_ignore_ascii_case(n))
        };
        let others = self.lines.iter().filter(|line| !is_named(line));
        others.cloned().collect()
    }

    /// Reads a head that ends in an empty line.
    pub(crate) fn parse(raw: Vec<u8>) -> Self {
        let text: String = raw.iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text
            .strip_suffix("\r\n\r\n")
            .unwrap()
            .split("\r\n")
            .map(str::to_owned);
        let start = lines.next().unwrap();
        let lines: Vec<String> = lines.collect();
        for line in lines.iter().chain([&start]) {
            assert!(
                !line.contains(['\r', '\n', '\0']),
                "control byte in {line:?}"
            );
        }
        for line in &lines {
            let (name, _) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("no field: {line:?}"));
            assert!(
                !name.is_empty() && !name.contains([' ', '\t']),
                "no field name: {line:?}"
            );
        }
        Self { raw, start, lines }
    }

    /// The value of every field with this name.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.lines.iter().filter_map(|line| line.split_once(':'));
        fields
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
            .collect()
    }

    /// The value of the field with this name, which comes once at most.
    #[track_caller]
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(
            values.len() <= 1,
            "{name} more than once in {:?}",
            lossy(&self.raw)
        );
        values.first().copied()
    }

    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        assert!(
            self.start.starts_with("HTTP/1.1 "),
            "status line {:?}",
            self.start
        );
        self.start[9..12].parse().unwrap()
    }

    pub(crate) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap()
    }
}

impl Message {
    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    pub(crate) fn text(&self) -> String {
        lossy(&self.body)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.head.value(name)
    }
}

impl Wire {
    /// The next head.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        match self.try_head() {
            Ok(head) => head,
            Err(end) => panic!("{end:?} after {:?} instead of a head", lossy(self.unread())),
        }
    }

    pub(crate) fn try_head(&mut self) -> Result<Head, End> {
        Ok(Head::parse(self.take_until(b"\r\n\r\n")?))
    }

    /// The next whole request.
    #[track_caller]
    pub(crate) fn request(&mut self) -> Message {
        self.try_request().unwrap()
    }

    pub(crate) fn try_request(&mut self) -> Result<Message, Broken> {
        let head = self.try_head().map_err(|end| Broken {
            head: None,
            body: Vec::new(),
            end,
        })?;
        let framing = framing(&head).unwrap_or(Framing::Empty);
        self.content(head, framing)
    }

    /// The next whole response, interim ones included.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Message {
        self.try_response().unwrap()
    }

    pub(crate) fn try_response(&mut self) -> Result<Message, Broken> {
        let head = self.try_head().map_err(|end| Broken {
            head: None,
            body: Vec::new(),
            end,
        })?;
        let framing = match head.status() {
            100..200 | 204 | 304 => Framing::Empty,
            _ => framing(&head).unwrap_or(Framing::Close),
        };
        self.content(head, framing)
    }

    /// The next response, to a HEAD.
    #[track_caller]
    pub(crate) fn response_to_head(&mut self) -> Message {
        let head = self.head();
        self.content(head, Framing::Empty).unwrap()
    }

    /// One chunk's data; none for the last one, whose trailer section is left.
    pub(crate) fn chunk(&mut self) -> Result<Vec<u8>, End> {
        let line = self.take_until(b"\r\n")?;
        let line = lossy(&line);
        // RFC 9112, section 7.1.1 lets blanks stand before the semicolon of an extension, nowhere else.
        let digits = match line.trim_end_matches("\r\n").split_once(';') {
            Some((digits, _)) => digits.trim_end_matches([' ', '\t']),
            None => line.trim_end_matches("\r\n"),
        };
        assert!(
            !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()),
            "chunk size {line:?}"
        );
        let len = hex(digits);
        if len == 0 {
            return Ok(Vec::new());
        }
        let mut data = self.take(len + 2)?;
        assert_eq!(data.split_off(len), b"\r\n", "end of a chunk");
        Ok(data)
    }

    /// Waits for exactly this content in one or more chunks, and for nothing beyond it.
    #[track_caller]
    pub(crate) fn expect_chunks(&mut self, content: impl AsRef<[u8]>) {
        let content = content.as_ref();
        let mut got = Vec::new();
        while got.len() < content.len() {
            let data = self.chunk().unwrap();
            assert!(!data.is_empty(), "the last chunk after {:?}", lossy(&got));
            got.extend_from_slice(&data);
        }
        assert_eq!(lossy(&got), lossy(content));
    }

    /// Trailer lines after the last chunk.
    pub(crate) fn trailers(&mut self) -> Result<Vec<String>, End> {
        let mut lines = Vec::new();
        loop {
            let line = self.take_until(b"\r\n")?;
            let line = lossy(&line[..line.len() - 2]);
            if line.is_empty() {
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    fn content(&mut self, head: Head, framing: Framing) -> Result<Message, Broken> {
        let mut message = Message {
            head,
            framing,
            body: Vec::new(),
            trailers: Vec::new(),
            end: None,
        };
        match self.content_into(&mut message) {
            Ok(()) => Ok(message),
            Err(end) => {
                message.body.extend_from_slice(self.unread());
                Err(Broken {
                    head: Some(message.head),
                    body: message.body,
                    end,
                })
            }
        }
    }

    fn content_into(&mut self, message: &mut Message) -> Result<(), End> {
        match message.framing {
            Framing::Empty => {}
            Framing::Length => {
                let len = message
                    .head
                    .value("content-length")
                    .unwrap()
                    .parse()
                    .unwrap();
                message.body = self.take(len)?;
            }
            Framing::Chunked => {
                loop {
                    let data = self.chunk()?;
                    if data.is_empty() {
                        break;
                    }
                    message.body.extend_from_slice(&data);
                }
                message.trailers = self.trailers()?;
            }
            Framing::Close => {
                let (body, end) = self.take_all();
                message.body = body;
                message.end = Some(end);
            }
        }
        Ok(())
    }
}

fn framing(head: &Head) -> Option<Framing> {
    let length = head.value("content-length");
    let coding = head.value("transfer-encoding");
    assert!(
        length.is_none() || coding.is_none(),
        "two lengths in {:?}",
        lossy(&head.raw)
    );
    if let Some(coding) = coding {
        assert!(coding.eq_ignore_ascii_case("chunked"), "{coding}");
        return Some(Framing::Chunked);
    }
    length.map(|_| Framing::Length)
}

/// The value of hexadecimal digits.
pub(crate) fn hex(digits: &str) -> usize {
    digits.chars().fold(0, |sum, digit| {
        sum * 16 + digit.to_digit(16).unwrap() as usize
    })
}
