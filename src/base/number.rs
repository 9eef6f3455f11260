//! Numbers in texts. The standard parsers accept a leading plus sign, which is a way to be read differently.

/// Decimal digits only: no sign, no blanks.
#[must_use]
pub(crate) fn decimal(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}
