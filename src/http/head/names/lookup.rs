//! Which known name some bytes are. All that this is told by is made of the table.

use super::super::grammar::CASE;
use super::{Name, OtherMarks, SPELLINGS};
use crate::base::bytes::within;
use crate::base::steps;

/// Says which of the names the gateway knows this is.
///
/// Length and third byte rule out nearly every name that is only passed on, and all known names but a few.
#[must_use]
#[inline]
pub(crate) fn name(bytes: &[u8]) -> Name {
    match exactly(bytes) {
        Name::Other if may_be_disguised(bytes) => disguised(bytes),
        name => name,
    }
}

#[inline]
fn exactly(bytes: &[u8]) -> Name {
    match bytes {
        [_, _, telling, ..] | [_, telling] if letters(bytes.len()) & letter(*telling) != 0 => {
            compared(bytes, *telling)
        }
        _ => Name::Other,
    }
}

/// Whether this is one of the first letters of [`disguised`] names, and a mark in it is none that they have.
fn may_be_disguised(bytes: &[u8]) -> bool {
    let Some(first) = bytes.first() else {
        return false;
    };
    if !first.is_ascii_alphabetic() || FIRST_LETTERS & letter(*first) == 0 {
        return false;
    }
    steps::count(bytes.len());
    let (mut odd, mut before) = (0, 0);
    for byte in bytes {
        let mark = MARKS.get(usize::from(*byte)).copied().unwrap_or_default();
        odd |= mark & (before | 2);
        before = mark;
    }
    odd != 0
}

/// A bit for a hyphen, which may not follow a mark, and another one for every other mark.
static MARKS: [u8; 256] = {
    let mut marks = [0; 256];
    let (mut rest, mut byte) = (marks.as_mut_slice(), 0_u8);
    while let [first, after @ ..] = rest {
        *first = match byte {
            b'-' => 1,
            _ if is_mark(byte) => 3,
            _ => 0,
        };
        (rest, byte) = (after, byte.wrapping_add(1));
    }
    marks
};

/// What this name is to servers that take each mark, or a run of them, for a hyphen. What is only passed on remains that.
#[cold]
fn disguised(bytes: &[u8]) -> Name {
    let folded = { bytes.iter() }.fold(Folded::default(), |name, byte| name.with(*byte));
    let name = exactly(folded.bytes());
    match name.with_other_marks() {
        OtherMarks::Another => Name::Other,
        OtherMarks::Same => name,
        OtherMarks::Disguised => Name::Disguised,
    }
}

/// The beginning of a name, with one hyphen for every run of marks: one byte more than any exact name the gateway
/// knows, so that a longer name is never taken for one of them.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::http) struct Folded {
    bytes: [u8; LEN_MAX + 1],
    len: u8,
}

impl Folded {
    /// With the next byte of the name.
    pub(in crate::http) fn with(mut self, byte: u8) -> Self {
        let is_mark = is_mark(byte);
        if is_mark && self.bytes().last() == Some(&b'-') {
            return self;
        }
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = if is_mark { b'-' } else { byte };
            self.len += 1;
        }
        self
    }

    /// What of it counts.
    pub(in crate::http) fn bytes(&self) -> &[u8] {
        within(&self.bytes, ..usize::from(self.len))
    }
}

const fn is_mark(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric()
}

/// A bit for each letter, in any case; other bytes share them.
const fn letter(byte: u8) -> u32 {
    1 << (byte & 31)
}

/// Compares with the few names that it can be.
#[inline(never)]
fn compared(bytes: &[u8], telling: u8) -> Name {
    let place = LETTERS * shelf(bytes.len()) + usize::from(telling & 31);
    let first = TABLES.first.get(place).copied().unwrap_or_default();
    let candidates = TABLES.candidates.get(usize::from(first)..);
    for candidate in candidates.unwrap_or_default() {
        if candidate.begins(bytes) {
            return candidate.name;
        }
        if candidate.is_last {
            break;
        }
    }
    Name::Other
}

/// A spelling that names of one length with one telling byte are compared with.
#[derive(Clone, Copy)]
struct Candidate {
    /// See [`words`].
    words: [u64; 3],
    len: u8,
    name: Name,
    /// Of those with this length and byte.
    is_last: bool,
}

impl Candidate {
    const NONE: Self = Self::new(b"", Name::Other);

    #[expect(clippy::cast_possible_truncation, reason = "see WORDS_BYTES_MAX")]
    const fn new(spelling: &[u8], name: Name) -> Self {
        Self {
            words: words(spelling),
            len: spelling.len() as u8,
            name,
            is_last: false,
        }
    }

    /// Whether the bytes, which have the right length, begin like this in any case. Every small letter, and nothing
    /// else that a spelling holds, has the bit of `@`; the bit beside it is that of the case.
    #[inline(always)]
    fn begins(&self, bytes: &[u8]) -> bool {
        let Some(words) = bytes.get(..usize::from(self.len)).map(words) else {
            return false;
        };
        let differs = |(read, own): (u64, u64)| (read | (own & CASE << 1) >> 1) ^ own;
        let ([a, b, c], [own_a, own_b, own_c]) = (words, self.words);
        differs((a, own_a)) | differs((b, own_b)) | differs((c, own_c)) == 0
    }
}

/// What [`words`] hold.
const WORDS_BYTES_MAX: usize = 24;

