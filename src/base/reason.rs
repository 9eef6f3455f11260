//! Why something failed, in the words of a line of the log.

use std::io::{self, ErrorKind};

/// What the kernel or a library said: without its number where there are words for it.
#[must_use]
pub(crate) fn of(error: &io::Error) -> String {
    match error.kind() {
        _ if error.get_ref().is_some() => error.to_string(),
        ErrorKind::UnexpectedEof => "closed by the other end".to_owned(),
        ErrorKind::Other => error.to_string(),
        // The standard library has no name for the rest, `Uncategorized` included.
        kind => match kind.to_string() {
            vague if vague.contains("uncategorized") => error.to_string(),
            words => words,
        },
    }
}

/// The words of a name as programs write them: `UnknownIssuer`, and `ExpiredContext { … }` of which the rest is dropped.
#[must_use]
pub(crate) fn words(name: &str) -> String {
    let mut parts = name.split(|c: char| !c.is_ascii_alphanumeric());
    let name = parts.next().unwrap_or(name);
    let name = name.strip_suffix("Context").unwrap_or(name);
    let mut words = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers_are_left_out() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(of(&refused), "connection refused");
        assert_eq!(of(&io::Error::other("own words")), "own words");
        assert_eq!(
            of(&ErrorKind::UnexpectedEof.into()),
            "closed by the other end"
        );
        // ENOKEY: nobody has words for it.
        assert!(of(&io::Error::from_raw_os_error(126)).contains("126"));
    }

    #[test]
    fn names_become_words() {
        assert_eq!(words("UnknownIssuer"), "unknown issuer");
        assert_eq!(
            words("NotValidForNameContext { expected: x }"),
            "not valid for name"
        );
        assert_eq!(words("Other(..)"), "other");
    }
}
