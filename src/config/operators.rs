//! Who may look at the metrics: the key that is asked for, and what is said where there is none. Pure.

use super::access::{KEY_BYTES, place_of_key, written_key};
use super::error::ConfigError;
use super::file::File;
use super::listeners::Listen;
use super::source::Env;
use super::table::{Draft, METRICS_KEY};

/// The draft's key for the metrics, once all settings are read into it.
pub(super) fn metrics_key(
    env: &Env<'_>,
    file: &File,
    draft: &mut Draft,
) -> Result<(), ConfigError> {
    let of_environment = env.secret(METRICS_KEY)?;
    let (key, key_file) = (draft.metrics_key.take(), draft.metrics_key_file.take());
    let written = written_key(env, key.as_ref(), key_file.as_ref())?;
    let key = of_environment.or(written);
    let metrics = &mut draft.config.metrics;
    if let Some(key) = &key {
        let place = place_of_key(env, file, &[METRICS_KEY], ["metrics", "key"]);
        if key.expose().len() < KEY_BYTES {
            env.warn(ConfigError::new(
                &place.from,
                &place.key,
                super::access::can_be_guessed(),
            ));
        }
        if !metrics.are_wanted() {
            let message =
                "nobody is asked for it; expected metrics.listen or metrics.enabled beside it";
            env.warn(ConfigError::new(&place.from, &place.key, message));
        }
        draft.config.places.note("metrics.key", Some(place));
    } else if let Some(listen) = metrics.listen.iter().find(|it| it.is_reachable()) {
        let warning = warning_of_openness(listen);
        let places = &draft.config.places;
        env.warn(places.refused("metrics.listen", &file.from, warning));
    }
    metrics.key = key;
    Ok(())
}

fn warning_of_openness(listen: &Listen) -> String {
    format!(
        "anyone who reaches {listen} sees who asks for what: paths, ids of keys, providers; \
         expected metrics.key ({METRICS_KEY}), or an address such as 127.0.0.1:9090"
    )
}

#[cfg(test)]
mod tests {
    use super::super::property::{Env, MARKER, load_from};

    const LISTEN: &str = "[metrics]\nlisten = ['127.0.0.1:1']\n";

    #[test]
    fn a_key_has_one_value_in_one_source() {
        let rows: &[(Env<'_>, &str, &str, Option<&str>)] = &[
            (&[], "", "", None),
            (&[], "", "key = 'file'\n", Some("file")),
            (&[], "", "key_file = 'secret'\n", Some(MARKER)),
            (
                &[("SLUICEGATE_METRICS_KEY", "a")],
                "",
                "key = 'file'\n",
                Some("a"),
            ),
            (&[], "SLUICEGATE_METRICS_KEY=b\n", "", Some("b")),
            (
                &[("SLUICEGATE_METRICS_KEY_FILE", "secret")],
                "SLUICEGATE_METRICS_KEY=b\n",
                "",
                Some(MARKER),
            ),
        ];
        for (env, dotenv, toml, expected) in rows {
            let config = load_from(env, dotenv, &format!("{LISTEN}{toml}")).unwrap();
            let key = config.metrics.key.as_ref();
            let key = key.map(|key| String::from_utf8_lossy(key.expose()).into_owned());
            assert_eq!(key.as_deref(), *expected, "{env:?} {dotenv} {toml}");
            assert!(!config.describe().contains(MARKER));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let rows: &[(Env<'_>, &str, &str)] = &[
            (
                &[("SLUICEGATE_METRICS_KEY", "")],
                "",
                "SLUICEGATE_METRICS_KEY",
            ),
            (
                &[("SLUICEGATE_METRICS_KEY_FILE", "")],
                "",
                "SLUICEGATE_METRICS_KEY_FILE",
            ),
            (
                &[("SLUICEGATE_METRICS_KEY", "two words")],
                "",
                "without blanks",
            ),
            (&[], "key = ''\n", "it is empty"),
            (
                &[],
                "key = 'a'\nkey_file = 'secret'\n",
                "only one of key and key_file",
            ),
            (&[], "key_file = 'gone'\n", "cannot read it"),
            (
                &[("SLUICEGATE_METRICS_KEY", "a")],
                "key = ''\n",
                "it is empty",
            ),
        ];
        for (env, toml, said) in rows {
            let error = load_from(env, "", &format!("{LISTEN}{toml}"))
                .err()
                .unwrap();
            assert!(error.to_string().contains(said), "{toml}: {error}");
        }
    }

    fn warnings(toml: &str) -> String {
        let config = load_from(&[], "", &format!("[auth]\nopen = true\n{toml}")).unwrap();
        let warnings = config.warnings.iter().map(ToString::to_string);
        warnings.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_others_can_look_at_is_warned_of() {
        for listen in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            let warned = warnings(&format!(
                "[metrics]\nlisten = ['127.0.0.1:2', '{listen}']\n"
            ));
            for part in ["line 4", "metrics.listen", listen, "SLUICEGATE_METRICS_KEY"] {
                assert!(warned.contains(part), "{listen}: {warned}");
            }
            let keyed = format!("[metrics]\nlisten = ['{listen}']\nkey = '0123456789abcdef'\n");
            assert_eq!(warnings(&keyed), "");
        }
        for listen in ["127.0.0.1:1", "[::1]:1", "unix:/run/m"] {
            assert_eq!(warnings(&format!("[metrics]\nlisten = ['{listen}']\n")), "");
        }
        assert!(warnings("[metrics]\nkey = '0123456789abcdef'\n").contains("nobody is asked"));
        assert!(warnings(&format!("{LISTEN}key = 'short'\n")).contains("can be guessed"));
    }
}
