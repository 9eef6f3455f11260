//! Spans: what they say, and which trace they belong to.

use std::cell::RefCell;
use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::Span;
use rustix::process::Signal;
use serde_json::Value;
use sluicegate::door::date::parse_rfc3339;

use crate::support::collector::{Collector, attribute, is_server, resource_of};
use crate::support::settings::{assert_line, bare, checked};
use crate::support::{Gateway, Rig, Setup, get, ok, post, request, response};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A provider and a gateway that tells this collector of requests.
fn traced(collector: &Collector) -> Rig {
    Rig::with(|setup| collector.traced(setup))
}

/// A request that the provider answers like this, and the field lines that reached it.
#[track_caller]
fn exchange(rig: &Rig, request: &str, answer: &str) -> Vec<String> {
    let (mut client, mut peer, message) = rig.exchange(request);
    peer.send(answer);
    client.response();
    message.head.lines
}

/// The lines of so many requests.
#[track_caller]
fn lines(gateway: &Gateway, count: usize) -> Vec<Value> {
    // No two are the same.
    let seen = RefCell::new(BTreeSet::new());
    gateway.wait_log(|line| {
        let mut seen = seen.borrow_mut();
        if is_request(line) {
            seen.insert(line.to_owned());
        }
        seen.len() >= count
    });
    let seen = seen.into_inner().into_iter();
    seen.map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

fn is_request(line: &str) -> bool {
    line.contains("\"message\":\"request\"")
}

/// As text; empty where there is none.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Attributes of the span that clients see and what the line has for them.
const OF_SERVER: [(&str, &str); 15] = [
    ("sluicegate.request_id", "request_id"),
    ("sluicegate.key", "key"),
    ("sluicegate.provider", "provider"),
    ("http.request.method", "method"),
    ("url.path", "path"),
    ("http.response.status_code", "status"),
    ("sluicegate.bytes_in", "bytes_in"),
    ("sluicegate.bytes_out", "bytes_out"),
    ("sluicegate.request_overhead_us", "request_overhead_us"),
    ("sluicegate.response_overhead_us", "response_overhead_us"),
    ("sluicegate.waited_us", "waited_us"),
    ("sluicegate.queued_us", "queued_us"),
    ("sluicegate.end", "end"),
    ("sluicegate.error", "error"),
    ("sluicegate.detail", "detail"),
];

/// And of the provider's side.
const OF_CLIENT: [(&str, &str); 8] = [
    ("sluicegate.provider", "provider"),
    ("sluicegate.upstream_request_id", "upstream_request_id"),
    ("sluicegate.connect_us", "connect_us"),
    ("sluicegate.tls_us", "tls_us"),
    ("sluicegate.head_us", "head_us"),
    ("sluicegate.first_byte_us", "first_byte_us"),
    ("sluicegate.longest_gap_us", "longest_gap_us"),
    ("sluicegate.stream_us", "stream_us"),
];

/// Whether the spans of a request say what its line says.
#[track_caller]
fn assert_agree(line: &Value, spans: &[Span]) {
    let id = text(&line["request_id"]);
    let server = { spans.iter() }
        .find(|span| is_server(span) && attribute(&span.attributes, "sluicegate.request_id") == id)
        .unwrap_or_else(|| panic!("no span for {line}"));
    for (name, key) in OF_SERVER {
        assert_eq!(
            attribute(&server.attributes, name),
            text(&line[key]),
            "{name} {line}"
        );
    }
    let client = format!(
        "{}:{}",
        attribute(&server.attributes, "client.address"),
        attribute(&server.attributes, "client.port")
    );
    assert_eq!(client, text(&line["client"]));
    let duration = (server.end_time_unix_nano - server.start_time_unix_nano) / 1000;
    assert_eq!(duration.to_string(), text(&line["duration_us"]), "{line}");
    let (seconds, millis) = line["time"].as_str().unwrap().split_at(19);
    let seconds = parse_rfc3339(&format!("{seconds}Z")).unwrap();
    let millis = seconds * 1000 + millis[1..4].parse::<u64>().unwrap();
    assert_eq!(server.end_time_unix_nano / 1_000_000, millis, "{line}");
    let status = line["status"].as_u64().unwrap();
    let is_cut = ["upstream_closed", "client_gone"].contains(&line["end"].as_str().unwrap());
    assert_eq!(server.events.len(), usize::from(is_cut), "{line}");
    let failed = server
        .status
        .as_ref()
        .is_some_and(|status| status.code == 2);
    assert_eq!(
        failed,
        status >= 500 || line["end"] == "upstream_closed",
        "{line}"
    );
    let mut below = spans
        .iter()
        .filter(|span| span.parent_span_id == server.span_id);
    match below.next() {
        Some(client) => {
            for (name, key) in OF_CLIENT {
                assert_eq!(
                    attribute(&client.attributes, name),
                    text(&line[key]),
                    "{name} {line}"
                );
            }
            assert_eq!(client.trace_id, server.trace_id);
            assert!(client.start_time_unix_nano >= server.start_time_unix_nano);
            assert_eq!(client.end_time_unix_nano, server.end_time_unix_nano);
        }
        None => assert_eq!(line["request_overhead_us"], Value::Null, "{line}"),
    }
}

#[test]
fn spans_say_what_the_access_log_says() {
    let collector = Collector::listen();
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nowhere.local_addr().unwrap();
    drop(nowhere);
    let mut rig = Rig::with(|setup| {
        let setup = setup.env("DEEPSEEK_BASE_URL", &format!("http://{address}"));
        collector.traced(setup.env("DEEPSEEK_API_KEY", "sk-deepseek"))
    });
    let answer = response("200 OK", &["x-request-id: theirs"], "fine");
    exchange(
        &rig,
        &post("/p/openai/chat?secret=query-marker", "question"),
        &answer,
    );
    exchange(
        &rig,
        &get("/p/anthropic/v1/models"),
        &response("404 Not Found", &[], ""),
    );
    exchange(
        &rig,
        &get("/p/openai/models"),
        &response("500 Oh", &[], "no"),
    );
    for refused in [
        "GET /p/openai/models HTTP/1.1\r\nHost: g\r\nx-api-key: wrong-key-marker\r\n\r\n"
            .to_owned(),
        get("/nowhere"),
        get("/p/deepseek/models"),
    ] {
        let mut client = rig.client();
        client.send(refused);
        client.response();
    }
    // An answer that breaks off, one that a client leaves, and a stream.
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    peer.close();
    assert!(client.try_response().is_err());
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    client.take_until(b"half").unwrap();
    client.reset();
    lines(&rig.gateway, 8);
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    client.take_until(b"half").unwrap();
    peer.send("4\r\nrest\r\n0\r\n\r\n");
    client.take_until(b"0\r\n\r\n").unwrap();
    let lines = lines(&rig.gateway, 9);
    // Each has a span, and all but the first two that were refused another one.
    rig.gateway.signal(Signal::TERM);
    let spans = collector.spans(9 + 7);
    for line in &lines {
        assert_agree(line, &spans);
    }
    let told = format!("{spans:?}");
    for secret in ["marker", "sk-", "gk-test", "question", "half"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}

#[test]
fn a_trace_goes_on_as_it_came_and_is_joined_where_it_is_one() {
    let collector = Collector::listen();
    let rig = traced(&collector);
    let valid = format!("traceparent: 00-{TRACE}-{PARENT}-01");
    let upper = valid.replace("traceparent", "TraceParent");
    // Lines, whether their trace is joined, and the state that goes with it.
    let rows: &[(&[&str], bool, &str)] = &[
        (&[], false, ""),
        (&[&valid], true, ""),
        (
            &[&upper, "TraceState: a=1", "tracestate: b=2 , c=3"],
            true,
            "a=1,b=2,c=3",
        ),
        (
            &[&format!("traceparent: cc-{TRACE}-{PARENT}-01-more")],
            true,
            "",
        ),
        (
            &[
                &format!("traceparent: 00-{TRACE}-{PARENT}-01-more"),
                "tracestate: a=1",
            ],
            false,
            "",
        ),
        (
            &[&format!("traceparent: ff-{TRACE}-{PARENT}-01")],
            false,
            "",
        ),
        (
            &[&format!(
                "traceparent: 00-{}-{PARENT}-01",
                TRACE.to_uppercase()
            )],
            false,
            "",
        ),
        (
            &[&format!("traceparent: 00-{}-{PARENT}-01", "0".repeat(32))],
            false,
            "",
        ),
        (&["traceparent: ", "tracestate: a=1"], false, ""),
        (&[&valid, &valid], false, ""),
    ];
    for (fields, joins, state) in rows {
        let sent = exchange(
            &rig,
            &request("GET", "/p/openai/models", fields, ""),
            &ok(""),
        );
        let passed: Vec<&String> = { sent.iter() }
            .filter(|line| line.to_ascii_lowercase().starts_with("trace"))
            .collect();
        // Blanks around a value are no part of it.
        let trimmed: Vec<&str> = fields.iter().map(|line| line.trim_end()).collect();
        let passed: Vec<&str> = passed.iter().map(|line| line.trim_end()).collect();
        assert_eq!(passed, trimmed);
        let spans = collector.spans(2);
        let server = spans.iter().find(|span| is_server(span)).unwrap();
        assert_eq!(hex(&server.trace_id) == TRACE, *joins, "{fields:?}");
        let parent = if *joins { PARENT } else { "" };
        assert_eq!(hex(&server.parent_span_id), parent, "{fields:?}");
        assert!(
            spans.iter().all(|span| span.trace_state == *state),
            "{spans:?}"
        );
    }
}

#[test]
fn what_nobody_keeps_has_no_span() {
    let collector = Collector::listen();
    let rig = Rig::with(|setup| setup.toml(&collector.table("metrics = false\nsample = 0")));
    let kept = format!("traceparent: 00-{TRACE}-{PARENT}-01");
    let not_kept = format!("traceparent: 00-{TRACE}-{PARENT}-00");
    for lines in [&[][..], &[&*not_kept], &[&*kept]] {
        exchange(
            &rig,
            &request("GET", "/p/openai/models", lines, ""),
            &ok(""),
        );
    }
    let mut client = rig.client();
    client.send("GET /health HTTP/1.1\r\nHost: g\r\n\r\n");
    client.response();
    assert_eq!(collector.spans(2)[0].trace_id.len(), 16);
    rig.gateway.signal(Signal::TERM);
    let mut rig = rig;
    assert_eq!(rig.gateway.wait_exit(), Some(0));
    assert!(!collector.0.has_connection());
}

#[test]
fn spans_need_no_access_log() {
    let collector = Collector::listen();
    let toml = format!(
        "[log]\naccess = false\n{}",
        collector.table("metrics = false")
    );
    let rig = Rig::with(|setup| setup.toml(&toml));
    exchange(&rig, &get("/p/openai/models"), &ok(""));
    let spans = collector.spans(2);
    let server = spans.iter().find(|span| is_server(span)).unwrap();
    assert_eq!(
        attribute(&server.attributes, "url.path"),
        "/p/openai/models"
    );
    assert_eq!(server.name, "GET /p/openai");
    assert!(!rig.gateway.log().lines().any(is_request));
}

#[test]
fn the_variables_of_opentelemetry_are_heeded_and_their_secrets_kept() {
    let collector = Collector::listen();
    let url = format!("{}/below/", collector.0.url());
    let with = |setup: Setup| {
        setup
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                "Authorization=Basic%20c2VjcmV0,x-tenant=otel-marker",
            )
            .env("OTEL_SERVICE_NAME", "gate")
            .env(
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=other,place=far%20away",
            )
            .env("OTEL_METRIC_EXPORT_INTERVAL", "90000")
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")
            .env("OTEL_TRACES_SAMPLER_ARG", "1")
            .secret("otel-marker")
            .secret("c2VjcmV0")
    };
    let described = checked(with(bare()));
    for line in [
        "headers = { \"Authorization\" = \"[redacted]\", \"x-tenant\" = \"[redacted]\" }",
        "interval = 90",
        "timeout = \"2500ms\"",
        "service_name = \"gate\"",
        "sample = 1",
        "resource = { \"place\" = \"far away\", \"service.name\" = \"other\" }",
    ] {
        assert_line(&described, line);
    }
    let rig = Rig::with(with);
    exchange(&rig, &get("/p/openai/models"), &ok(""));
    let message = collector.taken();
    assert_eq!(message.head.target(), "/below/v1/traces");
    assert_eq!(message.value("authorization"), Some("Basic c2VjcmV0"));
    assert_eq!(message.value("x-tenant"), Some("otel-marker"));
    let resource = resource_of(&message);
    assert_eq!(attribute(&resource, "service.name"), "gate");
    assert_eq!(attribute(&resource, "place"), "far away");
    assert_eq!(attribute(&resource, "service.instance.id").len(), 36);
}

/// Names of its threads.
fn threads(gateway: &Gateway) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    let names = tasks.filter_map(|task| {
        let name = std::fs::read_to_string(task.unwrap().path().join("comm"));
        Some(name.ok()?.trim().to_owned())
    });
    names.collect()
}

