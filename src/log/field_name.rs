//! Names of fields as each form of a line has them.

/// A field's name with what stands around it, as each form has it: one copy instead of three.
#[derive(Clone, Copy)]
pub(super) struct FieldName {
    pub json: &'static str,
    pub plain: &'static str,
}

/// The [`FieldName`] of a literal.
macro_rules! field_name {
    ($name:literal) => {
        $crate::log::field_name::FieldName {
            json: concat!(",\"", $name, "\":"),
            plain: concat!(" ", $name, "="),
        }
    };
}
pub(super) use field_name;
