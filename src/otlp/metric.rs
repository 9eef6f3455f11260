//! Metrics as messages: the same ones as in the Prometheus text, by the same names. Pure.

use crate::observe::{Buckets, Family, Figure, Sample};

use super::message::{
    Data, Gauge, Histogram, HistogramPoint, KeyValue, Metric, Metrics, Number, NumberPoint,
    Resource, ResourceMetrics, Scope, ScopeMetrics, Sum, Temporality,
};

/// Since when counters count, and what time it is, in nanoseconds since 1970.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) now: u64,
}

/// All of them in a message.
#[must_use]
pub(super) fn metrics(resource: &Resource, families: Vec<Family>, span: Span) -> Metrics {
    let metrics = families.into_iter().filter(|it| !it.samples.is_empty());
    Metrics {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(Scope::ours()),
                metrics: metrics.map(|family| metric(family, span)).collect(),
            }],
        }],
    }
}

fn metric(family: Family, span: Span) -> Metric {
    let cumulative = Temporality::Cumulative.into();
    let numbers = |samples: Vec<Sample>, start| -> Vec<NumberPoint> {
        let points = samples.into_iter();
        points
            .filter_map(|it| number(it, start, span.now))
            .collect()
    };
    let data = match &*family.kind {
        "counter" => Data::Sum(Sum {
            data_points: numbers(family.samples, span.start),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        "histogram" => Data::Histogram(Histogram {
            data_points: { family.samples.into_iter() }
                .filter_map(|sample| buckets(sample, span))
                .collect(),
            aggregation_temporality: cumulative,
        }),
        // What is as it is has no beginning.
        _ => Data::Gauge(Gauge {
            data_points: numbers(family.samples, 0),
        }),
    };
    Metric {
        unit: unit(&family.name).to_owned(),
        name: family.name,
        description: family.help,
        data: Some(data),
    }
}

/// In the case-sensitive form of UCUM, as the names have it in words.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name {
        name if name.ends_with("_seconds") => "s",
        name if name.ends_with("_bytes") => "By",
        _ => "1",
    }
}

fn attributes(labels: Vec<(String, String)>) -> Vec<KeyValue> {
    let labels = labels.into_iter();
    labels
        .map(|(name, value)| KeyValue::text(&name, value))
        .collect()
}

fn number(sample: Sample, start: u64, now: u64) -> Option<NumberPoint> {
    let value = match sample.value {
        Figure::Whole(value) => Number::Whole(i64::try_from(value).unwrap_or(i64::MAX)),
        Figure::Real(value) => Number::Real(value),
        Figure::Times(_) => return None,
    };
    Some(NumberPoint {
        attributes: attributes(sample.labels),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(value),
    })
}

fn buckets(sample: Sample, span: Span) -> Option<HistogramPoint> {
    let Figure::Times(Buckets {
        bounds,
        counts,
        sum,
    }) = sample.value
    else {
        return None;
    };
    Some(HistogramPoint {
        attributes: attributes(sample.labels),
        start_time_unix_nano: span.start,
        time_unix_nano: span.now,
        count: counts.iter().sum(),
        sum: Some(sum),
        bucket_counts: counts,
        explicit_bounds: bounds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &str, kind: &str, value: Figure) -> Family {
        Family {
            name: name.to_owned(),
            kind: kind.to_owned(),
            help: "What it is.".to_owned(),
            samples: vec![Sample {
                labels: vec![("provider".to_owned(), "openai".to_owned())],
                value,
            }],
        }
    }

    #[test]
    fn each_kind_has_its_form() {
        let times = Buckets {
            bounds: vec![0.5, 1.0],
            counts: vec![1, 0, 2],
            sum: 4.5,
        };
        let empty = Family {
            samples: Vec::new(),
            ..family("none", "counter", Figure::Whole(1))
        };
        let families = vec![
            family("a_bytes_total", "counter", Figure::Whole(7)),
            family("b_seconds", "gauge", Figure::Real(0.5)),
            family("c_seconds", "histogram", Figure::Times(times)),
            empty,
        ];
        let span = Span { start: 3, now: 9 };
        let mut made = metrics(&Resource::default(), families, span);
        let made = made
            .resource_metrics
            .remove(0)
            .scope_metrics
            .remove(0)
            .metrics;
        let units: Vec<&str> = made.iter().map(|metric| &*metric.unit).collect();
        assert_eq!(units, ["By", "s", "s"]);
        let [
            Some(Data::Sum(sum)),
            Some(Data::Gauge(gauge)),
            Some(Data::Histogram(histogram)),
        ] = [&made[0].data, &made[1].data, &made[2].data]
        else {
            panic!("{made:?}")
        };
        assert!(sum.is_monotonic);
        assert_eq!(sum.data_points[0].start_time_unix_nano, 3);
        assert_eq!(sum.data_points[0].value, Some(Number::Whole(7)));
        assert_eq!(gauge.data_points[0].start_time_unix_nano, 0);
        assert_eq!(gauge.data_points[0].value, Some(Number::Real(0.5)));
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (3, Some(4.5)));
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.attributes, [KeyValue::text("provider", "openai")]);
    }
}
