//! Interfaces, and how each is to be captured.

use std::sync::Arc;

/// A network interface as the source sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// Name at the time of attaching.
    pub name: Arc<str>,
    /// Index, the interface's identity until it is removed.
    pub ifindex: u32,
}

/// A link of a host, with what the rules ask of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostLink {
    /// Its name and index.
    pub interface: Interface,
    /// `veth`, `bridge` …; [`PHYSICAL`] and [`LOOPBACK`] where the kernel has no name for it.
    pub kind: Arc<str>,
    /// Index of the bridge, bond or the like that it is a member of.
    pub master: Option<u32>,
    /// Index of the link below it, or of a veth's other end, if that is in the same namespace.
    pub lower: Option<u32>,
}

/// The kind of a device that is made of no other links, and of which the kernel tells none.
pub const PHYSICAL: &str = "physical";

/// The kind of the loopback device, of which the kernel tells none.
pub const LOOPBACK: &str = "loopback";

/// The links of a host, each in one of the lists.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LinkList {
    /// Links that can be captured, by index.
    pub links: Vec<HostLink>,
    /// Links that cannot, since the agent does not know under which name.
    pub unreadable: Vec<UnreadableLink>,
}

/// A link of which the agent knows too little.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnreadableLink {
    /// Index of the link.
    pub ifindex: u32,
    /// What is wrong with it: the end of a sentence.
    pub reason: String,
}

impl From<Vec<HostLink>> for LinkList {
    fn from(links: Vec<HostLink>) -> Self {
        Self {
            links,
            unreadable: Vec::new(),
        }
    }
}

impl From<Interface> for HostLink {
    /// A physical device, which stands on nothing and is a member of nothing.
    fn from(interface: Interface) -> Self {
        Self {
            interface,
            kind: PHYSICAL.into(),
            master: None,
            lower: None,
        }
    }
}

/// Settings of one interface (or of all that a pattern matches).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct InterfaceConfig {
    /// Which hook to use.
    pub hook: Hook,
    /// Puts the interface into promiscuous mode while it is captured.
    pub promisc: bool,
    /// Leaves packets with a VLAN tag out of the flows (they are counted as a loss by name).
    pub ignore_vlans: bool,
    /// Excludes the interface although a pattern or auto-detection matches it.
    pub disable: bool,
}

/// The hook that received packets are counted at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Hook {
    /// By link kind: see the documentation of `plan`.
    #[default]
    Auto,
    /// XDP, native if the driver has it, else generic.
    Xdp,
    /// XDP in the driver, or an error.
    XdpNative,
    /// XDP in the network stack.
    XdpGeneric,
    /// TC: TCX where the kernel has it, else clsact.
    Tc,
}
