//! Samples of a Prometheus text (exposition format 0.0.4), whoever wrote it: a line that is none is passed over,
//! and what goes on to a terminal has no control characters left. Pure.

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample<'t> {
    /// The metric.
    pub(super) name: &'t str,
    labels: Vec<(&'t str, String)>,
    /// Any number, infinite ones and none among them.
    pub(super) value: f64,
}

/// Characters of a label's value that are kept.
const VALUE_MAX: usize = 120;
/// Labels of a sample that are kept.
const LABELS_MAX: usize = 8;

impl Sample<'_> {
    /// A label's value; empty where the sample has no such label.
    pub(super) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The value of a counter or gauge, where it can be one.
    pub(super) fn count(&self) -> f64 {
        if self.value.is_finite() {
            self.value.max(0.0)
        } else {
            0.0
        }
    }
}

/// The samples of a text, in its order.
pub(super) fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter_map(sample)
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let line = line.trim_start();
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')?;
    let (name, rest) = line.split_at_checked(end)?;
    if name.is_empty() {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // A point in time may follow.
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name,
        labels,
        value,
    })
}

type Labels<'t> = Vec<(&'t str, String)>;

/// Labels up to the closing brace, and what comes behind it.
fn labels(mut rest: &str) -> Option<(Labels<'_>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, behind) = value(quoted)?;
        if labels.len() < LABELS_MAX {
            labels.push((name, value));
        }
        rest = behind;
    }
}

/// A value up to its closing quote, unescaped, and what comes behind it.
fn value(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        let c = match chars.next()? {
            '"' => return Some((clean(&value), chars.as_str())),
            '\\' => match chars.next()? {
                'n' => '\n',
                c => c,
            },
            c => c,
        };
        value.push(c);
    }
}

/// What may be shown on a terminal, which obeys some characters and gives others no or two columns.
pub(super) fn clean(text: &str) -> String {
    let shown = |c: char| match c {
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().take(VALUE_MAX).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(line: &str) -> Option<String> {
        let sample = sample(line)?;
        let labels: Vec<String> = sample
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Some(format!(
            "{} [{}] {}",
            sample.name,
            labels.join("|"),
            sample.value
        ))
    }

    #[test]
    fn lines_are_read_as_the_format_has_them() {
        for (line, wanted) in [
            ("up 1", Some("up [] 1")),
            (
                "up{a=\"b\",c=\"d e\"} 1.5e3 1700",
                Some("up [a=b|c=d e] 1500"),
            ),
            ("up{a=\"b\",} 1", Some("up [a=b] 1")),
            ("up{} NaN", Some("up [] NaN")),
            ("up{le=\"+Inf\"} +Inf", Some("up [le=+Inf] inf")),
            (
                "up{a=\"\\\"}\\\\\\n\\x1b[2J\u{1b}ü\"} 2",
                Some("up [a=\"}\\?x1b[2J??] 2"),
            ),
            ("# HELP up is up", None),
            ("", None),
            ("up", None),
            ("up ", None),
            ("up{ 1", None),
            ("up{a=\"b} 1", None),
            ("up{a=\"b\\", None),
            ("up{a=b} 1", None),
            ("up one", None),
            ("{a=\"b\"} 1", None),
        ] {
            assert_eq!(shown(line).as_deref(), wanted, "{line}");
        }
    }

    #[test]
    fn counts_are_numbers_that_can_be_counted() {
        for (text, wanted) in [
            ("up NaN", 0.0),
            ("up -3", 0.0),
            ("up +Inf", 0.0),
            ("up 7", 7.0),
        ] {
            assert_eq!(
                sample(text).unwrap().count().to_bits(),
                f64::to_bits(wanted)
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "\\PC*") {
            samples(&text).for_each(drop);
        }

        #[test]
        fn nearly_good_text_can_be_read(
            text in "([a-z_]{0,3}[{]?([a-z]=?\"?[\\\\\"\n\u{1b}a-zü,}]{0,4}){0,3}\
                     [} 0-9.e+-]{0,5}\n){0,6}"
        ) {
            for sample in samples(&text) {
                prop_assert!(sample.labels.iter().all(|(_, value)| !value.contains(char::is_control)));
            }
        }

        #[test]
        fn what_is_written_is_read(value in "[ -~]{0,40}", number in 0.0..1e9_f64) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let line = format!("metric{{label=\"{escaped}\"}} {number}");
            let read = sample(&line).unwrap();
            prop_assert_eq!(read.label("label"), value);
            prop_assert_eq!(read.value.to_bits(), number.to_bits());
        }
    }
}
