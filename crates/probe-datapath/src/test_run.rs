//! Running a loaded program over a frame of ours (`BPF_PROG_TEST_RUN`): no interface, no traffic.
//!
//! The kernel pretends that the frame came through the loopback device of the namespace, so that
//! device's index, 1, is what the programs look up.

use std::time::Duration;

use aya::programs::{Program, ProgramError, SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::load::{LoadError, Object};

/// Index of the interface that frames of a test run come through.
pub const TEST_IFINDEX: u32 = 1;

/// How the kernel hands a frame of a test run to the program.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TestFrame<'a> {
    /// The frame, from its Ethernet header on; at least 14 bytes.
    pub bytes: &'a [u8],
    /// How much of it lies in the first buffer; the rest goes into fragments. `None`: as much as
    /// fits. Kernels before 6.18 refuse anything else.
    pub linear_len: Option<u32>,
    /// TC: the frame is a super-packet with this payload size of a segment; 0 for none.
    pub gso_size: u32,
    /// TC: number of segments, or 0 where the kernel does not know it.
    pub gso_segments: u32,
}

/// What a test run came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TestOutcome {
    /// What the program answered: `XDP_PASS`, `TC_ACT_UNSPEC` as a `u32`.
    pub action: u32,
    /// Time of one run, on average.
    pub per_run: Duration,
}

/// A frame could not be run.
#[derive(Debug, thiserror::Error)]
pub enum TestRunError {
    /// The program could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel does not take such a frame: too short, or too long for this kernel.
    #[error("the kernel does not run {program} on a frame of {len} bytes ({source})")]
    Frame {
        /// Name of the program.
        program: &'static str,
        /// Length of the frame.
        len: usize,
        /// What the kernel said.
        source: ProgramError,
    },
}

impl TestRunError {
    /// Whether the kernel objects to the frame, not to the run.
    pub fn is_unfit_frame(&self) -> bool {
        matches!(
            self,
            Self::Frame {
                source: ProgramError::SyscallError(error),
                ..
            } if matches!(
                error.io_error.raw_os_error(),
                Some(libc::EINVAL | libc::ENOMEM | libc::E2BIG | libc::ERANGE)
            )
        )
    }
}

/// What the kernel tells of a loaded program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProgramFacts {
    /// Instructions that the verifier walked through (kernel 5.16).
    pub verified_instructions: Option<u32>,
    /// Bytes of machine code; 0 where programs are interpreted.
    pub jited_bytes: u32,
}

impl Object {
    /// Loads a program and says what the kernel made of it.
    ///
    /// # Errors
    ///
    /// [`LoadError::NoProgram`]: the object has no program of this name. [`LoadError::Program`]:
    /// the verifier refuses it, or the kernel does not describe it.
    pub fn program_facts(&mut self, program: &'static str) -> Result<ProgramFacts, LoadError> {
        let info = match self.program(program)? {
            Program::Xdp(xdp) => xdp.info(),
            Program::SchedClassifier(classifier) => classifier.info(),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        let info = info.map_err(|source| LoadError::Program {
            program,
            reason: source.to_string(),
            cause: Box::new(source),
        })?;
        Ok(ProgramFacts {
            verified_instructions: info.verified_instruction_count(),
            jited_bytes: info.size_jitted(),
        })
    }

    /// Runs a program so many times over a frame.
    ///
    /// # Errors
    ///
    /// [`TestRunError::Load`]: the program cannot be loaded. [`TestRunError::Frame`]: the kernel
    /// refuses to run it, for a reason that [`TestRunError::is_unfit_frame`] tells.
    pub fn test_run(
        &mut self,
        program: &'static str,
        frame: TestFrame<'_>,
        repeat: u32,
    ) -> Result<TestOutcome, TestRunError> {
        let mut options = TestRunOptions {
            data_in: Some(frame.bytes),
            repeat,
            ..TestRunOptions::default()
        };
        let (xdp_context, skb_context);
        let result = match self.program(program)? {
            Program::Xdp(xdp) => {
                if let Some(linear_len) = frame.linear_len {
                    xdp_context = XdpContext::with_linear_len(linear_len);
                    options.ctx_in = Some(xdp_context.as_bytes());
                }
                Xdp::test_run(xdp, options)
            }
            Program::SchedClassifier(classifier) => {
                skb_context = SkbContext::from_frame(&frame);
                options.ctx_in = Some(skb_context.as_bytes());
                SchedClassifier::test_run(classifier, options)
            }
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        let result = result.map_err(|source| TestRunError::Frame {
            program,
            len: frame.bytes.len(),
            source,
        })?;
        Ok(TestOutcome {
            action: result.return_value,
            per_run: result.duration,
        })
    }
}

/// Layout of `struct xdp_md` in include/uapi/linux/bpf.h.
#[derive(FromZeros, Immutable, IntoBytes)]
#[repr(C)]
struct XdpContext {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

impl XdpContext {
    fn with_linear_len(linear_len: u32) -> Self {
        Self {
            data_end: linear_len,
            ..Self::new_zeroed()
        }
    }
}

/// `struct __sk_buff`, include/uapi/linux/bpf.h. The kernel takes few of its fields from a test
/// and refuses the others unless they are 0.
#[derive(FromZeros, Immutable, IntoBytes)]
#[repr(C)]
struct SkbContext {
    len_to_data: [u32; 20],
    data_end: u32,
    napi_id_to_wire_len: [u32; 20],
    gso_segs: u32,
    sk: u64,
    gso_size: u32,
    tstamp_type: u32,
    hwtstamp: u64,
}

const _: () = {
    assert!(size_of::<SkbContext>() == 192);
    assert!(std::mem::offset_of!(SkbContext, data_end) == 80);
    assert!(std::mem::offset_of!(SkbContext, gso_segs) == 164);
    assert!(std::mem::offset_of!(SkbContext, gso_size) == 176);
};

impl SkbContext {
    fn from_frame(frame: &TestFrame<'_>) -> Self {
        Self {
            data_end: frame.linear_len.unwrap_or(0),
            gso_segs: frame.gso_segments,
            gso_size: frame.gso_size,
            ..Self::new_zeroed()
        }
    }
}
