//! Whether a gateway key stands in a field's value, however it was spelt there. Pure.
//!
//! A client that sends its gateway key twice may well send it once as no field wants it: without a scheme or with
//! one too many, in quotes, as user or password, as a parameter, in percent-encoding, in base64 with whatever a shell
//! adds to it. None of these opens the gateway, and none may go on. So the value, its words and their parts are looked
//! up, and what they are once decoded. A key that a client hides on purpose is not found; it could put it into any
//! other field.

use std::cell::Cell;

use super::Keys;
use crate::base::{hex, steps};

/// Most pieces of one request's values that are looked up: a digest each.
const PIECES_MAX: u32 = 256;

/// Looks for keys in the values of one request.
pub(crate) struct Spellings<'k> {
    keys: &'k Keys,
    left: Cell<u32>,
}

impl<'k> Spellings<'k> {
    /// Of these keys.
    #[must_use]
    pub(crate) const fn of(keys: &'k Keys) -> Self {
        Self {
            keys,
            left: Cell::new(PIECES_MAX),
        }
    }

    /// Whether a key stands in `value`, as far as can be told: of what has too many pieces it cannot.
    #[must_use]
    pub(crate) fn are_in(&self, value: &[u8]) -> bool {
        if self.keys.open {
            return false;
        }
        self.is_in(value) || unescaped(value).is_some_and(|plain| self.is_in(&plain))
    }

    fn is_in(&self, value: &[u8]) -> bool {
        self.is_key(value)
            || words(value).any(|word| self.is_in_word(word, value))
            || self.is_in_broken_base64(value)
    }

    fn is_in_word(&self, word: &[u8], value: &[u8]) -> bool {
        steps::count(4 * word.len());
        let bare = trimmed(word);
        // Behind the name of a parameter, or behind a scheme.
        let argument = bare.iter().position(|byte| SEPARATORS.contains(byte));
        let argument = argument.and_then(|at| bare.get(at + 1..)).map(trimmed);
        let behind_scheme = behind_scheme(bare);
        let mut last = value;
        let pieces = [Some(word), Some(bare), argument, behind_scheme];
        for piece in pieces.into_iter().flatten() {
            if piece.len() != last.len() && self.is_key(piece) {
                return true;
            }
            last = piece;
        }
        if behind_scheme.is_some_and(|piece| self.is_encoded_in(piece, DECODINGS_MAX)) {
            return true;
        }
        let mut parts = bare.split(|byte| is_mark(*byte));
        parts.any(|part| {
            let is_whole = part.len() == bare.len();
            !is_whole && self.is_key(part)
                || self.is_between(part)
                || self.is_encoded_in(part, DECODINGS_MAX)
        })
    }

    /// Between signs that base64 has, too.
    fn is_between(&self, part: &[u8]) -> bool {
        let mut between = part.split(|byte| matches!(byte, b'+' | b'/'));
        between.any(|between| between.len() != part.len() && self.is_key(between))
    }

    /// Base64 that a line's end broke in two, behind a scheme or not.
    fn is_in_broken_base64(&self, value: &[u8]) -> bool {
        let mut words = words(value);
        let (first, rest) = (words.next(), words.collect::<Vec<_>>().concat());
        let Some(first) = first.filter(|_| !rest.is_empty()) else {
            return false;
        };
        self.is_encoded_in(trimmed(&rest), 1)
            || self.is_encoded_in(trimmed(&[first, &rest].concat()), 1)
    }

    /// In base64, alone or as user or password, or in base64 of it.
    fn is_encoded_in(&self, part: &[u8], decodings: u32) -> bool {
        let (Some(text), Some(decodings)) = (decoded(part), decodings.checked_sub(1)) else {
            return false;
        };
        let text = without_blanks(&text);
        if !is_text(text) {
            return self.is_one_of_pair(text);
        }
        words(text).any(|word| {
            let bare = trimmed(word);
            self.is_key(word)
                || bare.len() != word.len() && self.is_key(bare)
                || self.is_one_of_pair(word)
                || self.is_encoded_in(bare, decodings)
                || text.len() <= DECODED_BYTES_MAX && self.is_part_of(bare)
        })
    }

    fn is_part_of(&self, bare: &[u8]) -> bool {
        steps::count(bare.len());
        let mut parts = bare.split(|byte| is_mark(*byte));
        parts.any(|part| part.len() != bare.len() && self.is_key(part))
    }

