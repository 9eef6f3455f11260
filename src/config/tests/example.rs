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
    let env = [
        ("ANTHROPIC_API_KEY", "a"),
        ("OPENROUTER_API_KEY", "a"),
        ("AZURE_API_KEY", "a"),
        ("KEY_A", "a"),
        ("KEY_B", "b"),
    ];
    let example = load_from(&env, "", &reference()).unwrap();
    // Keys from files that are not there.
    let absent = [
        "master_key_file",
        "key_file",
        "proxy_ca_file",
        "ca_file",
        "client_cert",
        "client_key",
    ];
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
        "providers.\"anthropic\"",
    ] {
        let (written, default) = (section(&all, name), section(&example, name));
        let differs = |line: &&str| !default.contains(*line) && !line.starts_with("proxy = ");
        assert_eq!(written.lines().find(differs), None, "{name}");
    }
    let names = all.providers.iter().map(|provider| &*provider.name);
    let names: Vec<&str> = names.collect();
    assert_eq!(names, ["anthropic", "local", "openrouter", "vllm"]);
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

#[test]
fn the_example_changes_nothing_until_a_line_is_uncommented() {
    let in_force = |toml: &str, env: Env<'_>| load_from(env, "", toml).unwrap().describe();
    let env = [
        ("ANTHROPIC_API_KEY", "a"),
        ("GOMODEL_MASTER_KEY", "0123456789abcdef"),
    ];
    for env in [&[][..], &env] {
        assert_eq!(in_force(&reference(), env), in_force("", env));
    }
    let lines = reference();
    let code = |line: &&str| !line.starts_with('[') && !line.trim_start().starts_with('#');
    assert_eq!(
        lines.lines().filter(|line| !line.is_empty()).find(code),
        None
    );
    // What is no default is called an example, there or in front of its table.
    let (tables, _) = lines.split_once("# A provider exists").unwrap();
    let shown = |line: &str| {
        let (setting, about) = line.strip_prefix("# ")?.split_once(" # ")?;
        setting
            .contains(" = ")
            .then(|| (setting.trim().to_owned(), about.to_owned()))
    };
    let mut examples = 0;
    let mut table = "";
    for line in tables.lines() {
        if line.starts_with('[') {
            table = line.split(' ').next().unwrap();
        }
        let Some((setting, about)) = shown(line) else {
            continue;
        };
        // A proxy is shown with whom it is for.
        let env = [("OPENAI_API_KEY", "k")];
        let with = load_from(&env, "", &format!("{table}\n{setting}\n"));
        let is_default = with.is_ok_and(|config| {
            // Where there is a key.
            let changed = [settings(&config.describe()), settings(&in_force("", &env))];
            changed[0] == changed[1] || setting.starts_with("listen = [\"0.0.0.0:8080\"")
        });
        let is_example = about.contains("an example");
        assert_eq!(is_example, !is_default, "{line}");
        examples += usize::from(is_example);
    }
    assert!(examples > 8, "{examples}");
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
            // Its inner tables belong to it.
            name => {
                let mut end = from.split("\n[");
                let own = end.next().unwrap().to_owned();
                let inner = end.take_while(|next| next.starts_with(&format!("{name}.")));
                &inner.fold(own, |own, inner| own + "\n" + inner)
            }
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
