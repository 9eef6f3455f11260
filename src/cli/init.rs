//! `sluicegate init`: from nothing to a gateway that can be started: a small safe configuration, a keys file with a first
//! key, and what to paste for each client.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::key;
use crate::cli::output::{fail, write};

/// `sluicegate init …`
#[derive(Args)]
pub(crate) struct InitArguments {
    /// Where the files go
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
}

const SETTINGS: &str = "sluicegate.toml";
const KEYS: &str = "keys.toml";

/// Makes both files, or neither where one of them is there.
pub(crate) fn run(arguments: &InitArguments) -> ExitCode {
    match make(&arguments.folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message, ExitCode::FAILURE),
    }
}

fn make(folder: &Path) -> Result<(), String> {
    let (settings, keys) = (folder.join(SETTINGS), folder.join(KEYS));
    for path in [&settings, &keys] {
        // A link that leads nowhere is there too.
        if path.symlink_metadata().is_ok() {
            return Err(format!(
                "{} is there already, and nothing was changed; `sluicegate check` shows what is in force, \
                 `sluicegate key new NAME` makes another key",
                path.display()
            ));
        }
    }
    let failed = |error: io::Error| format!("{}: {error}", settings.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&settings)
        .map_err(failed)?;
    file.write_all(CONFIGURATION.as_bytes()).map_err(failed)?;
    let key = key::first(&keys)?;
    let text = told(folder, &key);
    write(text.as_bytes()).map_err(|error| {
        format!("{error}; nobody has seen the key: `sluicegate key rotate first` makes another one")
    })
}

const CONFIGURATION: &str = "\
# `sluicegate check` shows what is in force, `sluicegate check --reference` every setting there is.

[server]
listen = [\"127.0.0.1:8080\"]       # this machine only; [\"0.0.0.0:8080\"] for all, and then with server.tls

[auth]
keys_file = \"keys.toml\"           # `sluicegate key new NAME` adds one, `key revoke ID` ends one, at once

# [metrics]
# listen = [\"127.0.0.1:9090\"]     # Prometheus, `sluicegate top`, and a page for a browser

# A provider is there once it has a key. Put that into the environment, or into a file .env beside this one:
#   ANTHROPIC_API_KEY=sk-ant-…
#   OPENAI_API_KEY=sk-…
";

/// What a person does next.
fn told(folder: &Path, key: &str) -> String {
    let cd = match folder == Path::new(".") {
        true => String::new(),
        false => format!("    cd {}\n", folder.display()),
    };
    format!(
        "\
Made {settings} and {keys}. The first key, which is shown only here:

    {key}

Start it with the key of a provider, here or in a file .env:

{cd}    export ANTHROPIC_API_KEY=sk-ant-…        # or OPENAI_API_KEY=sk-…
    sluicegate

Then paste, for

  curl
    curl http://127.0.0.1:8080/p/anthropic/v1/models -H 'x-api-key: {key}'

  Claude Code
    export ANTHROPIC_BASE_URL=http://127.0.0.1:8080/p/anthropic ANTHROPIC_AUTH_TOKEN={key}
    claude

  the SDKs
    Anthropic(base_url=\"http://127.0.0.1:8080/p/anthropic\", api_key=\"{key}\")
    OpenAI(base_url=\"http://127.0.0.1:8080/p/openai/v1\", api_key=\"{key}\")

  Codex, in ~/.codex/config.toml, with `export GATEWAY_KEY={key}`
    model_provider = \"gateway\"
    [model_providers.gateway]
    name = \"gateway\"
    base_url = \"http://127.0.0.1:8080/p/openai/v1\"
    env_key = \"GATEWAY_KEY\"
    wire_api = \"responses\"
",
        settings = folder.join(SETTINGS).display(),
        keys = folder.join(KEYS).display(),
    )
}
