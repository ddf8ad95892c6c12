//! Everything that draws in a terminal: tables, flows, text of a width, sizes for people.

pub mod flow_format;
pub mod human;
pub mod page;
pub(crate) mod text_table;
