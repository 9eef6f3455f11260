//! A whole client connection: a script plays the client and the providers, and what each side received is
//! compared with what a slow, obviously correct model expects.
//!
//! Seeds: `tests/corpus/connections`. See `gateway/script.rs` for how bytes become a script.

#![no_main]

#[path = "gateway/model/mod.rs"]
mod model;
#[path = "gateway/peer.rs"]
mod peer;
#[path = "gateway/play.rs"]
mod play;
#[path = "gateway/record.rs"]
mod record;
#[path = "gateway/script.rs"]
mod script;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::config::load_from;
use sluicegate::door::fuzzing::harness::Harness;

use script::Script;

/// Two providers; the ports tell their connections apart.
const TOML: &str = r#"
[log]
level = "error"
access = false
[providers.a]
type = "openai"
api_key = "key-of-a"
base_url = "http://127.0.0.1:1/base"
[providers.b]
type = "anthropic"
api_key = "key-of-b"
base_url = "http://127.0.0.1:2"
headers = { X-Team = "fuzz" }
"#;

thread_local! {
    static HARNESS: RefCell<Harness> = RefCell::new({
        let config = load_from(&[], "", TOML).expect("a configuration");
        Harness::new(config).expect("a worker")
    });
}

fuzz_target!(|script: Script| {
    let record = HARNESS
        .with_borrow_mut(|harness| harness.run(async |session| play::play(&script, session).await));
    if std::env::var_os("SHOW").is_some() {
        eprintln!("{record:#?}");
    }
    model::check(&record);
});
