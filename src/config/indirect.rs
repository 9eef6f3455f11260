//! `${file:/path}` and `${env:NAME}` in the values of variables, as GoModel takes them: what a file or another variable
//! holds is put in and not looked at again; `$${` stands for `${`. Pure; whoever asks looks things up.

/// Most bytes that a file may put in.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;

/// What is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference<'v> {
    /// The content of the file with this path.
    File(&'v str),
    /// The value of the variable with this name.
    Variable(&'v str),
}

/// `value` with all that it refers to; `None` where there is nothing to be put in.
///
/// # Errors
/// What was expected: of the reference, or by `look_up`.
pub(super) fn resolved(
    value: &str,
    look_up: impl Fn(Reference<'_>) -> Result<String, String>,
) -> Result<Option<String>, String> {
    if !value.contains("${") {
        return Ok(None);
    }
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = behind;
            continue;
        }
        out.push_str(before);
        let Some((inner, after)) = behind.split_once('}') else {
            rest = behind;
            out.push_str("${");
            break;
        };
        match reference(inner)? {
            Some(reference) => out.push_str(&look_up(reference)?),
            None => {
                out.push_str("${");
                out.push_str(inner);
                out.push('}');
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(Some(out))
}

/// What stands between the braces, if it is a reference.
fn reference(inner: &str) -> Result<Option<Reference<'_>>, String> {
    let Some((scheme, named)) = inner.split_once(':').filter(|(scheme, named)| {
        // A hyphen begins a default, as in `${NAME:-default}`.
        is_scheme(scheme) && !named.is_empty() && !named.starts_with('-') && !named.contains('{')
    }) else {
        return Ok(None);
    };
    match scheme {
        "file" if named.starts_with('/') => Ok(Some(Reference::File(named))),
        "file" => Err("expected the whole path of a file behind ${file:".to_owned()),
        "env" => Ok(Some(Reference::Variable(named))),
        // What stands there is not repeated: it may be a part of a key.
        _ => Err("expected ${file:/path} or ${env:NAME}; there are no other references".to_owned()),
    }
}

fn is_scheme(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b);
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        let look_up = |reference: Reference<'_>| match reference {
            Reference::File("/none") => Err("no such file".to_owned()),
            Reference::File(path) => Ok(format!("<{path}>")),
            Reference::Variable(name) => Ok(format!("({name}${{env:B}})")),
        };
        match resolved(value, look_up) {
            Ok(None) => "as it is".to_owned(),
            Ok(Some(value)) => value,
            Err(expected) => format!("! {expected}"),
        }
    }

    #[test]
    fn references_are_put_in_once() {
        for (value, expected) in [
            ("sk-1", "as it is"),
            ("$HOME", "as it is"),
            ("${file:/run/a}", "</run/a>"),
            ("a${file:/x}b${env:A}c", "a</x>b(A${env:B})c"),
            ("${env:A}", "(A${env:B})"),
            ("$${file:/x}", "${file:/x}"),
            ("pa$${x}", "pa${x}"),
            ("$$${env:A}", "$${env:A}"),
            ("${A}", "${A}"),
            ("${A:-b}", "${A:-b}"),
            ("${a:-b}", "${a:-b}"),
            ("${a:}", "${a:}"),
            ("${A:b}", "${A:b}"),
            ("${a:{b}", "${a:{b}"),
            ("x${file:/y", "x${file:/y"),
            ("${}${:a}", "${}${:a}"),
            ("${file:/none}", "! no such file"),
            (
                "${file:none}",
                "! expected the whole path of a file behind ${file:",
            ),
            (
                "${vault:k}",
                "! expected ${file:/path} or ${env:NAME}; there are no other references",
            ),
        ] {
            assert_eq!(shown(value), expected, "{value}");
        }
    }
}
