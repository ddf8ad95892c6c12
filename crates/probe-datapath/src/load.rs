//! Loading the object: once, for all interfaces.

use std::{collections::HashMap, fs, io};

use aya::{
    Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{Map, MapData, MapError},
    programs::{Program, ProgramError},
    util::KernelVersion,
};
use probe_common::{
    coalesce::tags::WAYS,
    control::{FIRST_COUNTER_BLOCK, MAX_INTERFACES, area, counter_blocks_per_slot, globals, maps},
    record::{RecordV4, RecordV6},
};

use super::{
    DatapathError,
    cache_parts::CacheParts,
    cpus::{self, CpusError},
    ring::further,
    ring_parts::RingParts,
    test_run::TestRunError,
};
use probe_capture::source::{Cause, ProgramCost};

mod permission;

use permission::NO_MEMLOCK_KERNEL;
pub use permission::{can_load, capabilities, raise_memlock_limit};

/// The object that is part of this binary.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("PROBE_BPF_OBJECT_PATH"));

/// Rings in an array must be as large as its prototype before 5.10 (commit 134fede4eecf), which is
/// fixed in the object.
const RINGS_OF_ANY_SIZE_KERNEL: KernelVersion = KernelVersion::new(5, 10, 0);

/// The reader is woken when a quarter of a ring is full: the rest holds what comes until it runs.
const WAKE_AT_PART: u32 = 4;

/// CPUs that there are places for: counters on all that may come, since none may go uncounted, and
/// caches on those that are there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpus {
    pub(super) possible: u32,
    pub(super) present: u32,
}

impl Cpus {
    pub(super) fn of_host() -> Result<Self, CpusError> {
        Ok(Self {
            possible: cpus::possible()?,
            present: cpus::present()?,
        })
    }
}

/// Sizes that are fixed when the object is loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Rings for records. Before 5.10 all of them are one.
    pub rings: RingParts,
    /// Interfaces that can be captured at the same time, up to [`MAX_INTERFACES`]. Each takes 768
    /// bytes per CPU.
    pub interfaces: u32,
    /// Records that the programs keep open for each CPU, bank and IP version.
    pub cache: CacheParts,
}

