//! `sluicegate providers list`: instances for people and for scripts. Pure.

use serde_json::json;

use crate::base::columns::table;
use crate::process::control::answer::Instance;

use super::ask::Asked;

const HEAD: [&str; 6] = [
    "NAME",
    "BASE URL",
    "STATE",
    "UNDER WAY",
    "REQUESTS",
    "FAILED",
];

/// A table.
pub(super) fn text(all: &Asked) -> Vec<u8> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(all.instances.iter().map(row));
    let mut text = table(&rows);
    if all.predecessor {
        text.push_str("The process before still ends requests, which are not counted here.\n");
    }
    text.into_bytes()
}

/// The same for scripts.
pub(super) fn json(all: &Asked) -> Vec<u8> {
    let value = json!({ "instances": all.instances, "predecessor": all.predecessor });
    format!("{value:#}\n").into_bytes()
}

/// What an instance is called, and where it is.
pub(super) fn name(instance: &Instance) -> String {
    printable(&format!("{} ({})", instance.name(), instance.base_url))
}

/// So many of them.
pub(super) fn requests(count: u64) -> String {
    match count {
        1 => "1 request".to_owned(),
        count => format!("{count} requests"),
    }
}

fn row(instance: &Instance) -> [String; 6] {
    let count =
        |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    [
        instance.name(),
        instance.base_url.clone(),
        state(instance),
        count(instance.under_way),
        count(instance.requests_total),
        count(instance.failures_total),
    ]
    .map(|text| printable(&text))
}

/// `drained` where it is, with what else there is to say of it.
fn state(instance: &Instance) -> String {
    let health = instance.health.as_deref().unwrap_or("the only one");
    let time = instance.out_s.map(|seconds| format!(" for {seconds} s"));
    let health = format!("{health}{}", time.unwrap_or_default());
    match instance.drained {
        true if health == "serves" => "drained".to_owned(),
        true => format!("drained, {health}"),
        false => health,
    }
}

/// A terminal obeys some of what others may have written.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instance_has_a_line_and_controls_nothing() {
        let instance = |number: u64, drained: bool, health: Option<&str>| Instance {
            provider: "v\x1b".to_owned(),
            instance: number,
            address: (number == 2).then(|| "10.0.0.7".to_owned()),
            base_url: "http://h".to_owned(),
            drained,
            health: health.map(str::to_owned),
            out_s: (number == 3).then_some(7),
            under_way: health.map(|_| number),
            requests_total: health.map(|_| 10),
            failures_total: health.map(|_| 0),
        };
        let all = Asked {
            instances: vec![
                instance(1, false, Some("serves")),
                instance(2, true, Some("serves")),
                instance(3, true, Some("out")),
                instance(4, false, None),
            ],
            predecessor: true,
        };
        let text = String::from_utf8(text(&all)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "NAME           BASE URL  STATE                 UNDER WAY  REQUESTS  FAILED",
                "v?/1           http://h  serves                1          10        0",
                "v?/2-10.0.0.7  http://h  drained               2          10        0",
                "v?/3           http://h  drained, out for 7 s  3          10        0",
                "v?/4           http://h  the only one          -          -         -",
                "The process before still ends requests, which are not counted here.",
            ]
        );
        assert_eq!(requests(1), "1 request");
        assert!(name(&all.instances[0]).starts_with("v?/1 ("));
    }
}
