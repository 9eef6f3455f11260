//! The annotated example, against what is read from a file and what is in force.

use super::super::reference;
use super::*;

/// The example with every setting that is commented out in force.
fn uncommented() -> String {
    let setting = |line: &str| {
        let rest = line.strip_prefix("# ")?;
        let word = rest.split([' ', '=']).next()?;
        let plain = word
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let key = plain && rest.starts_with(&format!("{word} ="));
        (key || rest.starts_with('[')).then(|| rest.to_owned())
    };
    let reference = reference();
    let lines = reference
        .lines()
        .map(|line| setting(line).unwrap_or(line.to_owned()));
    lines.map(|line| line + "\n").collect()
}

#[test]
fn the_example_names_every_setting_with_its_default() {
    let env = [("ANTHROPIC_API_KEY", "a")];
    let example = load_from(&env, "", &reference()).unwrap();
    // Keys from files that are not there.
    let absent = ["master_key_file", "ca_file", "client_cert", "client_key"];
    let all = { absent.iter() }.fold(uncommented(), |all, key| all.replace(key, "# "));
    let all = load_from(&env, "", &all).unwrap();
    let section = |config: &Config, name: &str| {
        let text = in_force(config);
        let from = text.split_once(&format!("\n[{name}]")).unwrap().1;
        from.split("\n[").next().unwrap().to_owned()
    };
    for name in [
        "passthrough",
        "timeouts",
        "metrics",
        "log",
        "providers.\"local\"",
    ] {
        let (written, default) = (section(&all, name), section(&example, name));
        let chosen = ["headers", "allow", "deny"];
        let differs = |line: &&str| {
            let is_chosen = chosen.iter().any(|key| line.starts_with(key));
            !default.contains(*line) && !is_chosen
        };
        assert_eq!(written.lines().find(differs), None, "{name}");
    }
    assert_eq!(all.limits.body, Some(32 << 20));
    assert!(all.server.tls.is_some() && example.server.tls.is_none());
    // Whatever `check` can print is in the example.
    let described = all.describe();
    for line in described
        .lines()
        .filter(|line| !line.starts_with(['#', '[']))
    {
        let key = line.split([' ', '.']).next().unwrap();
        assert!(reference().contains(key), "{line}");
    }
}

/// The keys that a table may have: the parser names them where it meets another.
fn known(table: &str) -> Vec<String> {
    let error = load_from(&[], "", &format!("{table}\nzzz = 1\n")).unwrap_err();
    let error = error.to_string();
    let (_, listed) = error.split_once("expected ").expect(&error);
    let names = listed.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn the_example_names_every_key_that_a_file_may_have() {
    let reference = reference();
    let mut tables = known("");
    assert!(tables.len() > 8, "{tables:?}");
    tables.push("server.tls".to_owned());
    for table in tables {
        let (header, shown) = match &*table {
            "providers" => ("[providers.x]".to_owned(), "[providers.".to_owned()),
            name => (format!("[{name}]"), format!("[{name}]")),
        };
        // All tables of providers together, else the one.
        let (_, from) = reference.split_once(&shown).expect(&header);
        let table = match &*table {
            "providers" => from,
            _ => from.split("\n[").next().unwrap(),
        };
        let keys = known(&header);
        assert!(!keys.is_empty(), "{header}");
        for key in keys {
            let word = |text: &str| {
                text.split(|c: char| c != '_' && !c.is_alphanumeric())
                    .any(|w| w == key)
            };
            assert!(
                word(table),
                "{header} {key} is missing in contrib/sluicegate.toml"
            );
        }
    }
}
