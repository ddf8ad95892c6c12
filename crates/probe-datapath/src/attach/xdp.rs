//! XDP, by bpf_link only.

use aya::{
    programs::{Xdp, links::FdLink, xdp::XdpMode},
    util::KernelVersion,
};
use probe_common::control::programs;

use super::{HookCandidate, Refusal};
use crate::load::{Object, kernel_version};

/// Frames in several buffers and the helpers to read them came with 5.18 (commit 0165cc817075).
const MULTI_BUFFER_KERNEL: KernelVersion = KernelVersion::new(5, 18, 0);

/// Holds an XDP program attached until it is dropped or its process ends.
#[derive(Debug)]
pub(super) struct XdpHook {
    _link: FdLink,
}

/// The program that this kernel takes.
pub(super) fn program_name() -> &'static str {
    if kernel_version() >= MULTI_BUFFER_KERNEL {
        programs::XDP_INGRESS
    } else {
        programs::XDP_INGRESS_LINEAR
    }
}

pub(super) fn attach(
    object: &mut Object,
    candidate: HookCandidate,
    ifindex: u32,
) -> Result<(XdpHook, u32), Refusal> {
    let name = program_name();
    let mode = match candidate {
        HookCandidate::XdpNative => XdpMode::Driver,
        _ => XdpMode::Skb,
    };
    let program: &mut Xdp = object.program(name)?.try_into()?;
    let id = program.attach_to_if_index(ifindex, mode)?;
    let link = program.take_link(id)?;
    // Where the kernel answers EINVAL to bpf_link_create, aya attaches over netlink instead, which
    // would outlive this process. Such a link is detached by the conversion, which drops it.
    let link = FdLink::try_from(link).map_err(|_| Refusal::NoBpfLink)?;
    Ok((XdpHook { _link: link }, program.info()?.id()))
}
