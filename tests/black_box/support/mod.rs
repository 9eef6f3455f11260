//! What every test needs: the program, raw clients, scripted upstreams.

pub mod client;
pub mod gateway;
pub mod tls;
pub mod upstream;

pub use client::{Client, Response};
pub use gateway::Gateway;
pub use upstream::{Peer, Upstream};

use std::time::Duration;

/// Ends a wait that would otherwise last for ever; no test takes that long unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The gateway key of all tests.
pub const GATEWAY_KEY: &str = "gk-test-5f2b7c9d";
/// The provider key of all tests.
pub const PROVIDER_KEY: &str = "pk-test-8e1a4d30";

/// A request with the usual fields; `extra` are complete field lines.
pub fn request(method: &str, target: &str, extra: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: gateway\r\nx-api-key: {GATEWAY_KEY}\r\n{extra}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A GET with the gateway key and nothing else.
pub fn get(target: &str) -> Vec<u8> {
    get_with(target, "")
}

/// A GET with the gateway key; `extra` are complete field lines.
pub fn get_with(target: &str, extra: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: gateway\r\nx-api-key: {GATEWAY_KEY}\r\n{extra}\r\n")
        .into_bytes()
}
