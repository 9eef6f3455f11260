//! Metrics as they are listed: lines of the Prometheus text, or figures for whoever has another form for them.

use std::fmt::{Display, Write as _};

use super::histogram::{Merged, Scale};

/// What was listed so far.
pub(super) enum Exposition {
    /// As text.
    Text(String),
    /// As figures.
    Figures(Vec<Family>),
}

/// A metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it is.
    pub help: String,
    /// Its values.
    pub samples: Vec<Sample>,
}

/// A value with its labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: Figure,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Figure {
    /// A whole number.
    Whole(u64),
    /// Any number.
    Real(f64),
    /// Many times.
    Times(Buckets),
}

/// Times counted in buckets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Buckets {
    /// The upper bound of each but the last, in seconds; it belongs to the bucket.
    pub bounds: Vec<f64>,
    /// How many there are in each.
    pub counts: Vec<u64>,
    /// All of them together, in seconds.
    pub sum: f64,
}

impl From<u64> for Figure {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<u32> for Figure {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<f64> for Figure {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl Exposition {
    /// Begins a metric.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        match self {
            Self::Text(text) => {
                let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            }
            Self::Figures(families) => families.push(Family {
                name: name.to_owned(),
                kind: kind.to_owned(),
                help: help.to_owned(),
                samples: Vec::new(),
            }),
        }
    }

    /// Adds a value of the metric that was begun last.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Into<Figure>) {
        match (self, value.into()) {
            (Self::Text(text), Figure::Whole(value)) => line(text, name, labels, value),
            (Self::Text(text), Figure::Real(value)) => line(text, name, labels, value),
            (Self::Text(_), Figure::Times(_)) => {}
            (Self::Figures(families), value) => keep(families, labels, value),
        }
    }

    /// Adds a histogram, with buckets up to these powers of two nanoseconds.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        merged: &Merged,
        scale: &Scale,
    ) {
        match self {
            Self::Text(text) => histogram(text, name, labels, merged, scale),
            Self::Figures(families) => {
                keep(families, labels, Figure::Times(buckets(merged, scale)));
            }
        }
    }
}

fn keep(families: &mut [Family], labels: &[(&str, &str)], value: Figure) {
    let labels = labels.iter();
    let labels = labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    if let Some(family) = families.last_mut() {
        family.samples.push(Sample {
            labels: labels.collect(),
            value,
        });
    }
}

fn buckets(merged: &Merged, scale: &Scale) -> Buckets {
    let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
    for bound in scale.bounds() {
        let up_to = merged.up_to(bound);
        bounds.push(bound.seconds());
        counts.push(up_to.saturating_sub(below));
        below = up_to;
    }
    counts.push(merged.count().saturating_sub(below));
    Buckets {
        bounds,
        counts,
        sum: merged.seconds(),
    }
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) {
    text.push_str(name);
    for (index, (label, value)) in labels.iter().enumerate() {
        text.push(if index == 0 { '{' } else { ',' });
        let _ = write!(text, "{label}=\"");
        for c in value.chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '"' | '\\' => text.extend(['\\', c]),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    if !labels.is_empty() {
        text.push('}');
    }
    let _ = writeln!(text, " {value}");
}

fn histogram(
    text: &mut String,
    name: &str,
    labels: &[(&str, &str)],
    merged: &Merged,
    scale: &Scale,
) {
    let buckets = format!("{name}_bucket");
    let bounded = |bound: &str, count: u64, text: &mut String| {
        let mut labels = labels.to_vec();
        labels.push(("le", bound));
        line(text, &buckets, &labels, count);
    };
    for bound in scale.bounds() {
        bounded(&bound.seconds().to_string(), merged.up_to(bound), text);
    }
    bounded("+Inf", merged.count(), text);
    line(text, &format!("{name}_sum"), labels, merged.seconds());
    line(text, &format!("{name}_count"), labels, merged.count());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::histogram::Histogram;
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = Exposition::Text(String::new());
        out.sample("x", &[("a", "\"\\\n")], 1_u64);
        assert!(matches!(out, Exposition::Text(text) if text == "x{a=\"\\\"\\\\\\n\"} 1\n"));
    }

    #[test]
    fn figures_say_what_the_text_says() {
        let times = Histogram::default();
        for micros in [1, 3, 5, 100] {
            times.observe(Duration::from_micros(micros));
        }
        let mut merged = Merged::default();
        merged.add(&times);
        let mut out = Exposition::Figures(Vec::new());
        let scale = Scale {
            octaves: 12..=13,
            coarse: 0,
        };
        out.family("x_seconds", "histogram", "Times.");
        out.histogram("x_seconds", &[("a", "b")], &merged, &scale);
        out.family("y", "gauge", "A number.");
        out.sample("y", &[], 0.5);
        let Exposition::Figures(families) = out else {
            panic!("text")
        };
        let [x, y] = &families[..] else {
            panic!("{families:?}")
        };
        assert_eq!(
            (&*x.name, &*x.kind, &*x.help),
            ("x_seconds", "histogram", "Times.")
        );
        assert_eq!(x.samples[0].labels, [("a".to_owned(), "b".to_owned())]);
        let wanted = Buckets {
            bounds: vec![0.000_004_096, 0.000_008_192],
            counts: vec![2, 1, 1],
            sum: 0.000_109,
        };
        assert_eq!(x.samples[0].value, Figure::Times(wanted));
        assert_eq!(y.samples[0].value, Figure::Real(0.5));
    }
}
