//! The image and the compose file: their form, and that what they say of the gateway is so.

use super::contrib::{lines, path, text, variables};
use crate::support::{Setup, get, ports};

/// A Dockerfile's instructions, each with its words.
fn instructions(text: &str) -> Vec<(String, String)> {
    let joined = lines(text).collect::<Vec<_>>().join("\n");
    let joined = joined.replace("\\\n", "");
    let split = |line: &str| {
        let (name, words) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), words.trim().to_owned())
    };
    joined.lines().map(split).collect()
}

/// Those of the image itself, behind the last FROM.
fn image() -> Vec<(String, String)> {
    let all = instructions(&text("Dockerfile"));
    let last = all.iter().rposition(|(name, _)| name == "FROM").unwrap();
    all[last..].to_vec()
}

/// The only instruction of this name.
#[track_caller]
fn only(image: &[(String, String)], wanted: &str) -> String {
    let found: Vec<_> = image.iter().filter(|(name, _)| name == wanted).collect();
    assert_eq!(found.len(), 1, "{wanted}: {found:?}");
    found[0].1.clone()
}

/// The command of the image's health check.
fn health_check() -> Vec<String> {
    let words = only(&image(), "HEALTHCHECK");
    let (options, command) = words.split_once("CMD").unwrap();
    for option in ["--interval=10s", "--timeout=5s"] {
        assert!(options.contains(option), "{options}");
    }
    serde_json::from_str(command).unwrap()
}

#[test]
fn the_image_holds_the_program_and_certificates_and_runs_as_nobody() {
    let image = image();
    assert_eq!(only(&image, "FROM"), "scratch");
    let copies = image.iter().filter(|(name, _)| name == "COPY");
    let copies: Vec<&str> = copies.map(|(_, words)| words.as_str()).collect();
    let certificates = "/etc/ssl/certs/ca-certificates.crt";
    assert_eq!(
        copies,
        [
            format!("--from=build {certificates} {certificates}"),
            "--from=build /image/sluicegate /sluicegate".to_owned()
        ]
    );
    let user = only(&image, "USER");
    let (user, group) = user.split_once(':').unwrap();
    assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0);
    let entry: Vec<String> = serde_json::from_str(&only(&image, "ENTRYPOINT")).unwrap();
    assert_eq!(entry, ["/sluicegate"]);
    assert_eq!(health_check(), ["/sluicegate", "health"]);
    assert_eq!(only(&image, "STOPSIGNAL"), "SIGTERM");
    let label = only(&image, "LABEL");
    for name in ["title", "description", "licenses"] {
        let named = format!("org.opencontainers.image.{name}=");
        assert!(label.contains(&named), "{label}");
    }
    // Without a shell nothing can be run in it, and it sets no variable of its own.
    let shown = ["FROM", "LABEL", "COPY", "USER", "EXPOSE", "HEALTHCHECK"];
    for (name, words) in &image {
        let known =
            shown.contains(&name.as_str()) || ["STOPSIGNAL", "ENTRYPOINT"].contains(&&**name);
        assert!(known, "{name} {words}");
    }
}

#[test]
fn what_the_image_exposes_is_where_the_gateway_listens_with_a_key() {
    let port = only(&image(), "EXPOSE");
    let filled = Setup::bare()
        .env("GOMODEL_MASTER_KEY", "0123456789abcdef")
        .env("OPENAI_API_KEY", "sk-x");
    let said = filled.arg("check").run();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.contains(&format!("0.0.0.0:{port}")), "{said:?}");
}

#[test]
fn the_health_check_asks_the_gateway_as_it_is_configured() {
    let held = ports::bound();
    let address = ports::addr(&held).to_string();
    drop(held);
    let gateway = Setup::new().env("SLUICEGATE_LISTEN", &address).start();
    let command = health_check();
    let arguments: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let asks = || gateway.setup().command(&arguments).output().unwrap();
    let asked = asks();
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    drop(gateway);
    let nobody = Setup::new().env("SLUICEGATE_LISTEN", &address);
    let asked = nobody.command(&arguments).output().unwrap();
    assert_eq!(asked.status.code(), Some(1), "{asked:?}");
}

