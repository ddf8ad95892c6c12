//! A link as the kernel describes it, as far as the agent asks.

use rtnetlink::packet_core::DecodeError;
use rtnetlink::packet_route::{
    AddressFamily,
    link::{LinkFlags, LinkHeader},
};

use probe_flow::{coverage::LinkCounts, text::escaped};

use super::message::{attributes, octets, text, u16_of, u32_of, u64_of};

/// The `IFLA_` numbers of nested attributes (linux/if_link.h).
mod nested {
    pub(super) const VLAN_ID: u16 = 1;
    pub(super) const VXLAN_LINK: u16 = 3;
    pub(super) const XDP_ATTACHED: u16 = 2;
    pub(super) const XDP_PROG_ID: u16 = 4;
    pub(super) const XDP_DRV_PROG_ID: u16 = 5;
    pub(super) const XDP_SKB_PROG_ID: u16 = 6;
    pub(super) const XDP_HW_PROG_ID: u16 = 7;
}

/// Where an XDP program is attached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum XdpMode {
    /// In the driver of the device.
    Driver,
    /// In the network stack.
    Generic,
    /// In the device itself, offloaded.
    Offloaded,
}

/// One link, from one message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct LinkRecord {
    /// Index of the link in its namespace.
    pub(crate) ifindex: u32,
    /// The message is about the link itself, not about a port of a bridge.
    pub(crate) is_about_the_link: bool,
    /// Type of its link headers (ARPHRD).
    pub(crate) arphrd: u16,
    /// State of the link and what it is (`IFF_`).
    pub(crate) flags: LinkFlags,
    /// Octets of the name; the kernel always tells it.
    pub(crate) name: Option<Vec<u8>>,
    /// Largest packet in octets.
    pub(crate) mtu: Option<u32>,
    /// Index of what it is a member of.
    pub(crate) master: Option<u32>,
    /// Index of the link below or at the other end, as it is told.
    pub(crate) lower: Option<u32>,
    /// That link is in another namespace.
    pub(crate) is_lower_elsewhere: bool,
    /// Kind of the link, such as `veth`.
    pub(crate) kind: Option<String>,
    /// VLAN that it carries.
    pub(crate) vlan_id: Option<u16>,
    /// Bus of the device behind it.
    pub(crate) bus: Option<String>,
    /// By its counters, received and sent.
    pub(crate) counts: Option<[LinkCounts; 2]>,
    /// An XDP program is attached.
    pub(crate) has_xdp: bool,
    /// The only XDP program, where there is one.
    pub(crate) xdp_program: Option<u32>,
    /// XDP programs by where they are.
    pub(crate) xdp_programs: Vec<(XdpMode, u32)>,
}

