//! Whether a gateway key lets its client in.

use std::time::Instant;

use super::wire::{PATIENCE, Wire};

/// The status for a key, or none: 400 where the gateway lets it in, since there is no such provider.
pub(crate) fn status(client: &mut Wire, key: &str) -> u16 {
    let line = match key {
        "" => String::new(),
        key => format!("x-api-key: {key}\r\n"),
    };
    client.send(format!("GET /p/nobody/x HTTP/1.1\r\nHost: g\r\n{line}\r\n"));
    client.response().status()
}

/// Asks until the status is this.
#[track_caller]
pub(crate) fn until(client: &mut Wire, key: &str, wanted: u16) {
    let begin = Instant::now();
    while status(client, key) != wanted {
        assert!(begin.elapsed() < PATIENCE, "not {wanted}");
    }
}
