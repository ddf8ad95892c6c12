//! What is on the host before anything of ours is: its links, how they hang together, and whose
//! programs are attached to them. Asks and changes nothing.

mod holders;
mod host;
mod programs;

use std::collections::BTreeSet;

use probe_capture::interface::UnreadableLink;
use rtnetlink::packet_route::link::{LinkFlags, LinkLayerType};

pub use self::{
    holders::Holder,
    host::{Feature, Host},
    programs::{AttachedProgram, ProgramHook},
};
use super::{
    link::Link,
    links,
    netlink::{self, LinkRecord, NetlinkError},
    syscall,
};

/// A link with everything that matters for its capture.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InventoryLink {
    /// What decides about the hooks.
    pub link: Link,
    /// Type of its link headers (ARPHRD).
    pub arphrd: u16,
    /// The kernel's name of that type.
    pub arphrd_name: String,
    /// Largest packet in octets.
    pub mtu: Option<u32>,
    /// Whether the link is administratively up (`IFF_UP`).
    pub is_up: bool,
    /// Name of the driver.
    pub driver: Option<String>,
    /// VLAN that a `vlan` link carries.
    pub vlan_id: Option<u16>,
    /// Bridge, bond or the like that it is a member of, by index.
    pub master: Option<u32>,
    /// The link below it (of a VLAN, a macvlan or a tunnel), or a veth's other end.
    pub lower: Option<LowerLink>,
    /// Kind of the qdisc that TC filters hang on: `clsact`, or the older `ingress`.
    pub clsact: Option<String>,
    /// Programs and filters on the hooks that we would use, in the order in which they run.
    pub programs: Vec<AttachedProgram>,
}

/// The link below this one, as `IFLA_LINK` names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LowerLink {
    /// Its index, in the network namespace it is in.
    pub ifindex: u32,
    /// It is in another network namespace.
    pub is_elsewhere: bool,
}

/// Everything that was checked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HostInventory {
    /// Kernel release, architecture and privileges.
    pub host: Host,
    /// All links of the network namespace of the calling thread, by index.
    pub links: Vec<InventoryLink>,
    /// Links that cannot be captured, since the agent cannot read what it needs to know; not in `links`.
    pub unreadable: Vec<UnreadableLink>,
    /// What could not be checked, each with the reason.
    pub not_checked: Vec<String>,
}

impl HostInventory {
    /// Checks the host. Only that there is no list of links is an error; what else cannot be
    /// seen is told.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`]: no netlink socket can be opened, or the kernel does not list the links.
    pub fn take() -> Result<Self, NetlinkError> {
        let mut hidden = BTreeSet::new();
        let records = netlink::links()?;
        let unreadable = links::named(&records).unreadable;
        let is_readable =
            |it: &&LinkRecord| unreadable.iter().all(|link| link.ifindex != it.ifindex);
        let mut links: Vec<_> = records
            .iter()
            .filter(is_readable)
            .map(InventoryLink::from_record)
            .collect();
        programs::add_filters(&mut links, &mut hidden);
        links.sort_by_key(|link| link.link.ifindex);
        let has_tcx = programs::add_tcx(&mut links, &mut hidden);
        programs::add_names_and_holders(&mut links, &mut hidden);
        Ok(Self {
            host: Host::read(has_tcx),
            links,
            unreadable,
            not_checked: hidden.into_iter().collect(),
        })
    }
}

impl InventoryLink {
    fn from_record(record: &LinkRecord) -> Self {
        let link = Link::from_record(record);
        // Tunnels without a device below name themselves or 0.
        let is_elsewhere = record.is_lower_elsewhere;
        let lower = record.lower;
        let lower = lower.filter(|lower| *lower != record.ifindex || is_elsewhere);
        Self {
            arphrd: record.arphrd,
            arphrd_name: LinkLayerType::from(record.arphrd).to_string(),
            mtu: record.mtu,
            is_up: record.flags.contains(LinkFlags::Up),
            // A link without a driver that answers has none worth telling.
            driver: record
                .name
                .as_deref()
                .and_then(|name| syscall::driver(name).ok()),
            vlan_id: record.vlan_id,
            master: record.master,
            lower: lower.map(|ifindex| LowerLink {
                ifindex,
                is_elsewhere,
            }),
            clsact: None,
            programs: programs::xdp(record),
            link,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HostInventory;

    #[test]
    fn the_loopback_link_is_described() {
        let inventory = HostInventory::take().unwrap();
        let lo = inventory.links.iter().find(|link| link.link.name == "lo");
        let lo = lo.unwrap();
        assert!(lo.link.is_loopback);
        assert_eq!((lo.arphrd, lo.arphrd_name.as_str()), (772, "LOOPBACK"));
        assert_eq!((lo.master, lo.lower), (None, None));
        assert!(inventory.host.release.contains('.'), "{:?}", inventory.host);
    }
}
