//! How much, how long, and how the kernel looks after connections.

use crate::config::kinds::{
    COUNT, OPTIONAL_TIME, POSITIVE_TIME, SIZE, TIME, USER_TIMEOUT, keepalive, keepalive_interval,
    keepalive_probes,
};
use crate::config::model::Config;
use crate::config::setting::Setting;
use crate::config::shown::seconds;
use crate::config::table::{Layout, Table, USUAL, at, example, kept, line};
use crate::config::written::Form;

pub(super) const LIMITS: Table = Table {
    name: "limits",
    about: "0 is the default, everywhere here",
    layout: USUAL,
    first: &[],
    settings: &[
        Setting::new(
            "body",
            "",
            example!("\"32M\"", "larger requests get 413; without it no limit"),
            at!(limits.body, SIZE),
        )
        .variables(&["BODY_SIZE_LIMIT"]),
        Setting::new(
            "connections",
            "0",
            line!("clients per worker; by default half of the descriptors"),
            at!(limits.connections, COUNT),
        ),
        Setting::new(
            "connections_per_address",
            "0",
            line!("clients of one IPv4 address or IPv6 /64, in all; by default no limit"),
            at!(limits.connections_per_address, COUNT),
        ),
        Setting::new(
            "handshakes_per_address",
            "0",
            line!("TLS handshakes of one under way, in all; by default no limit"),
            at!(limits.handshakes_per_address, COUNT),
        ),
        Setting::new(
            "in_flight",
            "0",
            line!("requests under way per worker; by default no limit"),
            at!(limits.in_flight, COUNT),
        ),
        Setting::new(
            "upstream_connections",
            "0",
            line!("per provider and worker; by default no limit"),
            at!(limits.upstream_connections, COUNT),
        ),
    ],
};

pub(super) const TIMEOUTS: Table = Table {
    name: "timeouts",
    about: "whole seconds, or \"250ms\", \"10m\", \"1h30m\"",
    layout: Layout {
        margin: "#",
        ..USUAL
    },
    first: &[
        "connect",
        "request_header",
        "response_header",
        "body_idle",
        "tunnel_idle",
        "idle_client",
        "request",
    ],
    settings: &[
        Setting::new(
            "request",
            "0",
            line!("a whole exchange; 0 is no ceiling"),
            at!(timeouts.request, OPTIONAL_TIME),
        )
        .variables(&["HTTP_TIMEOUT"]),
        Setting::new(
            "response_header",
            "600",
            line!("request sent until response head"),
            at!(timeouts.response_header, POSITIVE_TIME),
        )
        .variables(&["HTTP_RESPONSE_HEADER_TIMEOUT"]),
        Setting::new(
            "connect",
            "5",
            line!("to a provider, TLS included"),
            at!(timeouts.connect, POSITIVE_TIME),
        ),
        Setting::new(
            "request_header",
            "10",
            line!(
                "a request head, from its first byte to its last; before it, as long again\n\
                 for a new connection's first byte, and for its TLS handshake"
            ),
            at!(timeouts.request_header, POSITIVE_TIME),
        ),
        Setting::new(
            "idle_client",
            "120",
            line!("between two requests of a client; then it is closed"),
            at!(timeouts.idle_client, POSITIVE_TIME),
        ),
        Setting::new(
            "body_idle",
            "600",
            line!("no byte of content either way; 0 is no limit"),
            at!(timeouts.body_idle, OPTIONAL_TIME),
        )
        .variables(&["HTTP_STREAM_IDLE_TIMEOUT"]),
        Setting::new(
            "tunnel_idle",
            "3600",
            line!("no byte either way after a 101"),
            at!(timeouts.tunnel_idle, POSITIVE_TIME),
        ),
        Setting::new(
            "drain_delay",
            "0",
            line!("unhealthy but serving, before the listeners close"),
            at!(timeouts.drain_delay, TIME),
        ),
        Setting::new(
            "drain",
            "300",
            line!("what is under way then may take this long"),
            at!(timeouts.drain, TIME),
        ),
    ],
};

/// A peer is given up after two minutes: 60 s and four times 15 s.
pub(super) const TCP: Table = Table {
    name: "tcp",
    about: "both to clients and to providers; not for Unix sockets",
    layout: USUAL,
    first: &[],
    settings: &[
        Setting::new(
            "keepalive",
            "60",
            line!("a peer silent this long is asked whether it is still there; 0 is off"),
            kept!(
                keepalive.idle,
                Form::Scalar,
                keepalive,
                |config: &Config| {
                    let shown = config
                        .tcp
                        .keepalive
                        .map(|keepalive| seconds(keepalive.idle));
                    Some(shown.unwrap_or_else(|| "0 # off".to_owned()))
                }
            ),
        ),
        Setting::new(
            "keepalive_interval",
            "15",
            line!("and again, after this each time"),
            kept!(
                keepalive.interval,
                Form::Scalar,
                keepalive_interval,
                |config: &Config| Some(seconds(config.tcp.keepalive?.interval))
            ),
        ),
        Setting::new(
            "keepalive_probes",
            "4",
            line!("as often without an answer, and its connection ends"),
            kept!(
                keepalive.probes,
                Form::Scalar,
                keepalive_probes,
                |config: &Config| Some(config.tcp.keepalive?.probes.to_string())
            ),
        ),
        Setting::new(
            "user_timeout",
            "0",
            line!("takes or acknowledges nothing this long: given up; 0 is the kernel's 15 min"),
            at!(tcp.user_timeout, USER_TIMEOUT),
        ),
    ],
};
