//! The door for this crate's own benches, fuzz targets and tests: what they use of it, and no more.
//!
//! It promises nothing to anybody else. All that does not leave through it is seen by the compiler alone, which says
//! what nobody uses.

/// Dates, for certificates that a test makes.
pub mod date {
    pub use crate::base::date::{parse_rfc3339, rfc3339};
}

/// Messages as bytes.
pub mod http {
    pub use crate::http::framing::{BodyLength, Cursor, request_body};
    pub use crate::http::head::{
        Fields, HeadError, HeadScan, HeadView, RESPONSE_FIELDS_MAX, Section, Side, parse_request,
        parse_response, request,
    };
    pub use crate::http::target::parse as parse_target;
}

/// Records and handshakes.
pub mod tls {
    pub use crate::net::sockets::reactor::Reactor;
    pub use crate::net::sockets::socket::{Received, Socket};
    pub use crate::net::sockets::turns::Turns;
    pub use crate::net::transport::scratch::{Scratch, seal_room};
    pub use crate::net::transport::stream::Stream;
    pub use crate::net::transport::tls::TlsStream;
    pub use crate::tls::handshake::{Handshake, Role};
}

/// Decisions about a request.
pub mod policy {
    pub use crate::config::keys::{ManagedKey, Rate};
    pub use crate::config::rules::Rules;
    pub use crate::config::{ConfigError, ProviderKind, Sources, load};
    pub use crate::policy::admission::{Admission, Now, Request, admit};
    pub use crate::policy::auth::{Asked, AuthError, Keys, sha256};
    pub use crate::policy::gateway::Gateway;
    pub use crate::policy::route::{Route, RouteEntry, Settings, Table, Upstream};
}

/// The choice of who serves a request.
pub mod providers {
    pub use crate::providers::group::{
        Balance, Change, Group, Health, INSTANCES_MAX, InstanceState, Listed, Outcome, Refused,
        Tried, UnderWay, Unseated, WEIGHT_MAX, identity,
    };
    pub use crate::providers::queue::{
        Asked, Call, Limits, Permit, Queue, QueueState, Taken, Ticket, Wish,
    };
}

/// What the fuzz targets call: properties that stand beside the code, and a worker to be stepped by hand.
#[cfg(any(test, fuzzing))]
pub mod fuzzing {
    pub use crate::cli::key_file::property as keys_file;
    pub use crate::config::property as config;
    pub use crate::config::rules::property as rules;
    pub use crate::hops::proxy_protocol::property as proxy_protocol;
    pub use crate::hops::socks::property as socks;
    pub use crate::http::connect::property as connect;
    pub use crate::http::exchange::{Choices, simulation as exchange};
    pub use crate::http::framing::property as framing;
    pub use crate::http::head::property as head;
    pub use crate::http::rewrite::property as rewrite;
    pub use crate::http::target::property as target;
    #[cfg(fuzzing)]
    pub use crate::net::harness;
    pub use crate::policy::auth::property as auth;
    pub use crate::policy::cors::{Cors, property as cors};
    pub use crate::policy::route::property as route;
    pub use crate::process::handover::property as handover;
    pub use crate::tls::property as tls;
}
