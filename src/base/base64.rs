//! Base64 (RFC 4648, section 4): of credentials and of digests.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// These bytes in base64, padded.
#[must_use]
pub(crate) fn encoded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(group.get(at).copied().unwrap_or_default())
        });
        for digit in 0..4 {
            let sextet = bits >> (18 - 6 * digit) & 63;
            let letter = ALPHABET.get(sextet).filter(|_| digit <= group.len());
            out.push(char::from(letter.copied().unwrap_or(b'=')));
        }
    }
    out
}

/// What is padded base64 of something, with nothing beside it; else `None`.
#[must_use]
pub(crate) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len().checked_sub(padding)?)?;
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.chunks(4) {
        let sextet = |at: usize| group.get(at).map_or(Some(0), |byte| sextet(*byte));
        let bits = (0..4).try_fold(0, |bits, at| Some(bits << 6 | sextet(at)?))?;
        let [_, bytes @ ..] = u32::to_be_bytes(bits);
        out.extend_from_slice(bytes.get(..group.len() - 1)?);
    }
    // Bits that stand for nothing would give a text two spellings.
    (encoded(&out).as_bytes() == text).then_some(out)
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_any_length() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(encoded(bytes.as_bytes()), text);
            assert_eq!(decoded(text.as_bytes()).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "Z", "Zg", "Zg=", "Zg===", "====", "=", "Zh==", "Z=g=", "Zm9v\n", "Zm 9", "Zm-_",
        ] {
            assert_eq!(decoded(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back(bytes: Vec<u8>) {
            prop_assert_eq!(decoded(encoded(&bytes).as_bytes()), Some(bytes));
        }

        #[test]
        fn any_bytes_may_come(text in "[A-Za-z0-9+/=]{0,12}", bytes: Vec<u8>) {
            let _ = (decoded(&bytes), decoded(text.as_bytes()));
        }
    }
}