/// The scalars of a compose file, by their path; an item of a list has `[]` in its own.
fn compose() -> Vec<(String, String)> {
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut found = Vec::new();
    let text = text("contrib/compose.yaml");
    for line in text.lines().filter(|line| lines(line).next().is_some()) {
        let depth = line.len() - line.trim_start().len();
        assert!(depth % 2 == 0 && !line.contains('\t'), "{line}");
        open.retain(|(above, _)| *above < depth);
        let above: Vec<&str> = open.iter().map(|(_, name)| name.as_str()).collect();
        let above = above.join(".");
        let scalar = |text: &str| text.trim().trim_matches('"').to_owned();
        if let Some(item) = line.trim().strip_prefix("- ") {
            found.push((format!("{above}[]"), scalar(item)));
            continue;
        }
        let (name, value) = line
            .trim()
            .split_once(':')
            .unwrap_or_else(|| panic!("{line}"));
        if value.is_empty() {
            open.push((depth, name.to_owned()));
        } else {
            assert!(value.starts_with(' '), "{line}");
            found.push((format!("{above}.{name}"), scalar(value)));
        }
    }
    found
}

/// The values at a path below the service.
fn of_service<'a>(compose: &'a [(String, String)], place: &str) -> Vec<&'a str> {
    let place = format!("services.sluicegate.{place}");
    let there = compose.iter().filter(|(path, _)| *path == place);
    there.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn the_compose_file_confines_and_names_files_that_there_are() {
    let compose = compose();
    let of = |place| of_service(&compose, place);
    assert_eq!(of("read_only"), ["true"]);
    assert_eq!(of("cap_drop[]"), ["ALL"]);
    let options = of("security_opt[]");
    assert_eq!(options, ["no-new-privileges:true", "seccomp:seccomp.json"]);
    assert!(path("contrib/seccomp.json").is_file());
    assert_eq!(of("ulimits.memlock"), ["-1"]);
    assert_eq!(of("ports[]"), ["127.0.0.1:8080:8080"]);
    assert!(path(&format!("contrib/{}/Dockerfile", of("build")[0])).is_file());
    assert_eq!(of("env_file"), ["keys.env"]);
    // The socket for commands lies where the image's account may make it.
    let control = of("environment.SLUICEGATE_CONTROL");
    let (folder, _) = control[0].rsplit_once('/').unwrap();
    let user = only(&image(), "USER");
    let (user, group) = user.split_once(':').unwrap();
    assert_eq!(
        of("tmpfs[]"),
        [format!("{folder}:mode=0700,uid={user},gid={group}")]
    );
    let check: Vec<String> = serde_json::from_str(of("healthcheck.test")[0]).unwrap();
    assert_eq!(check[0], "CMD");
    assert_eq!(check[1..], health_check());
    // Filled in by somebody, they are nobody else's business.
    for (name, rule) in [
        (".gitignore", "/contrib/keys.env"),
        (".dockerignore", "**/*.env"),
    ] {
        assert!(text(name).lines().any(|line| line == rule), "{name}");
    }
}

#[test]
fn the_compose_file_gives_a_drain_its_time() {
    let reference = text("contrib/sluicegate.toml");
    let default = |key: &str| {
        let line = reference
            .lines()
            .find_map(|line| line.strip_prefix(&format!("# {key} = ")));
        let value = line.unwrap().split_whitespace().next().unwrap();
        value.parse::<u32>().unwrap()
    };
    let compose = compose();
    let grace = of_service(&compose, "stop_grace_period")[0].trim_end_matches('s');
    assert!(grace.parse::<u32>().unwrap() > default("drain") + default("drain_delay"));
}

#[test]
fn the_example_of_its_variables_starts_a_gateway_once_filled_in() {
    let example = text("contrib/keys.env.example");
    // The ones behind a # are there to be uncommented.
    let all = example.replace("# OPENAI", "OPENAI");
    let named = variables(&all);
    assert_eq!(named.len(), 3, "{named:?}");
    let setup = |filled: &str| {
        named.iter().fold(
            Setup::new().without("GOMODEL_MASTER_KEY"),
            |setup, (name, value)| {
                assert_eq!(value, "", "{name}");
                setup.env(name, filled)
            },
        )
    };
    let checked = setup("0123456789abcdef").arg("check").arg("--strict").run();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let gateway = setup("0123456789abcdef").start();
    let mut client = gateway.connect();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
    // As it is, it opens the gateway to nobody: nothing starts.
    let said = setup("").run();
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("set and empty"), "{said:?}");
}
