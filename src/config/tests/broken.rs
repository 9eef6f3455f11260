//! Files that somebody has broken: nothing that is said of them repeats a value.

use proptest::prelude::*;

use super::super::keys;
use super::super::property::shown;

/// Nothing of them that is as long may be shown.
const PART: usize = 8;

const SECRETS: [&str; 5] = [
    "sk-ant-api03-Qm5Xw2LkTz8RvB1nYc4JpHsD7GfEo9Ua",
    "3f9c1e7ab2d84605c7e1f0a9b8d2643e",
    "bXkgc2VjcmV0IGtleSBvZiBtaW5lIGlzIHNhZmU=",
    "sk_sg_Zt7Kq2Wm9XcV4bN1aS6dF8gH3jL5pQ0rT2yU4iO6eRwGh",
    "correct horse#battery=staple, [and] {more}",
];

const DOTENV: &str = "ENABLED_PASSTHROUGH_PROVIDERS=\"openai,vllm\"\nGOMODEL_MASTER_KEY=\"@\"\nOPENAI_API_KEY='@'\n\
    export ANTHROPIC_API_KEY=@\nSLUICEGATE_CORS_ORIGINS=\"https://a.example\"\nVLLM_BASE_URL=\"http://h/v1\"\n\
    SSL_CERT_FILE='/a'\nANTHROPIC_API_KEY_FILE=\"/k\"\nLOG_LEVEL=\"info\"\nOTHER=\"@\"\nOPENAI_EAST_API_KEY=\"@\"\n";

const TOML: &str = "[server]\nlisten = [\n\"127.0.0.1:0\",\n\"127.0.0.1:1\",\n]\ncors_origins = [\"https://a.example\"]\n\
    [auth]\nmaster_key = \"@\"\n\n[passthrough]\nproviders = [\"openai\"]\n[log]\nfile = \"stdout\"\n\
    [upstream]\nca_file = \"/a\"\n[providers.openai]\napi_key = '@'\nbase_url = \"http://h/v1\"\n\
    headers = { X-Token = \"@\", X-Team = \"a\" }\ndeny = [\"GET /a\"]\n[providers.own]\ntype = \"vllm\"\n\
    api_key = \"\"\"\n@\"\"\"\n";

const KEYS: &str = "[[key]]\nid = \"a\"\nname = \"@\"\nsha256 = \"@\"\nproviders = [\"openai\",\n\"@\"]\n\
    allow = [\"GET /a\"]\nrate = \"@\"\n";

/// One accident: a place in the file, and what happens there.
#[derive(Clone, Copy, Debug)]
enum Accident {
    /// A sign between values is lost.
    Lost,
    /// This is typed.
    Typed(&'static str),
    /// The line breaks.
    Joined,
    /// The rest is lost.
    Cut,
}

fn accident() -> impl Strategy<Value = (prop::sample::Index, Accident)> {
    let typed = prop::sample::select(vec![
        "\"", "'", "\"\"\"", "\n", "=", "[", "]", "#", "\\", "{", ",", " ", "$", "\n\n", ":",
    ]);
    let what = prop_oneof![
        4 => Just(Accident::Lost),
        3 => typed.prop_map(Accident::Typed),
        2 => Just(Accident::Joined),
        1 => Just(Accident::Cut),
    ];
    (any::<prop::sample::Index>(), what)
}

fn broken(text: &str, accidents: &[(prop::sample::Index, Accident)]) -> String {
    let mut text = text.to_owned();
    for (place, what) in accidents {
        let pick = |wanted: &dyn Fn(char) -> bool| {
            let places: Vec<usize> = { text.char_indices() }
                .filter_map(|(at, sign)| wanted(sign).then_some(at))
                .collect();
            (!places.is_empty()).then(|| *place.get(&places))
        };
        match what {
            Accident::Lost => {
                if let Some(at) = pick(&|sign| "\"'=[]{},".contains(sign)) {
                    text.remove(at);
                }
            }
            Accident::Typed(typed) => {
                if let Some(at) = pick(&|sign| !sign.is_ascii_alphanumeric()) {
                    text.insert_str(at, typed);
                }
            }
            Accident::Joined => {
                if let Some(at) = pick(&|sign| sign == '\n') {
                    text.remove(at);
                }
            }
            Accident::Cut => text.truncate(pick(&|_| true).unwrap_or(0)),
        }
    }
    text
}

/// The part of the secret that was shown.
fn shown_of<'s>(secret: &'s str, said: &str) -> Option<&'s str> {
    let parts = secret.as_bytes().windows(PART);
    let mut parts = parts.filter_map(|part| std::str::from_utf8(part).ok());
    parts.find(|part| said.contains(part))
}

proptest! {
    #[test]
    fn no_broken_file_shows_a_value(
        secret in prop::sample::select(&SECRETS[..]),
        accidents in prop::collection::vec(accident(), 1..4),
    ) {
        let broken = |text: &str| broken(&text.replace('@', secret), &accidents);
        let (dotenv, toml, keys) = (broken(DOTENV), broken(TOML), broken(KEYS));
        let said = keys::parse(&keys, "keys.toml").err();
        let said = said.map_or_else(String::new, |error| format!("{error} {error:?}"));
        for (file, said) in [
            (&dotenv, shown(&[], &dotenv, "")),
            (&toml, shown(&[], "", &toml)),
            (&keys, said),
        ] {
            let found = shown_of(secret, &said);
            prop_assert!(found.is_none(), "{}\n---\n{said}\n---\n{file}", found.unwrap_or_default());
        }
    }
}
