//! Links whose packets others count, too.

use std::collections::HashMap;

use super::Choice;
use crate::interface::{HostLink, PHYSICAL};

/// How the links of a host stand on each other.
pub(super) struct Stack<'a> {
    links: &'a [HostLink],
    /// Places in `links`, by index.
    by_index: HashMap<u32, usize>,
    /// Places of the members, by index of what they are members of.
    members: HashMap<u32, Vec<usize>>,
}

/// What it takes for all packets of a link to be counted elsewhere.
enum Below {
    /// That all of these links are counted, one for each part of its packets.
    All(Vec<usize>),
    /// That one of these is.
    Any(Vec<usize>),
}

/// What is known of each link while links are left out, by place.
struct Settled {
    is_settled: Vec<bool>,
    /// Whether it is captured without its VLANs, or left out for such a link, however far below.
    leaves_vlans: Vec<bool>,
}

/// A captured link, and those captured links that count its packets as well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CountedTwice {
    /// Name of the link.
    pub link: String,
    /// Names of the others.
    pub on: Vec<String>,
}

impl<'a> Stack<'a> {
    pub(super) fn new(links: &'a [HostLink]) -> Self {
        let mut members = HashMap::<_, Vec<_>>::new();
        for (place, link) in links.iter().enumerate() {
            if let Some(master) = link.master {
                members.entry(master).or_default().push(place);
            }
        }
        let places = links.iter().enumerate();
        Self {
            links,
            by_index: places
                .map(|(place, link)| (link.interface.ifindex, place))
                .collect(),
            members,
        }
    }

    /// Leaves out what auto-detection alone has chosen, where captured links count all its packets.
    pub(super) fn leave_out(&self, choices: &mut [Choice<'a>]) {
        let mut settled = Settled {
            is_settled: vec![false; choices.len()],
            leaves_vlans: choices.iter().map(leaves_vlans).collect(),
        };
        for place in 0..choices.len() {
            self.settle(place, choices, &mut settled);
        }
    }

    /// Settles what is below first.
    fn settle(&self, place: usize, choices: &mut [Choice<'a>], settled: &mut Settled) {
        let is_open = !std::mem::replace(&mut settled.is_settled[place], true);
        if !is_open || !matches!(choices[place], Choice::Detected(_)) {
            return;
        }
        let (Below::All(below) | Below::Any(below)) = self.below(place);
        for place in &below {
            self.settle(*place, choices, settled);
        }
        let leaves_vlans = &mut settled.leaves_vlans;
        let counted = self.counted_on(place, choices, leaves_vlans);
        if !counted.is_empty() {
            leaves_vlans[place] = below.iter().any(|it| leaves_vlans[*it]);
            choices[place] = Choice::Stacked(counted);
        }
    }

    /// The captured links that together count all packets of this one; none if there are some that no
    /// other counts.
    fn counted_on(
        &self,
        place: usize,
        choices: &[Choice<'a>],
        leaves_vlans: &[bool],
    ) -> Vec<&'a str> {
        let counting = |below: &usize| {
            if self.is_vlan(place) && leaves_vlans[*below] {
                return Vec::new();
            }
            self.counting(place, *below, choices)
        };
        match self.below(place) {
            Below::All(below) => {
                let counted = below.iter().map(counting);
                let counted: Vec<_> = counted.collect();
                if counted.iter().any(Vec::is_empty) {
                    return Vec::new();
                }
                unique(counted.into_iter().flatten())
            }
            Below::Any(below) => unique(below.iter().flat_map(counting)),
        }
    }

    /// The captured links that count what this one has in common with the one below. Itself it is not:
    /// a list that was read while links changed may have a loop.
    fn counting(&self, place: usize, below: usize, choices: &[Choice<'a>]) -> Vec<&'a str> {
        let link = &self.links[place];
        let mut counting = match &choices[below] {
            choice if self.is_vlan(place) && leaves_vlans(choice) => Vec::new(),
            choice if choice.config().is_some() => vec![&*self.links[below].interface.name],
            Choice::Stacked(on) => on.clone(),
            _ => Vec::new(),
        };
        counting.retain(|name| **name != *link.interface.name);
        counting
    }

    fn is_vlan(&self, place: usize) -> bool {
        &*self.links[place].kind == "vlan"
    }

    fn below(&self, place: usize) -> Below {
        let link = &self.links[place];
        match &*link.kind {
            "vlan" | "macvlan" | "macvtap" | "ipvlan" | "ipvtap" => {
                let lower = link.lower.and_then(|lower| self.by_index.get(&lower));
                Below::Any(lower.into_iter().copied().collect())
            }
            "bond" | "team" | "vrf" => Below::All(self.members_of(link.interface.ifindex).to_vec()),
            kind if is_bridge(kind) => Below::Any(self.ports(link.interface.ifindex).collect()),
            // A tap: the end of a virtual machine, as a veth is that of a container.
            "tun" => {
                let bridge = self.master_of(link, is_bridge);
                let with_ports = bridge.into_iter().flat_map(|bridge| {
                    let ports = self.ports(self.links[bridge].interface.ifindex);
                    ports.chain([bridge])
                });
                Below::Any(with_ports.collect())
            }
            // A virtual function that works for a device of the hypervisor, which hands on its packets
            // and has others when the function is away: hv_netvsc, net_failover.
            PHYSICAL => {
                let device = self.master_of(link, |kind| kind == PHYSICAL);
                Below::Any(device.into_iter().collect())
            }
            _ => Below::Any(Vec::new()),
        }
    }

    fn master_of(&self, link: &HostLink, is_meant: fn(&str) -> bool) -> Option<usize> {
        let master = self.by_index.get(&link.master?).copied();
        master.filter(|master| is_meant(&self.links[*master].kind))
    }

    fn members_of(&self, ifindex: u32) -> &[usize] {
        self.members.get(&ifindex).map_or(&[], Vec::as_slice)
    }

    /// The ports of a bridge that lead elsewhere than to virtual machines.
    fn ports(&self, ifindex: u32) -> impl Iterator<Item = usize> {
        let members = self.members_of(ifindex).iter().copied();
        members.filter(|port| &*self.links[*port].kind != "tun")
    }

    /// The captured links of which others count packets, too, under the same flow keys.
    pub(super) fn counted_twice(&self, choices: &[Choice<'a>]) -> Vec<CountedTwice> {
        let mut found = Vec::new();
        for (place, link) in self.links.iter().enumerate() {
            if choices[place].config().is_none() {
                continue;
            }
            let (Below::All(mut below) | Below::Any(mut below)) = self.below(place);
            below.extend(self.other_end(place).filter(|other| *other > place));
            let others = below.iter().filter(|it| choices[**it].config().is_some());
            let on = unique(others.flat_map(|it| self.counting(place, *it, choices)));
            if !on.is_empty() {
                found.push(CountedTwice {
                    link: link.interface.name.to_string(),
                    on: on.into_iter().map(str::to_owned).collect(),
                });
            }
        }
        found
    }

    /// Place of the other end, if it is one of a pair.
    fn other_end(&self, place: usize) -> Option<usize> {
        let link = &self.links[place];
        let other = self.by_index.get(&link.lower?).copied();
        other.filter(|_| matches!(&*link.kind, "veth" | "netkit"))
    }
}

fn leaves_vlans(choice: &Choice<'_>) -> bool {
    choice.config().is_some_and(|config| config.ignore_vlans)
}

/// Open vSwitch has the ports of all its bridges below one link.
fn is_bridge(kind: &str) -> bool {
    matches!(kind, "bridge" | "openvswitch")
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut unique = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}
