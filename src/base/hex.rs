//! Hexadecimal digits: of chunk sizes, percent-encoding, digests and ids.

/// The value of a digit, of either case.
#[must_use]
pub(crate) const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// What two digits stand for.
#[must_use]
pub(crate) fn byte(high: u8, low: u8) -> Option<u8> {
    Some(digit(high)? << 4 | digit(low)?)
}

/// What twice as many digits stand for; `None` where there are more or fewer.
#[must_use]
pub(crate) fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (at, [high, low]) in bytes.iter_mut().zip(pairs) {
        *at = byte(*high, *low)?;
    }
    Some(bytes)
}

/// The two digits of a byte, in lower case.
#[must_use]
pub(crate) fn digits(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|digit| match digit {
        0..10 => b'0' + digit,
        _ => b'a' + digit - 10,
    })
}

/// The digits of all bytes.
#[must_use]
pub(crate) fn text(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| digits(*byte));
    digits.map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_what_the_standard_library_takes_for_them() {
        for at in 0..=u8::MAX {
            let value = char::from(at).to_digit(16);
            assert_eq!(digit(at).map(u32::from), value, "{at}");
        }
    }

    #[test]
    fn every_byte_comes_back_from_its_digits() {
        for value in 0..=u8::MAX {
            let [high, low] = digits(value);
            assert_eq!([high, low], *format!("{value:02x}").as_bytes());
            assert_eq!(byte(high, low), Some(value));
            assert_eq!(
                byte(high.to_ascii_uppercase(), low.to_ascii_uppercase()),
                Some(value)
            );
        }
    }

    #[test]
    fn texts_have_two_digits_for_each_byte_and_nothing_else() {
        assert_eq!(text(&[0, 0x1f, 0xa0]), "001fa0");
        assert_eq!(bytes("001FA0"), Some([0, 0x1f, 0xa0]));
        for wrong in [
            "", "001fa", "001fa0c", "001fa0c0", "001fg0", "+01fa0", "0x1fa0", "001fä",
        ] {
            assert_eq!(bytes::<3>(wrong), None, "{wrong}");
        }
    }
}
