//! The programs that are compared, ready to run over one input.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use probe_agent::config::Config;
use probe_capture::source::{Drained, RecordSource, RecordStream};
use probe_common::{control::programs, loss::Loss};
use probe_datapath::{
    cpus, load::LoadOptions, ring_parts::RingParts, source::EbpfSource, test_run::TEST_IFINDEX,
};

use super::frames::{FIRST_PORT, Input};
use crate::{
    programs::{Flows, Hook, Programs, handle, time_per_run},
    quiet::Quiet,
    stats::median,
};

/// Runs between two polls of the rings: that of the CPU must hold what they leave.
pub(super) const CHUNK: u32 = 100_000;
pub(super) const RING_BYTES: u32 = 8 << 20;
const CHUNKS: usize = 3;
/// Flows of a hash map that is not under measurement.
const FEW: u32 = 1024;

/// A program under measurement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    /// The agent's, as it is by default.
    Probe = 0,
    /// The agent's without cache: each packet is a record in the ring.
    RingPerPacket = 1,
    /// A per-CPU hash map of flows.
    HashMap = 2,
}

impl Subject {
    pub(crate) const ALL: [Self; 3] = [Self::Probe, Self::RingPerPacket, Self::HashMap];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::RingPerPacket => "ring-per-packet",
            Self::HashMap => "per-cpu-hash-map",
        }
    }
}

impl Hook {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Xdp => "XDP",
            Self::Tc => "TC",
        }
    }

    pub(crate) fn programs(self) -> HookPrograms {
        match self {
            Self::Xdp => HookPrograms {
                probe: programs::XDP_INGRESS,
                empty: "bench_xdp_empty",
                vary: "bench_xdp_vary",
                hash: "bench_xdp_hash",
            },
            Self::Tc => HookPrograms {
                probe: programs::TC_INGRESS,
                empty: "bench_tc_empty",
                vary: "bench_tc_vary",
                hash: "bench_tc_hash",
            },
        }
    }
}

/// Names of the programs for a hook.
pub(crate) struct HookPrograms {
    pub(super) probe: &'static str,
    pub(crate) empty: &'static str,
    pub(super) vary: &'static str,
    hash: &'static str,
}

/// The agent's programs with a configuration, and their rings.
pub(super) struct Loaded {
    pub(super) source: EbpfSource,
    streams: Vec<Box<dyn RecordStream>>,
}

impl Loaded {
    fn new(capture: &str) -> Result<Self> {
        Self::with_rings(capture, RingParts::new(cpus::present()?, RING_BYTES))
    }

    pub(super) fn with_rings(capture: &str, rings: RingParts) -> Result<Self> {
        let config = configuration(capture)?;
        let mut source = EbpfSource::with_options(LoadOptions {
            rings,
            ..config.source_options().load_options()
        })?;
        if source.claim(TEST_IFINDEX, false)?.is_none() {
            bail!("the programs have no room for an interface");
        }
        let streams = source.take_streams();
        Ok(Self { source, streams })
    }

    /// Reads all rings until they are empty.
    pub(super) fn drain(&mut self) -> Result<()> {
        for stream in &mut self.streams {
            while stream.drain(&mut |_| ())? != Drained::Idle {}
        }
        Ok(())
    }

    /// Fails if the programs did not do what their time was taken for.
    pub(super) fn check(&self) -> Result<()> {
        let [bank, _] = self.source.counters(TEST_IFINDEX)?;
        let ingress = bank[0];
        if ingress.seen.packets == 0 || ingress.loss(Loss::RingFull).packets != 0 {
            bail!(
                "the programs saw {} packets, and the ring was full for {}",
                ingress.seen.packets,
                ingress.loss(Loss::RingFull).packets
            );
        }
        Ok(())
    }
}

/// The `capture` section that sends a record for each packet.
pub(super) const WITHOUT_CACHE: &str = "{ cache_slots: 0 }";

/// Whether this agent has a cache that can be switched off. Without one, the first two subjects
/// are the same.
pub(crate) fn has_cache() -> bool {
    configuration(WITHOUT_CACHE).is_ok()
}

fn configuration(capture: &str) -> Result<Config> {
    let yaml = format!("interfaces: {{ lo: {{}} }}\ncapture: {capture}\n");
    Config::parse(&yaml).map_err(|problems| anyhow!("{problems:?}"))
}

