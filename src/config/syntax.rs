//! What the TOML parser refuses, in words for people: file, line, key, what was expected, and the known key that is near
//! to one that is not. Never what was found, for that may be a secret in the wrong place.

use std::ops::Range;

use super::error::ConfigError;
use super::near::hint;

/// Names file, line and key of what the TOML parser refuses.
pub(super) fn syntax(path: &str, content: &str, error: &toml::de::Error) -> ConfigError {
    // The library's own rendering quotes the line.
    refused(path, content, error.span(), error.message())
}

/// The same of a part of the file, in the parser's words.
pub(super) fn refused(
    path: &str,
    content: &str,
    span: Option<Range<usize>>,
    message: &str,
) -> ConfigError {
    let span = span.filter(|span| content.is_char_boundary(span.start));
    let from = span.as_ref().map_or_else(
        || path.to_owned(),
        |span| format!("{path} line {}", line_of(content, span.start)),
    );
    if let Some(format) = other_format(content) {
        let message = format!(
            "expected TOML, and this looks like {format}; \
             sluicegate check --reference prints a file to start from"
        );
        return ConfigError::new(&from, "", message);
    }
    let twice = message == "duplicate key";
    let place = span.map_or(Place::Unknown, |span| match twice {
        // The key itself is what was found twice, and the span does not reach its sign.
        true => Place::of(content, line_end(content, span.start)),
        false => Place::of(content, span.start),
    });
    let message = match &place {
        Place::Header(name) if twice => format!("expected the table [{name}] only once"),
        _ => without_value(message),
    };
    ConfigError::new(&from, place.key(), message)
}

/// The line of the byte at `at`; the first is 1.
pub(super) fn line_of(content: &str, at: usize) -> usize {
    let before = content.get(..at).unwrap_or_default();
    before.matches('\n').count() + 1
}

/// What a line that is refused is about.
enum Place {
    /// `[name]` or `[[name]]`
    Header(String),
    /// A key with its table's name.
    Key(String),
    Unknown,
}

impl Place {
    /// What stands in the line of the byte at `at`, if its name is plain enough to be no value.
    fn of(content: &str, at: usize) -> Self {
        let (before, behind) = content.split_at_checked(at).unwrap_or_default();
        let begin = before.rfind('\n').map_or(0, |end| end + 1);
        let (above, start) = before.split_at_checked(begin).unwrap_or_default();
        let rest = behind.split('\n').next().unwrap_or_default();
        let line = format!("{start}{rest}");
        if let Some(name) = header(&line) {
            return Self::Header(name.to_owned());
        }
        let key = line.split('=').next().unwrap_or_default();
        let table = above.lines().filter_map(header).next_back();
        let name = [table.unwrap_or_default(), key.trim()].join(".");
        match name.trim_start_matches('.') {
            name if line.contains('=') && is_plain(name) => Self::Key(name.to_owned()),
            _ => Self::Unknown,
        }
    }

    fn key(&self) -> &str {
        match self {
            Self::Header(name) | Self::Key(name) => name,
            Self::Unknown => "",
        }
    }
}

/// The name in `[name]` or `[[name]]`, with a comment behind it or not.
fn header(line: &str) -> Option<&str> {
    let (name, behind) = line.trim().strip_prefix('[')?.split_once(']')?;
    let behind = behind.strip_prefix(']').unwrap_or(behind).trim();
    let name = name.strip_prefix('[').unwrap_or(name).trim();
    (is_plain(name) && (behind.is_empty() || behind.starts_with('#'))).then_some(name)
}

/// Whether these are names as tables and keys have them; a lost quote may have put a secret in their place.
fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let is_name = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        (1..=NAME_BYTES_MAX).contains(&part.len())
            && part.bytes().all(plain)
            && digits <= DIGITS_MAX
    };
    name.split('.').all(is_name)
}

/// Those of our own are no longer and have no more digits; keys are and have.
const NAME_BYTES_MAX: usize = 24;
const DIGITS_MAX: usize = 2;

fn line_end(content: &str, at: usize) -> usize {
    let behind = content.get(at..).unwrap_or_default();
    at + behind.find('\n').unwrap_or(behind.len())
}

/// What a file that is no TOML seems to be, by its first line.
fn other_format(content: &str) -> Option<&'static str> {
    let lines = content
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim);
    let first = { lines }.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    if first.starts_with('{') {
        return Some("JSON");
    }
    let is_yaml = first.starts_with("---") || first.starts_with("%YAML") || first.starts_with("- ");
    let key = first.split_once(':').filter(|(_, value)| {
        // Not `a:b`, which is nothing in either.
        value.is_empty() || value.starts_with([' ', '\t'])
    });
    let is_key = key.is_some_and(|(key, _)| is_plain(key.trim_matches(['"', '\''])));
    (is_yaml || is_key).then_some("YAML")
}

