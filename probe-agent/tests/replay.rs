//! Capture files: the readers on files of our own making, and the whole way from file to flows on
//! the corpus.

#[path = "replay/banks.rs"]
mod banks;
#[path = "replay/blocks.rs"]
mod blocks;
#[path = "replay/command.rs"]
mod command;
#[path = "replay/corpus.rs"]
mod corpus;
#[path = "replay/damage.rs"]
mod damage;
#[path = "replay/differences.rs"]
mod differences;
#[path = "replay/directions.rs"]
mod directions;
#[path = "replay/formats.rs"]
mod formats;
#[path = "replay/fragments.rs"]
mod fragments;
#[path = "replay/groups.rs"]
mod groups;
#[path = "replay/octets.rs"]
mod octets;
#[path = "replay/oracle.rs"]
mod oracle;
#[path = "../src/selftest/packets.rs"]
mod packets;
#[path = "replay/pipes.rs"]
mod pipes;
#[path = "replay/play.rs"]
mod play;
#[path = "replay/sources.rs"]
mod sources;
#[path = "replay/times.rs"]
mod times;
#[path = "replay/versions.rs"]
mod versions;
#[path = "replay/wireless.rs"]
mod wireless;
#[path = "replay/write.rs"]
mod write;
