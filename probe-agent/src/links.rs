//! The network links of the host, by netlink.

use std::{io, sync::Arc};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::LinkAttribute;

use crate::{
    config::{InterfaceConfig, InterfaceSelector},
    source::Interface,
};

/// The list of links could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// No netlink socket.
    #[error("cannot open a netlink socket to list the network interfaces: {0}")]
    Socket(#[from] io::Error),
    /// The kernel refused the request.
    #[error("cannot list the network interfaces: {0}")]
    Request(#[from] rtnetlink::Error),
}

/// All links of the network namespace of the calling thread, by ifindex.
pub fn list() -> Result<Vec<Interface>, LinksError> {
    // A runtime of its own, on this thread: the socket must be made in the caller's namespace.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection);
        let mut links = Vec::new();
        let mut messages = handle.link().get().execute();
        while let Some(message) = messages.try_next().await? {
            let name = message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    LinkAttribute::IfName(name) => Some(Arc::from(name.as_str())),
                    _ => None,
                });
            links.extend(name.map(|name| Interface {
                name,
                ifindex: message.header.index,
            }));
        }
        connection.abort();
        links.sort_by_key(|link| link.ifindex);
        Ok(links)
    })
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
