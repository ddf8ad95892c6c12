//! Runs beside threads that keep the CPUs busy: what depends on the moment shows there.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use anyhow::{Context, Result};

use super::{over::Over, step};

/// Busy threads for each CPU: more than one, so that they also take turns with the demo.
const THREADS_A_CPU: usize = 2;

/// Ends at the first run that fails.
pub(super) fn beside(runs: u32, run: impl Fn() -> Result<()>) -> Result<()> {
    let is_over = AtomicBool::new(false);
    let cpus = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        for _ in 0..THREADS_A_CPU * cpus {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let _over = Over(&is_over);
        (1..=runs).try_for_each(|number| {
            step(&format!("run {number} of {runs}, beside busy CPUs"));
            run().with_context(|| format!("run {number} of {runs}"))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::beside;

    #[test]
    fn a_run_that_panics_ends_the_load() {
        assert!(catch_unwind(|| beside(1, || panic!("as in a demo"))).is_err());
    }
}
