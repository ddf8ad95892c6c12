//! What two CPUs take from each other that fill one ring, or each its own.

use std::{array, sync::Barrier, thread};

use anyhow::{Context, Result, anyhow};
use probe_datapath::ring_parts::RingParts;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;

use super::{
    frames::{FIRST_PORT, INPUTS},
    subject::{CHUNK, Loaded, RING_BYTES, WITHOUT_CACHE},
};
use crate::{
    Common,
    facts::Facts,
    programs::{Flows, Hook, Programs, handle, time_per_run},
    report::{self, Table},
    stats::median,
};

const HOOK: Hook = Hook::Tc;
const CPUS: usize = 2;
/// Of the same memory altogether.
const RINGS: [RingParts; 2] = [
    RingParts::new(1, 2 * RING_BYTES),
    RingParts::new(2, RING_BYTES),
];
/// What a packet meets, and the `capture` section for it.
const CACHES: [(&str, &str); 2] = [("a record each", WITHOUT_CACHE), ("the cache", "{}")];

/// ns a packet above an empty program, of each round: with one CPU at work and with two.
type Values = [Vec<f64>; CPUS];

/// What runs a program on each CPU, over frames of ever new flows.
struct Generators {
    programs: [Programs; CPUS],
    frame: Vec<u8>,
}

impl Generators {
    fn new(common: &Common) -> Result<Self> {
        let load = || Programs::load(&common.programs, 1);
        let mut programs = [load()?, load()?];
        for program in &mut programs {
            program.set_flows(Flows::InTurn(1 << 32))?;
        }
        let frame = (INPUTS[0].frame)(FIRST_PORT);
        Ok(Self { programs, frame })
    }

    /// ns of a run with so many CPUs at work at once. `None`: of the empty program.
    fn time(&mut self, loaded: Option<&mut Loaded>, cpus: usize) -> Result<f64> {
        let names = HOOK.programs();
        let probe = match loaded {
            Some(loaded) => Some(handle(loaded.source.object().program(names.probe)?)?),
            None => None,
        };
        for programs in &mut self.programs {
            if let Some(probe) = &probe {
                programs.set_target(HOOK, probe)?;
            } else {
                let empty = handle(programs.program(names.empty)?)?;
                programs.set_target(HOOK, &empty)?;
            }
        }
        let (start, frame) = (Barrier::new(cpus), &self.frame);
        let times = thread::scope(|scope| {
            let run = |(cpu, programs): (usize, _)| {
                let start = &start;
                scope.spawn(move || run_on(cpu, programs, start, frame))
            };
            let threads: Vec<_> = self.programs[..cpus]
                .iter_mut()
                .enumerate()
                .map(run)
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, Result<f64>>| {
                thread.join().map_err(|_| anyhow!("a generator panicked"))?
            };
            threads.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?;
        Ok(median(&times))
    }
}

fn run_on(cpu: usize, programs: &mut Programs, start: &Barrier, frame: &[u8]) -> Result<f64> {
    let mut one = CpuSet::new();
    one.set(cpu);
    let bound = sched_setaffinity(None, &one);
    let program = programs.program(HOOK.programs().vary);
    // Also after an error: others wait.
    start.wait();
    bound.with_context(|| format!("cannot run on CPU {cpu}"))?;
    time_per_run(program?, frame, CHUNK)
}

pub(super) fn run(facts: &Facts, common: &Common, rounds: usize) -> Result<()> {
    let mut generators = Generators::new(common)?;
    let mut table = Table::new(["into", "CPUs", "one ring", "a ring each"]);
    let mut results = Vec::new();
    for (name, capture) in CACHES {
        let [one, own] = measure(&mut generators, capture, rounds)?;
        for (cpus, (one, own)) in (1..).zip(one.iter().zip(&own)) {
            let ns = [median(one), median(own)].map(|ns| format!("{ns:.1}"));
            table.row([name.to_owned(), format!("{cpus}")].into_iter().chain(ns));
            results.push(json!({ "into": name, "cpus": cpus, "one_ring_ns": one, "own_ns": own }));
        }
    }
    println!("{facts}  \nns per packet above an empty program, medians of {rounds} rounds\n");
    table.print();
    let numbers = json!({ "rounds": rounds, "results": results });
    report::finish(common, facts, "kernel-side-by-side", numbers, &[])
}

fn measure(generators: &mut Generators, capture: &str, rounds: usize) -> Result<[Values; 2]> {
    let load = |rings| Loaded::with_rings(capture, rings);
    let mut subjects = [load(RINGS[0])?, load(RINGS[1])?];
    let mut values: [Values; 2] = array::from_fn(|_| Values::default());
    for round in 0..=rounds {
        for cpus in 1..=CPUS {
            let empty = generators.time(None, cpus)?;
            // They take turns in being the first.
            for turn in 0..subjects.len() {
                let index = (turn + round) % subjects.len();
                let time = generators.time(Some(&mut subjects[index]), cpus)?;
                subjects[index].drain()?;
                // The first round fills caches, and is for nothing.
                if round > 0 {
                    values[index][cpus - 1].push(time - empty);
                }
            }
        }
    }
    subjects.iter().try_for_each(Loaded::check)?;
    Ok(values)
}
