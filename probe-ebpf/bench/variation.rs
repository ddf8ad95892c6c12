//! How frames become those of many flows: what the benchmark tells its programs.
//!
//! Compiled twice, into the programs and into the benchmark, so that the two cannot disagree.

/// The one value of the map `VARIATION`, by the `*` positions of this module.
pub(crate) type Variation = [u64; 11];

/// Position: state of the random numbers (32 bits, not 0), or the number of the next flow.
pub(crate) const STATE: usize = 0;
/// Position: number of flows, at most 2^32.
pub(crate) const FLOWS: usize = 1;
/// Position: 1 if flows come one after the other, 0 if each is drawn at random.
pub(crate) const IN_TURN: usize = 2;
/// Position: interface that the generator sends to.
pub(crate) const OUT_IFINDEX: usize = 3;
/// Position: runs so far.
pub(crate) const RUNS: usize = 4;
/// Position: nanoseconds between two frames of the generator; 0: as fast as it goes.
pub(crate) const PACE_NS: usize = 5;
/// Position: when the next frames are due, in nanoseconds of the monotonic clock.
pub(crate) const DUE_NS: usize = 6;
/// Position: nanoseconds that the generator has waited so far.
pub(crate) const WAITED_NS: usize = 7;
/// Position: what the generator's arithmetic takes with the core alone, in 1/256 ns; 0 if that is not
/// known. Userspace hands the value of the run before to the next.
pub(crate) const USUAL: usize = 8;
/// Position: when the generator's last wait ended, in nanoseconds.
pub(crate) const LEFT_NS: usize = 9;
/// Position: checks in a row at which the generator had its core alone.
pub(crate) const ALONE: usize = 10;

/// Frames between two waits of the generator: those that the kernel sends, and receives, in one go.
pub(crate) const FRAMES_PER_WAIT: u64 = 64;
/// The one value of the map `WORK`: how often the generator, with its core alone, went how long between
/// two waits, in steps of [`WORK_STEP_NS`]; the last counts all that is longer.
pub(crate) type Work = [u64; 1024];
/// Nanoseconds of a step.
pub(crate) const WORK_STEP_NS: u64 = 128;
