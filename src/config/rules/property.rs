//! What holds for every list of rules, shared by property tests and a fuzz target: a naive reader agrees on plain
//! paths, and no spelling of a path opens what the plain one does not.

use super::Rules;

/// Reads lines, the first a method, the second a path, the others rules, and asserts what must hold; `at` says where
/// and how the path is spelt anew.
pub fn holds(input: &[u8], at: usize) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.lines();
    let method = lines.next().unwrap_or_default();
    let endpoint = lines.next().unwrap_or_default();
    let list: Vec<&str> = lines.filter(|rule| Rules::parse(&[rule]).is_ok()).collect();
    let Ok(rules) = Rules::parse(&list) else {
        unreachable!("each of them is a rule")
    };
    let texts: Vec<&str> = rules.texts().collect();
    assert_eq!(Rules::parse(&texts).as_ref(), Ok(&rules));
    assert_eq!(rules.is_empty(), list.is_empty());
    let (method, endpoint) = (method.as_bytes(), endpoint.as_bytes());
    more_rules_let_more_through(&list, &rules, method, endpoint);
    if is_plain(endpoint) {
        agrees_with_model(&list, &rules, method, endpoint);
        spellings_open_nothing(&rules, method, endpoint, at);
    }
}

/// More of an allow list allows more, more of a deny list denies more, and nothing escapes both of everything.
fn more_rules_let_more_through(list: &[&str], rules: &Rules, method: &[u8], endpoint: &[u8]) {
    let half = list.get(..list.len() / 2).unwrap_or_default();
    let Ok(fewer) = Rules::parse(half) else {
        unreachable!("each of them is a rule")
    };
    assert!(!fewer.allow(method, endpoint) || rules.allow(method, endpoint));
    assert!(!fewer.deny(method, endpoint) || rules.deny(method, endpoint));
    let Ok(all) = Rules::parse(&["* /*"]) else {
        unreachable!("a rule")
    };
    assert!(all.allow(method, endpoint) || all.deny(method, endpoint));
}

/// Letters, digits, hyphens and single slashes, and no version before them.
fn is_plain(endpoint: &[u8]) -> bool {
    let plain = |segment: &[u8]| {
        !segment.is_empty()
            && segment
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    let mut segments = endpoint.split(|byte| *byte == b'/');
    let versioned = endpoint
        .get(..2)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"v1"));
    !versioned && segments.all(plain)
}

fn agrees_with_model(list: &[&str], rules: &Rules, method: &[u8], endpoint: &[u8]) {
    let (method, endpoint) = (lossy(method), lossy(endpoint));
    let lower = |text: &str| text.to_ascii_lowercase();
    let allowed = list.iter().any(|rule| fits(rule, &method, &endpoint));
    let denied = list.iter().any(|rule| {
        fits(
            &unversioned(&lower(rule)),
            &lower(&method),
            &lower(&endpoint),
        )
    });
    let shown = format!("{method} {endpoint} {list:?}");
    assert_eq!(
        rules.allow(method.as_bytes(), endpoint.as_bytes()),
        allowed,
        "{shown}"
    );
    assert_eq!(
        rules.deny(method.as_bytes(), endpoint.as_bytes()),
        denied,
        "{shown}"
    );
}

/// A rule with one version before its path, where it has several.
fn unversioned(rule: &str) -> String {
    let mut rule = rule.to_owned();
    while rule.contains(" /v1/v1/") || rule.contains("\t/v1/v1/") {
        rule = rule.replacen("/v1/v1/", "/v1/", 1);
    }
    rule
}

fn fits(rule: &str, method: &str, endpoint: &str) -> bool {
    let mut words = rule.split_whitespace();
    let (wanted, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = path.strip_prefix('/').unwrap_or(path);
    let begun = path.strip_suffix('*');
    let path = begun.unwrap_or(path);
    let path = path.strip_prefix("v1/").unwrap_or(path);
    let head = wanted.eq_ignore_ascii_case("get")
        && method == wanted.replace("GET", "HEAD").replace("get", "head");
    let path_fits = match begun {
        Some(_) => endpoint.starts_with(path),
        None => endpoint == path,
    };
    (wanted == "*" || wanted == method || head) && path_fits
}

/// What is denied stays so, however it is spelt; what is allowed in an escaped spelling is so without it.
fn spellings_open_nothing(rules: &Rules, method: &[u8], endpoint: &[u8], at: usize) {
    let place = at % endpoint.len().max(1);
    let (before, after) = endpoint.split_at(place);
    let Some((&byte, behind)) = after.split_first() else {
        return;
    };
    let escaped = |format: String| [before, format.as_bytes(), behind].concat();
    let escapes = [
        escaped(format!("%{byte:02x}")),
        escaped(format!("%{byte:02X}")),
        escaped(format!("%25{byte:02x}")),
        escaped(format!("%{:02x}{:02x}", b'%', byte)),
    ];
    for spelt in &escapes {
        assert!(
            !rules.allow(method, spelt) || rules.allow(method, endpoint),
            "{}",
            lossy(spelt)
        );
    }
    let text = lossy(endpoint);
    let others = [
        text.to_ascii_uppercase(),
        format!("v1/{text}"),
        format!("V1/v1/{text}"),
        format!("/{text}"),
        format!("{text}/"),
        format!("{text};x=y"),
        text.replacen('/', "//", 1),
        text.replacen('/', "\\", 1),
        text.replacen('/', "%2f", 1),
        text.replacen('/', ";a/", 1),
    ];
    let others = others.iter().map(|spelt| spelt.as_bytes());
    for spelt in escapes.iter().map(Vec::as_slice).chain(others) {
        let folded = method.to_ascii_lowercase();
        let denied = rules.deny(method, spelt) && rules.deny(&folded, spelt);
        assert!(!rules.deny(method, endpoint) || denied, "{}", lossy(spelt));
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
