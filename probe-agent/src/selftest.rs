//! Whether the programs do on this kernel what the parser does on the host (`probe-agent
//! selftest`): a built-in set of packets goes through each loaded program (`BPF_PROG_TEST_RUN`),
//! and record and counters are compared byte for byte. Nothing is attached.

pub mod bench;
mod describe;
pub mod expected;
mod packets;
mod text;

use std::{borrow::Cow, fmt::Write, time::Instant};

use probe_common::headers::ETHERNET_LEN;
use serde::Serialize;

pub use self::text::write_text;
use self::{
    bench::{Bench, PROGRAMS, Ran, UnderTest, load_as_run, load_with_cache},
    expected::{expected_of, parse_on_host, without_end},
    packets::Case,
};
use probe_capture::source::SourceError;
use probe_datapath::{
    attach,
    load::{LoadError, LoadOptions},
    test_run::{TestFrame, TestRunError},
};

/// The version of the JSON output's shape. Fields may be added without a new one.
pub const FORMAT: u32 = 1;

/// The programs could not be run.
#[derive(Debug, thiserror::Error)]
pub enum SelftestError {
    /// The object could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A program could not be run.
    #[error(transparent)]
    Run(#[from] TestRunError),
    /// Counters or records could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The loaded object has no ring.
    #[error("the eBPF object gives no records: it belongs to another version")]
    NoStream,
    /// A program pushed more than a record.
    #[error("{program} pushed {records} records for one packet: the object is wrong")]
    Records {
        /// Name of the program.
        program: &'static str,
        /// Number of records that were pushed.
        records: usize,
    },
    /// A program counted where it must not.
    #[error("{program} counted in another direction or bank than its own: the object is wrong")]
    WrongCounters {
        /// Name of the program.
        program: &'static str,
    },
}

/// What a selftest came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this report, [`FORMAT`].
    pub format: u32,
    /// Whether every run agreed with what was expected.
    pub ok: bool,
    /// `embedded`, or the file.
    pub object: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Machine architecture, such as `x86_64`.
    pub architecture: &'static str,
    /// Packets in the built-in set.
    pub packets: usize,
    /// Runs that were made.
    pub runs: usize,
    /// Number of runs that agreed.
    pub agreed: usize,
    /// Results of each program.
    pub programs: Vec<ProgramReport>,
    /// All runs that did not agree.
    pub differences: Vec<Difference>,
    /// Time that all took, loading included.
    pub elapsed_ms: u64,
}

/// What came of one program.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProgramReport {
    /// Name of the program in the object.
    pub program: &'static str,
    /// Why this kernel cannot have it, so that the agent does not use it here.
    pub left_out: Option<&'static str>,
    /// Instructions that the verifier walked through (kernel 5.16).
    pub verified_instructions: Option<u32>,
    /// Bytes of machine code; 0 where programs are interpreted.
    pub jited_bytes: u32,
    /// Runs that were made.
    pub runs: usize,
    /// Number of runs that agreed.
    pub agreed: usize,
    /// Packets that this kernel's `BPF_PROG_TEST_RUN` does not take.
    pub unfit: usize,
    /// Time of a run in ns: the middle one of all.
    pub median_run_ns: u64,
}

/// A run that did not agree.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// What is special about the packet.
    pub packet: &'static str,
    /// Name of the program; `host` where the host's own parser has not the known answer.
    pub program: &'static str,
    /// What it should have done.
    pub expected: Said,
    /// What the program did with the packet.
    pub got: Said,
    /// Only the fields that differ.
    pub fields: Vec<FieldDifference>,
}

/// A field in which two runs differ.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct FieldDifference {
    /// Name of the field or counter.
    pub field: Cow<'static, str>,
    /// What should be there; `none` if there should be no such field.
    pub expected: String,
    /// Value that the program gave.
    pub got: String,
}

impl Difference {
    fn between(packet: &'static str, program: &'static str, expected: &Ran, got: &Ran) -> Self {
        Self {
            packet,
            program,
            expected: Said::from_ran(expected),
            got: Said::from_ran(got),
            fields: describe::differing(expected, got),
        }
    }
}

/// What a program said to a packet.
#[derive(Clone, Debug, Serialize)]
pub struct Said {
    /// The whole run in one sentence, for people.
    pub text: String,
    /// The bytes of the record in hexadecimal digits.
    pub record: Option<String>,
}

