//! Messages read the slow way: only what is clearly valid is understood, about everything else the reader
//! is unsure. Shares no code with the gateway.

use memchr::memmem;

/// What was found at the front of some bytes.
#[derive(Debug)]
pub enum Found<T> {
    Whole(T),
    /// So far so good; more is needed.
    Part,
    Unsure,
}

/// Who has sent a message: of providers a little more is tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Client,
    Provider,
    Gateway,
}

/// A start line and field lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub start: String,
    pub fields: Vec<Field>,
    /// Bytes, blank line included.
    pub len: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// In lower case.
    pub name: String,
    /// Without the blanks around it.
    pub value: String,
    /// As it was written, without blanks before the colon.
    pub line: String,
}

/// Reads a head, strictly: visible characters only, names of letters, digits and hyphens.
pub fn head(bytes: &[u8], sender: Sender) -> Found<Head> {
    let end = memmem::find(bytes, b"\r\n\r\n");
    let text = &bytes[..end.unwrap_or(bytes.len())];
    if text.len() > 60_000 {
        return Found::Unsure;
    }
    let clear = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    let Some(text) = text
        .iter()
        .all(clear)
        .then(|| String::from_utf8_lossy(text))
    else {
        return Found::Unsure;
    };
    let Some(end) = end else {
        return Found::Part;
    };
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let fields: Option<Vec<Field>> = lines.map(|line| field(line, sender)).collect();
    match fields {
        Some(fields) if fields.len() <= 90 && !start.contains(['\r', '\n', '\t']) => {
            Found::Whole(Head {
                start,
                fields,
                len: end + 4,
            })
        }
        _ => Found::Unsure,
    }
}

pub fn field(line: &str, sender: Sender) -> Option<Field> {
    let (mut name, value) = line.split_once(':')?;
    if sender == Sender::Provider {
        name = name.trim_end_matches([' ', '\t']);
    }
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (!name.is_empty() && name.chars().all(letters) && !value.contains(['\r', '\n'])).then(|| {
        Field {
            name: name.to_ascii_lowercase(),
            value: value.trim_matches([' ', '\t']).to_owned(),
            line: format!("{name}:{value}\r\n"),
        }
    })
}

impl Head {
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|field| field.name == name);
        named.map(|field| &*field.value).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The elements of a list field, in lower case.
    pub fn list(&self, name: &str) -> Vec<String> {
        let values = self.all(name).join(",");
        let elements = values.split(',').map(|e| e.trim_matches([' ', '\t']));
        elements.map(str::to_ascii_lowercase).collect()
    }

    /// Names that `Connection` makes hop-by-hop.
    pub fn nominated(&self) -> Vec<String> {
        let mut names = self.list("connection");
        let never = ["close", "keep-alive", "content-length", "transfer-encoding"];
        names.retain(|name| !never.contains(&&**name));
        names
    }
}

/// One of HTTP/1.0 and those that are served as 1.1.
pub fn is_version_1(version: &str) -> bool {
    let minor = version.strip_prefix("HTTP/1.").unwrap_or_default();
    minor.len() == 1 && minor.bytes().all(|byte| byte.is_ascii_digit())
}

pub fn status_line(head: &Head) -> String {
    let rest = head.start.split_once(' ').map_or("", |(_, rest)| rest);
    format!("HTTP/1.1 {rest}")
}

pub fn status(head: &Head) -> Option<(u16, bool)> {
    let (version, rest) = head.start.split_once(' ')?;
    let (code, reason) = rest.split_once(' ')?;
    let digits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    let known = is_version_1(version) && !reason.starts_with(' ');
    let code: u16 = code.parse().ok()?;
    (digits && known && (100..600).contains(&code)).then_some((code, version == "HTTP/1.0"))
}
