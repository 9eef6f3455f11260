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

/// How content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(usize),
    Chunked,
    Close,
}

/// Content as far as it has come.
#[derive(Debug)]
pub struct Content {
    /// As it was framed.
    pub raw: Vec<u8>,
    /// Without the chunked coding.
    pub plain: Vec<u8>,
    pub state: Found<()>,
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

fn field(line: &str, sender: Sender) -> Option<Field> {
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

    /// The one length that a provider's list of equal ones stands for.
    pub fn listed_length(&self) -> Option<&str> {
        match &*self.all("content-length") {
            [list] if list.contains(',') => {
                let mut lengths = list.split(',').map(|l| l.trim_matches([' ', '\t']));
                let first = lengths.next()?;
                lengths.all(|length| length == first).then_some(first)
            }
            _ => None,
        }
    }

    /// What the framing fields clearly say; `None` is unclear.
    pub fn framing(&self, otherwise: Framing, sender: Sender) -> Option<Framing> {
        let listed = self.listed_length().filter(|_| sender == Sender::Provider);
        match (
            &*self.all("content-length"),
            &*self.all("transfer-encoding"),
        ) {
            ([], []) => Some(otherwise),
            ([digits], []) => {
                let digits = listed.unwrap_or(digits);
                let valid = digits.bytes().all(|byte| byte.is_ascii_digit())
                    && (1..=7).contains(&digits.len());
                valid.then(|| Framing::Length(digits.parse().unwrap_or_default()))
            }
            ([], [coding]) if *coding == "chunked" => Some(Framing::Chunked),
            _ => None,
        }
    }

    /// Whether its sender keeps the connection open.
    pub fn persists(&self, http10: bool) -> bool {
        let options = self.list("connection");
        let has = |wanted: &str| options.iter().any(|option| option == wanted);
        !has("close") && (!http10 || has("keep-alive"))
    }
}

/// Reads content from the front of some bytes.
pub fn content(bytes: &[u8], framing: Framing, sender: Sender) -> Content {
    let take = |count: usize| bytes[..count.min(bytes.len())].to_vec();
    let counted = |raw: Vec<u8>, whole: bool| Content {
        plain: raw.clone(),
        raw,
        state: if whole { Found::Whole(()) } else { Found::Part },
    };
    match framing {
        Framing::None => counted(Vec::new(), true),
        Framing::Length(length) => counted(take(length), bytes.len() >= length),
        Framing::Close => counted(bytes.to_vec(), false),
        Framing::Chunked => {
            let mut plain = Vec::new();
            let (used, state) = chunks(bytes, &mut plain, sender);
            Content {
                raw: take(used),
                plain,
                state,
            }
        }
    }
}

/// Reads chunks; how many bytes belong to them, and whether they have ended. No extensions, plain trailers.
fn chunks(bytes: &[u8], plain: &mut Vec<u8>, sender: Sender) -> (usize, Found<()>) {
    let mut at = 0;
    loop {
        let (line, next) = match line(bytes, at) {
            Found::Whole(line) => line,
            Found::Part if is_size(&bytes[at..]) => return (bytes.len(), Found::Part),
            _ => return (at, Found::Unsure),
        };
        let digits = match sender {
            Sender::Provider => line.trim_end_matches(' '),
            Sender::Client | Sender::Gateway => &line,
        };
        if digits.is_empty() || !is_size(digits.as_bytes()) {
            return (at, Found::Unsure);
        }
        let size = usize::from_str_radix(digits, 16).unwrap_or_default();
        if size == 0 {
            return trailers(bytes, next);
        }
        let data = &bytes[next..bytes.len().min(next + size)];
        plain.extend_from_slice(data);
        match &bytes[next + data.len()..] {
            [] => return (bytes.len(), Found::Part),
            [b'\r'] => return (bytes.len(), Found::Part),
            [b'\r', b'\n', ..] => at = next + size + 2,
            _ => return (at, Found::Unsure),
        }
    }
}

/// Whether it is a chunk size that nobody refuses, or the beginning of one.
fn is_size(digits: &[u8]) -> bool {
    digits.len() <= 6 && digits.iter().all(u8::is_ascii_hexdigit)
}

fn trailers(bytes: &[u8], mut at: usize) -> (usize, Found<()>) {
    for _ in 0..20 {
        match line(bytes, at) {
            Found::Whole((line, next)) if line.is_empty() => return (next, Found::Whole(())),
            Found::Whole((line, next)) if line.to_ascii_lowercase().starts_with("x-t") => {
                if field(&line, Sender::Gateway).is_none() {
                    return (at, Found::Unsure);
                }
                at = next;
            }
            Found::Part if bytes.len() == at => return (at, Found::Part),
            _ => return (at, Found::Unsure),
        }
    }
    (at, Found::Unsure)
}

/// The line at `at` and where the next one begins. Part of a line may still become anything.
fn line(bytes: &[u8], at: usize) -> Found<(String, usize)> {
    let rest = &bytes[at.min(bytes.len())..];
    let end = memmem::find(rest, b"\r\n");
    let text = match (end, rest) {
        (Some(end), _) => &rest[..end],
        (None, [text @ .., b'\r']) => text,
        (None, text) => text,
    };
    if text.len() > 200 || !text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Found::Unsure;
    }
    match end {
        Some(end) => Found::Whole((String::from_utf8_lossy(text).into_owned(), at + end + 2)),
        None => Found::Part,
    }
}
