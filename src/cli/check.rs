//! `sluicegate check`: whether a configuration could be started, what of it is in force and where that was written, and
//! what can hardly be meant so. Whether its providers can be reached is asked in `connect`.

use std::process::ExitCode;

use clap::Args;

use crate::cli::connect;
use crate::cli::output::{fail, print, tell};
use crate::config::{self, Config};
use crate::net::transport::tls_config::{self, TlsConfigs};
use crate::process::preflight;
use crate::process::server::Loaded;
use crate::system::time::unix_seconds;

/// `sluicegate check …`
#[derive(Args)]
pub(crate) struct CheckArguments {
    /// Print every setting instead, with its default and its variable, as a file to start from
    #[arg(long, conflicts_with_all = ["strict", "connect"])]
    reference: bool,
    /// Exit with 2 also where something is warned of
    #[arg(long)]
    strict: bool,
    /// Go to every provider, ask for its models, and print what came of it instead; exit with 1 where one cannot be reached
    /// or refuses its credential
    #[arg(long)]
    connect: bool,
}

/// Exit code for a configuration that cannot be used, and for one that is warned of where that counts.
const BAD_CONFIGURATION: u8 = 2;

/// Does what was asked; `load` reads the configuration.
pub(crate) fn run(
    arguments: &CheckArguments,
    load: impl FnOnce() -> Result<Loaded, String>,
) -> ExitCode {
    if arguments.reference {
        return print(config::reference().as_bytes());
    }
    let checked = load().and_then(|(config, _)| {
        let tls = tls_config::load(&config, None)?;
        preflight::check(&config)?;
        Ok((config, tls))
    });
    let (config, tls) = match checked {
        Ok(checked) => checked,
        Err(message) => return fail(&message, BAD_CONFIGURATION.into()),
    };
    let warned = warn(&config, &tls);
    let (text, is_good) = match arguments.connect {
        true => connect::providers(&config, &tls),
        false => (config.describe(), true),
    };
    let printed = print(text.as_bytes());
    match (warned && arguments.strict, is_good) {
        (true, _) => BAD_CONFIGURATION.into(),
        (false, true) => printed,
        (false, false) => ExitCode::FAILURE,
    }
}

/// Says what is warned of, and whether there is anything.
fn warn(config: &Config, tls: &TlsConfigs) -> bool {
    let settings = config.warnings.iter().map(ToString::to_string);
    let warnings: Vec<String> = settings.chain(tls.warnings(unix_seconds())).collect();
    for warning in &warnings {
        tell(&format!("warning: {warning}"));
    }
    !warnings.is_empty()
}
