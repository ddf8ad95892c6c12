//! What the generator's program has counted, and what it took while the core was ours alone.

use std::sync::atomic::{AtomicU64, Ordering};

use super::variation::{FRAMES_PER_WAIT, RUNS, USUAL, Variation, WAITED_NS, WORK_STEP_NS, Work};

/// What the generator's arithmetic takes when the core is ours alone, in 1/256 ns. That is the CPU's, so
/// all streams of this process learn it together.
static USUAL_TIME: AtomicU64 = AtomicU64::new(0);

/// What the generator's program has counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generated {
    pub(crate) packets: u64,
    /// Nanoseconds that it has waited, awake.
    pub(crate) waited_ns: f64,
    /// What a packet took while the core was ours alone, in ns; `None` if it never was.
    pub(crate) alone_ns: Option<f64>,
    /// Share of the packets that were sent then.
    pub(crate) alone_share: f64,
}

/// Before the generator starts.
pub(super) fn begin(variation: &mut Variation) {
    variation[USUAL] = USUAL_TIME.load(Ordering::Relaxed);
}

impl Generated {
    #[expect(
        clippy::cast_precision_loss,
        reason = "less than 2^52 packets and ns, which are 52 days"
    )]
    pub(super) fn new(counted: &Variation, work: &Work) -> Self {
        USUAL_TIME.store(counted[USUAL], Ordering::Relaxed);
        let alone = work.iter().sum::<u64>() * FRAMES_PER_WAIT;
        Self {
            packets: counted[RUNS],
            waited_ns: counted[WAITED_NS] as f64,
            alone_ns: mean_step(work)
                .map(|step| step * WORK_STEP_NS as f64 / FRAMES_PER_WAIT as f64),
            alone_share: alone as f64 / counted[RUNS].max(1) as f64,
        }
    }
}

/// Mean of what took less than twice the median: in the rest, most likely somebody else had the CPU.
#[expect(clippy::cast_precision_loss, reason = "less than 2^52")]
fn mean_step(work: &Work) -> Option<f64> {
    let all: u64 = work.iter().sum();
    let mut seen = 0;
    let median = work.iter().position(|times| {
        seen += times;
        seen * 2 > all
    })?;
    let (mut sum, mut count) = (0.0, 0.0);
    for (step, times) in work.iter().enumerate().take(2 * median + 1) {
        // What is counted in a step lies anywhere in it.
        sum += (step as f64 + 0.5) * *times as f64;
        count += *times as f64;
    }
    Some(sum / count)
}

#[cfg(test)]
mod tests {
    use super::{Work, mean_step};

    fn work(times: &[(usize, u64)]) -> Work {
        let mut work = [0; size_of::<Work>() / 8];
        for (step, count) in times {
            work[*step] = *count;
        }
        work
    }

    #[test]
    fn what_was_interrupted_is_left_out() {
        let steps = work(&[(10, 60), (12, 30), (14, 10), (500, 3), (1023, 2)]);
        let mean = (10.5 * 60.0 + 12.5 * 30.0 + 14.5 * 10.0) / 100.0;
        let found = mean_step(&steps).expect("something was counted");
        assert!((found - mean).abs() < 1e-9, "{found} is not {mean}");
    }

    #[test]
    fn nothing_counted_has_no_mean() {
        assert_eq!(mean_step(&work(&[])), None);
    }
}
