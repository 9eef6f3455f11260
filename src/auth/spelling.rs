//! Whether a gateway key stands in a field's value, however it was spelt there. Pure.
//!
//! A client that sends its gateway key twice may well send it once as no field wants it: without a scheme or with
//! one too many, in quotes, as user or password, as a parameter. None of these opens the gateway, and none may go
//! on. So the value, its words and their parts are looked up, in base64 as well. A key that a client hides on
//! purpose is not found; it could put it into any other field.

use std::cell::Cell;

use super::Keys;
use crate::steps;

/// Most pieces of one request's values that are looked up: a digest each.
const PIECES_MAX: u32 = 256;

/// Looks for keys in the values of one request.
pub struct Spellings<'k> {
    keys: &'k Keys,
    left: Cell<u32>,
}

impl<'k> Spellings<'k> {
    /// Of these keys.
    #[must_use]
    pub const fn of(keys: &'k Keys) -> Self {
        Self {
            keys,
            left: Cell::new(PIECES_MAX),
        }
    }

    /// Whether a key stands in `value`, as far as can be told: of what has too many pieces it cannot.
    #[must_use]
    pub fn are_in(&self, value: &[u8]) -> bool {
        if self.keys.open {
            return false;
        }
        steps::count(value.len());
        let mut words = value.split(u8::is_ascii_whitespace);
        self.is_key(value) || words.any(|word| self.is_in_word(word, value))
    }

    fn is_in_word(&self, word: &[u8], value: &[u8]) -> bool {
        steps::count(2 * word.len());
        let bare = trimmed(word);
        // Behind the name of a parameter.
        let argument = bare.iter().position(|byte| SEPARATORS.contains(byte));
        let argument = argument.and_then(|at| bare.get(at + 1..)).map(trimmed);
        let mut last = value;
        for piece in [Some(word), Some(bare), argument].into_iter().flatten() {
            if piece.len() != last.len() && self.is_key(piece) {
                return true;
            }
            last = piece;
        }
        let mut parts = bare.split(|byte| is_mark(*byte));
        parts.any(|part| part.len() != bare.len() && self.is_key(part) || self.is_encoded_in(part))
    }

    /// In base64, alone or as user or password.
    fn is_encoded_in(&self, part: &[u8]) -> bool {
        let Some(text) = decoded(part) else {
            return false;
        };
        let colon = text.iter().position(|byte| *byte == b':');
        let pair = colon.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?)));
        self.is_key(&text)
            || pair.is_some_and(|(user, password)| self.is_key(user) || self.is_key(password))
    }

    fn is_key(&self, piece: &[u8]) -> bool {
        if piece.is_empty() {
            return false;
        }
        let Some(left) = self.left.get().checked_sub(1) else {
            return true;
        };
        self.left.set(left);
        self.keys.know(piece)
    }
}

/// What stands around and between the parts of a credential; base64 has none of it but at its end.
fn is_mark(byte: u8) -> bool {
    byte.is_ascii_punctuation() && !b"+/-_".contains(&byte)
}

/// What stands between a name and what it names.
const SEPARATORS: &[u8] = b"=:.";

fn trimmed(mut word: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = word
        && is_mark(*first)
    {
        word = rest;
    }
    while let [rest @ .., last] = word
        && is_mark(*last)
    {
        word = rest;
    }
    word
}

