//! What is said of this process with everything that is sent.

use std::collections::BTreeMap;

use crate::base::hex;

use super::message::{KeyValue, Resource};

/// The configured attributes win over our own, but for the name, which has a setting of its own. `instance` tells this
/// start of a process from all others.
pub(super) fn resource(
    name: &str,
    attributes: &BTreeMap<String, String>,
    instance: [u8; 16],
) -> Resource {
    // As everybody says it who leaves a name out.
    let is_default = name == DEFAULT_NAME;
    let given = attributes.get(NAME).filter(|_| is_default);
    let mut all = BTreeMap::from([
        (NAME, given.map_or(name, String::as_str).to_owned()),
        ("service.version", crate::base::VERSION.to_owned()),
        ("service.instance.id", uuid(instance)),
        ("process.pid", std::process::id().to_string()),
    ]);
    for (name, value) in attributes.iter().filter(|(name, _)| *name != NAME) {
        all.insert(name, value.clone());
    }
    let attributes = all.into_iter().map(|(name, value)| match name {
        PID => KeyValue::number(name, std::process::id().into()),
        name => KeyValue::text(name, value),
    });
    Resource {
        attributes: attributes.collect(),
    }
}

const NAME: &str = "service.name";
const PID: &str = "process.pid";
const DEFAULT_NAME: &str = "sluicegate";

/// A random one (RFC 9562, version 4).
fn uuid(mut random: [u8; 16]) -> String {
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut random;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let digits = hex::text(&random);
    let mut out = String::with_capacity(36);
    for (at, digit) in digits.chars().enumerate() {
        if [8, 12, 16, 20].contains(&at) {
            out.push('-');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::message::Value;
    use super::*;

    fn texts(name: &str, attributes: &[(&str, &str)]) -> BTreeMap<String, String> {
        let attributes = attributes.iter();
        let attributes = attributes.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let found = resource(name, &attributes.collect(), [0xff; 16]);
        let texts = found
            .attributes
            .into_iter()
            .filter_map(|it| match it.value?.value? {
                Value::Text(text) => Some((it.key, text)),
                Value::Number(_) => None,
            });
        texts.collect()
    }

    #[test]
    fn what_is_configured_wins() {
        let found = texts("sluicegate", &[]);
        assert_eq!(found["service.name"], "sluicegate");
        assert_eq!(
            found["service.instance.id"],
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        let given = [("service.name", "b"), ("service.version", "7"), ("x", "y")];
        let found = texts("sluicegate", &given);
        assert_eq!((&*found["service.name"], &*found["x"]), ("b", "y"));
        assert_eq!(found["service.version"], "7");
        assert_eq!(texts("a", &given)["service.name"], "a");
    }
}