/// What was expected, in words that are not a parser's.
fn without_value(message: &str) -> String {
    if message.starts_with("string values must be quoted") {
        return "expected a value; strings are in quotes".to_owned();
    }
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let Some((name, expected)) = rest.rsplit_once("`, expected ") else {
            return "unknown field".to_owned();
        };
        let hint = hint(name, expected.split('`').skip(1).step_by(2), '`');
        return match is_plain(name) {
            true => format!("{message}{hint}"),
            false => format!("unknown field, expected {expected}{hint}"),
        };
    }
    if !message.starts_with("invalid ") {
        return message.to_owned();
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if expected.starts_with("struct ") => "expected a table".to_owned(),
        Some((_, "i64")) => "expected a whole number".to_owned(),
        Some((_, "a map")) => "expected a table".to_owned(),
        Some((_, "a string")) => "expected a string in quotes".to_owned(),
        Some((_, "a sequence")) => {
            "expected a list of strings in brackets, such as [\"a\", \"b\"]".to_owned()
        }
        Some((_, expected)) => format!("expected {expected}"),
        None => "expected another value".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    fn said(content: &str) -> String {
        let file = super::super::file::parse(content, "f", |_, _| None);
        file.err().unwrap().to_string()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn what_is_refused_is_named() {
        let list = "expected a list of strings in brackets";
        let rows = [
            (
                "[server]\nlisten = \"x\"\n",
                "f line 2: server.listen: ",
                list,
            ),
            (
                "[server.listen]\na = \"x\"\n",
                "f line 1: server.listen: ",
                list,
            ),
            ("[ server.listen ] # c\n", "f line 1: server.listen: ", list),
            (
                "[server]\nlisten = { a = 1 }\n",
                "f line 2: server.listen: ",
                list,
            ),
            ("server.listen.x = 1\n", "f line 1: server.listen.x: ", list),
            (
                "[server]\nlisten.x = 1\n",
                "f line 2: server.listen.x: ",
                list,
            ),
            (
                "[providers.a]\n[providers.a.allow]\n",
                "f line 2: providers.a.allow: ",
                list,
            ),
            (
                "[metrics]\n[[metrics.endpoint]]\n",
                "f line 2: metrics.endpoint: ",
                "expected a string in quotes",
            ),
            (
                "[log]\nlevel = 1\n",
                "f line 2: log.level: ",
                "expected a string in quotes",
            ),
            (
                "[providers.a]\nheaders = \"x\"\n",
                "f line 2: providers.a.headers: ",
                "expected a table",
            ),
            ("server = 1\n", "f line 1: server: ", "expected a table"),
            (
                "[timeouts.request]\n",
                "f line 1: timeouts.request: ",
                "expected a number",
            ),
            (
                "[server]\nworkers = 1\n[auth]\n\n[server]\ndriver = \"x\"\n",
                "f line 5: server: ",
                "expected the table [server] only once",
            ),
            (
                "[server]\n[ server ] # c",
                "f line 2: server: ",
                "expected the table [server] only once",
            ),
            (
                "[server]\nworkers = 1\nworkers = 2",
                "f line 3: server.workers: ",
                "duplicate key",
            ),
            (
                "[server]\nlog = maybe\n",
                "f line 2: server.log: ",
                "strings are in quotes",
            ),
            (
                "[auth]\nkeys_fiel = 1",
                "f line 2: auth.keys_fiel: ",
                "unknown field `keys_fiel`, expected one of",
            ),
            // What cannot be a name may be a value.
            (
                "[auth]\n0a1b2c3d4e5f = 1",
                "f line 2: ",
                "unknown field, expected one of",
            ),
            (
                "[auth]\n\"s3`c` r\" = 1",
                "f line 2: ",
                "unknown field, expected one of",
            ),
            (
                "[auth]\nmaster_key = [\n\"s3cret\", 1]",
                "f line 2: auth.master_key: ",
                "expected a string",
            ),
            ("[\"s3 cret\"]", "f line 1: ", "unknown field"),
        ];
        for (content, begins, expected) in rows {
            let said = said(content);
            assert!(said.starts_with(begins), "{content:?}: {said}");
            assert!(said.contains(expected), "{content:?}: {said}");
        }
    }

    #[test]
    fn other_formats_are_told_from_broken_toml() {
        let yaml = [
            "server:\n  listen: 1\n",
            "---\na: 1\n",
            "# c\n\nlisten: [1]\n",
            "- a\n",
            "\"a\": 1",
            "\u{feff}server:\n",
            "%YAML 1.2\n",
        ];
        for content in yaml {
            assert!(
                said(content).contains("expected TOML, and this looks like YAML"),
                "{content}"
            );
        }
        for content in ["{\"server\": {}}", "\n {\n"] {
            assert!(
                said(content).contains("expected TOML, and this looks like JSON"),
                "{content}"
            );
        }
        for content in [
            "[server\n",
            "a = 1\nb: 2",
            "sk-a:b\n",
            "x",
            "[a]\nb = \"c: d",
        ] {
            assert!(!said(content).contains("looks like"), "{content}");
        }
    }
}
