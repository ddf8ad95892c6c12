//! For any two sets of rules and links: what is applied is what was wanted, and what did not change
//! was not touched.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Bench;
use crate::{
    interface::{Hook, HostLink, Interface, InterfaceConfig},
    selection::{InterfaceSelector, Selection, select},
};

/// Names that links and rules have, so that they meet.
const NAMES: [&str; 5] = ["eth0", "eth1", "lan0", "wlan0", "lo"];
const RULES: [&str; 7] = ["eth0", "eth1", "lan0", "/^eth/", "/lan/", "/0$/", "/./"];

fn settings() -> impl Strategy<Value = InterfaceConfig> {
    let hook = prop_oneof![3 => Just(Hook::Auto), 1 => Just(Hook::Tc), 1 => Just(Hook::Xdp)];
    (hook, any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(hook, promisc, disable)| {
        InterfaceConfig {
            hook,
            promisc,
            disable,
            ..InterfaceConfig::default()
        }
    })
}

/// Rules by name or `/regex/`, and whether all else is detected.
#[derive(Clone, Debug)]
struct Rules {
    interfaces: BTreeMap<String, InterfaceConfig>,
    detects: bool,
}

fn rules() -> impl Strategy<Value = Rules> {
    let rules = prop::collection::btree_map(prop::sample::select(&RULES[..]), settings(), 0..5);
    (rules, prop::bool::weighted(0.3)).prop_map(|(rules, detects)| Rules {
        interfaces: rules
            .into_iter()
            .map(|(rule, settings)| (rule.to_owned(), settings))
            .collect(),
        detects,
    })
}

/// Links with names and indices of their own.
fn links() -> impl Strategy<Value = Vec<Interface>> {
    let names = Just(NAMES.to_vec()).prop_shuffle();
    let indices = Just((1..=7_u32).collect::<Vec<_>>()).prop_shuffle();
    (names, indices, 0..=NAMES.len()).prop_map(|(names, indices, count)| {
        let both = names.into_iter().zip(indices).take(count);
        both.map(|(name, ifindex)| Interface {
            name: name.into(),
            ifindex,
        })
        .collect()
    })
}

fn selection(rules: &Rules, links: &[Interface]) -> Vec<(Interface, InterfaceConfig)> {
    let excluded = ["lo".to_owned(), "/^veth/".to_owned()];
    let links: Vec<_> = links.iter().cloned().map(HostLink::from).collect();
    let excluded = rules.detects.then_some(&excluded[..]);
    let selector = InterfaceSelector::new(&rules.interfaces, excluded).expect("good rules");
    let Selection { wanted, .. } = select(&selector, &links);
    wanted
}

/// What is captured, by index.
fn captured(bench: &Bench) -> BTreeMap<u32, (String, InterfaceConfig)> {
    let configs = bench.manager.config(&[]);
    let links = bench.manager.interfaces(&[]).into_iter();
    links
        .map(|link| {
            let config = configs[&link.name].clone();
            (link.ifindex, (link.name.to_string(), config))
        })
        .collect()
}

fn by_index(wanted: &[(Interface, InterfaceConfig)]) -> BTreeMap<u32, (String, InterfaceConfig)> {
    let wanted = wanted.iter();
    wanted
        .map(|(link, config)| (link.ifindex, (link.name.to_string(), config.clone())))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_applied_is_what_was_wanted_and_the_rest_is_not_touched(
        before in rules(),
        after in rules(),
        links in links(),
        later_links in prop::option::of(links()),
        picky in prop::collection::btree_set(1..=7_u32, 0..3),
    ) {
        let bench = Bench::new(1 << 20);
        let first = selection(&before, &links);
        bench.manager.update(first.clone()).unwrap();
        prop_assert_eq!(captured(&bench), by_index(&first));

        *bench.kernel.0.picky.lock() = picky.clone();
        bench.kernel.0.calls.lock().clear();
        let second = selection(&after, later_links.as_ref().unwrap_or(&links));
        let plan = bench.manager.plan(second.clone());
        let changes = bench.manager.update(second.clone()).unwrap();
        prop_assert_eq!(plan.enabled.len(), changes.enabled.len());
        prop_assert_eq!(plan.updated.len(), changes.updated.len());
        prop_assert_eq!(plan.disabled.len(), changes.disabled.len());

        let (old, new) = (by_index(&first), by_index(&second));
        let now = captured(&bench);
        let failed: Vec<_> = changes.failures().map(|change| change.iface.to_string()).collect();
        for (ifindex, wanted) in &new {
            let is_refused = picky.contains(ifindex) && wanted.1.hook != Hook::Auto;
            if failed.contains(&wanted.0) {
                prop_assert!(is_refused, "{wanted:?} failed without a refusal");
                // The settings that the link, or the one of this name before it, had.
                let was = now.get(ifindex).map(|now| &now.1);
                prop_assert!(was != Some(&wanted.1));
            } else {
                prop_assert_eq!(now.get(ifindex), Some(wanted));
            }
        }
        prop_assert!(now.keys().all(|ifindex| new.contains_key(ifindex)));
        let calls = bench.kernel.0.calls.lock().clone();
        for (ifindex, wanted) in &new {
            // Under the same name or another one: the programs stay where they are.
            let stays = old.get(ifindex).is_some_and(|old| old.1 == wanted.1);
            if stays {
                prop_assert!(!calls.contains(ifindex), "{wanted:?} was restarted");
            }
        }
        let same = new.iter().filter(|(ifindex, wanted)| old.get(ifindex) == Some(wanted));
        prop_assert_eq!(plan.untouched, same.count());
    }
}

#[test]
fn links_that_swap_their_names_keep_their_programs_and_lose_nothing() {
    let bench = Bench::new(1 << 20);
    let link = |name: &str, ifindex| {
        let name = name.into();
        (Interface { name, ifindex }, InterfaceConfig::default())
    };
    bench.manager.update([link("a", 1), link("b", 2)]).unwrap();
    for flow in 1..=5 {
        bench.kernel.packet(1, flow);
    }
    bench.kernel.0.calls.lock().clear();
    let changes = bench.manager.update([link("a", 2), link("b", 1)]).unwrap();
    assert_eq!(changes.updated.len(), 2);
    assert!(bench.kernel.0.calls.lock().is_empty());
    for flow in 1..=3 {
        bench.kernel.packet(1, flow);
    }
    bench.manager.close(&[]).unwrap();
    assert_eq!((bench.written("a").0, bench.written("b").0), (5, 3));
}
