//! What spans say, read by the generated messages.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Theirs;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1 as theirs;
use prost::Message as _;

use super::super::metric;
use super::*;
use crate::log::{Marks, Of, Quotes, Request as Ended, Way};
use crate::observe::times::Connecting;
use crate::observe::{Buckets, Family, Figure, Phase, Sample, Times};

const fn at(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// A request and what is known of it, as far as a test says.
struct Case {
    of: Of,
    status: u16,
    ending: Ending,
    marks: Marks,
    times: Times,
    quotes: Vec<(Quote, Vec<u8>)>,
    client: Option<SocketAddr>,
}

impl Case {
    fn to_provider() -> Self {
        let mut times = Times::default();
        times.connected(Connecting {
            connect: at(300),
            tls: Some(at(400)),
        });
        times.sent(at(1000));
        times.head(at(5000));
        times.passed_on(at(5050), true);
        Self {
            of: Of::Admitted,
            status: 200,
            ending: Ending::Complete,
            marks: Marks {
                span: true,
                went_out: true,
                ..Marks::default()
            },
            times,
            quotes: vec![
                (Quote::Method, b"POST".to_vec()),
                (Quote::Path, b"/p/openai/chat".to_vec()),
                (Quote::Provider, b"openai".to_vec()),
                (Quote::RequestId, b"id-1".to_vec()),
                (Quote::KeyId, b"ci".to_vec()),
            ],
            client: Some("[2001:db8::1]:443".parse().unwrap()),
        }
    }

    fn quoting(mut self, quote: Quote, value: &[u8]) -> Self {
        self.quotes.retain(|(known, _)| *known != quote);
        self.quotes.push((quote, value.to_vec()));
        self
    }

    fn ending(mut self, ending: Ending, status: u16) -> Self {
        (self.ending, self.status) = (ending, status);
        self
    }

    /// Through the wire.
    fn spans(&self) -> Vec<theirs::Span> {
        let mut quotes = Quotes::default();
        for (quote, value) in &self.quotes {
            quotes.put(*quote, value);
        }
        let record = Ended {
            of: self.of,
            client: self.client,
            status: self.status,
            received: 3,
            sent: 4,
            duration: at(6000),
            times: &self.times,
            ending: self.ending,
            phase: Phase::Stream,
            way: Way {
                key_n: 3,
                instance: 2,
                moved: 1,
                retries: 1,
            },
            marks: self.marks,
            quotes: &quotes,
        };
        let record = record.encoded();
        let bases = ["http://10.0.0.1/v1", "https://api.openai.test:8443/v1"];
        let bases = bases.map(|base| BaseUrl::parse(base).unwrap());
        let providers = Providers::new([("openai".to_owned(), bases.to_vec())].into_iter());
        let mut spans = Vec::new();
        let traced = Traced {
            random: std::array::from_fn(|at| u8::try_from(at + 1).unwrap()),
            ended: 10_000_000_000,
            record: Record::new(&record),
        };
        put(&traced, &providers, &mut spans);
        let bytes = traces(&Resource::default(), spans).encode_to_vec();
        let mut read = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
        assert_eq!(read.encode_to_vec(), bytes, "a field of its own");
        let mut scope = read.resource_spans.remove(0).scope_spans.remove(0);
        assert_eq!(scope.scope.take().unwrap().name, "sluicegate");
        scope.spans
    }
}

/// An attribute as text; empty where it is not there.
fn of(span: &theirs::Span, name: &str) -> String {
    of_all(&span.attributes, name)
}

fn of_all(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue], name: &str) -> String {
    let mut named = attributes.iter().filter(|it| it.key == name);
    let found = named.next().and_then(|it| it.value.clone()?.value);
    assert!(named.next().is_none(), "twice {name}");
    match found {
        Some(Theirs::StringValue(text)) => text,
        Some(Theirs::IntValue(number)) => number.to_string(),
        None => String::new(),
        other => panic!("{other:?}"),
    }
}

fn assert_says(span: &theirs::Span, wanted: &[(&str, &str)]) {
    for (name, value) in wanted {
        assert_eq!(of(span, name), *value, "{name} of {span:?}");
    }
}