impl LoadOptions {
    /// Entries of the maps whose size is not fixed in the object, by name.
    pub(super) fn map_entries(self, cpus: Cpus) -> [(&'static str, u32); 13] {
        let areas = area(cpus.present, 0);
        let l1_slots = areas * self.cache.l1();
        let l2_slots_v4 = areas * self.cache.l2::<RecordV4>();
        let l2_slots_v6 = areas * self.cache.l2::<RecordV6>();
        let slots_v4 = (l1_slots + l2_slots_v4).max(1);
        let slots_v6 = (l1_slots + l2_slots_v6).max(1);
        [
            (maps::RECORDS, self.rings().bytes()),
            (maps::FURTHER_RECORDS, self.rings().number()),
            (
                maps::COUNTERS,
                FIRST_COUNTER_BLOCK + self.interfaces() * counter_blocks_per_slot(cpus.possible),
            ),
            (maps::L1_V4, l1_slots.max(1)),
            (maps::L1_V6, l1_slots.max(1)),
            (maps::L2_V4, l2_slots_v4.max(1)),
            (maps::L2_V6, l2_slots_v6.max(1)),
            (maps::INSERT_BATCH_V4, areas.max(1)),
            (maps::INSERT_BATCH_V6, areas.max(1)),
            (maps::TAGS_V4, slots_v4.div_ceil(WAYS)),
            (maps::TAGS_V6, slots_v6.div_ceil(WAYS)),
            (maps::OPENED_V4, slots_v4),
            (maps::OPENED_V6, slots_v6),
        ]
    }

    /// Rings as this kernel takes them.
    pub(super) fn rings(self) -> RingParts {
        if kernel_version() < RINGS_OF_ANY_SIZE_KERNEL {
            return self.rings.joined();
        }
        self.rings
    }

    /// Interface slots that the programs have room for.
    pub(crate) fn interfaces(self) -> u32 {
        self.interfaces.clamp(1, MAX_INTERFACES)
    }
}

/// Why the object cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel lacks what the programs need.
    #[error(
        "cannot load the eBPF programs: this kernel is {running}, and they need the ring buffer of \
         Linux 5.8 or newer (5.10 or newer is tested): boot a newer kernel"
    )]
    KernelTooOld {
        /// Release of the running kernel.
        running: String,
    },
    /// The process may not use `bpf(2)`.
    #[error(
        "cannot load the eBPF programs: the agent lacks {missing}: start it as root, or with these \
         capabilities (systemd: AmbientCapabilities=)"
    )]
    NotPermitted {
        /// The capabilities that are missing.
        missing: String,
    },
    /// The process has all capabilities, but something else forbids `bpf(2)`.
    #[error(
        "cannot load the eBPF programs: the kernel refuses bpf(2) although the agent has the \
         capabilities ({cause}): {source}"
    )]
    Forbidden {
        /// What is known about who forbids it, with the remedy.
        cause: String,
        /// What the kernel said.
        source: Box<EbpfError>,
    },
    /// A map could not be made.
    #[error(
        "cannot make the eBPF maps: {source}: lower capture.ring_buffer and \
         capture.cache_slots, or raise LimitMEMLOCK \
         (kernels before 5.11) or the memory limit of the agent's cgroup"
    )]
    NoMemory {
        /// What the kernel said.
        source: Box<EbpfError>,
    },
    /// The object is not one that this agent and kernel understand.
    #[error("cannot load the eBPF object: {0}: please report this with the kernel's release")]
    Object(#[from] Box<EbpfError>),
    /// The object lacks a program.
    #[error("the eBPF object has no program {program}: it belongs to another version")]
    NoProgram {
        /// Name of the program.
        program: &'static str,
    },
    /// The verifier refused a program.
    #[error(
        "the kernel refuses the eBPF program {program}: {reason}: please report this with the \
         kernel's release"
    )]
    Program {
        /// Name of the program.
        program: &'static str,
        /// What the kernel said, with the end of the verifier's log.
        reason: String,
        /// What the kernel said, without the log.
        #[source]
        cause: Cause,
    },
    /// The ticks of the kernel cannot be read.
    #[error("cannot read the kernel's tick count: {0}: please report this with its release")]
    Ticks(#[from] Box<TestRunError>),
    /// The sizes of the maps cannot be worked out.
    #[error(transparent)]
    Cpus(#[from] CpusError),
    /// A map is missing or cannot be used.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

/// The loaded object. Dropping it detaches what its programs are attached to and frees the maps.
#[derive(Debug)]
pub struct Object {
    ebpf: Ebpf,
    /// The rings from 1 on, until somebody reads them.
    further_rings: Vec<MapData>,
    /// What the verifier has refused. It says the same each time, and takes up to a second: links of one
    /// kind all want the same programs, and each asks for them twice.
    refused: HashMap<&'static str, VerifierRefusal>,
}

/// What the verifier said.
#[derive(Clone, Debug)]
struct VerifierRefusal {
    reason: String,
    errno: i32,
}

impl Object {
    /// Makes the maps and prepares the programs; each is loaded when it is first wanted.
    ///
    /// # Errors
    ///
    /// As [`Self::load_bytes`].
    pub fn load(options: LoadOptions) -> Result<Self, LoadError> {
        Self::load_bytes(OBJECT, options)
    }

    /// The same with another object than the embedded one.
    ///
    /// # Errors
    ///
    /// [`LoadError::KernelTooOld`] and [`LoadError::NotPermitted`]: as [`can_load`] says.
    /// [`LoadError::Forbidden`], [`LoadError::NoMemory`]: the kernel refuses to make a map.
    /// [`LoadError::Object`] and [`LoadError::Datapath`]: the bytes are no such object.
    /// [`LoadError::Cpus`]: the CPUs cannot be counted.
    pub fn load_bytes(object: &[u8], options: LoadOptions) -> Result<Self, LoadError> {
        can_load()?;
        raise_memlock_limit();
        let mut loader = EbpfLoader::new();
        loader
            // For programs that were refused: aya then asks once more, with a log.
            .verifier_log_level(VerifierLogLevel::DEBUG)
            // The programs use no kernel type, so a kernel without BTF will do.
            .btf(None);
        let l1_slots = options.cache.l1();
        let l2_slots = options.cache.l2::<RecordV4>();
        let cpus = Cpus::of_host()?;
        let l2_first_slot = area(cpus.present, 0) * l1_slots;
        let rings = options.rings();
        let (ring_mask, wake_bytes) = (rings.mask(), rings.bytes() / WAKE_AT_PART);
        loader
            .override_global(globals::L1_SLOTS, &l1_slots, true)
            .override_global(globals::L2_SLOTS, &l2_slots, true)
            .override_global(globals::L2_FIRST_SLOT, &l2_first_slot, true)
            .override_global(globals::RING_MASK, &ring_mask, true)
            .override_global(globals::WAKE_BYTES, &wake_bytes, true);
        for (map, entries) in options.map_entries(cpus) {
            loader.map_max_entries(map, entries);
        }
        let mut ebpf = loader.load(object).map_err(explain)?;
        let map = maps::FURTHER_RECORDS;
        let outer = ebpf.map_mut(map).ok_or(DatapathError::NoMap { map })?;
        let further_rings = further::make(outer, rings).map_err(explain)?;
        Ok(Self {
            ebpf,
            further_rings,
            refused: HashMap::new(),
        })
    }

    /// What aya made of the object.
    pub(super) const fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Takes the rings from 1 on.
    pub(super) fn take_further_rings(&mut self) -> Vec<MapData> {
        std::mem::take(&mut self.further_rings)
    }

    /// Takes a map out of the object.
    pub(super) fn take_map(&mut self, name: &'static str) -> Result<Map, DatapathError> {
        self.ebpf
            .take_map(name)
            .ok_or(DatapathError::NoMap { map: name })
    }

    /// A map that stays in the object: programs that are loaded later find maps by the file
    /// descriptors of the first moment, so those have to stay open.
    pub(super) fn map(&self, name: &'static str) -> Result<&Map, DatapathError> {
        self.ebpf
            .map(name)
            .ok_or(DatapathError::NoMap { map: name })
    }

    /// Runs and time of the loaded programs, by name.
    pub fn program_costs(&self) -> Vec<ProgramCost> {
        let loaded = self.ebpf.programs().filter_map(|(program, loaded)| {
            let info = loaded.info().ok()?;
            Some(ProgramCost {
                program: program.to_owned(),
                runs: info.run_count(),
                run_time: info.run_time(),
            })
        });
        loaded.collect()
    }

    /// A program, loaded into the kernel. What the verifier has refused once is not tried again.
    ///
    /// # Errors
    ///
    /// [`LoadError::NoProgram`]: the object has no program of this name. [`LoadError::Program`]:
    /// the verifier refuses it, or it is for neither XDP nor TC.
    pub fn program(&mut self, name: &'static str) -> Result<&mut Program, LoadError> {
        if let Some(VerifierRefusal { reason, errno }) = self.refused.get(name).cloned() {
            let cause = Box::new(io::Error::from_raw_os_error(errno));
            let program = name;
            return Err(LoadError::Program {
                program,
                reason,
                cause,
            });
        }
        let program = self
            .ebpf
            .program_mut(name)
            .ok_or(LoadError::NoProgram { program: name })?;
        let loaded = match program {
            Program::Xdp(xdp) => xdp.load(),
            Program::SchedClassifier(classifier) => classifier.load(),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        match loaded {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
            Err(error) => {
                let (program, reason) = (name, refusal(&error));
                if let Some(errno) = errno_of_verifier(&error) {
                    let reason = reason.clone();
                    self.refused.insert(name, VerifierRefusal { reason, errno });
                }
                let cause = without_log(error);
                Err(LoadError::Program {
                    program,
                    reason,
                    cause,
                })
            }
        }
    }
}

/// Lines at the end of the verifier's log that tell why it refused a program; before them it tells
/// the way there, instruction by instruction.
const TELLING_LINES: usize = 12;

fn refusal(error: &ProgramError) -> String {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return error.to_string();
    };
    let log = verifier_log.to_string();
    let lines: Vec<_> = log.lines().collect();
    let telling = &lines[lines.len().saturating_sub(TELLING_LINES)..];
    format!("{io_error}\n{}\n", telling.join("\n"))
}

/// The error number, if the verifier has refused the program: it writes a log then. Whatever else is
/// missing, such as memory, may be there the next time.
fn errno_of_verifier(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } if !verifier_log.to_string().is_empty() => io_error.raw_os_error(),
        _ => None,
    }
}