impl LinkRecord {
    /// Reads a message `RTM_NEWLINK` or `RTM_DELLINK`. The only error is a payload that is shorter
    /// than its header.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, DecodeError> {
        /// Octets of `struct ifinfomsg` (linux/rtnetlink.h).
        const HEADER_LEN: usize = 16;
        let header = LinkHeader::parse(payload)?;
        let mut link = Self {
            ifindex: header.index,
            is_about_the_link: header.interface_family == AddressFamily::Unspec,
            arphrd: header.link_layer_type.into(),
            flags: header.flags,
            ..Self::default()
        };
        for (kind, value) in attributes(&payload[HEADER_LEN..]) {
            link.on_attribute(kind, value);
        }
        Ok(link)
    }

    fn on_attribute(&mut self, kind: u16, value: &[u8]) {
        match kind {
            libc::IFLA_IFNAME => self.name = Some(octets(value).to_vec()),
            libc::IFLA_MTU => self.mtu = u32_of(value),
            libc::IFLA_MASTER => self.master = u32_of(value),
            libc::IFLA_LINK => {
                self.lower = u32_of(value).filter(|ifindex| *ifindex != 0).or(self.lower);
            }
            libc::IFLA_LINK_NETNSID => self.is_lower_elsewhere = true,
            libc::IFLA_LINKINFO => self.on_info(value),
            libc::IFLA_STATS64 => self.counts = counts(value),
            libc::IFLA_XDP => self.on_xdp(value),
            libc::IFLA_PARENT_DEV_BUS_NAME => self.bus = Some(text(value)),
            _ => {}
        }
    }

    /// The kind comes before its data (`rtnl_link_info_fill` in net/core/rtnetlink.c).
    fn on_info(&mut self, value: &[u8]) {
        for (kind, value) in attributes(value) {
            match kind {
                libc::IFLA_INFO_KIND => self.kind = Some(text(value)),
                libc::IFLA_INFO_DATA => self.on_data(value),
                _ => {}
            }
        }
    }

    fn on_data(&mut self, value: &[u8]) {
        for (kind, value) in attributes(value) {
            match (self.kind.as_deref(), kind) {
                (Some("vlan"), nested::VLAN_ID) => self.vlan_id = u16_of(value),
                // A vxlan names the device below it in its own attributes only.
                (Some("vxlan"), nested::VXLAN_LINK) => {
                    let lower = u32_of(value).filter(|ifindex| *ifindex != 0);
                    self.lower = self.lower.or(lower);
                }
                _ => {}
            }
        }
    }

    fn on_xdp(&mut self, value: &[u8]) {
        for (kind, value) in attributes(value) {
            let mut attached = |mode| {
                self.xdp_programs
                    .extend(u32_of(value).map(|program| (mode, program)));
            };
            match kind {
                nested::XDP_ATTACHED => {
                    self.has_xdp = value.first().is_some_and(|mode| *mode != 0);
                }
                nested::XDP_PROG_ID => self.xdp_program = u32_of(value),
                nested::XDP_DRV_PROG_ID => attached(XdpMode::Driver),
                nested::XDP_SKB_PROG_ID => attached(XdpMode::Generic),
                nested::XDP_HW_PROG_ID => attached(XdpMode::Offloaded),
                _ => {}
            }
        }
    }

    /// Whether it is the loopback device (`IFF_LOOPBACK`).
    pub(crate) const fn is_loopback(&self) -> bool {
        self.flags.contains(LinkFlags::Loopback)
    }

    /// Whether it is switched off, or has no carrier.
    pub(crate) const fn is_down(&self) -> bool {
        !self.flags.contains(LinkFlags::Up.union(LinkFlags::LowerUp))
    }

    /// Index of the link below or at the other end, if that is another one of the same namespace.
    /// Tunnels without a device below name themselves or 0.
    pub(crate) fn lower_here(&self) -> Option<u32> {
        let lower = self.lower.filter(|lower| *lower != self.ifindex);
        lower.filter(|_| !self.is_lower_elsewhere)
    }

    /// The name as it is shown everywhere, and whether it is the kernel's to the octet.
    ///
    /// Octets that are no UTF-8, and characters that a terminal obeys or that turn the reading
    /// direction, are written as `\xfc`: so names that differ in them stay apart, and the text is an
    /// ordinary one for logs, filters, files and labels.
    pub(crate) fn shown_name(&self) -> Option<(String, bool)> {
        let name = self.name.as_deref().filter(|name| !name.is_empty())?;
        let shown = escaped(name);
        let is_exact = shown.as_bytes() == name;
        Some((shown, is_exact))
    }
}

/// Reads `struct rtnl_link_stats64`: packets received and sent, then octets received and sent.
fn counts(stats: &[u8]) -> Option<[LinkCounts; 2]> {
    let field = |index: usize| stats.get(8 * index..).and_then(u64_of);
    let of = |direction| {
        Some(LinkCounts {
            packets: field(direction)?,
            octets: field(direction + 2)?,
        })
    };
    Some([of(0)?, of(1)?])
}

#[cfg(test)]
mod tests {
    use super::{
        super::message::attribute,
        {LinkCounts, LinkFlags, LinkRecord, XdpMode, nested},
    };

