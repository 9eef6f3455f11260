//! `sluicegate demo`: the gateway in front of built-in mock providers on loopback, one streamed exchange shown
//! from both sides, lines to try.

mod answers;
mod client;
mod mock;

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::cli::output::{self, OutputError};
use crate::config::{self, Listen, Sources};
use crate::process::handover::Inherited;
use crate::process::server::{Server, StartError};

use client::{Client, Exchange};
use mock::Seen;

const GATEWAY_KEY: &str = "demo-gateway-key";
const PROVIDER_KEY: &str = "demo-provider-key";
/// For `sluicegate top` and the page.
const SETTINGS: &[u8] = b"[metrics]\nlisten = [\"127.0.0.1:0\"]\n";
/// Exchanges that the figures are taken from.
const ROUNDS: usize = 40;
/// Columns of an event that are shown.
const EVENT_COLUMNS: usize = 60;
/// How long the mock model takes for an event that is shown.
const PACE: Duration = Duration::from_millis(40);

/// Prints a line.
macro_rules! say {
    ($($text:tt)*) => {
        output::write(format!("{}\n", format_args!($($text)*)).as_bytes())
    };
}

/// Runs the demo, listening where `flags` say, else on any port; with `once` it ends after the exchange, else it serves
/// until a signal.
///
/// # Errors
/// Whatever keeps it from showing the exchange.
pub(crate) fn run(once: bool, flags: BTreeMap<String, String>) -> Result<ExitCode, Box<dyn Error>> {
    show(once, flags).or_else(|error| match error.downcast_ref::<OutputError>() {
        Some(output) if output.is_closed() => Ok(ExitCode::SUCCESS),
        _ => Err(error),
    })
}

fn show(once: bool, flags: BTreeMap<String, String>) -> Result<ExitCode, Box<dyn Error>> {
    let (report, seen) = channel();
    let mock = mock::start(report)?;
    let server = start_gateway(mock, flags)?;
    let Some(Listen::Tcp(gateway)) = server.addresses().next().cloned() else {
        return Err("the gateway has no address".into());
    };
    say!(
        "sluicegate {} on {gateway}, mock providers on {mock}\n",
        crate::base::VERSION
    )?;
    let mut through = Client::connect(gateway)?;
    let exchange = through.stream("/p/anthropic/v1/messages?beta=true", GATEWAY_KEY, PACE)?;
    let provider = next(&seen)?;
    show_heads(&exchange, &provider)?;
    show_events(&exchange, &provider)?;
    show_times(&mut through, mock, &seen)?;
    show_lines(gateway)?;
    if once {
        return Ok(ExitCode::SUCCESS);
    }
    // Nobody reads the mock's reports from here on.
    drop(seen);
    if let Some(metrics) = server.metrics_addresses().next() {
        say!("What it is doing:")?;
        say!("  http://{metrics}/ in a browser, or on a terminal")?;
        say!("  sluicegate top --url http://{metrics}\n")?;
    }
    say!("Serving until Ctrl-C.")?;
    Ok(server.run())
}

fn start_gateway(
    mock: SocketAddr,
    mut flags: BTreeMap<String, String>,
) -> Result<Server, Box<dyn Error>> {
    // Its key is known to everybody.
    if let Some(port) = flags.remove("PORT") {
        flags.insert("SLUICEGATE_LISTEN".to_owned(), format!("127.0.0.1:{port}"));
    }
    let mut env: BTreeMap<String, OsString> = BTreeMap::from([
        ("SLUICEGATE_LISTEN".to_owned(), "127.0.0.1:0".into()),
        ("SLUICEGATE_WORKERS".to_owned(), "1".into()),
        ("GOMODEL_MASTER_KEY".to_owned(), GATEWAY_KEY.into()),
        ("LOG_LEVEL".to_owned(), "warn".into()),
    ]);
    for provider in [
        "OPENAI",
        "ANTHROPIC",
        "OPENROUTER",
        "ZAI",
        "VLLM",
        "DEEPSEEK",
    ] {
        env.insert(format!("{provider}_API_KEY"), PROVIDER_KEY.into());
        env.insert(
            format!("{provider}_BASE_URL"),
            format!("http://{mock}/v1").into(),
        );
    }
    let load = move || {
        let sources = Sources {
            env: env.clone(),
            // Nothing of the user's own configuration counts here.
            flags: flags.clone(),
            read: &|path| match path.ends_with("sluicegate.toml") {
                true => Ok(SETTINGS.into()),
                false => Err(io::ErrorKind::NotFound.into()),
            },
            read_pem: &|_| Err(io::ErrorKind::NotFound.into()),
            file: None,
            terminal: true,
        };
        config::load(&sources)
            .map(|config| (config, None))
            .map_err(|error| error.to_string())
    };
    Server::start(Arc::new(load), Inherited::default()).map_err(|error| match error {
        StartError::Configuration(message) | StartError::System(message) => message.into(),
    })
}

fn next(seen: &Receiver<Seen>) -> Result<Seen, Box<dyn Error>> {
    Ok(seen.recv_timeout(Duration::from_secs(10))?)
}

