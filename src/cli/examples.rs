//! Examples of the command line, for `--help` and the manual page.

use clap::Command;

/// What a person types, and what it is for.
pub(crate) struct Example {
    pub(crate) line: &'static str,
    pub(crate) is_for: &'static str,
}

/// What the program does without a command, which no list of commands says.
const WITHOUT_COMMAND: &str = "\
Without a command it serves in the foreground: it reads the configuration, listens, and relays until
it is told to end. Ctrl-C or SIGTERM lets requests under way end, a second one does not.";

const fn example(line: &'static str, is_for: &'static str) -> Example {
    Example { line, is_for }
}

/// The examples of each command, by its words; those of the program itself have none.
const EXAMPLES: &[(&[&str], &[Example])] = &[
    (
        &[],
        &[
            example(
                "sluicegate demo --once",
                "see what it does, without any set-up",
            ),
            example(
                "sluicegate init",
                "begin: a small configuration and a first key",
            ),
            example(
                "sluicegate check",
                "what would be in force, and what is wrong with it",
            ),
            example("sluicegate", "serve"),
            example("sluicegate --port 9000", "serve on another port"),
            example(
                "sluicegate --listen 127.0.0.1:8080,unix:/run/sluicegate/socket",
                "serve this machine alone",
            ),
            example(
                "GOMODEL_MASTER_KEY=a-key OPENAI_API_KEY=sk-… sluicegate",
                "serve without any file",
            ),
        ],
    ),
    (
        &["check"],
        &[
            example(
                "sluicegate check",
                "values, where each was written, and warnings",
            ),
            example(
                "sluicegate check --strict",
                "before a deployment: warnings fail it",
            ),
            example(
                "sluicegate check --connect",
                "try every provider and its key",
            ),
            example(
                "sluicegate check --reference > sluicegate.toml",
                "begin with every setting, none of them in force",
            ),
        ],
    ),
    (
        &["demo"],
        &[
            example("sluicegate demo", "try clients on it until Ctrl-C"),
            example(
                "sluicegate demo --once --port 0",
                "on any free port, and end",
            ),
        ],
    ),
    (
        &["health"],
        &[
            example("sluicegate health", "the gateway as it is configured here"),
            example("sluicegate health 127.0.0.1:8080", "one by its address"),
            example(
                "sluicegate health unix:/run/sluicegate/socket",
                "one by its socket",
            ),
        ],
    ),
    (
        &["init"],
        &[
            example("sluicegate init", "in the working directory"),
            example("sluicegate init gateway", "in a folder that is there"),
        ],
    ),
    (
        &["key"],
        &[
            example(
                "sluicegate key new laptop",
                "a key without limits, printed once",
            ),
            example("sluicegate key list", "all of them, without the keys"),
            example(
                "sluicegate key revoke laptop",
                "it is worthless within a second",
            ),
        ],
    ),
    (
        &["key", "new"],
        &[
            example(
                "sluicegate key new ci --expires 30d --rate 60/m",
                "for a month, one a second",
            ),
            example(
                "sluicegate key new chat --providers openai --allow 'POST /chat/*'",
                "for one thing only",
            ),
        ],
    ),
    (
        &["providers"],
        &[
            example(
                "sluicegate providers list",
                "every instance: health, load, drained or not",
            ),
            example(
                "sluicegate providers drain vllm/2",
                "send nothing new there; what is under way ends",
            ),
            example(
                "sluicegate providers undrain vllm/2",
                "let it have its share again",
            ),
        ],
    ),
    (
        &["providers", "drain"],
        &[
            example(
                "sluicegate providers drain vllm/2 --wait 10m",
                "before its server is stopped",
            ),
            example(
                "sluicegate providers drain vllm/10.0.0.2:8000",
                "by host and port",
            ),
        ],
    ),
    (
        &["top"],
        &[
            example("sluicegate top", "live; q ends it"),
            example(
                "sluicegate top --url unix:/run/sluicegate/metrics",
                "of another gateway",
            ),
            example("sluicegate top --once --json", "one look, for a script"),
        ],
    ),
];

/// The examples of a command, by its words behind the program's name.
pub(crate) fn of(words: &[&str]) -> &'static [Example] {
    let found = EXAMPLES.iter().find(|(command, _)| *command == words);
    found.map_or(&[], |(_, examples)| examples)
}

/// Puts them behind each command's help.
pub(crate) fn put(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (words, examples)| {
        put_at(command, words, list(words, examples))
    })
}

fn put_at(command: Command, words: &'static [&'static str], text: String) -> Command {
    match words {
        [] => command.after_help(text),
        [first, rest @ ..] => command.mut_subcommand(first, |below| put_at(below, rest, text)),
    }
}

/// In columns; where a line leaves no room beside it, what it is for stands below it.
fn list(words: &[&str], examples: &[Example]) -> String {
    let fits = |example: &&Example| example.line.chars().count() <= LONG;
    let width = { examples.iter().filter(fits) }
        .map(|example| example.line.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    if words.is_empty() {
        text.push_str(WITHOUT_COMMAND);
        text.push_str("\n\n");
    }
    text.push_str("Examples:");
    for example in examples {
        let gap = match fits(&example) {
            true => " ".repeat(width - example.line.chars().count() + 2),
            false => format!("\n  {}", " ".repeat(width + 2)),
        };
        text.push_str(&format!("\n  {}{gap}{}", example.line, example.is_for));
    }
    text
}

/// Characters of a line that has room beside it.
const LONG: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_stand_in_columns_of_a_terminal() {
        for (words, examples) in EXAMPLES {
            for line in list(words, examples).lines() {
                assert!(line.chars().count() <= 100, "{line}");
                assert_eq!(line.trim_end(), line);
            }
            assert_eq!(of(words).len(), examples.len());
        }
        assert!(of(&["none"]).is_empty());
    }

    #[test]
    fn one_too_long_has_its_words_below() {
        let long = "x".repeat(LONG + 1);
        let long: &'static str = Box::leak(long.into_boxed_str());
        let text = list(
            &["a"],
            &[
                example("one", "1"),
                example("three", "3"),
                example(long, "many"),
            ],
        );
        assert_eq!(
            text,
            format!("Examples:\n  one    1\n  three  3\n  {long}\n         many")
        );
    }
}
