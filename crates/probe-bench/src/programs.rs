//! The eBPF programs of the benchmarks, loaded.

mod generated;

use std::{fs, path::Path};

use anyhow::{Context, Result};
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, MapData, ProgramArray},
    programs::{
        Program, ProgramFd, SchedClassifier, TcAttachType, TestRun as _, TestRunAttrs,
        TestRunOptions, Xdp, xdp::XdpMode,
    },
};
use rustix::time::{ClockId, clock_gettime};

#[path = "../../../probe-ebpf/bench/variation.rs"]
#[expect(dead_code, reason = "some positions are the programs' own")]
mod variation;

pub(crate) use generated::Generated;
use variation::{FLOWS, IN_TURN, OUT_IFINDEX, PACE_NS, STATE, Variation, Work};

/// Which flows the frames belong to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flows {
    /// Drawn at random, all equally likely.
    Random(u32),
    /// One after the other; 2^32 make each packet a flow of its own.
    InTurn(u64),
}

impl Flows {
    fn variation(self) -> Variation {
        let mut variation = Variation::default();
        match self {
            Self::Random(flows) => {
                variation[STATE] = 0x9e37_79b9;
                variation[FLOWS] = flows.into();
            }
            Self::InTurn(flows) => {
                variation[IN_TURN] = 1;
                variation[FLOWS] = flows;
            }
        }
        variation
    }
}

/// The loaded object and its attached programs.
pub(crate) struct Programs {
    ebpf: Ebpf,
    variation: Array<MapData, Variation>,
    work: Array<MapData, Work>,
    targets: [ProgramArray<MapData>; 2],
}

/// A kind of hook, which is a type of programs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hook {
    Xdp = 0,
    Tc = 1,
}

impl Programs {
    /// Loads the object with hash maps for so many flows.
    pub(crate) fn load(object: &Path, flows: u32) -> Result<Self> {
        let bytes = fs::read(object).with_context(|| {
            format!("cannot read {}: run `cargo xtask bench`", object.display())
        })?;
        let mut loader = EbpfLoader::new();
        loader.verifier_log_level(VerifierLogLevel::DEBUG).btf(None);
        for map in ["FLOWS_V4", "FLOWS_V6"] {
            loader.map_max_entries(map, flows);
        }
        let mut ebpf = loader
            .load(&bytes)
            .context("cannot load the benchmark's programs")?;
        let mut map = |name: &str| {
            ebpf.take_map(name)
                .with_context(|| format!("no map {name}"))
        };
        let variation = Array::try_from(map("VARIATION")?)?;
        let work = Array::try_from(map("WORK")?)?;
        let targets = [
            ProgramArray::try_from(map("XDP_TARGET")?)?,
            ProgramArray::try_from(map("TC_TARGET")?)?,
        ];
        Ok(Self {
            ebpf,
            variation,
            work,
            targets,
        })
    }

    /// A program of the object, loaded into the kernel.
    pub(crate) fn program(&mut self, name: &str) -> Result<&mut Program> {
        let program = self.ebpf.program_mut(name);
        let program = program.with_context(|| format!("the object has no program {name}"))?;
        let loaded = match program {
            Program::Xdp(xdp) => xdp.load(),
            Program::SchedClassifier(classifier) => classifier.load(),
            _ => Ok(()),
        };
        match loaded {
            Ok(()) | Err(aya::programs::ProgramError::AlreadyLoaded) => Ok(program),
            Err(error) => Err(error).with_context(|| format!("the kernel refuses {name}")),
        }
    }

    /// Attaches the empty program to a link of this namespace, until this is dropped: in the driver, or
    /// to both hooks of TC.
    pub(crate) fn attach_empty(&mut self, hook: Hook, link: &str) -> Result<()> {
        let name = hook.programs().empty;
        match self.program(name)? {
            Program::Xdp(empty) => {
                empty.attach(link, XdpMode::Driver)?;
            }
            Program::SchedClassifier(empty) => {
                for hook in [TcAttachType::Ingress, TcAttachType::Egress] {
                    empty.attach(link, hook)?;
                }
            }
            _ => anyhow::bail!("{name} is for neither hook"),
        }
        Ok(())
    }

    /// From now on frames are those of these flows.
    pub(crate) fn set_flows(&mut self, flows: Flows) -> Result<()> {
        self.set_traffic(flows, 0, 0)
    }

    /// From now on frames are those of these flows, sent to this interface, one each `pace_ns`, or as
    /// fast as it goes.
    pub(crate) fn set_traffic(&mut self, flows: Flows, ifindex: u32, pace_ns: u64) -> Result<()> {
        let mut variation = flows.variation();
        variation[OUT_IFINDEX] = ifindex.into();
        variation[PACE_NS] = pace_ns;
        generated::begin(&mut variation);
        self.variation.set(0, variation, 0)?;
        Ok(self.work.set(0, [0; size_of::<Work>() / 8], 0)?)
    }

    /// What the programs have counted since [`Self::set_traffic`].
    pub(crate) fn generated(&self) -> Result<Generated> {
        let (counted, work) = (self.variation.get(&0, 0)?, self.work.get(&0, 0)?);
        Ok(Generated::new(&counted, &work))
    }

    /// Sets the program that varied frames go to.
    pub(crate) fn set_target(&mut self, hook: Hook, target: &ProgramFd) -> Result<()> {
        Ok(self.targets[hook as usize].set(0, target, 0)?)
    }
}

/// A handle of a loaded program.
pub(crate) fn handle(program: &Program) -> Result<ProgramFd> {
    let handle = match program {
        Program::Xdp(xdp) => xdp.fd(),
        Program::SchedClassifier(classifier) => classifier.fd(),
        _ => anyhow::bail!("a program of another type"),
    };
    Ok(handle?.try_clone()?)
}

/// Nanoseconds of this thread for one of `repeat` runs over a frame. The kernel's own measure has
/// whole nanoseconds only, and counts the time in which others had the CPU.
pub(crate) fn time_per_run(program: &Program, frame: &[u8], repeat: u32) -> Result<f64> {
    let options = TestRunOptions {
        data_in: Some(frame),
        repeat,
        ..TestRunOptions::default()
    };
    let before = cpu_time_ns();
    match program {
        Program::Xdp(xdp) => Xdp::test_run(xdp, options).map(drop),
        Program::SchedClassifier(classifier) => {
            SchedClassifier::test_run(classifier, options).map(drop)
        }
        _ => Ok(()),
    }
    .context("the kernel does not run the program over a frame")?;
    Ok((cpu_time_ns() - before) / f64::from(repeat))
}

/// Runs the generator over a frame so many times, for real: what it redirects is sent.
pub(crate) fn run_live(program: &Program, frame: &[u8], repeat: u32) -> Result<()> {
    // As many as NAPI takes in one poll, so that no queue of the receiver overflows.
    const BATCH: u32 = 64;
    let Program::Xdp(xdp) = program else {
        anyhow::bail!("only XDP programs send frames");
    };
    let options = TestRunOptions {
        data_in: Some(frame),
        repeat,
        attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
        ..TestRunOptions::default()
    };
    let run = Xdp::test_run(xdp, options);
    run.context("the kernel sends no frames of a test (it takes 5.18)")?;
    Ok(())
}

/// CPU time of the calling thread.
pub(crate) fn cpu_time_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(
        clippy::cast_precision_loss,
        reason = "less than 2^52 ns, which are 52 days"
    )]
    let ns = (time.tv_sec * 1_000_000_000 + time.tv_nsec) as f64;
    ns
}
