//! Spans and metrics for a collector. The variables are those of OpenTelemetry, with the units that it gives them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::number;
use crate::config::kinds::{POSITIVE_TIME, SWITCH};
use crate::config::model::{Config, Ratio};
use crate::config::provider::fields::is_token;
use crate::config::secret::Secret;
use crate::config::setting::Kind;
use crate::config::setting::Setting;
use crate::config::shown::{quoted, quoted_path};
use crate::config::table::{Layout, Table, as_written, at, example, kept, line};
use crate::config::trust::Trust;
use crate::config::url::{self, BaseUrl};
use crate::config::value::{self, HEADER_BYTES_MAX};
use crate::config::written::{Form, Value, Written};

const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";

pub(super) const OTLP: Table = Table {
    name: "otlp",
    about: "spans and metrics over OTLP/HTTP; off without an endpoint",
    layout: Layout {
        column: 51,
        margin: "",
    },
    first: &[],
    settings: &[
        Setting::new(
            "endpoint",
            "",
            example!(
                "\"http://127.0.0.1:4318\"",
                "a collector; /v1/traces and\n/v1/metrics are below it"
            ),
            at!(otlp.endpoint, ENDPOINT),
        )
        .variables(&["OTEL_EXPORTER_OTLP_ENDPOINT"]),
        Setting::new(
            "disabled",
            "false",
            line!("off, whatever the endpoint"),
            at!(otlp.disabled, SWITCH),
        )
        .variables(&["OTEL_SDK_DISABLED"]),
        Setting::new(
            "headers",
            "",
            example!(
                "{ Authorization = \"Bearer key\" }",
                "sent to the collector;\nof the variable: a=b,c=d, percent-encoded"
            ),
            at!(otlp.headers, HEADERS),
        )
        .secret()
        .variables(&["OTEL_EXPORTER_OTLP_HEADERS"]),
        Setting::new(
            "traces",
            "true",
            line!("a span a request, and one for the provider"),
            at!(otlp.traces, SWITCH),
        ),
        Setting::new(
            "metrics",
            "true",
            line!("what /metrics says"),
            at!(otlp.metrics, SWITCH),
        ),
        Setting::new(
            "sample",
            "1.0",
            line!("part of the requests that are in no trace yet"),
            at!(otlp.sample, RATIO),
        )
        .variables(&["OTEL_TRACES_SAMPLER_ARG"]),
        Setting::new(
            "interval",
            "60",
            line!("between two sets of metrics;\nthe variable in ms"),
            at!(otlp.interval, TIME),
        )
        .variables(&[INTERVAL]),
        Setting::new(
            "timeout",
            "10",
            line!("for one message; the variable in ms"),
            at!(otlp.timeout, TIME),
        )
        .variables(&[TIMEOUT]),
        Setting::new(
            "service_name",
            "\"sluicegate\"",
            line!("service.name"),
            at!(otlp.service_name, NAME),
        )
        .variables(&["OTEL_SERVICE_NAME"]),
        Setting::new(
            "resource",
            "",
            example!(
                "{ \"deployment.environment.name\" = \"test\" }",
                "what else is said\nof this process"
            ),
            at!(otlp.resource, RESOURCE),
        )
        .variables(&["OTEL_RESOURCE_ATTRIBUTES"]),
        Setting::new(
            "ca_file",
            "",
            example!(
                "\"/etc/sluicegate/collector-ca.pem\"",
                "roots in place of\nthose of upstream.ca_file"
            ),
            kept!(otlp_ca_file, Form::Text, as_written, |config: &Config| {
                match &config.otlp.trust {
                    Trust::File(file) if config.otlp.trust != config.trust => {
                        Some(quoted_path(&file.path))
                    }
                    _ => None,
                }
            }),
        )
        .variables(&["OTEL_EXPORTER_OTLP_CERTIFICATE"]),
    ],
};

const ENDPOINT: Kind<Option<BaseUrl>> = Kind {
    form: Form::Text,
    read: |written| match written.text() {
        "" => Err("expected a URL such as http://127.0.0.1:4318; leave it out for none".to_owned()),
        text => Ok(Some(url::base(text).map_err(of_collector)?)),
    },
    show: |base| base.as_ref().map(|base| quoted(&base.to_string())),
};

/// What is said of providers' URLs, of a collector's.
fn of_collector(expected: &str) -> String {
    expected
        .replace(
            "https://api.example.com/v1",
            "https://collector.example.com:4318",
        )
        .replace(
            "a key is set with api_key",
            "a credential is set with otlp.headers",
        )
}

/// The least and the most that a part of all is.
const RATIO: Kind<Ratio> = Kind {
    form: Form::Scalar,
    read: |written| {
        let ratio = written.text().parse::<f64>().ok();
        let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
        Ok(Ratio(
            ratio.ok_or("expected a number from 0 to 1, such as 0.1")?,
        ))
    },
    show: |ratio| Some(ratio.0.to_string()),
};