/// All of two to 24 bytes: the first ones, the last ones and those between; some may be there twice.
#[inline(always)]
const fn words(bytes: &[u8]) -> [u64; 3] {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let middle = match bytes.split_at_checked(8) {
            Some((_, rest)) if rest.len() >= 8 => rest.first_chunk(),
            _ => None,
        };
        let middle = match middle {
            Some(middle) => *middle,
            None => *first,
        };
        [
            u64::from_le_bytes(*first),
            u64::from_le_bytes(*last),
            u64::from_le_bytes(middle),
        ]
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        [
            u32::from_le_bytes(*first) as u64,
            u32::from_le_bytes(*last) as u64,
            0,
        ]
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        [
            u16::from_le_bytes(*first) as u64,
            u16::from_le_bytes(*last) as u64,
            0,
        ]
    } else {
        [0; 3]
    }
}

fn shelf(len: usize) -> usize {
    len.min(SHELVES - 1)
}

/// The telling bytes of the known names of a length.
fn letters(len: usize) -> u32 {
    TABLES.letters.get(shelf(len)).copied().unwrap_or_default()
}

/// One for each length that a known name has, and one for all that are greater.
const SHELVES: usize = LEN_MAX + 2;
/// As many as [`letter`] tells apart.
const LETTERS: usize = 32;

static TABLES: Tables = Tables::new();

/// The spellings as they are looked for.
struct Tables {
    /// By shelf: the telling bytes, see [`letter`].
    letters: [u32; SHELVES],
    /// By shelf and telling byte: the first candidate, where there is one.
    first: [u8; LETTERS * SHELVES],
    candidates: [Candidate; CANDIDATES],
}

impl Tables {
    #[expect(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "the compiler runs it, and says what does not fit"
    )]
    const fn new() -> Self {
        let mut tables = Self {
            letters: [0; SHELVES],
            first: [0; LETTERS * SHELVES],
            candidates: [Candidate::NONE; CANDIDATES],
        };
        let (mut next, mut place) = (0, 0);
        while place < LETTERS * SHELVES {
            let (shelf, telling) = (place / LETTERS, place % LETTERS);
            let (first, mut rest) = (next, SPELLINGS);
            while let [(spelling, name), after @ ..] = rest {
                let spelling = spelling.as_bytes();
                if is_on(shelf, spelling) && (telling_byte(spelling) & 31) as usize == telling {
                    tables.candidates[next] = Candidate::new(spelling, *name);
                    next += 1;
                }
                rest = after;
            }
            if next > first {
                tables.letters[shelf] |= 1 << telling;
                tables.first[place] = first as u8;
                tables.candidates[next - 1].is_last = true;
            }
            place += 1;
        }
        assert!(next == CANDIDATES && next <= u8::MAX as usize);
        tables
    }
}

/// Spellings on all shelves.
const CANDIDATES: usize = {
    let (mut count, mut shelf) = (0, 0);
    while shelf < SHELVES {
        let mut rest = SPELLINGS;
        while let [(spelling, _), after @ ..] = rest {
            count += is_on(shelf, spelling.as_bytes()) as usize;
            rest = after;
        }
        shelf += 1;
    }
    count
};

/// Bytes of the longest name that is known as a whole.
const LEN_MAX: usize = {
    let (mut most, mut rest) = (0, SPELLINGS);
    while let [(spelling, _), after @ ..] = rest {
        if !begins_many(spelling.as_bytes()) && spelling.len() > most {
            most = spelling.len();
        }
        rest = after;
    }
    most
};

/// The first letters of names that count with other marks, too.
const FIRST_LETTERS: u32 = {
    let (mut letters, mut rest) = (0, SPELLINGS);
    while let [(spelling, name), after @ ..] = rest {
        if !matches!(name.with_other_marks(), OtherMarks::Another)
            && let [first, ..] = spelling.as_bytes()
        {
            letters |= letter(*first);
        }
        rest = after;
    }
    letters
};

/// The third byte, for too many names begin with `x-`.
const fn telling_byte(name: &[u8]) -> u8 {
    match name {
        [_, _, telling, ..] | [_, telling] => *telling,
        _ => 0,
    }
}

const fn begins_many(spelling: &[u8]) -> bool {
    matches!(spelling, [.., b'-'])
}

const fn is_on(shelf: usize, spelling: &[u8]) -> bool {
    spelling.len() == shelf || begins_many(spelling) && spelling.len() < shelf
}

const _: () = assert!(LEN_MAX <= WORDS_BYTES_MAX);
const _: () = {
    let mut rest = SPELLINGS;
    while let [(spelling, _), after @ ..] = rest {
        assert!(is_fit(spelling.as_bytes()));
        let mut others = after;
        while let [(other, _), after @ ..] = others {
            assert!(
                !is_one_of(spelling.as_bytes(), other.as_bytes()),
                "two rows know it"
            );
            assert!(
                !is_one_of(other.as_bytes(), spelling.as_bytes()),
                "two rows know it"
            );
            others = after;
        }
        rest = after;
    }
};

/// Whether a spelling can be looked for: small letters, digits and single hyphens, the first a letter.
const fn is_fit(spelling: &[u8]) -> bool {
    let ([first, rest @ ..], 2..=WORDS_BYTES_MAX) = (spelling, spelling.len()) else {
        return false;
    };
    let (mut fits, mut before, mut rest) = (first.is_ascii_lowercase(), *first, rest);
    while let [byte, after @ ..] = rest {
        fits &= match byte {
            b'-' => before != b'-',
            _ => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
        };
        (before, rest) = (*byte, after);
    }
    fits
}

/// Whether a name is one of those that a spelling stands for.
const fn is_one_of(name: &[u8], spelling: &[u8]) -> bool {
    let mut same = is_on(name.len(), spelling);
    let (mut name, mut spelling) = (name, spelling);
    while let ([a, name_after @ ..], [b, spelling_after @ ..]) = (name, spelling) {
        same &= *a == *b;
        (name, spelling) = (name_after, spelling_after);
    }
    same
}
