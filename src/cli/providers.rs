//! `sluicegate providers`: how the instances of a running gateway's providers are, and which of them get nothing new.
//!
//! It speaks to the gateway through the socket of `server.control`.

mod ask;
mod table;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use crate::cli::output::{self, fail};
use crate::config::{Config, value};
use crate::process::control::answer::{Answer, Instance};
use crate::process::control::request::Request;

use ask::{Asked, ask};

/// `sluicegate providers …`
#[derive(Args)]
pub(crate) struct ProvidersArguments {
    #[command(subcommand)]
    command: ProvidersCommand,
    /// The gateway's socket; else the configured one ($SLUICEGATE_CONTROL, server.control)
    #[arg(long, value_name = "PATH", global = true)]
    control: Option<PathBuf>,
}

#[derive(Subcommand)]
enum ProvidersCommand {
    /// List all instances: health, load, drained or not
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Send nothing new to an instance; what is under way there ends. Until it is undrained, or the gateway is restarted
    Drain {
        /// provider/2, as in log and metrics, or provider/host:port
        name: String,
        /// Also where no other instance of the provider serves
        #[arg(long)]
        force: bool,
        /// Until nothing is under way there, or no longer than this: 10m
        #[arg(long, value_name = "TIME", num_args = 0..=1, value_parser = patience)]
        wait: Option<Option<Duration>>,
    },
    /// Let an instance have its share again
    Undrain {
        /// provider/2, as in log and metrics, or provider/host:port
        name: String,
    },
}

fn patience(text: &str) -> Result<Duration, String> {
    Ok(value::duration(text)?)
}

/// Why a command failed.
enum Failure {
    /// Exit code 2.
    Configuration(String),
    /// Exit code 1.
    Gateway(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Gateway(message)
    }
}

/// Runs it; `config` loads the configuration, where no socket is given.
pub(crate) fn run(
    arguments: ProvidersArguments,
    config: impl FnOnce() -> Result<Config, String>,
) -> ExitCode {
    match perform(arguments, config) {
        Ok(code) => code,
        Err(Failure::Configuration(message)) => fail(&message, ExitCode::from(2)),
        Err(Failure::Gateway(message)) => fail(&message, ExitCode::FAILURE),
    }
}

fn perform(
    arguments: ProvidersArguments,
    config: impl FnOnce() -> Result<Config, String>,
) -> Result<ExitCode, Failure> {
    let path = match arguments.control {
        Some(path) => path,
        None => configured(config)?,
    };
    match arguments.command {
        ProvidersCommand::List { json } => {
            let all = list(&path)?;
            Ok(output::print(&match json {
                true => table::json(&all),
                false => table::text(&all),
            }))
        }
        ProvidersCommand::Drain { name, force, wait } => {
            let (changed, instance) = done(&path, Request::Drain { name, force })?;
            let under_way = table::requests(instance.under_way.unwrap_or(0));
            say(&match changed {
                true => format!(
                    "{} gets nothing new; {under_way} under way",
                    table::name(&instance)
                ),
                false => format!(
                    "{} was drained before; {under_way} under way",
                    table::name(&instance)
                ),
            })?;
            match wait {
                None => Ok(ExitCode::SUCCESS),
                Some(time) => wait_for(&path, &instance, time),
            }
        }
        ProvidersCommand::Undrain { name } => {
            let (changed, instance) = done(&path, Request::Undrain { name })?;
            say(&match changed {
                true => format!("{} gets its share again, by and by", table::name(&instance)),
                false => format!("{} was not drained", table::name(&instance)),
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn configured(config: impl FnOnce() -> Result<Config, String>) -> Result<PathBuf, Failure> {
    let config = config().map_err(|message| {
        Failure::Configuration(format!(
            "{message}\nsluicegate: with --control PATH no configuration is needed"
        ))
    })?;
    config.server.control.ok_or_else(|| {
        Failure::Configuration(
            "this configuration has no socket for commands: set server.control = \
             \"/run/sluicegate/control.sock\" (SLUICEGATE_CONTROL) and start the gateway anew, or name \
             another one's socket with --control"
                .to_owned(),
        )
    })
}

fn say(line: &str) -> Result<(), Failure> {
    let said = output::write(format!("{line}\n").as_bytes());
    match said {
        Err(error) if !error.is_closed() => Err(Failure::Gateway(error.to_string())),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn list(path: &std::path::Path) -> Result<Asked, Failure> {
    match ask(path, &Request::List)? {
        Answer::Instances {
            instances,
            predecessor,
        } => Ok(Asked {
            instances,
            predecessor,
        }),
        answer => Err(unexpected(answer)),
    }
}

fn done(path: &std::path::Path, request: Request) -> Result<(bool, Instance), Failure> {
    match ask(path, &request)? {
        Answer::Done { changed, instance } => Ok((changed, instance)),
        answer => Err(unexpected(answer)),
    }
}

fn unexpected(answer: Answer) -> Failure {
    Failure::Gateway(match answer {
        Answer::Refused { why } => why,
        _ => "the gateway answered something else; it may be of another version".to_owned(),
    })
}

/// How often is looked whether something is still under way.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Waits until nothing is under way at a drained instance, for `time` if that is limited.
fn wait_for(
    path: &std::path::Path,
    drained: &Instance,
    time: Option<Duration>,
) -> Result<ExitCode, Failure> {
    let begin = Instant::now();
    let mut progress = Progress::default();
    // Held to the end, so that waiting is all that receiving comes to.
    let (_held, never) = channel::<()>();
    loop {
        let all = list(path)?;
        let place = |it: &Instance| (it.provider.clone(), it.base_url.clone(), it.address.clone());
        let same = |it: &&Instance| place(it) == place(drained);
        let now = { all.instances.iter() }.find(same);
        let now = now.ok_or_else(|| {
            let name = table::name(drained);
            format!(
                "{name}: a reload took it away; what is under way there is not counted any more"
            )
        })?;
        if !now.drained {
            progress.end();
            return Err(Failure::Gateway(format!(
                "{} is not drained any more",
                table::name(now)
            )));
        }
        let under_way = now.under_way.unwrap_or(0);
        if under_way == 0 && !all.predecessor {
            progress.end();
            say(&format!(
                "{}: nothing is under way any more",
                table::name(now)
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        let left = time.map(|time| time.saturating_sub(begin.elapsed()));
        let requests = table::requests(under_way);
        let of_predecessor = match all.predecessor {
            true => ", and those of the process before, which still ends its own",
            false => "",
        };
        let state = format!("{requests} under way{of_predecessor}");
        if left.is_some_and(|left| left.is_zero()) {
            progress.end();
            let message = format!(
                "{}: {state}, after {} s",
                table::name(now),
                begin.elapsed().as_secs()
            );
            return Err(Failure::Gateway(message));
        }
        progress.show(&state);
        let _ = never.recv_timeout(left.unwrap_or(LOOK_EVERY).min(LOOK_EVERY));
    }
}

/// A line that changes, on a terminal only.
#[derive(Default)]
struct Progress {
    shown: String,
}

impl Progress {
    fn show(&mut self, state: &str) {
        if self.shown != state && io::stderr().is_terminal() {
            // Whoever closed it does not want to know.
            let _ = write!(io::stderr(), "\r\x1b[K{state}");
            self.shown = state.to_owned();
        }
    }

    fn end(&mut self) {
        if !self.shown.is_empty() {
            let _ = write!(io::stderr(), "\r\x1b[K");
            self.shown.clear();
        }
    }
}