/// All subjects for one hook and input.
pub(crate) struct Bed {
    hook: Hook,
    input: &'static Input,
    frame: Vec<u8>,
    flows: Option<Flows>,
    bench: Programs,
    /// With cache and without.
    loaded: [Loaded; 2],
}

impl Bed {
    pub(crate) fn new(object: &Path, hook: Hook, input: &'static Input) -> Result<Self> {
        let flows = match input.flows {
            Some(Flows::Random(flows)) => flows,
            _ => FEW,
        };
        let mut bed = Self {
            hook,
            input,
            frame: (input.frame)(FIRST_PORT),
            flows: input.flows,
            bench: Programs::load(object, flows)?,
            loaded: [
                Loaded::new("{}")?,
                Loaded::new(if has_cache() { WITHOUT_CACHE } else { "{}" })?,
            ],
        };
        if input.flows.is_some() {
            // All flows are there before the first measurement.
            bed.bench.set_flows(Flows::InTurn(flows.into()))?;
            bed.aim(Some(Subject::HashMap))?;
            bed.run(flows)?;
            if let Some(flows) = input.flows {
                bed.bench.set_flows(flows)?;
            }
        }
        Ok(bed)
    }

    /// From now on one flow is another one. (Random flows have ports of their own.)
    pub(crate) fn begin_round(&mut self, round: u16) {
        self.frame = (self.input.frame)(FIRST_PORT + round);
    }

    /// ns of a run of the subject, with whatever a test run costs.
    pub(crate) fn time(&mut self, quiet: &mut Quiet, subject: Subject) -> Result<f64> {
        self.aim(Some(subject))?;
        self.median_run(quiet, Some(subject))
    }

    /// ns of a run of an empty program.
    pub(crate) fn baseline(&mut self, quiet: &mut Quiet) -> Result<f64> {
        self.aim(None)?;
        self.median_run(quiet, None)
    }

    fn median_run(&mut self, quiet: &mut Quiet, subject: Option<Subject>) -> Result<f64> {
        // The first fills caches, and is for nothing.
        self.run_chunk(subject)?;
        let mut times = Vec::new();
        for _ in 0..CHUNKS {
            times.push(quiet.measure(|| self.run_chunk(subject))?);
        }
        Ok(median(&times))
    }

    fn run_chunk(&mut self, subject: Option<Subject>) -> Result<f64> {
        let time = self.run_subject(subject, CHUNK)?;
        for loaded in &mut self.loaded {
            loaded.drain()?;
        }
        Ok(time)
    }

    /// Sets the program that varied frames go on to; `None`: the empty one.
    fn aim(&mut self, subject: Option<Subject>) -> Result<()> {
        if self.flows.is_none() {
            return Ok(());
        }
        let names = self.hook.programs();
        let target = match subject {
            None => handle(self.bench.program(names.empty)?)?,
            Some(Subject::HashMap) => handle(self.bench.program(names.hash)?)?,
            Some(Subject::Probe) => handle(self.loaded[0].source.object().program(names.probe)?)?,
            Some(Subject::RingPerPacket) => {
                handle(self.loaded[1].source.object().program(names.probe)?)?
            }
        };
        self.bench.set_target(self.hook, &target)
    }

    fn run_subject(&mut self, subject: Option<Subject>, repeat: u32) -> Result<f64> {
        if self.flows.is_some() {
            return self.run(repeat);
        }
        let names = self.hook.programs();
        let program = match subject {
            None => self.bench.program(names.empty)?,
            Some(Subject::HashMap) => self.bench.program(names.hash)?,
            Some(Subject::Probe) => self.loaded[0].source.object().program(names.probe)?,
            Some(Subject::RingPerPacket) => self.loaded[1].source.object().program(names.probe)?,
        };
        time_per_run(program, &self.frame, repeat)
    }

    /// Runs what varies the frame and whatever comes behind it.
    fn run(&mut self, repeat: u32) -> Result<f64> {
        let vary = self.hook.programs().vary;
        time_per_run(self.bench.program(vary)?, &self.frame, repeat)
    }

    /// Fails if a program did not do what its time was taken for.
    pub(crate) fn check(&mut self) -> Result<()> {
        for loaded in &self.loaded {
            loaded.check()?;
        }
        self.bench
            .generated()
            .context("the number of varied frames")
            .map(drop)
    }
}
