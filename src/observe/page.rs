//! The page that `metrics.listen` serves at `/`: one document with its style and script in it, which asks for the
//! metrics and the list of requests under way from where it came from, and for nothing else. Pure.
//!
//! What browsers are told with it lets this style and this script run and no other, and no text become markup: paths,
//! names of keys and of providers are whoever's.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};

use crate::base::base64;

const DOCUMENT: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// In the order in which they count on one another.
const SCRIPTS: [&str; 4] = [
    include_str!("page/figures.js"),
    include_str!("page/plots.js"),
    include_str!("page/tables.js"),
    include_str!("page/page.js"),
];

static SCRIPT: LazyLock<String> = LazyLock::new(|| SCRIPTS.concat());

/// Field lines of an answer with it.
static LINES: LazyLock<String> = LazyLock::new(|| {
    let [style, script] = [STYLE, &SCRIPT].map(source);
    format!(
        "Content-Security-Policy: default-src 'none'; script-src {script}; style-src {style}; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n\
         X-Frame-Options: DENY\r\n\
         {UNSHARED}"
    )
});

/// Field lines of whatever is for the one who asks, and is what it is said to be.
pub(crate) const UNSHARED: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
                                   Referrer-Policy: no-referrer\r\n";

/// A text as a source of a content security policy.
fn source(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    format!("'sha256-{}'", base64::encoded(digest.as_ref()))
}

/// See [`LINES`].
#[must_use]
pub(crate) fn lines() -> &'static str {
    &LINES
}

/// The page of a gateway that is mounted at `base`, without a slash at its end, and has its metrics at `endpoint` below
/// that.
#[must_use]
pub(crate) fn html(base: &str, endpoint: &str) -> String {
    let (base, endpoint) = (escaped(base), escaped(endpoint));
    // In the document's order.
    let parts = [
        ("{{base}}", &*base),
        ("{{metrics}}", &*endpoint),
        ("{{style}}", STYLE),
        ("{{script}}", &SCRIPT),
    ];
    let room = parts.iter().map(|(_, text)| text.len()).sum::<usize>();
    let (mut out, mut rest) = (String::with_capacity(DOCUMENT.len() + room), DOCUMENT);
    for (mark, text) in parts {
        let (before, behind) = rest.split_once(mark).unwrap_or((rest, ""));
        out.push_str(before);
        out.push_str(text);
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// As it stands in an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_in_it_once() {
        let page = html("/g", "/\"><script>alert(1)</script>&");
        assert!(!page.contains("{{"), "a mark is left");
        assert!(page.contains("data-base=\"/g\""));
        assert!(
            page.contains("data-metrics=\"/&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;\"")
        );
        for (tag, text) in [("style", STYLE), ("script", &**SCRIPT)] {
            assert_eq!(page.matches(&format!("<{tag}")).count(), 1, "{tag}");
            let whole = format!("<{tag}>{text}</{tag}>");
            assert!(page.contains(&whole), "{tag}");
            // The element would end there.
            assert!(!text.contains("</"), "{tag}");
            assert!(lines().contains(&source(text)), "{tag}");
        }
        assert!(page.is_ascii(), "its encoding would count");
    }

    #[test]
    fn it_asks_nobody_else_and_makes_no_markup() {
        let page = html("", "/metrics");
        for word in [
            "http://",
            "https://",
            "//",
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "Function(",
            "setTimeout(\"",
            "import(",
            " style=",
            " onclick=",
            " src=",
        ] {
            // The namespace of SVG is a name, and comments begin with two slashes as well.
            let found = page.replace("http://www.w3.org/2000/svg", "");
            let found = found
                .lines()
                .map(|line| match line.trim_start().starts_with("// ") {
                    true => "",
                    false => line,
                });
            let found = found.filter(|line| line.contains(word)).collect::<Vec<_>>();
            assert!(found.is_empty(), "{word}: {found:?}");
        }
    }
}
