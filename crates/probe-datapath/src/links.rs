//! The network links of the host, by netlink.

use probe_capture::interface::Interface;

use crate::netlink::{self, NetlinkError};

/// All links of the network namespace of the calling thread, by ifindex.
///
/// # Errors
///
/// [`NetlinkError`]: no netlink socket can be opened, or the kernel does not list the links.
pub fn list() -> Result<Vec<Interface>, NetlinkError> {
    let names = netlink::link_names()?.into_iter();
    let mut links: Vec<_> = names
        .map(|(ifindex, name)| Interface {
            name: name.into(),
            ifindex,
        })
        .collect();
    links.sort_by_key(|link| link.ifindex);
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn the_loopback_link_is_always_there() {
        let links = list().unwrap();
        assert!(links.iter().any(|link| &*link.name == "lo"), "{links:?}");
    }
}
