//! The manual page and the completion scripts, made from the definition of the command line and from the
//! tables of settings, so that neither can fall behind what the program takes.

use std::fmt::Write as _;

use clap::{Arg, Command, Id};
use clap_complete::Shell;

use crate::cli::examples::{self, Example};
use crate::config::{reference, variables};

/// A script that completes the words of `command` in a shell.
#[must_use]
pub(crate) fn completions(mut command: Command, shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// The page `sluicegate(1)`, in the man macros of roff.
#[must_use]
pub(crate) fn page(mut command: Command) -> String {
    command.build();
    let mut out = String::new();
    let (name, version) = (command.get_name(), crate::base::VERSION);
    let _ = writeln!(
        out,
        ".TH {} 1 \"\" \"{name} {version}\" \"User Commands\"",
        name.to_ascii_uppercase()
    );
    let about = command.get_about().map(ToString::to_string);
    let about = about.unwrap_or_default();
    let _ = writeln!(out, ".SH NAME\n{name} \\- {}", prose(&about));
    let _ = writeln!(out, ".SH SYNOPSIS\n.B {}", literal(&usage(&mut command)));
    out.push_str(DESCRIPTION);
    out.push_str(".SH OPTIONS\n");
    describe_all(&mut out, &command, &[]);
    out.push_str(".SH COMMANDS\n");
    commands(&mut out, &mut command, &[]);
    out.push_str(".SH EXAMPLES\n");
    describe_examples(&mut out, examples::of(&[]));
    out.push_str(".SH SETTINGS\n");
    settings(&mut out, &reference());
    out.push_str(".SH ENVIRONMENT\n");
    environment(&mut out);
    out.push_str(BEHIND);
    out
}

/// Every command below `command` that is shown, and those below them; `words` lead to `command`.
fn commands(out: &mut String, command: &mut Command, words: &[&str]) {
    let above: Vec<Id> = command
        .get_arguments()
        .map(|a| a.get_id().clone())
        .collect();
    // `help` is what `--help` is, for each of them.
    let shown = |command: &&mut Command| !command.is_hide_set() && command.get_name() != "help";
    for command in command.get_subcommands_mut().filter(shown) {
        let _ = writeln!(out, ".SS {}", literal(&usage(command)));
        if let Some(about) = command.get_about() {
            let _ = writeln!(out, "{}.", prose(&about.to_string()));
        }
        describe_all(out, command, &above);
        let name = command.get_name().to_owned();
        let words = [words, &[&name]].concat();
        describe_examples(out, examples::of(&words));
        commands(out, command, &words);
    }
}

/// What a person types, and what it is for.
fn describe_examples(out: &mut String, examples: &[Example]) {
    for example in examples {
        let _ = writeln!(out, ".TP\n.B {}", literal(example.line));
        let _ = writeln!(out, "{}", prose(example.is_for));
    }
}

/// What a command takes, but for what the command `above` it takes too.
fn describe_all(out: &mut String, command: &Command, above: &[Id]) {
    let new = |argument: &&Arg| !argument.is_hide_set() && !above.contains(argument.get_id());
    for argument in command.get_arguments().filter(new) {
        describe(out, argument);
    }
}

/// `sluicegate check [OPTIONS]`
fn usage(command: &mut Command) -> String {
    let usage = command.render_usage().to_string();
    let lines: Vec<&str> = usage.lines().map(str::trim).collect();
    lines.join(" ").trim_start_matches("Usage: ").to_owned()
}

/// `-c, --config <FILE>`, and what it is for.
fn describe(out: &mut String, argument: &Arg) {
    let short = argument.get_short().map(|short| format!("-{short}, "));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let values: Vec<String> = { argument.get_value_names().unwrap_or_default().iter() }
        .map(|name| format!("<{name}>"))
        .collect();
    let takes = argument.get_action().takes_values();
    let values = if takes {
        values.join(" ")
    } else {
        String::new()
    };
    let words = [
        short.unwrap_or_default() + &long.unwrap_or_default(),
        values,
    ];
    let _ = writeln!(out, ".TP\n.B {}", literal(words.join(" ").trim()));
    let help = argument.get_help().map(ToString::to_string);
    let _ = writeln!(out, "{}", prose(&help.unwrap_or_default()));
}

/// The lines of a configuration file: a heading per table, an entry per key with the comment behind it.
fn settings(out: &mut String, example: &str) {
    for line in example.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let (setting, comment) = bare.split_once(" # ").unwrap_or((bare, ""));
        let setting = setting.trim();
        let text = if setting.starts_with('[') {
            let _ = writeln!(out, ".SS {}", literal(setting));
            comment
        } else if is_setting(setting) {
            let _ = writeln!(out, ".TP\n.B {}", literal(setting));
            comment
        } else if bare.is_empty() {
            out.push_str(".PP\n");
            ""
        } else if setting.is_empty() {
            // Goes on with the line before.
            comment
        } else {
            bare
        };
        // An empty line would be a gap.
        if !text.is_empty() {
            let _ = writeln!(out, "{}", prose(text));
        }
    }
}

