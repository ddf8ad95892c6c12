//! What an agent that was killed may have left behind.
//!
//! Attachments with a bpf_link go with the process that holds them. A clsact filter, which is what
//! kernels before 6.6 have for TC, stays; it is recognised by its name, which is that of the
//! program.

use std::io;

use aya::programs::{
    TcAttachType,
    tc::{self, TcError},
};
use probe_common::control::programs;

use super::netlink::{self, NetlinkError};

const FILTERS: [(TcAttachType, &str); 4] = [
    (TcAttachType::Ingress, programs::TC_INGRESS),
    (TcAttachType::Egress, programs::TC_EGRESS),
    (TcAttachType::Ingress, programs::TC_INGRESS_L3),
    (TcAttachType::Egress, programs::TC_EGRESS_L3),
];

/// Stale filters were found and could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum StaleFilterError {
    /// The links cannot be listed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A filter of ours stays.
    #[error(
        "interface {interface}: cannot remove the filter {filter} of an earlier run: {source}: \
         remove it with `tc filter del dev {interface}`, or packets are counted twice"
    )]
    Filter {
        /// Name of the interface.
        interface: String,
        /// Name of the filter.
        filter: &'static str,
        /// What the kernel said.
        source: TcError,
    },
}

/// Removes the clsact filters of an agent that is gone, from all interfaces of this network
/// namespace, and returns how many there were. The qdisc stays: others may use it by now.
///
/// Call it before anything is attached: it cannot tell a dead agent's filters from a live one's.
///
/// # Errors
///
/// [`StaleFilterError::Netlink`]: the links cannot be listed. [`StaleFilterError::Filter`]: the
/// kernel refuses to remove a filter; the others are removed, and the error is of the first.
pub fn detach_stale_filters() -> Result<usize, StaleFilterError> {
    let mut removed = 0;
    let mut failure = None;
    for link in netlink::links()? {
        // Filters were never put on a link whose name is no text: see `attach::tc`.
        let Some((interface, true)) = link.shown_name() else {
            continue;
        };
        for (direction, filter) in FILTERS {
            match tc::qdisc_detach_program(&interface, direction, filter) {
                Ok(()) => removed += 1,
                Err(error) if is_absent(&error) => {}
                Err(source) => {
                    failure.get_or_insert_with(|| StaleFilterError::Filter {
                        interface: interface.clone(),
                        filter,
                        source,
                    });
                }
            }
        }
    }
    failure.map_or(Ok(removed), Err)
}

/// No such filter, no clsact qdisc, or the interface has gone meanwhile.
fn is_absent(error: &TcError) -> bool {
    match error {
        TcError::IoError(error) => {
            matches!(
                error.raw_os_error(),
                None | Some(libc::ENODEV | libc::ENXIO | libc::ENOENT)
            ) && (error.raw_os_error().is_some() || error.kind() == io::ErrorKind::NotFound)
        }
        TcError::NetlinkError(error) => matches!(
            error.raw_os_error(),
            Some(libc::EINVAL | libc::ENODEV | libc::ENOENT)
        ),
        _ => false,
    }
}
