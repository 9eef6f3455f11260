//! A credential that shows itself to nobody by accident.

use std::fmt;

use zeroize::Zeroizing;

/// Opened only by [`expose`](Self::expose); every way of printing it prints `[redacted]`. Its memory is overwritten
/// before it is given back.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes over a credential: visible ASCII without blanks, since it goes into a field line.
    ///
    /// # Errors
    /// What was expected; never the value.
    pub fn new(value: &str) -> Result<Self, &'static str> {
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("expected a key of visible ASCII characters without blanks");
        }
        Ok(Self(Zeroizing::new(value.as_bytes().into())))
    }

    /// Takes over what goes into no field line, and so may be any bytes.
    #[must_use]
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Takes over a whole field's value, which is known to be one and may have blanks.
    #[must_use]
    pub(crate) fn of_field(value: &str) -> Self {
        Self(Zeroizing::new(value.as_bytes().into()))
    }

    /// The credential itself.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
