//! The network links of the host, by netlink.

use std::collections::BTreeSet;

use probe_capture::interface::{HostLink, Interface, LinkList, UnreadableLink};

use crate::{
    link::kind_name,
    netlink::{self, LinkRecord, NetlinkError},
};

/// All links of the network namespace of the calling thread, by ifindex.
///
/// # Errors
///
/// [`NetlinkError`]: no netlink socket can be opened, or the kernel does not list the links. A link
/// that cannot be read is no error, and hides no other.
pub fn list() -> Result<LinkList, NetlinkError> {
    let mut records = netlink::links()?;
    records.sort_by_key(|link| link.ifindex);
    Ok(named(&records))
}

/// Gives each link its name. A name that is no text is shown with octets as `\xfc`. Another link may
/// have just that text as its name, and keeps it.
pub(crate) fn named(records: &[LinkRecord]) -> LinkList {
    let names: Vec<_> = records.iter().map(LinkRecord::shown_name).collect();
    let exact: BTreeSet<_> = names
        .iter()
        .flatten()
        .filter_map(|(name, is_exact)| is_exact.then_some(name.as_str()))
        .collect();
    let mut list = LinkList::default();
    for (record, name) in records.iter().zip(&names) {
        let unreadable = match name {
            None => {
                "the kernel tells no name of it; please report this with its release".to_owned()
            }
            Some((name, false)) if exact.contains(name.as_str()) => format!(
                "its name is no plain text, and another link is called {name} as it would be"
            ),
            Some((name, _)) => {
                list.links.push(HostLink {
                    interface: Interface {
                        name: name.as_str().into(),
                        ifindex: record.ifindex,
                    },
                    kind: kind_name(record.kind.as_deref(), record.is_loopback()).into(),
                    master: record.master,
                    lower: record.lower_here(),
                });
                continue;
            }
        };
        list.unreadable.push(UnreadableLink {
            ifindex: record.ifindex,
            reason: unreadable,
        });
    }
    list
}

#[cfg(test)]
mod tests {
    use super::{LinkRecord, list, named};

    #[test]
    fn the_loopback_link_is_always_there() {
        let links = list().unwrap().links;
        assert!(
            links
                .iter()
                .any(|link| &*link.interface.name == "lo" && &*link.kind == "loopback"),
            "{links:?}"
        );
    }

    #[test]
    fn no_link_takes_the_name_of_another() {
        let link = |ifindex, name: &[u8]| LinkRecord {
            ifindex,
            name: Some(name.to_vec()),
            ..LinkRecord::default()
        };
        let nameless = LinkRecord {
            ifindex: 4,
            ..LinkRecord::default()
        };
        let odd = link(1, b"a\xfc");
        let list = named(&[odd.clone(), link(2, b"b\xfc"), link(3, br"a\xfc"), nameless]);
        let names: Vec<_> = list
            .links
            .iter()
            .map(|it| (it.interface.ifindex, &*it.interface.name))
            .collect();
        assert_eq!(names, [(2, r"b\xfc"), (3, r"a\xfc")]);
        let unreadable: Vec<_> = list.unreadable.iter().map(|it| it.ifindex).collect();
        assert_eq!(unreadable, [1, 4]);
        assert_eq!(named(&[odd]).links.len(), 1);
    }
}
