//! Errors as people read them: what was tried, on what, and why it failed.

use std::{error::Error, iter::successors};

/// The error and its causes in one line: `a: b: c`. Some errors tell their cause themselves; a cause
/// whose text is already there is not told again.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let causes = successors(error.source(), |cause| (*cause).source());
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