#[test]
fn a_request_has_two_spans_that_say_what_its_line_says() {
    let spans = Case::to_provider().spans();
    let [server, client] = &spans[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(server.trace_id, (1..=16).collect::<Vec<u8>>());
    assert_eq!(
        (&server.trace_id, &server.span_id),
        (&client.trace_id, &client.parent_span_id)
    );
    assert_eq!(server.span_id, (17..=24).collect::<Vec<u8>>());
    assert_eq!(client.span_id, (25..=32).collect::<Vec<u8>>());
    assert_eq!(
        (server.parent_span_id.len(), server.flags, client.flags),
        (0, 0x103, 0x103)
    );
    assert_eq!(server.kind, theirs::span::SpanKind::Server as i32);
    assert_eq!(client.kind, theirs::span::SpanKind::Client as i32);
    assert_eq!(
        (&*server.name, &*client.name),
        ("POST /p/openai", "POST /p/openai")
    );
    assert_eq!(server.start_time_unix_nano, 10_000_000_000 - 6_000_000);
    assert_eq!(
        client.start_time_unix_nano,
        server.start_time_unix_nano + 300_000
    );
    assert_eq!(
        (server.end_time_unix_nano, client.end_time_unix_nano),
        (10_000_000_000, 10_000_000_000)
    );
    assert_eq!((&server.status, &client.status), (&None, &None));
    assert_says(
        server,
        &[
            ("http.request.method", "POST"),
            ("http.response.status_code", "200"),
            ("url.scheme", "http"),
            ("url.path", "/p/openai/chat"),
            ("http.route", "/p/openai"),
            ("network.protocol.version", "1.1"),
            ("client.address", "2001:db8::1"),
            ("client.port", "443"),
            ("error.type", ""),
            ("sluicegate.request_id", "id-1"),
            ("sluicegate.key", "ci"),
            ("sluicegate.provider", "openai"),
            ("sluicegate.end", "complete"),
            ("sluicegate.bytes_in", "3"),
            ("sluicegate.bytes_out", "4"),
            ("sluicegate.added_us", "1050"),
            ("sluicegate.waited_us", "0"),
        ],
    );
    assert_says(
        client,
        &[
            ("server.address", "api.openai.test"),
            ("server.port", "8443"),
            ("url.scheme", "https"),
            ("http.response.status_code", "200"),
            ("http.request.resend_count", "1"),
            ("sluicegate.instance", "2"),
            ("sluicegate.key_n", "3"),
            ("sluicegate.attempts", "2"),
            ("sluicegate.connect_us", "300"),
            ("sluicegate.tls_us", "400"),
            ("sluicegate.head_us", "4000"),
        ],
    );
}

#[test]
fn a_trace_is_joined() {
    let context = Context {
        trace: [0xab; 16],
        span: [0xcd; 8],
        flags: SAMPLED,
    };
    let mut quote = context.bytes().to_vec();
    quote.extend_from_slice(b"a=1,b=2");
    let spans = Case::to_provider().quoting(Quote::Trace, &quote).spans();
    assert!(spans.iter().all(|span| span.trace_id == [0xab; 16]));
    assert!(spans.iter().all(|span| span.trace_state == "a=1,b=2"));
    assert_eq!(spans[0].parent_span_id, [0xcd; 8]);
    assert_eq!((spans[0].flags, spans[1].flags), (0x301, 0x101));
}

#[test]
fn what_failed_says_whose_failure_it_was() {
    let error = theirs::status::StatusCode::Error as i32;
    let failed = |span: &theirs::Span| span.status.as_ref().is_some_and(|it| it.code == error);
    // Status, ending, our code, and of either span: error.type and whether it failed.
    type Side = (&'static str, bool);
    let rows: &[(u16, Ending, &str, Side, Side)] = &[
        (404, Ending::Complete, "", ("", false), ("404", true)),
        (500, Ending::Complete, "", ("500", true), ("500", true)),
        (
            502,
            Ending::Error,
            "upstream_connect",
            ("upstream_connect", true),
            ("upstream_connect", true),
        ),
        (
            413,
            Ending::Error,
            "body_too_large",
            ("body_too_large", false),
            ("", false),
        ),
        (
            200,
            Ending::UpstreamReset,
            "",
            ("upstream_reset", true),
            ("upstream_reset", true),
        ),
        (
            200,
            Ending::Undelivered,
            "",
            ("undelivered", true),
            ("", false),
        ),
        (200, Ending::ClientGone, "", ("", false), ("", false)),
        (0, Ending::ClientGone, "", ("", false), ("", false)),
    ];
    for (status, ending, code, server, client) in rows {
        let case = Case::to_provider().ending(*ending, *status);
        let case = case
            .quoting(Quote::Error, code.as_bytes())
            .quoting(Quote::Detail, b"why");
        let spans = case.spans();
        for (span, (kind, fails)) in spans.iter().zip([server, client]) {
            assert_eq!(
                (&*of(span, "error.type"), failed(span)),
                (*kind, *fails),
                "{status} {ending:?} {span:?}"
            );
        }
        let is_cut = ending.is_broken() || *ending == Ending::ClientGone;
        assert_eq!(spans[0].events.len(), usize::from(is_cut));
        if let Some(event) = spans[0].events.first() {
            assert_eq!(of_all(&event.attributes, "sluicegate.end"), ending.as_str());
            assert_eq!(of_all(&event.attributes, "sluicegate.detail"), "why");
        }
    }
}

#[test]
fn what_goes_nowhere_has_one_span() {
    let refused = Case {
        of: Of::Anybody,
        marks: Marks {
            span: true,
            tls: true,
            http10: true,
            ..Marks::default()
        },
        times: Times::default(),
        quotes: vec![
            (Quote::Method, b"BREW".to_vec()),
            (Quote::Path, b"-".to_vec()),
            (Quote::Error, b"missing_key".to_vec()),
        ],
        client: None,
        ..Case::to_provider().ending(Ending::Error, 401)
    };
    let spans = refused.spans();
    assert_eq!(spans.len(), 1);
    assert_eq!((&*spans[0].name, &spans[0].status), ("HTTP", &None));
    assert_says(
        &spans[0],
        &[
            ("http.request.method", "_OTHER"),
            ("http.request.method_original", "BREW"),
            ("url.path", ""),
            ("http.route", ""),
            ("url.scheme", "https"),
            ("network.protocol.version", "1.0"),
            ("client.address", ""),
            ("error.type", "missing_key"),
            ("sluicegate.added_us", ""),
        ],
    );
    let unread = Case {
        quotes: Vec::new(),
        ..refused
    };
    assert_says(
        &unread.spans()[0],
        &[
            ("network.protocol.version", ""),
            ("http.request.method", "_OTHER"),
        ],
    );
}

#[test]
fn metrics_are_read_by_the_generated_messages() {
    let family = |kind: &str, value| Family {
        name: format!("{kind}_seconds"),
        kind: kind.to_owned(),
        help: "What it is.".to_owned(),
        samples: vec![Sample {
            labels: vec![("a".to_owned(), "b".to_owned())],
            value,
        }],
    };
    let times = Buckets {
        bounds: vec![0.5],
        counts: vec![1, 2],
        sum: 4.5,
    };
    let families = vec![
        family("counter", Figure::Whole(7)),
        family("gauge", Figure::Real(0.5)),
        family("histogram", Figure::Times(times)),
    ];
    let span = metric::Span { start: 3, now: 9 };
    let bytes = metric::metrics(&Resource::default(), families, span).encode_to_vec();
    let read = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
    assert_eq!(read.encode_to_vec(), bytes);
    let metrics = &read.resource_metrics[0].scope_metrics[0].metrics;
    let [
        Some(Data::Sum(sum)),
        Some(Data::Gauge(gauge)),
        Some(Data::Histogram(histogram)),
    ] = [&metrics[0].data, &metrics[1].data, &metrics[2].data]
    else {
        panic!("{metrics:?}")
    };
    assert_eq!((sum.is_monotonic, sum.aggregation_temporality), (true, 2));
    assert_eq!(histogram.aggregation_temporality, 2);
    assert_eq!(gauge.data_points.len(), 1);
    assert_eq!(histogram.data_points[0].explicit_bounds, [0.5]);
    assert_eq!(histogram.data_points[0].sum, Some(4.5));
}