impl Said {
    fn from_ran(ran: &Ran) -> Self {
        Self {
            text: describe::describe(ran),
            record: ran.record.as_deref().map(hex),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Runs all packets through all programs of an object, by default the embedded one. `name` is the
/// object's name in the report. The kernel must take the programs with the sizes of `as_run`, too:
/// they are what the agent loads.
///
/// # Errors
///
/// [`SelftestError::Load`]: the kernel does not take the object. All others as [`Bench::run`].
/// Wrong answers of programs are no error: they are in the report.
pub fn run(
    object: Option<&[u8]>,
    name: String,
    as_run: LoadOptions,
) -> Result<Report, SelftestError> {
    let began = Instant::now();
    let mut bench = Bench::load(object, false)?;
    let mut as_shipped = Vec::from(load_with_cache(object)?);
    as_shipped.insert(0, load_as_run(object, as_run)?);
    let cases = packets::cases();
    let mut report = Report {
        format: FORMAT,
        ok: true,
        object: name,
        kernel: release(),
        architecture: std::env::consts::ARCH,
        packets: cases.len(),
        runs: 0,
        agreed: 0,
        programs: Vec::new(),
        differences: differences_on_host(&cases),
        elapsed_ms: 0,
    };
    for under_test in PROGRAMS {
        let mut program = run_program(&mut bench, under_test, &cases, &mut report.differences)?;
        if program.left_out.is_none() {
            // The facts that stay are of what the agent loads.
            for source in as_shipped.iter_mut().rev() {
                let facts = source.object().program_facts(under_test.program)?;
                program.verified_instructions = facts.verified_instructions;
                program.jited_bytes = facts.jited_bytes;
            }
        }
        report.runs += program.runs;
        report.agreed += program.agreed;
        report.programs.push(program);
    }
    report.ok = report.differences.is_empty() && report.agreed > 0;
    report.elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

fn run_program(
    bench: &mut Bench,
    under_test: UnderTest,
    cases: &[Case],
    differences: &mut Vec<Difference>,
) -> Result<ProgramReport, SelftestError> {
    if let Some(reason) = attach::program_obstacle(under_test.program) {
        return Ok(ProgramReport {
            program: under_test.program,
            left_out: Some(reason),
            ..ProgramReport::default()
        });
    }
    let mut times = Vec::new();
    let (mut unfit, mut agreed) = (0, 0);
    for case in cases {
        // No link has shorter frames, and the kernel makes none.
        let ran = match case.frame.len() {
            ..ETHERNET_LEN => None,
            _ => bench.run(under_test, whole(&case.frame))?,
        };
        let Some(ran) = ran else {
            unfit += 1;
            continue;
        };
        times.push(bench.last_run.as_nanos());
        let parsed = if under_test.is_l3 {
            parse_on_host(under_test, &case.frame)
        } else {
            without_end(case.expected, case.wire_len - case.frame.len())
        };
        let expected = expected_of(under_test, &parsed, case.frame.len());
        if ran == expected {
            agreed += 1;
        } else {
            let program = under_test.program;
            differences.push(Difference::between(case.name, program, &expected, &ran));
        }
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(ProgramReport {
        program: under_test.program,
        runs: times.len(),
        agreed,
        unfit,
        median_run_ns: u64::try_from(median).unwrap_or(u64::MAX),
        ..ProgramReport::default()
    })
}

/// The host's parser against the known answers: else it would be no measure.
fn differences_on_host(cases: &[Case]) -> Vec<Difference> {
    let [as_ethernet, ..] = PROGRAMS;
    let whole_cases = cases
        .iter()
        .filter(|case| case.wire_len == case.frame.len());
    let differing = whole_cases.filter_map(|case| {
        let found = parse_on_host(as_ethernet, &case.frame);
        let ran = |parsed| expected_of(as_ethernet, &parsed, case.frame.len());
        (found != case.expected)
            .then(|| Difference::between(case.name, "host", &ran(case.expected), &ran(found)))
    });
    differing.collect()
}

const fn whole(bytes: &[u8]) -> TestFrame<'_> {
    TestFrame {
        bytes,
        linear_len: None,
        gso_size: 0,
        gso_segments: 0,
    }
}

fn release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}
