//! The command line: what a person starts from a shell, and the exit codes that come of it.

pub(crate) mod check;
pub(crate) mod connect;
pub(crate) mod demo;
pub(crate) mod examples;
pub(crate) mod health;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod key_file;
pub(crate) mod manual;
pub(crate) mod output;
pub(crate) mod providers;
pub(crate) mod top;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::{self, Config, Sources};
use crate::process::handover::{Inherited, Predecessor};
use crate::process::listen;
use crate::process::server::{Loaded, Server, StartError};
use crate::process::watch;
use crate::system::process;
use crate::system::read;
use crate::system::signals;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

use self::check::CheckArguments;
use self::health::HealthArguments;
use self::init::InitArguments;
use self::key::KeyArguments;
use self::output::{fail, print};
use self::providers::ProvidersArguments;
use self::top::TopArguments;

/// A fast passthrough gateway in front of LLM provider APIs.
#[derive(Parser)]
#[command(name = "sluicegate", version, about)]
struct Arguments {
    /// Configuration file (TOML); else $SLUICEGATE_CONFIG, ./sluicegate.toml, /etc/sluicegate/sluicegate.toml
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    listening: Listening,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the gateway listens, whatever else says so.
#[derive(Args, Clone)]
pub(crate) struct Listening {
    /// Listen here: addr:port or unix:/path; may be repeated. In place of SLUICEGATE_LISTEN
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<String>,
    /// Listen on this port of all addresses. In place of PORT
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,
}

impl Listening {
    /// By the variables that they stand for.
    fn flags(&self) -> BTreeMap<String, String> {
        let port = self.port.map(|port| ("PORT".to_owned(), port.to_string()));
        let listen = (!self.listen.is_empty())
            .then(|| ("SLUICEGATE_LISTEN".to_owned(), self.listen.join(",")));
        port.into_iter().chain(listen).collect()
    }
}

/// What the command line says of the configuration.
#[derive(Clone)]
struct Given {
    file: Option<PathBuf>,
    flags: BTreeMap<String, String>,
}

#[derive(Subcommand)]
enum Command {
    /// Load the configuration and print what is in force, secrets redacted
    Check(CheckArguments),
    /// Show a streamed exchange between built-in mock providers and the gateway, then keep serving
    Demo {
        /// Exit after the exchange
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        listening: Listening,
    },
    /// Exit with 0 where a gateway is ready, else with 1: for the health check of a container
    Health(HealthArguments),
    /// Write a small safe configuration, a keys file and a first key, and say what to paste where
    Init(InitArguments),
    /// Make, list and end managed keys
    Key(KeyArguments),
    /// Print the script that completes command lines in a shell
    #[command(hide = true)]
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
    /// List a running gateway's providers and their instances, drain one of several, and end that
    Providers(ProvidersArguments),
    /// Show what a running gateway is doing: rates, times, requests under way
    Top(TopArguments),
}

/// Exit code for a command line that cannot be understood.
const BAD_USAGE: u8 = 2;
/// Exit code for a configuration that cannot be used.
const BAD_CONFIGURATION: u8 = 2;

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    if let Err(error) = signals::outlive_file_limit() {
        return fail(&format!("signals: {error}"), ExitCode::FAILURE);
    }
    let arguments = match parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => return answer(&error),
    };
    let given = Given {
        file: arguments.config,
        flags: arguments.listening.flags(),
    };
    match arguments.command {
        None => serve(given),
        Some(Command::Check(check)) => check::run(&check, || load(&given)),
        Some(Command::Demo { once, listening }) => demo(
            once,
            given.flags.into_iter().chain(listening.flags()).collect(),
        ),
        Some(Command::Health(health)) => health::run(&health, || load_config(&given)),
        Some(Command::Init(init)) => init::run(&init),
        Some(Command::Key(key)) => key::run(key, || load_config(&given)),
        Some(Command::Completions { shell }) => print(&manual::completions(command(), shell)),
        Some(Command::Man) => print(manual::page(command()).as_bytes()),
        Some(Command::Providers(providers)) => providers::run(providers, || load_config(&given)),
        Some(Command::Top(top)) => top::run(&top, || load_config(&given)),
    }
}

/// The definition of the command line, with its examples.
fn command() -> clap::Command {
    examples::put(Arguments::command())
}

/// What a command line says, or what there is to print instead.
fn parse(words: impl Iterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let matches = command().try_get_matches_from(words)?;
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
}

/// Help and version, or what is wrong with the command line.
fn answer(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return print(text.as_bytes());
    }
    // Whoever closed standard error does not want to know.
    let _ = io::stderr().write_all(text.as_bytes());
    BAD_USAGE.into()
}

fn serve(given: Given) -> ExitCode {
    // Before there is a key in memory.
    process::set_dumpable(false);
    let (predecessor, inherited) = match inherit() {
        Ok(inherited) => inherited,
        Err(message) => return fail(&message, ExitCode::FAILURE),
    };
    match Server::start(Arc::new(move || load(&given)), inherited) {
        Ok(mut server) => {
            if let Some(predecessor) = predecessor {
                server.follow(predecessor);
            }
            server.run()
        }
        Err(StartError::Configuration(message)) => fail(&message, BAD_CONFIGURATION.into()),
        Err(StartError::System(message)) => fail(&message, ExitCode::FAILURE),
    }
}

/// Listening sockets from a predecessor or a service manager.
fn inherit() -> Result<(Option<Predecessor>, Inherited), String> {
    let met = Predecessor::meet().map_err(|error| format!("cannot take over: {error}"))?;
    let listeners = listen::from_service_manager()?;
    Ok(match met {
        Some((predecessor, inherited)) => (Some(predecessor), inherited),
        None => {
            let passed = Inherited {
                listeners,
                ..Inherited::default()
            };
            (None, passed)
        }
    })
}

/// Reads environment and files.
fn load(given: &Given) -> Result<Loaded, String> {
    let config = load_config(given)?;
    let keys = config.auth.keys_file.as_deref();
    let keys = keys.map(watch::read_keys).transpose();
    let keys = keys.map_err(|error| format!("{}: {error}", config.places.of("auth.keys_file")))?;
    Ok((config, keys))
}

fn load_config(given: &Given) -> Result<Config, String> {
    let sources = Sources {
        // A name that is not UTF-8 cannot be one of ours; a value that is not has to be complained of.
        env: std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value)))
            .collect(),
        flags: given.flags.clone(),
        read: &read::settings,
        read_pem: &read::pem,
        file: given.file.clone(),
        terminal: io::stderr().is_terminal(),
    };
    config::load(&sources).map_err(|error| error.to_string())
}

fn demo(once: bool, flags: BTreeMap<String, String>) -> ExitCode {
    demo::run(once, flags).unwrap_or_else(|error| fail(&error.to_string(), ExitCode::FAILURE))
}