#[test]
fn it_is_off_unless_an_endpoint_is_set() {
    let collector = Collector::listen();
    let disabled = |setup: Setup| collector.traced(setup).env("OTEL_SDK_DISABLED", "true");
    for rig in [
        Rig::with(|setup| setup.env("OTEL_SERVICE_NAME", "gate")),
        Rig::with(disabled),
    ] {
        exchange(&rig, &get("/p/openai/models"), &ok(""));
        lines(&rig.gateway, 1);
        assert!(!threads(&rig.gateway).contains(&"otlp".to_owned()));
    }
    assert!(!collector.0.has_connection());
}

#[test]
fn a_reload_leads_spans_elsewhere_and_nowhere() {
    let (first, second) = (Collector::listen(), Collector::listen());
    let rig = traced(&first);
    let reload = |toml: &str| {
        std::fs::write(rig.gateway.setup().dir().join("sluicegate.toml"), toml).unwrap();
        rig.gateway.reload();
    };
    exchange(&rig, &get("/p/openai/one"), &ok(""));
    first.spans(2);
    reload(&second.table("metrics = false"));
    exchange(&rig, &get("/p/openai/two"), &ok(""));
    let spans = second.spans(2);
    assert!(
        spans
            .iter()
            .any(|it| attribute(&it.attributes, "url.path") == "/p/openai/two")
    );
    reload("");
    exchange(&rig, &get("/p/openai/three"), &ok(""));
    reload(&first.table("metrics = false"));
    exchange(&rig, &get("/p/openai/four"), &ok(""));
    let spans = first.spans(2);
    assert!(
        spans
            .iter()
            .any(|it| attribute(&it.attributes, "url.path") == "/p/openai/four")
    );
    assert!(!second.0.has_connection());
}
