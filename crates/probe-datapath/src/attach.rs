//! Attaching to one interface.

mod check;
mod choice;
mod refusal;
mod tc;
mod xdp;

use probe_common::control::MAX_INTERFACES;

pub use self::{
    check::{CheckError, reattach},
    choice::{HookAttempt, HookCandidate, egress_program, ingress_program, plan, program_obstacle},
    refusal::Refusal,
    tc::tcx_programs,
};
use self::{
    choice::TC_CANDIDATES,
    tc::{TcDirection, TcHook},
};
use super::{
    link::{Link, LinkHeader},
    load::Object,
    netlink::NetlinkError,
    promisc::PromiscuousError,
};
use probe_capture::{interface::InterfaceConfig, source::Attachment};

/// Holds an interface's programs attached until it is dropped.
#[derive(Debug)]
pub struct Attached {
    ingress: Hooked<IngressHook>,
    egress: Hooked<TcHook>,
}

/// One of our programs at one hook.
#[derive(Debug)]
struct Hooked<H> {
    candidate: HookCandidate,
    /// The program, by the kernel's number.
    program: u32,
    /// Detaches the program when it is dropped. Nothing since the program was lost.
    hook: Option<H>,
}

#[derive(Debug)]
enum IngressHook {
    Xdp(#[expect(dead_code, reason = "held for its drop")] xdp::XdpHook),
    Tc(TcHook),
}

/// Why an interface cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It has a slot of the counters and programs at its hooks.
    #[error("it is captured already: detach and release it first")]
    AlreadyCaptured,
    /// It was never attached, or was detached.
    #[error("it is not captured")]
    NotCaptured,
    /// The link was removed.
    #[error("it is gone")]
    Gone,
    /// As many interfaces are captured as the object was loaded for.
    #[error(
        "all {slots} interface slots are taken: restart the agent after adding many interfaces by \
         name; {MAX_INTERFACES} are the most"
    )]
    NoSlot {
        /// Slots that the object was loaded with.
        slots: usize,
    },
    /// The kernel does not tell what the link is.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// It cannot be put into promiscuous mode, which its settings ask for.
    #[error(transparent)]
    Promiscuous(#[from] PromiscuousError),
    /// Its frames start with something that the parser does not know.
    #[error(
        "its frames have link headers of type {arphrd} (ARPHRD), which are not supported: capture \
         the device above or below it"
    )]
    UnknownHeader {
        /// Hardware type of the link, an `ARPHRD_` number of linux/if_arp.h.
        arphrd: u16,
    },
    /// Nothing that was tried, or was allowed to be tried, worked.
    #[error("no hook can be used ({tried}): try hook: auto, or detach what is in the way")]
    NoHook {
        /// All hooks with what became of them.
        tried: String,
        /// What the last hook that was tried said; none if none was tried.
        #[source]
        refusal: Option<Box<Refusal>>,
    },
    /// Sent packets cannot be captured.
    #[error("sent packets cannot be captured ({tried}): detach what is in the way")]
    NoEgressHook {
        /// All hooks with what became of them.
        tried: String,
        /// What the last hook that was tried said.
        #[source]
        refusal: Option<Box<Refusal>>,
    },
}

/// Attaches the programs to a link, which must have its slot already.
///
/// # Errors
///
/// [`AttachError::UnknownHeader`]: the parser does not know the link's headers.
/// [`AttachError::NoHook`] and [`AttachError::NoEgressHook`]: no hook for received or for sent
/// packets can be used.
pub fn attach(
    object: &mut Object,
    config: &InterfaceConfig,
    link: &Link,
) -> Result<(Attached, Attachment), AttachError> {
    attach_with(object, plan(config, link), &TC_CANDIDATES, link)
}

/// Loads the programs that [`attach`] takes if the first hook of the plan works: the verifier needs up
/// to a second for each. Errors come again when attaching.
pub fn load_programs(object: &mut Object, config: &InterfaceConfig, link: &Link) {
    let first = plan(config, link).into_iter().find_map(|step| match step {
        HookAttempt::Try(candidate) => Some(ingress_program(candidate, link)),
        HookAttempt::Skip(..) => None,
    });
    for program in first.into_iter().chain([egress_program(link)]) {
        drop(object.program(program));
    }
}