/// The error that a chain of causes goes on with: the verifier's log is hundreds of lines.
fn without_log(error: ProgramError) -> Cause {
    match error {
        ProgramError::LoadError { io_error, .. } => Box::new(io_error),
        other => Box::new(other),
    }
}

/// Release of the running kernel as a number, or 0.0.0 if it cannot be read.
pub(super) fn kernel_version() -> KernelVersion {
    KernelVersion::current().unwrap_or(KernelVersion::new(0, 0, 0))
}

/// Tells refusals that the administrator can mend from defects of ours.
fn explain(error: EbpfError) -> LoadError {
    let errno = match &error {
        EbpfError::MapError(MapError::CreateError { io_error, .. }) => io_error.raw_os_error(),
        EbpfError::MapError(MapError::SyscallError(error)) => error.io_error.raw_os_error(),
        _ => None,
    };
    let errno = errno.map(rustix::io::Errno::from_raw_os_error);
    let source = Box::new(error);
    match errno {
        Some(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS)
            if kernel_version() >= NO_MEMLOCK_KERNEL =>
        {
            LoadError::Forbidden {
                cause: who_forbids_bpf(),
                source,
            }
        }
        // Before 5.11 a memlock limit that is too low is EPERM.
        Some(
            rustix::io::Errno::PERM
            | rustix::io::Errno::NOMEM
            | rustix::io::Errno::TOOBIG
            | rustix::io::Errno::NOSPC,
        ) => LoadError::NoMemory { source },
        _ => LoadError::Object(source),
    }
}

fn who_forbids_bpf() -> String {
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[integrity]") || lockdown.contains("[confidentiality]") {
        return format!(
            "kernel lockdown is {}: boot with lockdown=none",
            lockdown.trim()
        );
    }
    "a seccomp filter or security module, such as a container's default profile: allow bpf(2) there"
        .to_owned()
}
