//! `probe-agent retention confirm`: the clock is right, although it has jumped.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use super::{connect::ConnectArgs, print};
use crate::term::{
    human,
    page::{TableStyle, wrap},
};
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
        let style = TableStyle::of_terminal(io::stdout().is_terminal());
        print(&text(&confirmed, style))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn text(confirmed: &Confirmed, style: TableStyle) -> String {
    let width = style.sentence_width();
    let shown = |text: String| wrap(&text, width).join("\n") + "\n";
    if confirmed.held.is_empty() {
        return shown(format!(
            "no sink doubted the clock; all go by it ({:.0}) from now on",
            confirmed.clock
        ));
    }
    let lines = confirmed.held.iter().map(|(sink, held)| {
        if held.ahead_seconds < 0 {
            return shown(format!(
                "sink {sink}: the clock ({:.0}) is not doubted from now on, though it is behind the time \
                 that surely had passed; retention went by it before, too, so nothing more is deleted",
                confirmed.clock
            ));
        }
        let bytes = human::bytes(held.held_bytes);
        shown(format!(
            "sink {sink}: retention goes by the clock ({:.0}) from now on, instead of {:.0}; about \
             {bytes} are too old by it and are being deleted",
            confirmed.clock, held.reference
        ))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::term::page::TableStyle;
    use probe_api::v1::{retention::Confirmed, status::RetentionHold};

    #[test]
    fn what_was_held_is_told_by_sink() {
        let clock = "2027-03-01T00:00:00Z".parse().expect("a time");
        let mut confirmed = Confirmed {
            clock,
            held: std::collections::BTreeMap::new(),
        };
        assert!(
            text(&confirmed, TableStyle::default())
                .starts_with("no sink doubted the clock; all go by it (2027-")
        );
        let held = RetentionHold {
            reference: "2026-03-01T00:00:00.123456789Z".parse().expect("a time"),
            ahead_seconds: 365 * 86_400,
            held_bytes: 2 << 30,
        };
        confirmed.held.insert("parquet".to_owned(), held);
        let ahead = text(&confirmed, TableStyle::default());
        for part in [
            "sink parquet",
            "2027-03-01",
            "instead of 2026-03-01T00:00:00Z;",
            "2.0 GiB",
        ] {
            assert!(ahead.contains(part), "{part}: {ahead}");
        }
        let behind = confirmed.held.get_mut("parquet").expect("it is there");
        (behind.ahead_seconds, behind.held_bytes) = (-365 * 86_400, 0);
        let behind = text(&confirmed, TableStyle::default());
        assert!(behind.contains("so nothing more is deleted"), "{behind}");
        assert!(!behind.contains("too old"), "{behind}");
    }
}
