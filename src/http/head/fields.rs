//! A head's field lines, and which of them the gateway knows by name.
//!
//! Most lines of most heads are only passed on. So what looks for fields of its own (framing, persistence,
//! credentials, removals) sees no others, and is told at once of a name that no line has.

use std::ops::Deref;

use super::names::{Name, NameSet, name};
use super::parts::{Field, Side};
use super::seen::Seen;
use crate::base::steps;

/// The field lines of a head in their order; as a slice, all of them.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    lines: Vec<Field>,
    /// Indices of the lines with a name other than [`Name::Other`], in their order.
    known: Vec<usize>,
    /// The names among them.
    names: NameSet,
    /// Lines read before, where they are to be known again: of requests and of responses.
    pub(super) seen: Option<Box<[Seen; 2]>>,
}

impl Fields {
    /// None, and no room for any.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            lines: Vec::new(),
            known: Vec::new(),
            names: NameSet::NONE,
            seen: None,
        }
    }

    /// None, and room for this many. Whatever heads are read into it, lines that were in one of the last ones are
    /// known again.
    #[must_use]
    pub fn remembering(lines: usize) -> Self {
        Self {
            lines: Vec::with_capacity(lines),
            known: Vec::with_capacity(lines),
            names: NameSet::NONE,
            seen: Some(Box::new([
                Seen::of(Side::Request),
                Seen::of(Side::Response),
            ])),
        }
    }

    /// Whether a line has this name, which is not [`Name::Other`].
    #[must_use]
    pub fn has(&self, name: Name) -> bool {
        debug_assert_ne!(name, Name::Other);
        self.names.has(name)
    }

    /// The lines with this name, which is not [`Name::Other`].
    pub fn named(&self, name: Name) -> impl Iterator<Item = &Field> {
        let known = if self.has(name) { &*self.known } else { &[] };
        steps::count(known.len());
        let lines = known.iter().filter_map(|&index| self.lines.get(index));
        lines.filter(move |field| field.name == name)
    }

    /// The lines with a name other than [`Name::Other`], and their indices.
    pub fn known(&self) -> impl Iterator<Item = (usize, &Field)> {
        steps::count(self.known.len());
        let known = self.known.iter();
        known.filter_map(|&index| Some((index, self.lines.get(index)?)))
    }

    /// The lines with one of these names, of which [`Name::Other`] is none, and their indices.
    pub(crate) fn among(&self, names: NameSet) -> impl Iterator<Item = (usize, &Field)> {
        debug_assert!(!names.has(Name::Other));
        let known = match self.names.meets(names) {
            true => &*self.known,
            false => &[],
        };
        steps::count(known.len());
        let lines = known
            .iter()
            .filter_map(|&index| Some((index, self.lines.get(index)?)));
        lines.filter(move |(_, field)| names.has(field.name))
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.known.clear();
        self.names = NameSet::NONE;
    }

    /// Adds one.
    pub(super) fn push(&mut self, line: Field) {
        if line.name != Name::Other {
            self.known.push(self.lines.len());
            self.names = self.names.with(line.name);
        }
        self.lines.push(line);
    }

    /// Adds lines to none, then says which of them have a name that is known. Two loops, for one would need more
    /// registers than there are.
    pub(super) fn fill<'n>(
        &mut self,
        lines: impl ExactSizeIterator<Item = Field>,
        names: impl Iterator<Item = &'n [u8]>,
    ) {
        debug_assert!(self.lines.is_empty());
        self.lines.extend(lines);
        for (index, (line, bytes)) in self.lines.iter_mut().zip(names).enumerate() {
            let name = name(bytes);
            if name != Name::Other {
                line.name = name;
                self.known.push(index);
                self.names = self.names.with(name);
            }
        }
    }
}

impl Deref for Fields {
    type Target = [Field];

    fn deref(&self) -> &[Field] {
        &self.lines
    }
}

/// A set of field indices of one head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldSet([u64; 4]);

impl FieldSet {
    /// Adds one; an index over 255 is never a field's.
    pub fn insert(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    /// Whether it is in the set.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        self.0
            .get(index / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Those in the set, from the greatest down.
    pub fn descending(mut self) -> impl Iterator<Item = usize> {
        std::iter::from_fn(move || {
            let mut words = self.0.iter_mut().enumerate().rev();
            let (at, word) = words.find(|(_, word)| **word != 0)?;
            let bit = word.checked_ilog2()?;
            *word ^= 1 << bit;
            Some(at * 64 + bit as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::FieldSet;

    #[test]
    fn sets_of_fields() {
        let mut set = FieldSet::default();
        assert_eq!(set.descending().next(), None);
        let indices = [0, 1, 2, 62, 63, 64, 127, 128, 191, 192, 254, 255];
        for index in indices.into_iter().chain([256, usize::MAX]) {
            set.insert(index);
        }
        assert!(set.descending().eq(indices.into_iter().rev()));
        let contained = (0..1000).filter(|index| set.contains(*index));
        assert!(contained.eq(indices));
    }
}