    /// Before or behind a colon, of which either may have more.
    fn is_one_of_pair(&self, text: &[u8]) -> bool {
        steps::count(2 * text.len());
        let mut colons = text.iter().enumerate().filter(|(_, byte)| **byte == b':');
        let Some((first, _)) = colons.next() else {
            return false;
        };
        let last = colons.next_back().map_or(first, |(last, _)| last);
        let outer = [text.get(..first), text.get(last + 1..)];
        let inner = [
            text.get(first + 1..),
            text.get(..last),
            text.get(first + 1..last),
        ];
        let inner = inner.into_iter().filter(|_| first != last);
        { outer.into_iter().chain(inner).flatten() }.any(|piece| self.is_key(without_blanks(piece)))
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

/// Base64 in base64 is followed so far.
const DECODINGS_MAX: u32 = 2;

/// What is decoded and longer, a token's claims, say, is not looked up part by part: there may be hundreds.
const DECODED_BYTES_MAX: usize = 256;

/// What stands around and between the parts of a credential; base64 has none of it but at its end.
fn is_mark(byte: u8) -> bool {
    byte.is_ascii_punctuation() && !b"+/-_".contains(&byte)
}

/// What stands between words, and no key has: blanks, controls, whatever is not ASCII (typographic quotes, the
/// no-break space).
fn is_blank(byte: u8) -> bool {
    !byte.is_ascii_graphic()
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    steps::count(text.len());
    let words = text.split(|byte| is_blank(*byte));
    words.filter(|word| !word.is_empty())
}

/// What stands between a name and what it names.
const SEPARATORS: &[u8] = b"=:.";

fn trimmed(word: &[u8]) -> &[u8] {
    without(word, is_mark)
}

fn without_blanks(text: &[u8]) -> &[u8] {
    without(text, is_blank)
}

/// Without such bytes around it.
fn without(mut text: &[u8], wanted: impl Fn(u8) -> bool) -> &[u8] {
    steps::count(text.len());
    while let [first, rest @ ..] = text
        && wanted(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && wanted(*last)
    {
        text = rest;
    }
    // As `echo` leaves it in some shells.
    text.strip_suffix(b"\\n").unwrap_or(text)
}

/// What follows a scheme that something else than a blank, or nothing, divides from its credential.
fn behind_scheme(word: &[u8]) -> Option<&[u8]> {
    let mut schemes = SCHEMES.into_iter();
    let behind = schemes.find_map(|scheme| {
        let (start, behind) = word.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(behind)
    })?;
    Some(without(behind, |byte| byte.is_ascii_punctuation()))
}

const SCHEMES: [&[u8]; 5] = [b"bearer", b"basic", b"token", b"apikey", b"api-key"];

/// UTF-8 without controls but blanks.
fn is_text(text: &[u8]) -> bool {
    steps::count(text.len());
    let is_odd = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    !text.iter().any(is_odd) && std::str::from_utf8(text).is_ok()
}

/// With its percent-encoding decoded (RFC 3986, section 2.1); `None` where there is none.
fn unescaped(value: &[u8]) -> Option<Vec<u8>> {
    steps::count(value.len());
    value.contains(&b'%').then(|| {
        let mut rest = value;
        std::iter::from_fn(|| {
            let (byte, behind) = match rest {
                [b'%', high, low, behind @ ..] => match hex::byte(*high, *low) {
                    Some(byte) => (byte, behind),
                    None => (b'%', rest.get(1..)?),
                },
                [byte, behind @ ..] => (*byte, behind),
                [] => return None,
            };
            rest = behind;
            Some(byte)
        })
        .collect()
    })
}

/// Base64 of either alphabet without its padding (RFC 4648). UTF-16, which PowerShell encodes, loses its zeros.
fn decoded(part: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in part {
        steps::count(1);
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
            if byte != 0 {
                text.push(byte);
            }
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
                "\u{20}", "ApiKey ", "realtime ", "Bearer%20", "bearer_", "Basic%09", "\u{feff}", "Bearer\u{a0}",
            ]),
            quotes in prop::sample::select(vec![
                ("", ""), ("\"", "\""), ("'", "',"), ("<", ">"), ("", ";"), ("\u{201c}", "\u{201d}"), ("", "%0D%0A"),
                ("", "\\n"), ("%22", "%22"),
            ]),
            behind in prop::sample::select(vec!["", " ", ", Bearer x", " \t", " realm=\"x\""]),
            line_end in prop::sample::select(vec!["", "\n", "\r\n", " ", "\t\n"]),
            encoding in 0_usize..9,
        ) {
            let key = if master { MASTER } else { MANAGED };
            let spelt = match encoding {
                0 => key.to_owned(),
                1 => encoded(key.as_bytes(), PLAIN),
                2 => encoded(key.as_bytes(), URL) + "==",
                // As user, and as password.
                3 => encoded(format!("{key}:x{line_end}").as_bytes(), PLAIN) + "=",
                4 => encoded(format!("user:{key}{line_end}").as_bytes(), URL),
                5 => encoded(format!("us\u{e9}r:{line_end}{key}:x{line_end}").as_bytes(), URL),
                6 => encoded(&[b"us\xe9r:", key.as_bytes(), line_end.as_bytes()].concat(), URL),
                7 => encoded(format!("Bearer {key}{line_end}").as_bytes(), PLAIN),
                _ => encoded(encoded(format!("{key}{line_end}").as_bytes(), URL).as_bytes(), PLAIN),
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
