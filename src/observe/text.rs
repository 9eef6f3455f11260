//! Lines of the Prometheus text: metrics, labels, values, histograms.

use std::fmt::{Display, Write as _};

use super::histogram::Merged;

/// Lines of the text so far.
pub(super) struct Exposition(pub(super) String);

impl Exposition {
    /// Begins a metric.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a value of the metric that was begun last.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"");
            for c in value.chars() {
                match c {
                    '\n' => self.0.push_str("\\n"),
                    '"' | '\\' => self.0.extend(['\\', c]),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// Adds a histogram, with buckets up to these powers of two nanoseconds.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        merged: &Merged,
        octaves: impl Iterator<Item = u32>,
    ) {
        let buckets = format!("{name}_bucket");
        let bounded = |bound: &str, count: u64, out: &mut Self| {
            let mut labels = labels.to_vec();
            labels.push(("le", bound));
            out.sample(&buckets, &labels, count);
        };
        for octave in octaves {
            let bound = std::time::Duration::from_nanos(1 << octave).as_secs_f64();
            bounded(&bound.to_string(), merged.up_to(octave), self);
        }
        bounded("+Inf", merged.count(), self);
        self.sample(&format!("{name}_sum"), labels, merged.seconds());
        self.sample(&format!("{name}_count"), labels, merged.count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = Exposition(String::new());
        out.sample("x", &[("a", "\"\\\n")], 1);
        assert_eq!(out.0, "x{a=\"\\\"\\\\\\n\"} 1\n");
    }
}
