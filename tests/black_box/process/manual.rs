//! What the program says of itself: the manual page, the completion scripts and the reference of settings, each
//! against the others and against the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::{Setup, get};

/// What a command prints.
#[track_caller]
fn printed(args: &[&str]) -> String {
    let finished = args.iter().fold(Setup::bare(), |s, arg| s.arg(arg)).run();
    assert_eq!(finished.code, Some(0), "{args:?} {finished:?}");
    assert_eq!(finished.stderr, "", "{args:?}");
    finished.stdout
}

/// Every command that `--help` names, with the commands below it, and what each of them takes.
fn commands() -> Vec<(Vec<String>, Vec<String>)> {
    let mut found = Vec::new();
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(command) = open.pop() {
        let words: Vec<&str> = command
            .iter()
            .map(String::as_str)
            .chain(["--help"])
            .collect();
        let help = printed(&words);
        let listed = help
            .split_once("\nCommands:\n")
            .map_or("", |(_, list)| list);
        let listed = listed.split("\n\n").next().unwrap();
        for line in listed.lines().filter(|line| line.starts_with("  ")) {
            let name = line.split_whitespace().next().unwrap();
            // A line further in goes on with the one before, and `help` is what `--help` is.
            if !line.starts_with("   ") && name != "help" {
                open.push([command.clone(), vec![name.to_owned()]].concat());
            }
        }
        let word = |c: char| c != '-' && !c.is_ascii_alphanumeric();
        let options = { help.split(word) }
            .filter(|word| word.starts_with("--"))
            .map(str::to_owned);
        found.push((command, options.collect()));
    }
    assert!(found.len() > 7, "{found:?}");
    found
}

#[test]
fn manual_page_and_completions_name_every_command_and_option() {
    let page = printed(&["man"]).replace("\\-", "-");
    let scripts = ["bash", "zsh", "fish"].map(|shell| printed(&["completions", shell]));
    for (command, options) in commands() {
        let name = command.join(" ");
        let heading = format!(".SS sluicegate {name}");
        assert!(name.is_empty() || page.contains(&heading), "{name}");
        for word in command.iter().chain(&options) {
            assert!(page.contains(word.as_str()), "{name} {word}");
            // fish knows an option by its name alone.
            let bare = word.trim_start_matches('-');
            for script in &scripts {
                assert!(script.contains(bare), "{name} {word}\n{script}");
            }
        }
    }
}

#[test]
fn the_manual_page_is_sound_and_names_every_setting() {
    let page = printed(&["man"]);
    let reference = printed(&["check", "--reference"]);
    let requests = [".TH", ".SH", ".SS", ".TP", ".B", ".PP"];
    assert!(page.lines().all(|line| !line.is_empty()), "{page}");
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        let request = line.split(' ').next().unwrap();
        assert!(requests.contains(&request), "{line}");
    }
    let plain = page
        .replace("\\-", "-")
        .replace("\\(dq", "\"")
        .replace("\\e", "\\");
    let settings = reference.lines().filter_map(|line| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let is_key = |key: &str| key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        line.split_once(" = ").filter(|(key, _)| is_key(key))?;
        Some(line.split(" # ").next().unwrap().trim())
    });
    let settings: Vec<&str> = settings.collect();
    assert!(settings.len() > 40, "{settings:?}");
    for setting in settings {
        assert!(plain.contains(&format!(".TP\n.B {setting}\n")), "{setting}");
    }
}

#[test]
fn the_reference_is_a_file_that_can_be_used() {
    let reference = printed(&["check", "--reference"]);
    let with_file = |setup: Setup| {
        let finished = setup.arg("check").run();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let (file, rest) = finished.stdout.split_once('\n').unwrap();
        (file.to_owned(), rest.to_owned())
    };
    // As it is, it changes nothing.
    let (file, in_force) = with_file(Setup::bare().toml(&reference));
    assert_eq!(file, "# configuration file: sluicegate.toml");
    assert_eq!(in_force, with_file(Setup::bare()).1);
}

#[test]
fn the_packaged_configuration_starts_and_lets_nobody_in() {
    let packaged = include_str!("../../../contrib/debian/sluicegate.toml");
    let setup = Setup::new().without("GOMODEL_MASTER_KEY");
    let control = setup.dir().join("control.sock");
    let toml = packaged.replace("/etc/sluicegate/keys.toml", "keys.toml");
    assert_ne!(toml, packaged);
    let moved = toml.replace("/run/sluicegate/control.sock", control.to_str().unwrap());
    assert_ne!(moved, toml);
    let toml = moved;
    let gateway = setup.toml(&toml).file("keys.toml", "").start();
    let mut client = gateway.connect();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
    client.send(get("/p/openai/models"));
    assert_eq!(client.response().status(), 401);
    let listed = gateway.setup().command(&["providers", "list"]).output();
    assert!(listed.unwrap().status.success());
}

