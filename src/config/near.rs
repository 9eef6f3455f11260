//! The known word that somebody may have meant by another one.
//!
//! Only known words are ever said, so that this may be asked of a secret too.

/// The nearest of the known words, if few enough slips lead from it to `word`: one in four letters, at least one. Case
/// does not matter, and a word that goes on behind a known one, or breaks off within it, is near as well.
pub(super) fn near<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let slips = |known: &'k str| Some((slips(word, known)?, known));
    let near = known.into_iter().filter_map(slips);
    near.min_by_key(|(slips, _)| *slips).map(|(_, known)| known)
}

/// What is said of the nearest of the known words, in quotes of this kind; nothing where none is near.
pub(super) fn hint<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
    quote: char,
) -> String {
    let near = near(word, known).map(|known| format!("; did you mean {quote}{known}{quote}?"));
    near.unwrap_or_default()
}

/// Whether exactly one slip leads from one to the other.
pub(super) fn is_slip(word: &str, known: &str) -> bool {
    word.len().abs_diff(known.len()) <= 1 && distance(word, known) == Some(1)
}

/// Letters that were left out, put in, changed or swapped with their neighbour.
fn distance(word: &str, known: &str) -> Option<usize> {
    let short = word.len() <= WORD_BYTES_MAX;
    short.then(|| strsim::osa_distance(&word.to_lowercase(), &known.to_lowercase()))
}

fn slips(word: &str, known: &str) -> Option<usize> {
    let slips = distance(word, known)?;
    let longer = word.len().max(known.len());
    let (begins, goes_on) = (begins(known, word), begins(word, known));
    (slips <= (longer / 4).max(1) && longer > 2 || begins || goes_on).then_some(slips)
}

/// Whether `word` begins with as much of another as says something.
fn begins(word: &str, begin: &str) -> bool {
    begin.len() >= BEGIN_BYTES_MIN && word.to_lowercase().starts_with(&begin.to_lowercase())
}

const BEGIN_BYTES_MIN: usize = 5;

/// No known word is nearly as long.
const WORD_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_few_slips_is_near() {
        let known = ["listen", "base_path", "api_key", "log", "io_uring", "auto"];
        for (word, meant) in [
            ("listn", Some("listen")),
            ("lisetn", Some("listen")),
            ("LISTEN", Some("listen")),
            ("listen_on", Some("listen")),
            ("liste", Some("listen")),
            ("apikey", Some("api_key")),
            ("api-key", Some("api_key")),
            ("basepath", Some("base_path")),
            ("iouring", Some("io_uring")),
            ("lg", Some("log")),
            ("a", None),
            ("key", None),
            ("kqueue", None),
            ("", None),
            (
                "listening_with_many_more_words_than_anybody_could_have_meant_by_it",
                None,
            ),
        ] {
            assert_eq!(near(word, known), meant, "{word}");
        }
        assert_eq!(hint("auot", known, '`'), "; did you mean `auto`?");
        assert_eq!(hint("x", known, '`'), "");
        let two = ["enabled", "enable"];
        assert_eq!(near("enables", two), Some("enabled"));
    }
}
