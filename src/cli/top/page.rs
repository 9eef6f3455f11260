//! What is shown of a sample: the lines of a page, as plain text with a weight each. The live view fits them to
//! its terminal, `--once` prints them all. Pure.

use crate::base::columns::cut;

use super::figures::{ErrorFigures, Figures, ProviderFigures, Quantiles, Stream, Streams};
use super::members;
use super::text::{Column, UNKNOWN, bytes, maybe, micros, number, table};

/// How a line looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// As it is.
    Plain,
    /// What is seen first.
    Strong,
    /// A table's heading.
    Heading,
    /// What is rarely looked at.
    Faint,
    /// What may be wrong, and is a client's fault as a rule.
    Warning,
    /// What is wrong.
    Alarm,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) weight: Weight,
    pub(super) text: String,
}

impl Line {
    fn new(weight: Weight, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { weight, text }
    }
}

/// What there is to show.
#[derive(Default)]
pub(super) struct View {
    /// Whose figures these are.
    pub(super) address: String,
    /// The last ones.
    pub(super) figures: Option<Figures>,
    /// Why there are no newer ones.
    pub(super) trouble: Option<String>,
    /// Requests under way that are scrolled past.
    pub(super) skipped: usize,
}

/// The least that a page can be shown on.
const COLUMNS_MIN: usize = 40;
const ROWS_MIN: usize = 8;

const PROVIDER: [Column; 19] = [
    Column::words("PROVIDER", 0),
    Column::number("REQ/s", 0),
    Column::number("4XX/s", 4),
    Column::number("5XX/s", 1),
    Column::number("+REQ p50", 1),
    Column::number("p99", 1),
    Column::number("+RESP p50", 1),
    Column::number("p99", 1),
    Column::number("WAIT p99", 3),
    Column::number("HEAD p50", 2),
    Column::number("p99", 2),
    Column::number("GAP p99", 5),
    Column::number("IDLE", 3),
    Column::number("BUSY", 3),
    Column::number("NEW/s", 4),
    Column::number("IN/s", 6),
    Column::number("OUT/s", 6),
    Column::number("GONE/s", 7),
    Column::number("CUT/s", 7),
];

const STREAM: [Column; 10] = [
    Column::number("AGE", 0),
    Column::words("PHASE", 0),
    Column::number("QUIET", 2),
    Column::words("PROVIDER", 0),
    Column::words("KEY", 1),
    Column::words("METHOD", 4),
    Column::number("STATUS", 4),
    Column::number("IN", 5),
    Column::number("OUT", 3),
    Column::words("PATH", 5),
];

impl View {
    /// The page for a terminal of this size, at most that large.
    pub(super) fn page(&self, columns: usize, rows: usize) -> Vec<Line> {
        if columns < COLUMNS_MIN || rows < ROWS_MIN {
            let text = format!(
                "{columns}x{rows} is too small, {COLUMNS_MIN}x{ROWS_MIN} is needed; q quits"
            );
            let line = Line::new(Weight::Alarm, cut(&text, columns));
            return vec![line].into_iter().take(rows).collect();
        }
        let mut lines = self.top(columns);
        let mut streams = self.streams(columns);
        // The list gets what is left, but not less than a third.
        let footer = 1;
        let least = streams.len().min(rows / 3);
        lines.truncate(rows.saturating_sub(least + footer));
        let room = rows - lines.len() - footer;
        let (title, rows_behind) = (2, self.skipped.min(streams.len().saturating_sub(room)));
        streams.drain(title.min(streams.len())..(title + rows_behind).min(streams.len()));
        streams.truncate(room);
        lines.append(&mut streams);
        lines.resize(rows - footer, Line::new(Weight::Plain, ""));
        let keys = "q quits   arrows and page keys scroll   +REQ, +RESP: time added by the gateway";
        lines.push(Line::new(Weight::Faint, cut(keys, columns)));
        lines
    }

    /// Scrolls the list; up where negative, and never beyond its ends.
    pub(super) fn scroll(&mut self, lines: i32) {
        let streams = self
            .figures
            .as_ref()
            .and_then(|figures| figures.streams.as_ref());
        let last = streams.map_or(0, |streams| streams.streams.len());
        let by = usize::try_from(lines.unsigned_abs()).unwrap_or(usize::MAX);
        self.skipped = match lines < 0 {
            true => self.skipped.min(last).saturating_sub(by),
            false => self.skipped.saturating_add(by).min(last),
        };
    }

    /// Everything, for a width that need not be a terminal's.
    pub(super) fn all(&self, columns: usize) -> Vec<Line> {
        let mut lines = self.top(columns);
        lines.append(&mut self.streams(columns));
        lines
    }

