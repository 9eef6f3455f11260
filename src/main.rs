//! The `sluicegate` program; see `cli` in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluicegate::main()
}
