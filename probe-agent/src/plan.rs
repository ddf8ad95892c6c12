//! What would be attached where, how and why, before the host is touched (`probe-agent plan`).
//!
//! [`Plan::from_inventory`] is a pure function of a configuration and a [`HostInventory`] of the host.
//! The public fields are the JSON output, see docs/PLAN.md.

mod capacity;
mod hooks;
mod host;
mod programs;
mod stacking;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::config::Config;
use probe_capture::{
    interface::{HostLink, Interface},
    selection::{Choice, InterfaceSelector, not_a_pattern},
    trouble::Trouble,
};
use probe_datapath::{
    inventory::{HostInventory, InventoryLink},
    link::LinkHeader,
    map_memory::MapMemory,
};

pub use self::{
    capacity::{MapPlan, Memory},
    hooks::HookStep,
    host::{FeaturePlan, HostPlan},
    programs::{HolderPlan, ProgramPlan},
    stacking::{Relation, Stacked},
    text::write_text,
};

/// The version of the JSON output's shape. Fields may be added without a new one.
pub const FORMAT: u32 = 1;

/// The plan for a host.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Version of this plan's shape: [`FORMAT`].
    pub format: u32,
    /// Everything that is wanted can be attached, as far as can be known without trying.
    pub can_attach: bool,
    /// What cannot be attached, each with the reason.
    pub problems: Vec<String>,
    /// What can be attached and yet should be known.
    pub warnings: Vec<String>,
    /// What could not be checked, each with what it takes.
    pub not_checked: Vec<String>,
    /// All links of the host, by index.
    pub interfaces: Vec<InterfacePlan>,
    /// Names in the configuration that no link has.
    pub missing: Vec<String>,
    /// Kernel, architecture and privileges of the host.
    pub host: HostPlan,
    /// Kernel memory of the maps.
    pub memory: Memory,
}

/// The plan for a link.
#[derive(Clone, Debug, Serialize)]
pub struct InterfacePlan {
    /// Name of the link, at most 15 octets.
    pub name: String,
    /// Index of the link in its network namespace.
    pub ifindex: u32,
    /// It is to be captured.
    pub captured: bool,
    /// Why it is to be captured, or why not: the rule.
    pub rule: String,
    /// Why it cannot be captured although it is to be.
    pub problem: Option<String>,
    /// Why `auto` would not take the native XDP that the configuration forces.
    pub cost: Option<String>,
    /// `veth`, `bridge` …; `physical` and `loopback` where the kernel has no name for it.
    pub kind: String,
    /// Type of its link headers, as the kernel numbers them.
    pub arphrd: u16,
    /// The kernel's name of that type.
    pub arphrd_name: String,
    /// `ethernet`, `none` or `unknown`: what its frames start with.
    pub header: &'static str,
    /// Name of the driver.
    pub driver: Option<String>,
    /// Largest packet in octets.
    pub mtu: Option<u32>,
    /// Whether the link is administratively up.
    pub up: bool,
    /// VLAN that it carries.
    pub vlan_id: Option<u16>,
    /// Links above, below and beside it that see the same packets.
    pub stacked: Vec<Stacked>,
    /// What is attached to it now.
    pub programs: Vec<ProgramPlan>,
    /// Hooks for received packets in the order in which they are tried.
    pub ingress: Vec<HookStep>,
    /// The same for sent packets.
    pub egress: Vec<HookStep>,
}

impl Plan {
    /// Plans for a host. `map_memory` is that of the configuration.
    pub fn from_inventory(
        config: &Config,
        selector: &InterfaceSelector,
        inventory: &HostInventory,
        map_memory: &MapMemory,
    ) -> Self {
        let links: Vec<_> = inventory.links.iter().map(host_link).collect();
        let choices = selector.choices(&links);
        let interfaces: Vec<_> = (0..inventory.links.len())
            .map(|place| InterfacePlan::from_link(place, &choices, inventory))
            .collect();
        let missing: Vec<_> = selector
            .names()
            .filter(|name| inventory.links.iter().all(|link| link.link.name != **name))
            .map(str::to_owned)
            .collect();
        let memory = Memory::from_config(config, map_memory);
        let mut plan = Self {
            format: FORMAT,
            can_attach: true,
            problems: Vec::new(),
            warnings: Vec::new(),
            not_checked: inventory.not_checked.clone(),
            interfaces,
            missing,
            host: HostPlan::from_host(&inventory.host),
            memory,
        };
        plan.problems = plan.find_problems(inventory);
        plan.can_attach = plan.problems.is_empty();
        plan.warnings = plan.find_warnings();
        plan
    }