    fn top(&self, columns: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        let title = match &self.figures {
            Some(figures) => format!("sluicegate {}  {}", figures.version, self.address),
            None => format!("sluicegate top  {}", self.address),
        };
        lines.push(Line::new(Weight::Strong, cut(&title, columns)));
        if let Some(trouble) = &self.trouble {
            lines.push(Line::new(Weight::Alarm, cut(trouble, columns)));
            if self.figures.is_some() {
                let old = "the figures are the last there were";
                lines.push(Line::new(Weight::Alarm, cut(old, columns)));
            }
        }
        let Some(figures) = &self.figures else {
            if self.trouble.is_none() {
                lines.push(Line::new(Weight::Faint, "waiting for the first figures"));
            }
            return lines;
        };
        for text in [process(figures), traffic(figures)] {
            lines.push(Line::new(Weight::Plain, cut(&text, columns)));
        }
        if let Some(defects) = defects(figures) {
            lines.push(Line::new(Weight::Alarm, cut(&defects, columns)));
        }
        lines.push(Line::new(Weight::Plain, ""));
        let rows: Vec<_> = figures.providers.iter().map(provider).collect();
        let weights = figures.providers.iter().map(of_provider);
        lines.extend(headed(&table(&PROVIDER, &rows, columns), weights));
        if !figures.members.is_empty() {
            let table = members::lines(&figures.members, columns);
            let weights = figures.members.iter().map(|member| match member.is_well {
                true => Weight::Plain,
                false => Weight::Warning,
            });
            lines.push(Line::new(Weight::Plain, ""));
            lines.extend(headed(&table, weights));
        }
        if let Some(errors) = errors(&figures.errors) {
            lines.push(Line::new(Weight::Plain, ""));
            let are_new = figures
                .errors
                .iter()
                .any(|error| error.per_second > Some(0.0));
            let weight = if are_new {
                Weight::Alarm
            } else {
                Weight::Plain
            };
            lines.push(Line::new(weight, cut(&errors, columns)));
        }
        lines.push(Line::new(Weight::Plain, ""));
        lines
    }

    /// A title, a heading, a row for each; none where there are no figures.
    fn streams(&self, columns: usize) -> Vec<Line> {
        let Some(figures) = &self.figures else {
            return Vec::new();
        };
        let Some(streams) = &figures.streams else {
            let text = "requests under way are listed where metrics.listen is set, not here";
            return vec![Line::new(Weight::Faint, cut(text, columns))];
        };
        let mut lines = vec![Line::new(Weight::Strong, cut(&title(streams), columns))];
        if !streams.streams.is_empty() {
            let rows: Vec<_> = streams.streams.iter().map(stream).collect();
            let weights = streams.streams.iter().map(of_stream);
            lines.extend(headed(&table(&STREAM, &rows, columns), weights));
        }
        lines
    }
}

/// A heading, and rows of these weights.
fn headed(table: &[String], weights: impl Iterator<Item = Weight>) -> impl Iterator<Item = Line> {
    let weights = [Weight::Heading].into_iter().chain(weights);
    let lines = table.iter().zip(weights);
    lines.map(|(text, weight)| Line::new(weight, text))
}

/// One whose answers are errors stands out.
fn of_provider(figures: &ProviderFigures) -> Weight {
    let rates = figures.rates.as_ref();
    let any = |get: fn(&super::figures::Rates) -> f64| rates.is_some_and(|rates| get(rates) > 0.0);
    match () {
        () if any(|rates| rates.responses_5xx_per_second) => Weight::Alarm,
        () if any(|rates| rates.truncated_per_second) => Weight::Alarm,
        () if any(|rates| rates.responses_4xx_per_second) => Weight::Warning,
        () => Weight::Plain,
    }
}

fn of_stream(stream: &Stream) -> Weight {
    match stream.status {
        Some(500..) => Weight::Alarm,
        Some(400..=499) => Weight::Warning,
        _ => Weight::Plain,
    }
}

fn process(figures: &Figures) -> String {
    format!(
        "up {}   CPU {}   memory {}   clients {}   {}",
        micros(figures.uptime_seconds * 1e6),
        maybe(figures.cpu, |cpu| format!("{:.0}%", cpu * 100.0)),
        size(figures.resident_bytes),
        figures.client_connections,
        maybe(figures.seconds, |seconds| format!(
            "last {}",
            micros(seconds * 1e6)
        )),
    )
}

fn traffic(figures: &Figures) -> String {
    let rates = || {
        figures
            .providers
            .iter()
            .filter_map(|provider| provider.rates.as_ref())
    };
    let sum = |get: fn(&super::figures::Rates) -> f64| match figures.seconds {
        Some(_) => bytes(rates().map(get).sum()),
        None => UNKNOWN.to_owned(),
    };
    let workers: Vec<String> = figures.workers.iter().map(u64::to_string).collect();
    format!(
        "requests {}/s   in {}/s   out {}/s   under way {} (workers {})",
        maybe(figures.requests_per_second, number),
        sum(|rates| rates.bytes_in_per_second),
        sum(|rates| rates.bytes_out_per_second),
        figures.in_flight,
        workers.join(" "),
    )
}

