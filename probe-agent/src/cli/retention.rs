//! `probe-agent retention confirm`: the clock is right, although it has jumped.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{connect::ConnectArgs, print};
use crate::term::human;
use probe_api::v1::retention::Confirmed;

/// Confirm the clock, where it has jumped and retention does not believe it
///
/// Retention deletes nothing on the word of a clock that has jumped. Look at `date` and at
/// `probe-agent status` first: what is too old by the clock is deleted after the confirmation.
#[derive(Args, Debug)]
pub(super) struct RetentionArgs {
    /// What to do: `confirm` that the clock is right
    action: Action,
    /// The answer of the agent as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    /// The clock is right
    Confirm,
}

/// Asks, and shows what came of it.
pub(super) fn run(args: &RetentionArgs) -> anyhow::Result<ExitCode> {
    let client = args.connect.client()?;
    let confirmed = match args.action {
        Action::Confirm => client.confirm_clock()?,
    };
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&confirmed)?))?;
    } else {
        print(&text(&confirmed))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(confirmed: &Confirmed) -> String {
    if confirmed.held.is_empty() {
        return format!(
            "no sink has reported a doubt; all take the clock ({}) from now on\n",
            confirmed.clock
        );
    }
    let lines = confirmed.held.iter().map(|(sink, held)| {
        let bytes = human::bytes(held.held_bytes);
        format!(
            "sink {sink}: retention goes by the clock ({}) from now on, instead of {}; about \
             {bytes} are too old by it and are being deleted\n",
            confirmed.clock, held.reference
        )
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::text;
    use probe_api::v1::{retention::Confirmed, status::RetentionHold};

    #[test]
    fn what_was_held_is_told_by_sink() {
        let clock = "2027-03-01T00:00:00Z".parse().expect("a time");
        let mut confirmed = Confirmed {
            clock,
            held: std::collections::BTreeMap::new(),
        };
        assert!(
            text(&confirmed).starts_with("no sink has reported a doubt; all take the clock (2027-")
        );
        let held = RetentionHold {
            reference: "2026-03-01T00:00:00Z".parse().expect("a time"),
            ahead_seconds: 365 * 86_400,
            held_bytes: 2 << 30,
        };
        confirmed.held.insert("parquet".to_owned(), held);
        let text = text(&confirmed);
        for part in [
            "sink parquet",
            "2027-03-01",
            "instead of 2026-03-01",
            "2.0 GiB",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
