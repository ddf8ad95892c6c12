//! What tests, benchmarks and the demo share, once.
//!
//! * [`skip`]: whether this machine can run a test; says why if not.
//! * [`mod@eventually`]: waits for a condition.
//! * [`command`] and [`process`]: other programs, and children that do not outlive their owner.
//! * [`netns`]: a network namespace, removed when dropped, also by a panic.
//! * [`testbed`]: two namespaces, and the links between them.
//! * [`agent`]: an agent process: configuration, start, questions, end.
//! * [`metrics`]: the text format of Prometheus, as far as the agent uses it.
//! * [`sender`]: puts frames on a wire.
//! * [`cgroup`]: a bound on what a process may take.
//! * [`captures`]: capture files, read and written without the agent's own code.
//!
//! Who may call it: tests of all crates (a development dependency), `probe-bench` and `xtask`. No
//! code that is shipped does.
//!
//! What it never does: it knows no crate of probe, so that `cargo xtask`, which newcomers run first,
//! is built in seconds. It talks to the agent as users do: by its command line, its socket, its
//! files. It never touches a link or a namespace that it did not make, and sends nothing outside of
//! its namespaces.
//!
//! Functions that tests call panic at the line of the test. Those with `try_` return an error
//! instead: benchmarks and the demo call them.

#![deny(unsafe_code)]
#![expect(
    clippy::missing_panics_doc,
    reason = "what a test calls panics where it cannot do its work, as told above"
)]

pub mod agent;
pub mod captures;
pub mod cgroup;
pub mod command;
pub mod eventually;
pub mod metrics;
pub mod netns;
pub mod process;
pub mod sender;
pub mod skip;
pub mod testbed;

pub use self::{
    command::run,
    eventually::{PATIENCE, eventually, within},
};
