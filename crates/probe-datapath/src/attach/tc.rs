//! TC: TCX by bpf_link, or a filter on the clsact qdisc before Linux 6.6.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::programs::{
    SchedClassifier, TcAttachType,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};
use probe_common::{
    control::programs,
    record::{EGRESS, INGRESS},
};

use super::{HookCandidate, Refusal};
use crate::{
    link::{Link, LinkHeader},
    load::Object,
    netlink, syscall,
};

/// Ours is the first filter: one before it could take packets away unseen.
const FILTER_PRIORITY: u16 = 1;

/// "pr" in ASCII, to be recognised in `tc filter show`; the name of the filter is the program's.
const FILTER_HANDLE: TcHandle = TcHandle::new(0x7072, 1);

#[derive(Clone, Copy)]
pub(super) enum TcDirection {
    Ingress,
    Egress,
}

/// Holds a TC program attached until it is dropped; with TCX, also until its process ends.
#[derive(Debug)]
pub(super) enum TcHook {
    Tcx(#[expect(dead_code, reason = "held for its drop")] OwnedFd),
    Clsact(SchedClassifierLink),
}

impl TcHook {
    /// Lets go of a hook that has lost its program. A filter is known by its place only, and what is
    /// in that place now is not ours to remove.
    pub(super) fn forget(self) {
        match self {
            Self::Tcx(_) => {}
            Self::Clsact(link) => std::mem::forget(link),
        }
    }
}

/// The program for frames with such a header.
pub(super) const fn program_name(header: LinkHeader, direction: TcDirection) -> &'static str {
    match (header, direction) {
        (LinkHeader::None, TcDirection::Ingress) => programs::TC_INGRESS_L3,
        (LinkHeader::None, TcDirection::Egress) => programs::TC_EGRESS_L3,
        (_, TcDirection::Ingress) => programs::TC_INGRESS,
        (_, TcDirection::Egress) => programs::TC_EGRESS,
    }
}

/// The hook, and the number of the program at it.
pub(super) fn attach(
    object: &mut Object,
    candidate: HookCandidate,
    link: &Link,
    direction: TcDirection,
) -> Result<(TcHook, u32), Refusal> {
    let name = program_name(link.header, direction);
    let program: &mut SchedClassifier = object.program(name)?.try_into()?;
    let hook = if candidate == HookCandidate::Clsact {
        TcHook::Clsact(attach_clsact(program, link, direction)?)
    } else {
        TcHook::Tcx(attach_tcx(program, link, direction)?)
    };
    Ok((hook, program.info()?.id()))
}

/// First in line, since a program that answers "pass" ends the line.
fn attach_tcx(
    program: &SchedClassifier,
    link: &Link,
    direction: TcDirection,
) -> Result<OwnedFd, Refusal> {
    let direction = match direction {
        TcDirection::Ingress => INGRESS,
        TcDirection::Egress => EGRESS,
    };
    let program = program.fd()?.as_fd();
    syscall::attach_tcx(program, link.ifindex, direction).map_err(Refusal::from)
}

fn attach_clsact(
    program: &mut SchedClassifier,
    link: &Link,
    direction: TcDirection,
) -> Result<SchedClassifierLink, Refusal> {
    // aya takes a name, and the one that is shown may be that of another link.
    if link.odd_name.is_some() {
        return Err(Refusal::OddName);
    }
    add_clsact(link)?;
    let attach_type = match direction {
        TcDirection::Ingress => TcAttachType::Ingress,
        TcDirection::Egress => TcAttachType::Egress,
    };
    let options = TcAttachOptions::Netlink(NlOptions {
        priority: FILTER_PRIORITY,
        handle: FILTER_HANDLE,
        classid: None,
    });
    let id = program.attach_with_options(&link.name, attach_type, options)?;
    Ok(program.take_link(id)?)
}

/// Adds the qdisc that filters hang on, if it is not there. It is never removed: somebody else may
/// use it by then, and without filters it does nothing.
fn add_clsact(link: &Link) -> Result<(), Refusal> {
    let kind = || netlink::clsact_kind(link.ifindex);
    if kind()?.is_none() {
        match tc::qdisc_add_clsact(&link.name) {
            Ok(()) => {}
            Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(aya::programs::ProgramError::from(error).into()),
        }
    }
    match kind()? {
        Some(kind) if kind == "clsact" => Ok(()),
        Some(kind) => Err(Refusal::OtherQdisc {
            kind,
            interface: link.name.clone(),
        }),
        None => Err(Refusal::NoClsact),
    }
}

/// Names of the programs on the TCX hooks of a link, ours and others'; none where the kernel has
/// no TCX.
pub fn tcx_programs(interface: &str) -> Vec<String> {
    [TcAttachType::Ingress, TcAttachType::Egress]
        .into_iter()
        .filter_map(|direction| SchedClassifier::query_tcx(interface, direction).ok())
        .flat_map(|(_, programs)| programs)
        .map(|program| program.name_as_str().unwrap_or_default().to_owned())
        .collect()
}
