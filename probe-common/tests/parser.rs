//! The parser on the host: known answers and properties.

#[path = "parser/cases.rs"]
mod cases;
#[path = "../../probe-agent/src/selftest/packets.rs"]
mod packets;
#[path = "parser/properties.rs"]
mod properties;
#[path = "parser/segments.rs"]
mod segments;
