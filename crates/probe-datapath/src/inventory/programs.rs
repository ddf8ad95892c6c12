//! Programs and filters on the hooks of the links, and which processes hold them there.

use std::collections::{BTreeSet, HashMap};

use aya::programs::{ProgramError, loaded_programs};
use probe_common::{
    control::programs,
    record::{EGRESS, INGRESS},
};
use rtnetlink::packet_route::tc::TcHandle;

use super::{
    InventoryLink,
    holders::{Holder, holders},
};
use crate::{
    netlink::{self, LinkRecord, NetlinkError, TcRecord, XdpMode},
    syscall,
};

/// Longest name that the kernel keeps of a program: `BPF_OBJ_NAME_LEN` with the final 0.
const KERNEL_NAME_LEN: usize = 15;

/// Where a program is attached, in the order in which a packet meets them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ProgramHook {
    /// XDP in the device.
    XdpOffloaded,
    /// XDP in the driver.
    XdpNative,
    /// XDP in the network stack.
    XdpGeneric,
    /// TCX hook for received packets.
    TcxIngress,
    /// Filter on clsact or ingress, received packets.
    ClsactIngress,
    /// TCX hook for sent packets.
    TcxEgress,
    /// Filter on clsact, sent packets.
    ClsactEgress,
}

impl ProgramHook {
    /// Name in the output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::XdpOffloaded => "xdp-offloaded",
            Self::TcxIngress => "tcx ingress",
            Self::TcxEgress => "tcx egress",
            Self::ClsactIngress => "clsact ingress",
            Self::ClsactEgress => "clsact egress",
        }
    }

    /// One of the XDP hooks.
    pub const fn is_xdp(self) -> bool {
        matches!(
            self,
            Self::XdpNative | Self::XdpGeneric | Self::XdpOffloaded
        )
    }
}

/// A program or filter that is attached to a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttachedProgram {
    /// Hook that the program is attached to.
    pub hook: ProgramHook,
    /// `bpf`, or the kind of a filter that is no program: `flower`, `u32` …
    pub kind: String,
    /// The kernel's number of the program.
    pub id: Option<u32>,
    /// Name of the program; `None` if it has none.
    pub name: Option<String>,
    /// Processes that hold it, or the link that attaches it, open.
    pub holders: Vec<Holder>,
}

impl AttachedProgram {
    /// Whether it is one of this agent's.
    pub fn is_ours(&self) -> bool {
        let ours = [
            programs::XDP_INGRESS,
            programs::XDP_INGRESS_LINEAR,
            programs::TC_INGRESS,
            programs::TC_EGRESS,
            programs::TC_INGRESS_L3,
            programs::TC_EGRESS_L3,
        ];
        let cut = |name: &'static str| name.get(..KERNEL_NAME_LEN).unwrap_or(name);
        let name = self.name.as_deref();
        name.is_some_and(|name| ours.iter().any(|ours| *ours == name || cut(ours) == name))
    }

    fn of_bpf(hook: ProgramHook, id: u32, name: Option<String>) -> Self {
        Self {
            hook,
            kind: "bpf".to_owned(),
            id: Some(id),
            name,
            holders: Vec::new(),
        }
    }
}

/// The XDP programs of a link.
pub(super) fn xdp(link: &LinkRecord) -> Vec<AttachedProgram> {
    let attached = link.xdp_programs.iter().map(|(mode, id)| {
        let hook = match mode {
            XdpMode::Driver => ProgramHook::XdpNative,
            XdpMode::Generic => ProgramHook::XdpGeneric,
            XdpMode::Offloaded => ProgramHook::XdpOffloaded,
        };
        AttachedProgram::of_bpf(hook, *id, None)
    });
    attached.collect()
}

/// Adds the qdisc that filters hang on to each link, and the filters.
pub(super) fn add_filters(links: &mut [InventoryLink], hidden: &mut BTreeSet<String>) {
    let mut kinds = match netlink::clsact_kinds() {
        Ok(kinds) => kinds,
        Err(error) => {
            hidden.insert(format!("filters: {error}"));
            return;
        }
    };
    for listed in links {
        let Some(kind) = kinds.remove(&listed.link.ifindex) else {
            continue;
        };
        match filters(listed.link.ifindex, &kind) {
            Ok(filters) => listed.programs.extend(filters),
            Err(error) => {
                hidden.insert(format!("filters of {}: {error}", listed.link.name));
            }
        }
        listed.clsact = Some(kind);
    }
}

