//! What commands print. What cannot be written is an error like every other and no panic; a reader that has seen
//! enough, `head` for instance, is no fault.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Standard output does not take what is written to it.
#[derive(Debug)]
pub(crate) struct OutputError(io::Error);

impl OutputError {
    /// Whoever reads has seen enough.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "standard output: {}", self.0)
    }
}

impl Error for OutputError {}

/// Writes to standard output, to the last byte.
///
/// # Errors
/// The system's.
pub(crate) fn write(text: &[u8]) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text).and_then(|()| out.flush());
    written.map_err(OutputError)
}

/// Prints what a command was asked for, and is its exit code.
#[must_use]
pub(crate) fn print(text: &[u8]) -> ExitCode {
    match write(text) {
        Err(error) if !error.is_closed() => fail(&error.to_string(), ExitCode::FAILURE),
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// Says on standard error why a command failed, and is its exit code.
pub(crate) fn fail(message: &str, code: ExitCode) -> ExitCode {
    tell(message);
    code
}

/// Says something on standard error.
pub(crate) fn tell(message: &str) {
    // Whoever closed it does not want to know.
    let _ = writeln!(io::stderr(), "sluicegate: {message}");
}