/// The examples below a command's help: what is typed, without the variables before it.
fn examples(help: &str) -> Vec<Vec<String>> {
    let (_, list) = help
        .split_once("\nExamples:\n")
        .unwrap_or_else(|| panic!("{help}"));
    let typed = list.lines().filter_map(|line| {
        let line = line
            .strip_prefix("  ")
            .filter(|line| !line.starts_with(' '))?;
        let typed = line.split("  ").next().unwrap();
        let (_, words) = typed.split_once("sluicegate").unwrap();
        // Where it is written to is the shell's business.
        let words = words.split(" > ").next().unwrap();
        let quoted = words
            .split('\'')
            .enumerate()
            .flat_map(|(index, part)| match index % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            });
        Some(quoted.collect())
    });
    typed.collect()
}

#[test]
fn every_command_has_examples_that_it_understands() {
    let page = printed(&["man"]).replace("\\-", "-").replace("\\(aq", "'");
    let mut count = 0;
    for (command, _) in commands() {
        let words: Vec<&str> = { command.iter().map(String::as_str) }
            .chain(["--help"])
            .collect();
        let help = printed(&words);
        if command.len() == 2 && !["new", "drain"].contains(&&*command[1]) {
            // What is below `key` and `providers` is said there.
            continue;
        }
        for example in examples(&help) {
            // With a last word that asks for help instead, a command line is read and nothing done.
            let asked: Vec<&str> = { example.iter().map(String::as_str) }
                .chain(["--help"])
                .collect();
            printed(&asked);
            let typed = example.iter().map(|word| match word.contains(' ') {
                true => format!("'{word}'"),
                false => word.clone(),
            });
            let typed = ["sluicegate".to_owned()]
                .into_iter()
                .chain(typed)
                .collect::<Vec<_>>();
            assert!(
                page.contains(&typed.join(" ")),
                "{typed:?} in the manual page"
            );
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}

/// Names of variables in a text: capitals with underscores between them.
fn variables(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
    let capitals = |word: &&str| {
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        let long = word.len() > 6 && word.contains('_') && !word.starts_with('_');
        *word == "PORT" || long && word.bytes().all(plain)
    };
    words.filter(capitals).collect()
}

#[test]
fn the_reference_names_every_variable_that_is_read_and_no_other() {
    let reference = printed(&["check", "--reference"]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let mut sources = String::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            // The last has names that mean nothing here.
            let is_test = ["tests", "property", "gomodel"]
                .contains(&path.file_stem().unwrap().to_str().unwrap());
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.is_file() && !is_test {
                let text = fs::read_to_string(path).unwrap();
                sources.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
            }
        }
    }
    // A literal of nothing but a name is one that is looked up; messages are longer.
    let literals = sources
        .split('"')
        .filter(|text| variables(text).contains(text));
    let mut read: BTreeSet<&str> = literals.collect();
    // It says where the file is, and is none of its settings.
    assert!(read.remove("SLUICEGATE_CONFIG"));
    assert!(read.len() > 20, "{read:?}");
    let named = variables(&reference);
    let missing: Vec<_> = read.difference(&named).collect();
    assert!(
        missing.is_empty(),
        "not in contrib/sluicegate.toml: {missing:?}"
    );
    let providers = |name: &&&str| !name.ends_with("_API_KEY") && !name.ends_with("_BASE_URL");
    let unread: Vec<_> = named.difference(&read).filter(providers).collect();
    assert!(unread.is_empty(), "read nowhere: {unread:?}");
}

#[test]
fn version_and_help_are_printed() {
    let finished = Setup::bare().arg("--version").run();
    assert_eq!(finished.code, Some(0));
    assert!(
        finished.stdout.contains(env!("CARGO_PKG_VERSION")),
        "{finished:?}"
    );
    let finished = Setup::bare().arg("--help").run();
    assert_eq!(finished.code, Some(0));
    // The last of them says what no command does.
    for word in [
        "check",
        "--config",
        "Examples:",
        "Without a command it serves",
    ] {
        assert!(
            finished.stdout.contains(word),
            "no {word:?} in {finished:?}"
        );
    }
    assert_eq!(Setup::bare().arg("--nonsense").run().code, Some(2));
}
