//! What is on the host before anything of ours is: its links, how they hang together, and whose
//! programs are attached to them. Asks and changes nothing.

mod holders;
mod host;
mod programs;

use std::collections::BTreeSet;

use rtnetlink::packet_route::link::{
    InfoData, InfoVlan, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

pub use self::{
    holders::Holder,
    host::{Feature, Host},
    programs::{AttachedProgram, ProgramHook},
};
use super::{
    link::Link,
    netlink::{self, NetlinkError},
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
        let mut links = netlink::links(InventoryLink::from_message)?;
        programs::add_filters(&mut links, &mut hidden);
        links.sort_by_key(|link| link.link.ifindex);
        let has_tcx = programs::add_tcx(&mut links, &mut hidden);
        programs::add_names_and_holders(&mut links, &mut hidden);
        Ok(Self {
            host: Host::read(has_tcx),
            links,
            not_checked: hidden.into_iter().collect(),
        })
    }
}

impl InventoryLink {
    fn from_message(message: &LinkMessage) -> Self {
        let link = Link::from_message(message);
        let mut listed = Self {
            arphrd: message.header.link_layer_type.into(),
            arphrd_name: message.header.link_layer_type.to_string(),
            mtu: None,
            is_up: message.header.flags.contains(LinkFlags::Up),
            // A link without a driver that answers has none worth telling.
            driver: syscall::driver(&link.name).ok(),
            vlan_id: None,
            master: None,
            lower: None,
            clsact: None,
            programs: programs::xdp(message),
            link,
        };
        let mut lower = None;
        let mut is_elsewhere = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Mtu(mtu) => listed.mtu = Some(*mtu),
                LinkAttribute::Controller(master) => listed.master = Some(*master),
                LinkAttribute::Link(ifindex) if *ifindex != 0 => lower = Some(*ifindex),
                LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
                LinkAttribute::LinkInfo(infos) => {
                    listed.vlan_id = vlan_id(infos);
                    lower = lower.or_else(|| vxlan_lower(infos));
                }
                _ => {}
            }
        }
        // Tunnels without a device below name themselves or 0.
        listed.lower = lower
            .filter(|lower| *lower != listed.link.ifindex || is_elsewhere)
            .map(|ifindex| LowerLink {
                ifindex,
                is_elsewhere,
            });
        listed
    }
}

fn vlan_id(infos: &[LinkInfo]) -> Option<u16> {
    let vlan = infos.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vlan(vlan)) => Some(vlan),
        _ => None,
    })?;
    vlan.iter().find_map(|info| match info {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}

/// A vxlan names the device below it in its own attributes only.
fn vxlan_lower(infos: &[LinkInfo]) -> Option<u32> {
    let vxlan = infos.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(vxlan)) => Some(vxlan),
        _ => None,
    })?;
    vxlan.iter().find_map(|info| match info {
        InfoVxlan::Link(ifindex) if *ifindex != 0 => Some(*ifindex),
        _ => None,
    })
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