/// Seconds or with a unit, as everywhere; milliseconds in OpenTelemetry's variables.
const TIME: Kind<Duration> = Kind {
    form: Form::Scalar,
    read: |written| match &*written.key {
        INTERVAL | TIMEOUT => number::decimal(written.text())
            .filter(|millis| *millis > 0)
            .map(Duration::from_millis)
            .ok_or_else(|| "expected a number of milliseconds over 0".to_owned()),
        _ => (POSITIVE_TIME.read)(written),
    },
    show: POSITIVE_TIME.show,
};

const NAME: Kind<String> = Kind {
    form: Form::Text,
    read: |written| match written.text() {
        "" => Err("expected a name".to_owned()),
        name if is_plain(name) => Ok(name.to_owned()),
        _ => Err("expected a name without control characters, of at most 1024 bytes".to_owned()),
    },
    show: |name| Some(quoted(name)),
};

const RESOURCE: Kind<BTreeMap<String, String>> = Kind {
    form: Form::Map,
    read: |written| {
        let attributes = pairs(written)?;
        let fits = attributes.len() <= ATTRIBUTES_MAX
            && attributes
                .iter()
                .all(|(name, value)| !name.is_empty() && is_plain(name) && is_plain(value));
        match fits {
            true => Ok(attributes),
            false => Err(format!(
                "expected at most {ATTRIBUTES_MAX} attributes, names and values without control characters and of at \
                 most 1024 bytes each"
            )),
        }
    },
    show: |attributes| {
        let each = attributes.iter();
        let each = each.map(|(name, value)| format!("{} = {}", quoted(name), quoted(value)));
        let each: Vec<String> = each.collect();
        (!each.is_empty()).then(|| format!("{{ {} }}", each.join(", ")))
    },
};

const HEADERS: Kind<Vec<(String, Secret)>> = Kind {
    form: Form::Map,
    read: |written| {
        let pairs = pairs(written)?;
        let mut headers: Vec<(String, Secret)> = Vec::new();
        let mut bytes = 0;
        for (name, value) in &pairs {
            let said = |expected: &str| match is_token(name) {
                true => format!("{name}: {expected}"),
                false => expected.to_owned(),
            };
            if !is_token(name) || is_ours(name) {
                return Err(said(
                    "expected the name of a header that is not the message's own",
                ));
            }
            if headers
                .iter()
                .any(|(set, _)| set.eq_ignore_ascii_case(name))
            {
                return Err(said(
                    "expected each header once; their case does not matter",
                ));
            }
            value::field(value).map_err(said)?;
            bytes += name.len() + value.len() + 4;
            headers.push((name.clone(), Secret::of_field(value)));
        }
        match bytes <= HEADER_BYTES_MAX {
            true => Ok(headers),
            false => Err(format!("expected at most {HEADER_BYTES_MAX} bytes in all")),
        }
    },
    show: |headers| {
        let each = headers.iter();
        let each = each.map(|(name, _)| format!("{} = \"[redacted]\"", quoted(name)));
        let each: Vec<String> = each.collect();
        (!each.is_empty()).then(|| format!("{{ {} }}", each.join(", ")))
    },
};

/// Fields that say what the message is and where it ends.
fn is_ours(name: &str) -> bool {
    const OURS: [&str; 13] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ];
    OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// Attributes of a resource.
const ATTRIBUTES_MAX: usize = 64;
/// Bytes of a name or a value of theirs.
const ATTRIBUTE_BYTES_MAX: usize = 1024;

fn is_plain(text: &str) -> bool {
    text.len() <= ATTRIBUTE_BYTES_MAX && !text.chars().any(char::is_control)
}

/// A table of the file, or a variable's `a=b,c=d`, whose parts are percent-encoded (W3C Baggage, without properties).
fn pairs(written: &Written) -> Result<BTreeMap<String, String>, String> {
    const EXPECTED: &str = "expected name=value, with commas between them, percent-encoded";
    let text = match &written.value {
        Value::Map(pairs) => return Ok(pairs.clone()),
        Value::List(_) => return Err(EXPECTED.to_owned()),
        Value::Text(text) => text,
    };
    let mut pairs = BTreeMap::new();
    for pair in value::list(text) {
        let (name, value) = pair.split_once('=').ok_or(EXPECTED)?;
        let decoded = |text: &str| {
            let decoded = value::percent_decoded(text.trim());
            decoded.and_then(|bytes| String::from_utf8(bytes).ok())
        };
        let name = decoded(name).filter(|name| !name.is_empty());
        pairs.insert(name.ok_or(EXPECTED)?, decoded(value).ok_or(EXPECTED)?);
    }
    Ok(pairs)
}
