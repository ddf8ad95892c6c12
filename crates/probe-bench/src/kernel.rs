//! `bench kernel`: what the programs cost per packet, over an empty program.
//!
//! `BPF_PROG_TEST_RUN` repeats one frame. For many flows a small program changes the frame's source
//! address and port and continues with the program under measurement by a tail call; the same with
//! an empty program behind is what is taken off.

mod frames;
mod side_by_side;
mod subject;

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use self::{
    frames::{INPUTS, Input},
    subject::{Bed, Subject, has_cache},
};
use crate::{
    Common,
    facts::Facts,
    programs::{Flows, Hook},
    quiet::Quiet,
    report::{self, Table, Verdict},
    requirements::require,
    stats::{median, ratios},
};

/// How long the measurements of a row may wait for neighbours and be taken again.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a hot IPv4/TCP flow may cost, in ns, and over one ring record per packet.
const HOT_NS: f64 = 10.0;
const HOT_OVER_RING: f64 = 0.4;
/// What 64k random flows may cost over a per-CPU hash map.
const RANDOM_OVER_HASH: f64 = 0.3;
/// The same two in the short form: no target, but what is reached today with room for noise, so that
/// CI notices when it becomes worse. docs/PERFORMANCE.md has the numbers.
const HOT_OVER_RING_TODAY: f64 = 0.7;
const RANDOM_OVER_HASH_TODAY: f64 = 0.75;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds, each of which measures everything once.
    #[arg(long)]
    rounds: Option<usize>,
    /// Instead: two CPUs at once, each packet a new flow, into one ring or each into its own.
    #[arg(long)]
    side_by_side: bool,
    /// Only the rows whose name, as in the table, has this in it.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// ns above an empty program, one value per round, of each subject.
type Values = [Vec<f64>; Subject::ALL.len()];

struct Row {
    hook: Hook,
    input: &'static Input,
    values: Values,
}

pub(crate) fn run(args: &Args, common: &Common) -> Result<()> {
    require(&[])?;
    let rounds = args.rounds.unwrap_or(if common.short { 5 } else { 15 });
    let facts = Facts::gather();
    if args.side_by_side {
        return side_by_side::run(&facts, common, rounds);
    }
    let mut quiet = Quiet::new();
    let mut rows = Vec::new();
    for hook in [Hook::Xdp, Hook::Tc] {
        for input in INPUTS
            .iter()
            .filter(|input| !common.short || input.is_short)
        {
            let name = name(hook, input);
            if args.only.as_ref().is_some_and(|only| !name.contains(only)) {
                continue;
            }
            eprintln!(":: {name}");
            quiet.set_patience(PATIENCE);
            rows.push(measure(common, &mut quiet, hook, input, rounds)?);
        }
    }
    if let Some(only) = &args.only {
        ensure!(
            !rows.is_empty(),
            "no row has '{only}' in its name: see the table without --only"
        );
    }
    print(&facts, rounds, &rows);
    println!("{quiet}\n");
    let numbers = json!({
        "rounds": rounds,
        "neighbours": quiet.json(),
        "results": rows.iter().map(Row::json).collect::<Vec<_>>(),
    });
    report::finish(common, &facts, "kernel", numbers, &verdicts(common, &rows))
}

fn name(hook: Hook, input: &Input) -> String {
    format!("{}, {}", hook.name(), input.name)
}

fn measure(
    common: &Common,
    quiet: &mut Quiet,
    hook: Hook,
    input: &'static Input,
    rounds: usize,
) -> Result<Row> {
    let mut bed = Bed::new(&common.programs, hook, input)?;
    let mut values = Values::default();
    for (round, port) in (0..rounds).zip(0..) {
        bed.begin_round(port);
        // Before and after, so that a machine that gets slower meanwhile does not show.
        let before = bed.baseline(quiet)?;
        let mut taken = [0.0; Subject::ALL.len()];
        for turn in 0..Subject::ALL.len() {
            let index = (turn + round) % Subject::ALL.len();
            taken[index] = bed.time(quiet, Subject::ALL[index])?;
        }
        let empty = f64::midpoint(before, bed.baseline(quiet)?);
        for (values, taken) in values.iter_mut().zip(taken) {
            values.push(taken - empty);
        }
    }
    bed.check()?;
    Ok(Row {
        hook,
        input,
        values,
    })
}

impl Row {
    fn ns(&self, subject: Subject) -> f64 {
        median(&self.values[subject as usize])
    }

    /// Median over the rounds of what the agent's programs cost over a subject.
    fn over(&self, subject: Subject) -> f64 {
        let probe = &self.values[Subject::Probe as usize];
        median(&ratios(probe, &self.values[subject as usize]))
    }

    fn json(&self) -> Value {
        let subjects = Subject::ALL.map(|subject| {
            json!({
                "program": subject.name(),
                "ns": self.values[subject as usize],
                "median_ns": self.ns(subject),
                "probe_over_it": self.over(subject),
            })
        });
        json!({ "hook": self.hook.name(), "input": self.input.name, "programs": subjects })
    }
}

fn verdicts(common: &Common, rows: &[Row]) -> Vec<Verdict> {
    let (hot_over_ring, random_over_hash) = if common.short {
        (HOT_OVER_RING_TODAY, RANDOM_OVER_HASH_TODAY)
    } else {
        (HOT_OVER_RING, RANDOM_OVER_HASH)
    };
    let mut verdicts = Vec::new();
    for row in rows {
        let name = name(row.hook, row.input);
        if row.input.name == frames::HOT && has_cache() {
            // A time is not to be trusted on a machine that does other things, too.
            if !common.short {
                let ns = row.ns(Subject::Probe);
                verdicts.push(Verdict::at_most(format!("{name}, ns"), ns, HOT_NS));
            }
            let ratio = row.over(Subject::RingPerPacket);
            let target = format!("{name}, over a ring record per packet");
            verdicts.push(Verdict::at_most(target, ratio, hot_over_ring));
        }
        if row.input.flows == Some(Flows::Random(1 << 16)) {
            let ratio = row.over(Subject::HashMap);
            let target = format!("{name}, over a per-CPU hash map");
            verdicts.push(Verdict::at_most(target, ratio, random_over_hash));
        }
    }
    verdicts
}

/// As Markdown, for docs/PERFORMANCE.md.
fn print(facts: &Facts, rounds: usize, rows: &[Row]) {
    println!("{facts}  \nns per packet above an empty program, medians of {rounds} rounds\n");
    let mut table = Table::new([
        "hook, input",
        "probe",
        "one ring record per packet",
        "probe over it",
        "per-CPU hash map",
        "probe over it",
    ]);
    for row in rows {
        table.row([
            name(row.hook, row.input),
            format!("{:.1}", row.ns(Subject::Probe)),
            format!("{:.1}", row.ns(Subject::RingPerPacket)),
            format!("{:.2}", row.over(Subject::RingPerPacket)),
            format!("{:.1}", row.ns(Subject::HashMap)),
            format!("{:.2}", row.over(Subject::HashMap)),
        ]);
    }
    table.print();
}