    /// The links that are to be captured.
    pub fn captured(&self) -> impl Iterator<Item = &InterfacePlan> {
        self.interfaces.iter().filter(|link| link.captured)
    }

    fn find_problems(&self, inventory: &HostInventory) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(inventory.host.obstacle.clone());
        let unreadable = inventory.unreadable.iter();
        problems.extend(unreadable.map(|link| Trouble::from(link).to_string()));
        for name in &self.missing {
            problems.push(format!(
                "{name}: configured by name, but this host has no such link{}",
                not_a_pattern(name)
            ));
        }
        for link in self.captured() {
            let problem = link.problem.as_ref();
            problems.extend(problem.map(|problem| format!("{}: {problem}", link.name)));
        }
        let wanted = self.captured().count();
        let slots = self.memory.interfaces as usize;
        if wanted > slots {
            problems.push(format!(
                "{wanted} links are to be captured, and there is room for {slots}: name fewer"
            ));
        }
        problems
    }

    fn nothing_to_capture(&self) -> String {
        let nothing = "no link of this host is to be captured";
        let mut interfaces = self.interfaces.iter();
        match interfaces.find(|link| link.kind == "veth" && link.up) {
            Some(link) => format!(
                "{nothing}; in a container the way out is a veth: name it, `interfaces: {{ {}: {{}} }}`",
                link.name
            ),
            None => nothing.to_owned(),
        }
    }

    fn find_warnings(&self) -> Vec<String> {
        let mut warnings = BTreeSet::new();
        if self.captured().next().is_none() && self.missing.is_empty() {
            warnings.insert(self.nothing_to_capture());
        }
        for link in self.captured() {
            if !link.up {
                warnings.insert(format!(
                    "{}: is down, so there is nothing to see",
                    link.name
                ));
            }
            if let Some(cost) = &link.cost {
                warnings.insert(format!("{}: xdp-native is forced, and {cost}", link.name));
            }
            for other in link.stacked.iter().filter(|other| other.captured) {
                let mut pair = [link.name.as_str(), other.name.as_str()];
                pair.sort_unstable();
                warnings.insert(format!(
                    "{} and {} are both captured and see the same packets",
                    pair[0], pair[1]
                ));
            }
            let foreign_xdp = link
                .programs
                .iter()
                .any(|program| program.hook.starts_with("xdp") && !program.ours);
            if foreign_xdp {
                warnings.insert(format!(
                    "{}: packets that the XDP program there drops or redirects are not seen by TC",
                    link.name
                ));
            }
        }
        warnings.into_iter().collect()
    }
}

impl InterfacePlan {
    /// Of the link in this place of the inventory, for whose links these are the choices.
    fn from_link(place: usize, choices: &[Choice<'_>], inventory: &HostInventory) -> Self {
        let listed = &inventory.links[place];
        let (link, choice) = (&listed.link, &choices[place]);
        let hooks = choice
            .config()
            .map(|config| hooks::plan(config, listed, &inventory.host))
            .unwrap_or_default();
        Self {
            name: link.name.clone(),
            ifindex: link.ifindex,
            captured: choice.config().is_some(),
            rule: reason_of(choice),
            problem: hooks.problem,
            cost: hooks.cost,
            kind: link.kind_name().to_owned(),
            arphrd: listed.arphrd,
            arphrd_name: listed.arphrd_name.clone(),
            header: match link.header {
                LinkHeader::Ethernet => "ethernet",
                LinkHeader::None => "none",
                LinkHeader::Unknown(_) => "unknown",
            },
            driver: listed.driver.clone(),
            mtu: listed.mtu,
            up: listed.is_up,
            vlan_id: listed.vlan_id,
            stacked: stacking::related_links(listed, &inventory.links, choices),
            programs: listed
                .programs
                .iter()
                .map(ProgramPlan::from_program)
                .collect(),
            ingress: hooks.ingress,
            egress: hooks.egress,
        }
    }
}

/// The choice without its first words, which `captured` says.
fn reason_of(choice: &Choice<'_>) -> String {
    let text = choice.to_string();
    match text.split_once(": ") {
        Some((_, reason)) => reason.to_owned(),
        None => text,
    }
}

/// What the rules ask of a link.
fn host_link(listed: &InventoryLink) -> HostLink {
    let lower = listed.lower.filter(|lower| !lower.is_elsewhere);
    HostLink {
        interface: Interface {
            name: listed.link.name.as_str().into(),
            ifindex: listed.link.ifindex,
        },
        kind: listed.link.kind_name().into(),
        master: listed.master,
        lower: lower.map(|lower| lower.ifindex),
    }
}
