//! Keys files: two parsers of TOML agree, and a change changes one entry.
//!
//! Seeds: `tests/corpus/keys_file`.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::keys_file as property;

/// In memory, where there is such a place.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    let folder = folder.join(format!("sluicegate-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.join("keys.toml")
});

fuzz_target!(|input: &[u8]| property::holds(&FILE, input));