    fn header(ifindex: u32) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend(1_u16.to_ne_bytes());
        bytes.extend([ifindex, 1, 0].map(u32::to_ne_bytes).concat());
        bytes
    }

    fn link(attributes: &[Vec<u8>]) -> LinkRecord {
        LinkRecord::parse(&[header(7), attributes.concat()].concat()).unwrap()
    }

    #[test]
    fn no_attribute_hides_another() {
        let name = attribute(libc::IFLA_IFNAME, b"eth0\0");
        let mtu = attribute(libc::IFLA_MTU, &1500_u32.to_ne_bytes());
        let plain = link(&[name.clone(), mtu.clone()]);
        assert_eq!(plain.name.as_deref(), Some(b"eth0".as_slice()));
        assert_eq!((plain.ifindex, plain.arphrd, plain.mtu), (7, 1, Some(1500)));
        assert!(plain.flags.contains(LinkFlags::Up) && plain.is_about_the_link);
        let odd = [
            attribute(libc::IFLA_IFALIAS, b"B\xfcro\0"),
            attribute(libc::IFLA_OPERSTATE, &[]),
            attribute(libc::IFLA_AF_SPEC, &[1]),
            attribute(libc::IFLA_LINKINFO, &[255; 3]),
            attribute(libc::IFLA_XDP, &attribute(nested::XDP_PROG_ID, &[1])),
            attribute(libc::IFLA_STATS64, &[1; 12]),
            attribute(0x3fff, b"of a later kernel"),
        ];
        for odd in odd {
            assert_eq!(link(&[name.clone(), odd, mtu.clone()]), plain);
        }
        assert!(LinkRecord::parse(&header(7)[..15]).is_err());
    }

    #[test]
    fn nested_attributes_are_read() {
        let info = |kind: &[u8], data: Vec<u8>| {
            let kind = attribute(libc::IFLA_INFO_KIND, kind);
            let data = attribute(libc::IFLA_INFO_DATA, &data);
            attribute(libc::IFLA_LINKINFO, &[kind, data].concat())
        };
        let vlan = info(b"vlan\0", attribute(nested::VLAN_ID, &7_u16.to_ne_bytes()));
        assert_eq!(link(&[vlan]).vlan_id, Some(7));
        let below = attribute(nested::VXLAN_LINK, &3_u32.to_ne_bytes());
        let vxlan = link(&[info(b"vxlan\0", below)]);
        assert_eq!(
            (vxlan.kind.as_deref(), vxlan.lower),
            (Some("vxlan"), Some(3))
        );
        let xdp = [
            attribute(nested::XDP_ATTACHED, &[4]),
            attribute(nested::XDP_DRV_PROG_ID, &8_u32.to_ne_bytes()),
            attribute(nested::XDP_SKB_PROG_ID, &9_u32.to_ne_bytes()),
        ];
        let xdp = link(&[attribute(libc::IFLA_XDP, &xdp.concat())]);
        assert!(xdp.has_xdp);
        let programs = [(XdpMode::Driver, 8), (XdpMode::Generic, 9)];
        assert_eq!(xdp.xdp_programs, programs);
        let mut counters = [
            [5_u64, 6, 7, 8].map(u64::to_ne_bytes).concat(),
            vec![0; 168],
        ]
        .concat();
        let stats = attribute(libc::IFLA_STATS64, &counters);
        let counts = [(5, 7), (6, 8)].map(|(packets, octets)| LinkCounts { packets, octets });
        assert_eq!(link(&[stats]).counts, Some(counts));
        counters.truncate(31);
        let cut = attribute(libc::IFLA_STATS64, &counters);
        assert_eq!(link(&[cut]).counts, None);
    }

    #[test]
    fn names_that_differ_stay_apart() {
        let shown = |name: &[u8]| link(&[attribute(libc::IFLA_IFNAME, name)]).shown_name();
        assert_eq!(shown(b"caf\xc3\xa9\0"), Some(("café".to_owned(), true)));
        assert_eq!(shown(b"B\xfcro\0"), Some((r"B\xfcro".to_owned(), false)));
        assert_eq!(
            shown(b"B\xfd\xc3\0"),
            Some((r"B\xfd\xc3".to_owned(), false))
        );
        assert_eq!(
            shown(b"v\x1b[31m\0"),
            Some((r"v\x1b[31m".to_owned(), false))
        );
        assert_eq!(shown(b"\0"), None);
        assert_eq!(link(&[]).shown_name(), None);
    }
}
