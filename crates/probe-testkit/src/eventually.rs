//! Waiting for conditions, each with a limit of time.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long anything may take that should take no time at all. Generous: the machine is shared.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How many times longer everything takes on this machine: the variable `PROBE_TEST_SLOWNESS`, for an
/// emulated one. 1 by default.
fn slowness() -> u32 {
    let times = std::env::var("PROBE_TEST_SLOWNESS");
    times.map_or(1, |times| times.parse().expect("a number of times"))
}

/// Between two checks of a condition.
const PERIOD: Duration = Duration::from_millis(5);

/// Asks again and again until there is an answer. Panics after [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, poll: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, poll)
}

/// As [`eventually`], with a patience of its own.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    // Not a closure: the caller's line would be lost.
    match try_within(patience, what, || Ok(poll())) {
        Ok(answer) => answer,
        Err(error) => panic!("{error}"),
    }
}

/// Asks again and again until there is an answer or an error. An error after `patience`, too.
///
/// # Errors
///
/// `poll` has returned one, or there is no answer after `patience`: the text ends with `what`.
pub fn try_within<T>(
    patience: Duration,
    what: &str,
    mut poll: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let patience = patience * slowness();
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = poll()? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("not within {patience:?}: {what}");
        }
        thread::sleep(PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::anyhow;

    use super::{try_within, within};

    #[test]
    fn the_first_answer_is_returned() {
        let mut left = 3;
        let answer = within(Duration::from_secs(20), "three checks", || {
            left -= 1;
            (left == 0).then_some("done")
        });
        assert_eq!(answer, "done");
    }

    #[test]
    fn who_waits_in_vain_is_told_for_what() {
        let error = try_within(Duration::ZERO, "never", || Ok(None::<()>));
        let error = error.expect_err("no answer").to_string();
        assert_eq!(error, "not within 0ns: never");
        let error = try_within(Duration::from_secs(20), "never", || {
            Err::<Option<()>, _>(anyhow!("hopeless"))
        });
        assert_eq!(error.expect_err("at once").to_string(), "hopeless");
    }
}