/// Base64 of either alphabet without its padding (RFC 4648), of visible ASCII; nearly all else ends with its first
/// letters.
fn decoded(part: &[u8]) -> Option<Vec<u8>> {
    steps::count(part.len());
    let mut text = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in part {
        let sextet = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 & 0xffff | u32::from(sextet);
        held += 6;
        if held >= 8 {
            held -= 8;
            let byte = u8::try_from(bits >> held & 0xff).ok()?;
            if !byte.is_ascii_graphic() {
                return None;
            }
            text.push(byte);
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sha256;
    use super::*;
    use crate::config::Secret;
    use crate::config::keys::ManagedKey;

    const MANAGED: &str = "sk_sg_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
    /// It has marks of its own.
    const MASTER: &str = "a=b:c,d\"e.f";

    fn keys() -> Keys {
        let managed = ManagedKey {
            id: "m".to_owned(),
            name: None,
            sha256: sha256(MANAGED.as_bytes()),
            disabled: true,
            expires: Some(0),
            providers: None,
            allow: None,
            rate: None,
            streams: None,
        };
        let master = Secret::new(MASTER).unwrap();
        Keys::new(Some(&master), Some(&[managed]), None)
    }

    fn encoded(bytes: &[u8], alphabet: &[u8]) -> String {
        let mut out = String::new();
        for group in bytes.chunks(3) {
            let at = |index: usize| usize::from(group.get(index).copied().unwrap_or_default());
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for digit in 0..=group.len() {
                out.push(char::from(alphabet[bits >> (18 - 6 * digit) & 63]));
            }
        }
        out
    }

    const PLAIN: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    #[test]
    fn no_key_is_found_where_none_is() {
        let keys = keys();
        for value in [
            "",
            "Bearer",
            "Bearer sk-ant-api03-abc",
            "sk_sg_0123456789abcdefghijklmnopqrstuvwxyzABCDEF",
            "a=b:c,d\"e",
            "Basic dXNlcjpwYXNzd29yZA==",
            "Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJtZSIsInN1YiI6InlvdSJ9.c2lnbmF0dXJl",
            "AWS4-HMAC-SHA256 Credential=AKIA/20261128/us-east-1/bedrock/aws4_request, \
             SignedHeaders=accept;content-type;host;x-amz-date, Signature=fe5f80f77d5fa3be",
        ] {
            assert!(!Spellings::of(&keys).are_in(value.as_bytes()), "{value}");
        }
        let open = Keys::new(None, None, None);
        assert!(!Spellings::of(&open).are_in(MASTER.as_bytes()));
    }

    #[test]
    fn a_request_is_searched_only_so_far() {
        let keys = keys();
        let most = PIECES_MAX as usize;
        let few = Spellings::of(&keys);
        // The value and each of its words.
        assert!(!few.are_in("a ".repeat(most - 1).as_bytes()));
        assert!(few.are_in(b"b"));
        assert!(Spellings::of(&keys).are_in("a ".repeat(most).as_bytes()));
        assert!(Spellings::of(&keys).are_in("a,".repeat(30_000).as_bytes()));
    }

    proptest! {
        #[test]
        fn a_key_is_found_in_every_spelling(
            master in any::<bool>(),
            before in prop::sample::select(vec![
                "", "Bearer ", "bEARER\t", "Bearer  ", "Bearer Bearer ", "Token token=", "key:", "bearer.", "Bearer: ",
                "\u{20}", "ApiKey ", "realtime ",
            ]),
            quotes in prop::sample::select(vec![("", ""), ("\"", "\""), ("'", "',"), ("<", ">"), ("", ";")]),
            behind in prop::sample::select(vec!["", " ", ", Bearer x", " \t", " realm=\"x\""]),
            encoding in 0_usize..5,
        ) {
            let key = if master { MASTER } else { MANAGED };
            let spelt = match encoding {
                0 => key.to_owned(),
                1 => encoded(key.as_bytes(), PLAIN),
                2 => encoded(key.as_bytes(), URL) + "==",
                // As user, and as password.
                3 if !master => encoded(format!("{key}:x").as_bytes(), PLAIN) + "=",
                _ => encoded(format!("user:{key}").as_bytes(), URL),
            };
            let value = format!("{before}{}{spelt}{}{behind}", quotes.0, quotes.1);
            prop_assert!(Spellings::of(&keys()).are_in(value.as_bytes()), "{}", value);
        }

        #[test]
        fn no_more_is_looked_up_than_may_be(value in prop::collection::vec(any::<u8>(), 0..3000)) {
            let keys = keys();
            let spellings = Spellings::of(&keys);
            let found = spellings.are_in(&value);
            prop_assert!(!found || spellings.left.get() == 0);
        }
    }
}
