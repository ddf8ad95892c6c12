//! Capture files: the readers on files of our own making, and the whole way from file to flows on
//! the corpus.

#[path = "replay/corpus.rs"]
mod corpus;
#[path = "replay/differences.rs"]
mod differences;
#[path = "replay/oracle.rs"]
mod oracle;
#[path = "replay/play.rs"]
mod play;
