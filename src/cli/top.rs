//! `sluicegate top`: what a running gateway is doing, live on a terminal, as a table or as JSON.
//!
//! It is a client of the gateway's metrics and of its list of requests under way, in a process of its own; the
//! gateway does no more for it than for any other scraper. There is no library for terminals in it: the page is
//! plain text ([`page`](self)), and a Linux terminal needs five escape sequences and `termios`.

mod address;
mod fetch;
mod figures;
mod live;
mod looks;
mod members;
mod page;
mod scrape;
mod snapshot;
mod terminal;
mod text;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::Duration;

use clap::Args;
use zeroize::Zeroizing;

use crate::cli::output::fail;
use crate::config::{Config, Secret, value};
use crate::system::read;

use address::Address;
use figures::Figures;
use looks::{Failure, Looks, is_over};
use page::View;

/// `sluicegate top …`
#[derive(Args)]
pub(crate) struct TopArguments {
    /// The gateway's metrics: http://host:port, http://host:port/path or unix:/path; else as configured
    #[arg(long)]
    url: Option<String>,
    /// A file with the key of metrics.key; else $SLUICEGATE_METRICS_KEY or, without --url, as configured
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// How often to look: 500ms, 2s, 1m
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Print one table and exit; so does a top that has no terminal
    #[arg(long)]
    once: bool,
    /// Print JSON, one object a line and look; with --once one
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = value::duration(text)?;
    let bounds = Duration::from_millis(100)..=Duration::from_secs(3600);
    match bounds.contains(&interval) {
        true => Ok(interval),
        false => Err("expected 100ms to 1h".to_owned()),
    }
}

/// Runs it; `config` loads the configuration, where no address is given.
pub(crate) fn run(
    arguments: &TopArguments,
    config: impl FnOnce() -> Result<Config, String>,
) -> ExitCode {
    let address = match &arguments.url {
        Some(url) => Address::parse(url).map_err(|expected| format!("--url {url}: {expected}")),
        None => config().and_then(|config| Address::configured(&config)),
    };
    let address = address.and_then(|address| {
        let key = given_key(arguments)?.or(address.key);
        Ok(Address { key, ..address })
    });
    let address = match address {
        Ok(address) => address,
        Err(message) => return fail(&message, ExitCode::from(2)),
    };
    let ended = if arguments.json {
        json(&address, arguments)
    } else if arguments.once || !terminal::is_there() {
        once(&address, arguments.interval)
    } else {
        live::run(&address, arguments.interval)
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => fail(&error.to_string(), ExitCode::FAILURE),
        Err(Failure::Gateway(message)) => fail(&message, ExitCode::FAILURE),
    }
}

/// The key that the command line or the environment leads to. Where the gateway's configuration is read, that knows the
/// environment.
fn given_key(arguments: &TopArguments) -> Result<Option<Secret>, String> {
    if let Some(path) = &arguments.key_file {
        return key_in(path).map(Some);
    }
    if arguments.url.is_none() {
        return Ok(None);
    }
    match (std::env::var_os(KEY), std::env::var_os(KEY_FILE)) {
        (Some(_), Some(_)) => Err(format!(
            "{KEY_FILE} is set as well as {KEY}; expected only one of them"
        )),
        (Some(key), None) => {
            let key = Zeroizing::new(key.into_string().unwrap_or_default());
            let key = Secret::new(key.trim());
            key.map(Some)
                .map_err(|expected| format!("{KEY}: {expected}"))
        }
        (None, Some(path)) => key_in(Path::new(&path)).map(Some),
        (None, None) => Ok(None),
    }
}

const KEY: &str = "SLUICEGATE_METRICS_KEY";
const KEY_FILE: &str = "SLUICEGATE_METRICS_KEY_FILE";

fn key_in(path: &Path) -> Result<Secret, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let bytes = Zeroizing::new(read::settings(path).map_err(|error| wrong(&error))?);
    let text = String::from_utf8_lossy(&bytes);
    Secret::new(text.trim()).map_err(|expected| wrong(&expected))
}

fn once(address: &Address, interval: Duration) -> Result<(), Failure> {
    let figures = compared(&mut Looks::new(address, 0.0), interval)?;
    let view = View {
        address: address.to_string(),
        figures: Some(figures),
        ..View::default()
    };
    let columns = match io::stdout().is_terminal() {
        true => terminal::Terminal::size().0,
        false => usize::MAX,
    };
    let mut out = String::new();
    for line in view.all(columns) {
        out.push_str(&line.text);
        out.push('\n');
    }
    Ok(io::stdout().write_all(out.as_bytes())?)
}

fn json(address: &Address, arguments: &TopArguments) -> Result<(), Failure> {
    let mut looks = Looks::new(address, 0.0);
    let mut figures = compared(&mut looks, arguments.interval)?;
    loop {
        let line = serde_json::to_string(&figures).map_err(io::Error::other)? + "\n";
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.flush()?;
        drop(out);
        if arguments.once {
            return Ok(());
        }
        pause(arguments.interval);
        figures = looks.next().map_err(Failure::Gateway)?;
    }
}

/// The figures of two looks.
fn compared(looks: &mut Looks, interval: Duration) -> Result<Figures, Failure> {
    looks.next().map_err(Failure::Gateway)?;
    pause(interval);
    looks.next().map_err(Failure::Gateway)
}

fn pause(interval: Duration) {
    // Held to the end, so that waiting is all that receiving comes to.
    let (_held, never) = channel::<()>();
    is_over(&never, interval);
}
