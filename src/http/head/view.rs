//! A head, its field lines and the buffer that both are ranges of, in one borrow.

use std::ops::Deref;

use super::fields::{FieldSet, Fields};
use super::grammar::list_has;
use super::names::Name;
use super::parts::{Field, RequestHead, ResponseHead};

/// The field lines of a head and the buffer that they were read from.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// The lines.
    pub fields: &'a Fields,
    /// What their ranges count in; it may go on behind the head.
    pub buf: &'a [u8],
}

impl<'a> Section<'a> {
    /// `fields` were read from `buf`.
    #[must_use]
    pub const fn new(fields: &'a Fields, buf: &'a [u8]) -> Self {
        Self { fields, buf }
    }

    /// The values of the lines with this name, which is not [`Name::Other`].
    pub fn values(self, name: Name) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.fields.named(name);
        lines.map(move |field| field.value.of(self.buf))
    }

    /// Whether a list of this name holds `token`, in any case.
    #[must_use]
    pub fn lists(self, name: Name, token: &[u8]) -> bool {
        self.values(name).any(|value| list_has(value, token))
    }

    /// A line's value.
    #[must_use]
    pub fn value(self, field: &Field) -> &'a [u8] {
        field.value.of(self.buf)
    }

    /// The lines with this name in any case, which the gateway need not know, and their indices.
    pub fn spelt<'n>(
        self,
        name: &'n [u8],
    ) -> impl Iterator<Item = (usize, &'a Field)> + use<'a, 'n> {
        let lines = self.fields.iter().enumerate();
        lines.filter(move |(_, field)| field.is_named(name, self.buf))
    }

    /// Whether a line with this name goes on.
    #[must_use]
    pub fn keeps(self, name: Name, removed: &FieldSet) -> bool {
        let mut lines = self.fields.known();
        lines.any(|(index, field)| field.name == name && !removed.contains(index))
    }
}

/// A head in the buffer that it begins.
#[derive(Clone, Copy, Debug)]
pub struct HeadView<'a, H> {
    /// As it was parsed.
    pub head: &'a H,
    /// Its field lines.
    pub section: Section<'a>,
}

/// A request's head.
pub(crate) type RequestView<'a> = HeadView<'a, RequestHead>;
/// A response's head.
pub(crate) type ResponseView<'a> = HeadView<'a, ResponseHead>;

impl<'a, H> HeadView<'a, H> {
    /// `head` and `fields` were read from the start of `buf`.
    #[must_use]
    pub const fn new(head: &'a H, fields: &'a Fields, buf: &'a [u8]) -> Self {
        Self {
            head,
            section: Section::new(fields, buf),
        }
    }
}

impl<'a, H> Deref for HeadView<'a, H> {
    type Target = Section<'a>;

    fn deref(&self) -> &Section<'a> {
        &self.section
    }
}

impl<'a> RequestView<'a> {
    /// The method.
    #[must_use]
    pub fn method(self) -> &'a [u8] {
        self.head.method.of(self.buf)
    }

    /// The request target.
    #[must_use]
    pub fn target(self) -> &'a [u8] {
        self.head.target.of(self.buf)
    }
}