fn filters(ifindex: u32, qdisc: &str) -> Result<Vec<AttachedProgram>, NetlinkError> {
    let sides = [
        (TcHandle::MIN_INGRESS, ProgramHook::ClsactIngress),
        (TcHandle::MIN_EGRESS, ProgramHook::ClsactEgress),
    ];
    let mut filters: Vec<AttachedProgram> = Vec::new();
    for (minor, hook) in sides {
        // An ingress qdisc has one list, which answers to both names.
        if qdisc != "clsact" && hook == ProgramHook::ClsactEgress {
            continue;
        }
        for filter in netlink::filters(ifindex, minor)? {
            filters.extend(filter_program(filter, hook));
        }
    }
    Ok(filters)
}

/// `None` for the message that stands for a whole priority and has no filter of its own.
fn filter_program(filter: TcRecord, hook: ProgramHook) -> Option<AttachedProgram> {
    filter.has_options.then_some(AttachedProgram {
        hook,
        kind: filter.kind,
        id: filter.program,
        name: filter.program_name,
        holders: Vec::new(),
    })
}

/// Adds the TCX programs of each link. Returns whether the kernel has TCX, if it could be asked.
pub(super) fn add_tcx(links: &mut [InventoryLink], hidden: &mut BTreeSet<String>) -> Option<bool> {
    let sides = [
        (INGRESS, ProgramHook::TcxIngress),
        (EGRESS, ProgramHook::TcxEgress),
    ];
    let mut has_tcx = None;
    for listed in links {
        for (direction, hook) in sides {
            match syscall::tcx_programs(listed.link.ifindex, direction) {
                Ok(found) => {
                    has_tcx = Some(true);
                    let found = found.into_iter();
                    let found = found.map(|id| AttachedProgram::of_bpf(hook, id, None));
                    listed.programs.extend(found);
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINVAL) => return Some(false),
                    Some(libc::EPERM | libc::EACCES) => {
                        hidden.insert("TCX programs: CAP_NET_ADMIN".to_owned());
                        return has_tcx;
                    }
                    // The link or the program has just gone.
                    Some(libc::ENODEV | libc::ENOENT) => {}
                    _ => {
                        let name = &listed.link.name;
                        hidden.insert(format!("TCX programs of {name}: {error}"));
                    }
                },
            }
        }
        listed.programs.sort_by_key(|program| program.hook);
    }
    has_tcx
}

fn errno_of(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        ProgramError::TcError(aya::programs::tc::TcError::IoError(error)) => error.raw_os_error(),
        _ => None,
    }
}

/// Completes what the hooks themselves do not tell.
pub(super) fn add_names_and_holders(links: &mut [InventoryLink], hidden: &mut BTreeSet<String>) {
    let mut found: Vec<_> = links
        .iter_mut()
        .flat_map(|link| &mut link.programs)
        .collect();
    if found.is_empty() {
        return;
    }
    if found.iter().any(|program| program.name.is_none()) {
        let names = names(hidden);
        for program in &mut found {
            let name = program.id.and_then(|id| names.get(&id));
            program.name = program.name.take().or_else(|| name.cloned());
        }
    }
    let holders = holders(hidden);
    for program in found {
        let held = program.id.and_then(|id| holders.get(&id));
        program.holders = held.cloned().unwrap_or_default();
    }
}

/// The names of all programs in the kernel.
fn names(hidden: &mut BTreeSet<String>) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for program in loaded_programs() {
        match program {
            Ok(program) => {
                let name = program.name_as_str().filter(|name| !name.is_empty());
                names.extend(name.map(|name| (program.id(), name.to_owned())));
            }
            Err(error) if errno_of(&error) == Some(libc::EPERM) => {
                hidden.insert("names of attached programs: CAP_SYS_ADMIN".to_owned());
                break;
            }
            // It has just gone.
            Err(_) => {}
        }
    }
    names
}
