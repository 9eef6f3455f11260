//! The two packages hold the same, of files that there are; the units agree with the settings beside them.

use std::collections::BTreeMap;

use toml::Value;

use super::contrib::{lines, path, text};

/// Source and mode of every packaged file, by where it goes.
type Files = BTreeMap<String, (String, String)>;

fn metadata(tool: &str) -> Value {
    let manifest: toml::Table = toml::from_str(&text("Cargo.toml")).unwrap();
    manifest["package"]["metadata"][tool].clone()
}

fn word(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value:?}"))
        .to_owned()
}

/// A destination that is a folder takes the source's name.
fn at(folder: &str, source: &str) -> String {
    match folder.ends_with('/') {
        true => format!("/{folder}{}", source.rsplit('/').next().unwrap()),
        false => format!("/{}", folder.trim_start_matches('/')),
    }
}

fn of_deb() -> Files {
    let metadata = metadata("deb");
    let assets = metadata["assets"].as_array().unwrap().iter();
    let files = assets.map(|asset| {
        let [source, to, mode] = [0, 1, 2].map(|index| word(&asset[index]));
        (at(&to, &source), (source, mode))
    });
    files.collect()
}

fn of_rpm() -> Files {
    let metadata = metadata("generate-rpm");
    let assets = metadata["assets"].as_array().unwrap().iter();
    let files = assets.map(|asset| {
        let [source, to, mode] = ["source", "dest", "mode"].map(|key| word(&asset[key]));
        (at(&to, &source), (source, mode))
    });
    files.collect()
}

#[test]
fn both_packages_hold_the_same() {
    let mut rpm = of_rpm();
    // Where shells of either family look.
    let zsh = rpm
        .remove("/usr/share/zsh/site-functions/_sluicegate")
        .unwrap();
    rpm.insert(
        "/usr/share/zsh/vendor-completions/_sluicegate".to_owned(),
        zsh,
    );
    // Which cargo-deb does by itself, from contrib/debian/copyright.
    rpm.retain(|to, _| !to.starts_with("/usr/share/licenses/"));
    let fish = "/usr/share/fish/vendor_completions.d/sluicegate.fish";
    assert!(rpm.contains_key(fish));
    assert_eq!(of_deb(), rpm);
}

#[test]
fn what_they_hold_is_there_or_made() {
    let made = text("contrib/package.sh");
    for (source, _) in of_deb().into_values().chain(of_rpm().into_values()) {
        let by_script = source.starts_with("target/package/") && {
            let name = source.rsplit('/').next().unwrap();
            let shell = name.rsplit('.').next().unwrap();
            made.contains(&source) || ["bash", "zsh", "fish"].contains(&shell)
        };
        assert!(by_script || path(&source).is_file(), "{source}");
    }
    for key in [
        "post_install_script",
        "pre_uninstall_script",
        "post_uninstall_script",
    ] {
        let script = word(&metadata("generate-rpm")[key]);
        assert!(path(&script).is_file(), "{script}");
    }
}

#[test]
fn what_an_operator_changes_survives_an_upgrade() {
    let deb = metadata("deb");
    let kept: Vec<String> = deb["conf-files"]
        .as_array()
        .unwrap()
        .iter()
        .map(word)
        .collect();
    let rpm = metadata("generate-rpm");
    for asset in rpm["assets"].as_array().unwrap() {
        let to = word(&asset["dest"]);
        let noreplace = asset.get("config").map(word).as_deref() == Some("noreplace");
        assert_eq!(noreplace, to.starts_with("/etc/"), "{to}");
        assert_eq!(kept.contains(&to), noreplace, "{to}");
    }
}

#[test]
fn the_socket_listens_where_the_packaged_service_does() {
    let settings: toml::Table = toml::from_str(&text("contrib/debian/sluicegate.toml")).unwrap();
    let listen = settings["server"]["listen"].as_array().unwrap().clone();
    let listen: Vec<String> = listen.iter().map(word).collect();
    let unit = text("contrib/sluicegate.socket");
    let streams: Vec<&str> = { lines(&unit) }
        .filter_map(|line| line.strip_prefix("ListenStream="))
        .collect();
    assert_eq!(streams, listen);
    assert!(
        streams
            .iter()
            .all(|address| address.starts_with("127.0.0.1:"))
    );
}

#[test]
fn the_release_holds_the_same_targets_as_the_handbook() {
    let script = text("contrib/release.sh");
    for target in ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"] {
        assert!(script.contains(target), "{target}");
        assert!(text("docs/installing.md").contains(target), "{target}");
    }
}