/// Attaches by clsact alone, as on kernels before 6.6: for tests on newer ones.
///
/// # Errors
///
/// As [`attach`].
pub fn attach_clsact(
    object: &mut Object,
    link: &Link,
) -> Result<(Attached, Attachment), AttachError> {
    let only = [HookCandidate::Clsact];
    attach_with(
        object,
        vec![HookAttempt::Try(HookCandidate::Clsact)],
        &only,
        link,
    )
}

fn attach_with(
    object: &mut Object,
    ingress_steps: Vec<HookAttempt>,
    egress_candidates: &[HookCandidate],
    link: &Link,
) -> Result<(Attached, Attachment), AttachError> {
    if let LinkHeader::Unknown(arphrd) = link.header {
        return Err(AttachError::UnknownHeader { arphrd });
    }
    let (ingress, reason) = attach_ingress(object, ingress_steps, link)?;
    let (egress, _) = attach_egress(object, egress_candidates, link)?;
    let attached = Attached { ingress, egress };
    let attachment = attached.attachment(reason);
    Ok((attached, attachment))
}

impl Attached {
    fn attachment(&self, reason: String) -> Attachment {
        Attachment {
            ingress: self.ingress.candidate.name(),
            egress: self.egress.candidate.name(),
            reason,
        }
    }
}

fn attach_ingress(
    object: &mut Object,
    steps: Vec<HookAttempt>,
    link: &Link,
) -> Result<(Hooked<IngressHook>, String), AttachError> {
    let mut tried = Vec::new();
    let hooked = first_that_works(&mut tried, steps, |candidate| {
        attach_ingress_candidate(object, candidate, link)
    });
    let tried = tried.join("; ");
    match hooked {
        Ok(hooked) => Ok((hooked, tried)),
        Err(refusal) => Err(AttachError::NoHook { tried, refusal }),
    }
}

/// XDP sees only what comes in; what goes out is always TC's.
fn attach_egress(
    object: &mut Object,
    candidates: &[HookCandidate],
    link: &Link,
) -> Result<(Hooked<TcHook>, String), AttachError> {
    let mut tried = Vec::new();
    let steps = candidates.iter().copied().map(HookAttempt::Try).collect();
    let hooked = first_that_works(&mut tried, steps, |candidate| {
        tc::attach(object, candidate, link, TcDirection::Egress)
    });
    let tried = tried.join("; ");
    match hooked {
        Ok(hooked) => Ok((hooked, tried)),
        Err(refusal) => Err(AttachError::NoEgressHook { tried, refusal }),
    }
}

/// Tries the candidates in order, and writes down what became of each. If none works, the error is
/// what the last one said.
fn first_that_works<H>(
    tried: &mut Vec<String>,
    steps: Vec<HookAttempt>,
    mut attach: impl FnMut(HookCandidate) -> Result<(H, u32), Refusal>,
) -> Result<Hooked<H>, Option<Box<Refusal>>> {
    let mut last = None;
    for step in steps {
        match step {
            HookAttempt::Skip(candidate, why) => {
                tried.push(format!("{}: not tried, {why}", candidate.name()));
            }
            HookAttempt::Try(candidate) => match attach(candidate) {
                Ok((hook, program)) => {
                    tried.push(format!("{}: attached", candidate.name()));
                    return Ok(Hooked {
                        candidate,
                        program,
                        hook: Some(hook),
                    });
                }
                Err(refusal) => {
                    tried.push(format!("{}: refused, {refusal}", candidate.name()));
                    last = Some(Box::new(refusal));
                }
            },
        }
    }
    Err(last)
}

/// A hook with the number of the program at it.
fn attach_ingress_candidate(
    object: &mut Object,
    candidate: HookCandidate,
    link: &Link,
) -> Result<(IngressHook, u32), Refusal> {
    if candidate.is_xdp() {
        let (hook, program) = xdp::attach(object, candidate, link.ifindex)?;
        Ok((IngressHook::Xdp(hook), program))
    } else {
        let (hook, program) = tc::attach(object, candidate, link, TcDirection::Ingress)?;
        Ok((IngressHook::Tc(hook), program))
    }
}
