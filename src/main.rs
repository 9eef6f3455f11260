//! The `sluicegate` program; see `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluicegate::cli::main()
}