fn defects(figures: &Figures) -> Option<String> {
    let (panics, lost) = (figures.panics_total, figures.log_lines_lost_total);
    (panics + lost > 0)
        .then(|| format!("connection tasks that panicked {panics}   log lines lost {lost}"))
}

fn provider(figures: &ProviderFigures) -> Vec<String> {
    let rates = figures.rates.as_ref();
    let rate = |get: fn(&super::figures::Rates) -> f64| maybe(rates.map(get), number);
    let size = |get: fn(&super::figures::Rates) -> f64| maybe(rates.map(get), bytes);
    let time = |time: Option<f64>| maybe(time, micros);
    let Quantiles { p50_us, p99_us } = figures.request_added;
    vec![
        figures.provider.clone(),
        rate(|rates| rates.requests_per_second),
        rate(|rates| rates.responses_4xx_per_second),
        rate(|rates| rates.responses_5xx_per_second),
        time(p50_us),
        time(p99_us),
        time(figures.response_added.p50_us),
        time(figures.response_added.p99_us),
        time(figures.waited.p99_us),
        time(figures.head.p50_us),
        time(figures.head.p99_us),
        time(figures.longest_gap.p99_us),
        figures.upstream_idle.to_string(),
        figures.upstream_busy.to_string(),
        rate(|rates| rates.connects_per_second),
        size(|rates| rates.bytes_in_per_second),
        size(|rates| rates.bytes_out_per_second),
        rate(|rates| rates.clients_gone_per_second),
        rate(|rates| rates.truncated_per_second),
    ]
}

fn errors(errors: &[ErrorFigures]) -> Option<String> {
    let shown = errors.iter().filter(|error| error.total > 0).map(|error| {
        match error.per_second.filter(|rate| *rate > 0.0) {
            Some(rate) => format!("{} {} ({}/s)", error.code, error.total, number(rate)),
            None => format!("{} {}", error.code, error.total),
        }
    });
    let shown: Vec<String> = shown.collect();
    (!shown.is_empty()).then(|| format!("errors  {}", shown.join("   ")))
}

