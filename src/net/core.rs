//! What all tasks of a worker share, whichever side they are on.

pub(crate) mod deadline;
pub(crate) mod ids;
pub(crate) mod listening;