/// The request line and fields of both sides: what went, what came, what stayed.
fn show_heads(exchange: &Exchange, provider: &Seen) -> Result<(), OutputError> {
    let sent: Vec<&str> = exchange
        .sent
        .lines()
        .filter(|line| !line.is_empty())
        .collect();
    let got: Vec<&str> = provider
        .head
        .lines()
        .filter(|line| !line.is_empty())
        .collect();
    say!("{:<51} The provider saw", "The client sent")?;
    say!("{:<51} {}", "-".repeat(49), "-".repeat(48))?;
    let kept = |line: &&&str| got.contains(*line);
    let added: Vec<&str> = got
        .iter()
        .filter(|line| !sent.contains(line))
        .copied()
        .collect();
    let removed: Vec<&str> = sent.iter().filter(|line| !kept(line)).copied().collect();
    for index in 0..removed.len().max(added.len()) {
        let left = removed
            .get(index)
            .map_or(String::new(), |line| format!("- {line}"));
        let right = added
            .get(index)
            .map_or(String::new(), |line| format!("+ {line}"));
        say!("{left:<51} {right}")?;
    }
    for line in sent.iter().filter(kept) {
        say!("  {line:<49}   {line}")?;
    }
    say!("\nThe answer's head, with what the gateway added to it:")?;
    for line in exchange.answer.lines().filter(|line| !line.is_empty()) {
        say!("  {line}")?;
    }
    Ok(())
}

fn show_events(exchange: &Exchange, provider: &Seen) -> Result<(), OutputError> {
    say!("\n{:>10} {:>10} {:>8}  event", "written", "read", "between")?;
    for ((read, event), written) in exchange.events.iter().zip(&provider.events) {
        let line = event
            .lines()
            .find(|line| line.starts_with("data: "))
            .unwrap_or_default();
        // The end of the line is what differs from event to event.
        let skipped = line.chars().count().saturating_sub(EVENT_COLUMNS);
        let cut = if skipped > 0 { "…" } else { "" };
        let text: String = line.chars().skip(skipped).collect();
        say!(
            "{:>7.1} ms {:>7.1} ms {:>5} us  {cut}{text}",
            millis(exchange.began, *written),
            millis(exchange.began, *read),
            read.saturating_duration_since(*written).as_micros(),
        )?;
    }
    Ok(())
}

fn millis(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1000.0
}

/// What the way through the gateway costs, beside the same way without it.
fn show_times(
    through: &mut Client,
    mock: SocketAddr,
    seen: &Receiver<Seen>,
) -> Result<(), Box<dyn Error>> {
    let mut direct = Client::connect(mock)?;
    let pace = Duration::from_millis(1);
    let mut rows = [
        Row::new("through the gateway"),
        Row::new("straight to the provider"),
    ];
    for _ in 0..ROUNDS {
        let [gateway, straight] = &mut rows;
        gateway.add(
            &through.stream("/p/anthropic/messages", GATEWAY_KEY, pace)?,
            &next(seen)?,
        );
        straight.add(
            &direct.stream("/v1/messages", PROVIDER_KEY, pace)?,
            &next(seen)?,
        );
    }
    say!("\nMedian over {ROUNDS} exchanges on warm connections, in microseconds:")?;
    say!("{:<26} {:>18} {:>18}", "", "request head", "event")?;
    for row in &mut rows {
        say!(
            "{:<26} {:>18} {:>18}",
            row.name,
            median(&mut row.requests),
            median(&mut row.events)
        )?;
    }
    let [gateway, straight] = &mut rows;
    say!(
        "{:<26} {:>18} {:>18}\n",
        "the gateway added",
        median(&mut gateway.requests).saturating_sub(median(&mut straight.requests)),
        median(&mut gateway.events).saturating_sub(median(&mut straight.events)),
    )?;
    Ok(())
}

struct Row {
    name: &'static str,
    /// Client's write until the provider has read it.
    requests: Vec<u128>,
    /// Provider's write until the client has read it.
    events: Vec<u128>,
}

impl Row {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            requests: Vec::new(),
            events: Vec::new(),
        }
    }

    fn add(&mut self, exchange: &Exchange, provider: &Seen) {
        self.requests.push(
            provider
                .at
                .saturating_duration_since(exchange.began)
                .as_micros(),
        );
        for ((read, _), written) in exchange.events.iter().zip(&provider.events) {
            self.events
                .push(read.saturating_duration_since(*written).as_micros());
        }
    }
}

fn median(values: &mut [u128]) -> u128 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn show_lines(gateway: SocketAddr) -> Result<(), OutputError> {
    say!("Try it:")?;
    say!("  curl http://{gateway}/health")?;
    say!("  curl http://{gateway}/p/openai/v1/models -H 'Authorization: Bearer {GATEWAY_KEY}'")?;
    say!("  curl -N http://{gateway}/p/openai/v1/chat/completions \\")?;
    say!("    -H 'Authorization: Bearer {GATEWAY_KEY}' -d '{{\"stream\":true}}'")?;
    say!("  curl -N http://{gateway}/p/anthropic/v1/messages \\")?;
    say!("    -H 'x-api-key: {GATEWAY_KEY}' -d '{{\"stream\":true}}'")?;
    say!("With an SDK (Python):")?;
    say!("  OpenAI(base_url=\"http://{gateway}/p/openai/v1\", api_key=\"{GATEWAY_KEY}\")")?;
    say!("  Anthropic(base_url=\"http://{gateway}/p/anthropic\", api_key=\"{GATEWAY_KEY}\")\n")
}
