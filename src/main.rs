//! The `sluicegate` program: arguments and exit codes.

fn main() {}
