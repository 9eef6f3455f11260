//! The `sluicegate` program: arguments and exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sluicegate::config;
use sluicegate::server::{Server, StartError};

/// A fast passthrough gateway in front of LLM provider APIs.
#[derive(Parser)]
#[command(name = "sluicegate", version, about, disable_help_subcommand = true)]
struct Arguments {
    /// Configuration file (TOML); else $SLUICEGATE_CONFIG, ./sluicegate.toml, /etc/sluicegate/sluicegate.toml
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Load the configuration and print what is in force, secrets redacted
    Check,
    /// Show a streamed exchange between built-in mock providers and the gateway, then keep serving
    Demo {
        /// Exit after the exchange
        #[arg(long)]
        once: bool,
    },
}

/// Exit code for a configuration that cannot be used.
const BAD_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None => serve(arguments.config),
        Some(Command::Check) => check(arguments.config),
        Some(Command::Demo { once }) => demo(once),
    }
}

fn serve(file: Option<PathBuf>) -> ExitCode {
    let load = move || config::from_process(file.clone());
    match Server::start(Box::new(load)) {
        Ok(server) => match server.run() {
            Ok(code) => code,
            Err(error) => fail(&error.to_string()),
        },
        Err(StartError::Configuration(message)) => {
            fail(&message);
            ExitCode::from(BAD_CONFIGURATION)
        }
        Err(StartError::System(message)) => fail(&message),
    }
}
