//! Links that see the same packets: what is above, below and beside a link, and what counting on
//! both means.

use serde::Serialize;

use probe_capture::selection::Choice;
use probe_datapath::inventory::InventoryLink;

/// How another link stands to the one that is described.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The other is the bridge, bond or the like that this one is a member of.
    Master,
    /// The other is a member of this one.
    Member,
    /// The other carries this one's packets (VLAN parent, device below a macvlan or tunnel).
    Lower,
    /// The other's packets are carried by this one.
    Upper,
    /// The other end of a veth.
    Peer,
}

/// Another link that sees packets of the one that is described.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Stacked {
    /// How it stands to this one.
    pub relation: Relation,
    /// Its name; empty if it is in another network namespace.
    pub name: String,
    /// Its kind, where the kernel has a name for it.
    pub kind: Option<String>,
    /// It is to be captured too.
    pub captured: bool,
    /// What counting on both means.
    pub meaning: String,
}

const ELSEWHERE: &str = "another network namespace";

type Chosen<'a> = (&'a InventoryLink, &'a Choice<'a>);

/// All of these links that stand in a relation to `link`. Each has its choice.
pub(super) fn related_links(
    link: &InventoryLink,
    links: &[InventoryLink],
    choices: &[Choice<'_>],
) -> Vec<Stacked> {
    let index = link.link.ifindex;
    let links = || links.iter().zip(choices);
    let stacked = |relation, (other, choice): Chosen<'_>| Stacked {
        relation,
        name: other.link.name.clone(),
        kind: other.link.kind.clone(),
        captured: choice.config().is_some(),
        meaning: meaning(relation, link, other),
    };
    let by_index = |index| links().find(|(link, _)| link.link.ifindex == index);
    let mut found = Vec::new();
    found.extend(
        link.master
            .and_then(by_index)
            .map(|it| stacked(Relation::Master, it)),
    );
    if let Some(lower) = link.lower {
        let relation = if is_veth(link) {
            Relation::Peer
        } else {
            Relation::Lower
        };
        match by_index(lower.ifindex).filter(|_| !lower.is_elsewhere) {
            Some(other) => found.push(stacked(relation, other)),
            None => found.push(elsewhere(relation)),
        }
    }
    for chosen in links() {
        let (other, _) = chosen;
        if other.master == Some(index) {
            found.push(stacked(Relation::Member, chosen));
        }
        let is_above = other
            .lower
            .is_some_and(|lower| lower.ifindex == index && !lower.is_elsewhere);
        if is_above && !is_veth(other) {
            found.push(stacked(Relation::Upper, chosen));
        }
    }
    found
}

fn elsewhere(relation: Relation) -> Stacked {
    let meaning = match relation {
        Relation::Peer => "an agent there sees the same packets, received and sent exchanged",
        _ => "an agent there sees the same packets",
    };
    Stacked {
        relation,
        name: String::new(),
        kind: None,
        captured: false,
        meaning: format!("in {ELSEWHERE}: {meaning}"),
    }
}

fn is_veth(link: &InventoryLink) -> bool {
    matches!(link.link.kind.as_deref(), Some("veth" | "netkit" | "vxcan"))
}

/// One sentence, from the view of neither of the two.
fn meaning(relation: Relation, this: &InventoryLink, other: &InventoryLink) -> String {
    let (above, below) = match relation {
        Relation::Master | Relation::Upper => (other, this),
        Relation::Member | Relation::Lower | Relation::Peer => (this, other),
    };
    let (a, b) = (&above.link.name, &below.link.name);
    let kind = above.link.kind.as_deref().unwrap_or_default();
    match relation {
        Relation::Peer => format!(
            "every packet passes both ends: what {b} sends is what {a} receives, so both count all \
             of it"
        ),
        Relation::Master | Relation::Member => match kind {
            "bridge" => format!(
                "packets between this host and the ports pass {a} and {b} and count on both; those \
                 from port to port count on the ports only"
            ),
            "bond" | "team" => {
                format!("every packet of {a} passes one of its members, so it counts on both")
            }
            "vrf" => format!(
                "packets received by {b} pass {a} too and may count on both; sent ones differ"
            ),
            _ => format!("packets of {b} pass {a} too and count on both"),
        },
        Relation::Lower | Relation::Upper => match kind {
            "vlan" => format!(
                "packets of VLAN {} count on {a}, and with their tag on {b}; ignore_vlans on {b} \
                 leaves them to {a}",
                above.vlan_id.unwrap_or_default()
            ),
            "macvlan" | "macvtap" | "ipvlan" | "ipvtap" => format!(
                "packets of {a} pass {b} and count on both; those between two links above {b} do \
                 not reach {b}"
            ),
            "macsec" => format!("{b} sees packets of {a} encrypted, by EtherType no IP"),
            _ => format!(
                "{b} carries packets of {a} inside those of the tunnel: {a} counts the inner \
                 flows, {b} the tunnel, and octets count on both"
            ),
        },
    }
}