fn title(streams: &Streams) -> String {
    let (all, listed) = (streams.in_flight, streams.streams.len());
    let mut title = format!("{all} under way");
    if (listed as u64) < all {
        title.push_str(&format!(", the {listed} oldest listed"));
    }
    if streams.silent_workers > 0 {
        title.push_str(&format!(", {} workers silent", streams.silent_workers));
    }
    title
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn size(number: u64) -> String {
    bytes(number as f64)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn time(us: u64) -> String {
    micros(us as f64)
}

fn stream(stream: &Stream) -> Vec<String> {
    let word = |word: &Option<String>| maybe(word.as_ref(), String::clone);
    vec![
        time(stream.age_us),
        stream.phase.clone(),
        maybe(stream.idle_us, time),
        stream.provider.clone(),
        word(&stream.key),
        stream.method.clone(),
        maybe(stream.status, |status| status.to_string()),
        size(stream.bytes_in),
        size(stream.bytes_out),
        word(&stream.path),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::figures::tests::snapshot;
    use super::*;

    fn view(streams: usize) -> View {
        let before = snapshot(100, 1000);
        let mut figures = Figures::between(Some((&before, 2.0)), &snapshot(100, 1400), 160.0);
        let streams = (0..streams).map(|n| Stream {
            age_us: 100_000_000 - n as u64,
            idle_us: Some(1_500),
            phase: "stream".to_owned(),
            provider: "one".to_owned(),
            key: Some(format!("k{n}")),
            method: "POST".to_owned(),
            path: Some("/p/one/v1/messages".to_owned()),
            status: Some(200),
            bytes_in: 1200,
            bytes_out: 90_000,
        });
        figures.streams = Some(Streams {
            in_flight: 50,
            silent_workers: 0,
            streams: streams.collect(),
        });
        View {
            address: "http://h:1/metrics".to_owned(),
            figures: Some(figures),
            ..View::default()
        }
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn everything_is_on_a_wide_page() {
        let lines = view(2).all(200);
        let wanted = [
            "sluicegate 1.2.3  http://h:1/metrics",
            "up 1m00s   CPU 20%   memory 32.4M   clients 4   last 2.0s",
            "requests 400/s   in 0/s   out 195K/s   under way 3 (workers 1 2 0)",
            "",
            concat!(
                "PROVIDER  REQ/s  4XX/s  5XX/s  +REQ p50  p99  +RESP p50    p99  WAIT p99  HEAD p50  p99",
                "  GAP p99  IDLE  BUSY  NEW/s  IN/s  OUT/s  GONE/s  CUT/s"
            ),
            concat!(
                "one         400      0    200         -    -      6.0µs  8.0µs         -         -    -",
                "        -     6     0      0     0   195K       0      0"
            ),
            "",
            "errors  upstream_connect 1400 (200/s)   missing_key 5",
            "",
            "50 under way, the 2 oldest listed",
            "  AGE  PHASE   QUIET  PROVIDER  KEY  METHOD  STATUS    IN    OUT  PATH",
            "1m40s  stream  1.5ms  one       k0   POST       200  1.2K  87.9K  /p/one/v1/messages",
            "1m40s  stream  1.5ms  one       k1   POST       200  1.2K  87.9K  /p/one/v1/messages",
        ];
        assert_eq!(texts(&lines), wanted);
    }

    #[test]
    fn errors_stand_out() {
        let weight_of = |view: &View, part: &str| {
            let lines = view.all(200);
            let line = lines.iter().find(|line| line.text.starts_with(part));
            line.map(|line| line.weight)
        };
        let mut view = view(2);
        // 200 answers of 500 and above a second.
        assert_eq!(weight_of(&view, "one "), Some(Weight::Alarm));
        assert_eq!(weight_of(&view, "errors "), Some(Weight::Alarm));
        assert_eq!(weight_of(&view, "1m40s "), Some(Weight::Plain));
        let figures = view.figures.as_mut().unwrap();
        let rates = figures.providers[0].rates.as_mut().unwrap();
        (
            rates.responses_5xx_per_second,
            rates.responses_4xx_per_second,
        ) = (0.0, 1.0);
        for error in &mut figures.errors {
            error.per_second = Some(0.0);
        }
        for (stream, status) in figures
            .streams
            .iter_mut()
            .flat_map(|all| &mut all.streams)
            .zip([429, 502])
        {
            stream.status = Some(status);
        }
        assert_eq!(weight_of(&view, "one "), Some(Weight::Warning));
        assert_eq!(weight_of(&view, "errors "), Some(Weight::Plain));
        let lines = view.all(200);
        let weights: Vec<_> = lines.iter().rev().take(2).map(|line| line.weight).collect();
        assert_eq!(weights, [Weight::Alarm, Weight::Warning]);
    }

    #[test]
    fn a_usual_terminal_has_the_added_times_and_the_list() {
        let lines = view(30).page(80, 24);
        assert_eq!(lines.len(), 24);
        assert_eq!(
            lines[4].text,
            "PROVIDER  REQ/s  5XX/s  +REQ p50  p99  +RESP p50    p99  HEAD p50  p99"
        );
        assert!(lines[11].text.contains(" k0 "), "{:?}", texts(&lines));
        assert!(lines[22].text.contains(" k11 "), "{:?}", texts(&lines));
        assert!(lines[23].text.starts_with("q quits"));
    }

    #[test]
    fn the_list_scrolls_to_its_end_and_not_beyond() {
        let mut view = view(30);
        for (skipped, first) in [(1, " k1 "), (18, " k18 "), (1000, " k18 ")] {
            view.skipped = skipped;
            let lines = view.page(80, 24);
            assert!(lines[10].text.contains("AGE"), "{:?}", texts(&lines));
            assert!(
                lines[11].text.contains(first),
                "{skipped}: {:?}",
                texts(&lines)
            );
        }
    }

    #[test]
    fn trouble_is_seen_first() {
        let mut view = view(1);
        view.trouble = Some("not reachable".to_owned());
        assert_eq!(
            view.page(80, 24)[1],
            Line::new(Weight::Alarm, "not reachable")
        );
        view.figures = None;
        assert_eq!(
            texts(&view.all(80)),
            ["sluicegate top  http://h:1/metrics", "not reachable"]
        );
        view.trouble = None;
        assert_eq!(view.all(80)[1].text, "waiting for the first figures");
        assert!(view.page(39, 24)[0].text.starts_with("39x24 is too small"));
    }

    #[test]
    fn what_cannot_be_listed_says_so() {
        let mut view = view(0);
        assert_eq!(
            view.all(80).last().unwrap().text,
            "50 under way, the 0 oldest listed"
        );
        if let Some(figures) = &mut view.figures {
            figures.streams = None;
        }
        let lines = view.all(80);
        assert!(lines.last().unwrap().text.contains("metrics.listen"));
    }

    proptest! {
        #[test]
        fn a_page_fits_its_terminal(
            columns in 0..250_usize, rows in 0..80_usize, streams in 0..60_usize, skipped in 0..80_usize,
        ) {
            let mut view = view(streams);
            view.skipped = skipped;
            let lines = view.page(columns, rows);
            prop_assert!(lines.len() <= rows);
            prop_assert!(lines.iter().all(|line| line.text.chars().count() <= columns));
        }
    }
}
