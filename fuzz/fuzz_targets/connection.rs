//! An exchange in memory: both peers, their cuts, faults and delays, against the slow model.
//!
//! The bytes are decisions, see `sluicegate::door::fuzzing::Choices`. With kernel sockets and everything around an
//! exchange: `gateway`.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::Choices;
use sluicegate::door::fuzzing::exchange::Stage;

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::default();
}

fuzz_target!(|bytes: &[u8]| {
    STAGE.with_borrow_mut(|stage| stage.play(&mut Choices::of_bytes(bytes)));
});