/// The variables, and what each of them sets.
fn environment(out: &mut String) {
    for variable in variables() {
        let key = literal(&variable.key);
        let _ = writeln!(out, ".TP\n.B {}", literal(&variable.name));
        let _ = match variable.is_file_first {
            true => writeln!(out, "Holds where {key} says nothing."),
            false => writeln!(out, "Wins over {key}."),
        };
    }
}

/// `key = value`
fn is_setting(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let key = text.split_once(" =").map_or("", |(key, _)| key);
    !key.is_empty() && key.bytes().all(plain)
}

/// Text that roff shall fill into lines.
fn prose(text: &str) -> String {
    let text = text.trim().replace('\\', "\\e");
    // A request, where it is the first of a line.
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

/// Text that somebody may copy: its hyphens stay what they are, quotes begin no argument.
fn literal(text: &str) -> String {
    let text = prose(text).replace('-', "\\-").replace('"', "\\(dq");
    text.replace('\'', "\\(aq")
}

const DESCRIPTION: &str = r#".SH DESCRIPTION
Clients of an LLM provider use http://gateway:8080/p/PROVIDER as their base URL.
The gateway checks the key that the client sends, puts the provider's key in its place, rewrites the request line
and the head, and relays everything else byte for byte in both directions as it comes.
Without a command it serves in the foreground, until a signal ends it.
.PP
Values come from the environment, then
.B .env
in the working directory, then one configuration file, then defaults.
A secret variable X may be read from a file that X_FILE names.
In strings of the file ${VAR} and ${VAR:\-default} are put in from the environment.
"#;

const BEHIND: &str = r#".SH SIGNALS
.TP
.B SIGTERM, SIGINT, SIGQUIT
Refuse new connections, let requests under way end, and exit; a second one ends at once.
.TP
.B SIGHUP
Read configuration, keys and certificates again and open the log file anew.
What is broken changes nothing and is logged.
.TP
.B SIGUSR1
Open the log file anew, and nothing else.
.TP
.B SIGUSR2
Start the program again, hand the listening sockets over, and drain once the successor accepts.
A first signal to end cuts nothing then, a second one does.
Refused by process 1, with which a container ends.
.SH FILES
.TP
.B ./sluicegate.toml, /etc/sluicegate/sluicegate.toml
Configuration, where neither \-\-config nor SLUICEGATE_CONFIG names a file; the first that is there is read.
.TP
.B .env
Variables for the environment, in the working directory.
.SH EXIT STATUS
.TP
.B 0
It was stopped, or did what was asked.
.TP
.B 1
The system refused something, such as a port in use; a second signal cut requests; or a provider was not reached, or
refused its credential, where
.B check \-\-connect
went to it.
.TP
.B 2
The configuration or the command line cannot be used, or was warned of where \-\-strict makes that count; nothing was
started.
.TP
.B 70
A defect of the program itself.
"#;
