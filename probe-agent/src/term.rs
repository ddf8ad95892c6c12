//! Everything that draws in a terminal: tables, flows, text of a width, sizes for people.

#[cfg(test)]
pub(crate) mod captures;
pub mod flow_format;
pub(crate) mod groups;
pub mod human;
pub mod page;
pub(crate) mod text_table;
