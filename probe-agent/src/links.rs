//! The network links of the host, by netlink.

use crate::{
    config::{InterfaceConfig, InterfaceSelector},
    datapath::netlink::{self, NetlinkError},
    source::Interface,
};

/// All links of the network namespace of the calling thread, by ifindex.
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

/// What a selector makes of a list of links.
#[derive(Debug, Default)]
pub struct Selection {
    /// Links to capture, with their settings.
    pub wanted: Vec<(Interface, InterfaceConfig)>,
    /// Names in the configuration that no link has.
    pub missing: Vec<String>,
}

/// Selects among links.
pub fn select(selector: &InterfaceSelector, links: &[Interface]) -> Selection {
    let wanted = links.iter().filter_map(|link| {
        selector
            .matches(&link.name)
            .map(|config| (link.clone(), config.clone()))
    });
    let is_missing = |name: &&str| !links.iter().any(|link| *link.name == **name);
    Selection {
        wanted: wanted.collect(),
        missing: selector
            .names()
            .filter(is_missing)
            .map(str::to_owned)
            .collect(),
    }
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
