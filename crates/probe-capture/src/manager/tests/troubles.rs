//! What the reconciler finds wrong is told until it is over.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::Bench;
use crate::{
    interface::{Hook, HostLink, Interface, InterfaceConfig, LinkList, UnreadableLink},
    reconcile::{LinksError, Reconciler},
    selection::InterfaceSelector,
    trouble::TroubleKind::{
        CountedTwice, InterfaceMissing, InterfaceRefused, LinkUnreadable, LinksUnknown,
        NothingCaptured,
    },
};

fn selector(rules: &[(&str, Hook)]) -> InterfaceSelector {
    let rules: BTreeMap<_, _> = rules
        .iter()
        .map(|(rule, hook)| {
            let config = InterfaceConfig {
                hook: *hook,
                ..InterfaceConfig::default()
            };
            ((*rule).to_owned(), config)
        })
        .collect();
    InterfaceSelector::new(&rules, None).unwrap()
}

fn link(name: &str, ifindex: u32) -> HostLink {
    HostLink::from(Interface {
        name: name.into(),
        ifindex,
    })
}

#[test]
fn what_is_wrong_is_told_until_it_is_over() {
    let bench = Bench::new(1 << 20);
    bench.kernel.0.picky.lock().insert(1);
    let manager = Arc::new(bench.manager);
    let host = Arc::new(Mutex::new(Some(LinkList::from(vec![link("eth1", 1)]))));
    let told = || {
        let troubles = manager.troubles().all().into_iter();
        troubles
            .map(|it| (it.kind, it.subject.unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let of = |name: &str| name.to_owned();
    let listed = host.clone();
    let list = move || {
        let links = listed.lock().clone();
        links.ok_or_else(|| LinksError::new(std::io::Error::other("no list")))
    };
    let picky = selector(&[("eth1", Hook::Tc), ("eth2", Hook::Auto)]);
    let mut reconciler = Reconciler::new(manager.clone(), picky, Box::new(list));
    reconciler.reconcile(&[]).unwrap();
    let refused = (InterfaceRefused, of("eth1"));
    let missing = (InterfaceMissing, of("eth2"));
    let nothing = (NothingCaptured, of(""));
    assert_eq!(told(), [nothing, missing.clone(), refused.clone()]);

    // Nothing has changed, and nothing is forgotten.
    reconciler.reconcile(&[]).unwrap();
    assert_eq!(told().len(), 3);

    let links = host.lock().take();
    reconciler.reconcile(&[]).unwrap_err();
    let told_now = told();
    assert_eq!(told_now.len(), 4);
    assert_eq!(told_now[0], (LinksUnknown, of("")));
    *host.lock() = links;
    reconciler.reconcile(&[]).unwrap();
    assert_eq!(told().len(), 3);

    if let Some(host) = &mut *host.lock() {
        host.links.push(link("eth2", 2));
        host.unreadable.push(UnreadableLink {
            ifindex: 3,
            reason: "it has no name".to_owned(),
        });
    }
    reconciler.reconcile(&[]).unwrap();
    let unreadable = (LinkUnreadable, of("link 3"));
    assert_eq!(told(), [refused.clone(), unreadable.clone()]);

    // A reload that mends one thing, and one that breaks it: the former settings are kept.
    let good = selector(&[("eth1", Hook::Auto), ("eth2", Hook::Auto)]);
    reconciler.change_selector(good).unwrap();
    assert_eq!(told(), std::slice::from_ref(&unreadable));
    let bad = selector(&[("eth1", Hook::Tc), ("eth2", Hook::Auto)]);
    reconciler.change_selector(bad).unwrap();
    assert_eq!(told(), [refused, unreadable]);
    let cause = &manager.troubles().all()[0].cause;
    assert!(
        cause.starts_with("it is captured with its former settings: "),
        "{cause}"
    );

    if let Some(host) = &mut *host.lock() {
        host.unreadable.clear();
    }
    let good = selector(&[("eth1", Hook::Auto), ("eth2", Hook::Auto)]);
    reconciler.change_selector(good).unwrap();
    assert_eq!(told(), []);
    // A VLAN beside its parent.
    if let Some(host) = &mut *host.lock() {
        host.links.truncate(1);
        let mut vlan = link("eth2", 2);
        vlan.kind = "vlan".into();
        vlan.lower = Some(1);
        host.links.push(vlan);
    }
    reconciler.reconcile(&[]).unwrap();
    assert_eq!(told(), [(CountedTwice, of(""))]);
    let cause = &manager.troubles().all()[0].cause;
    assert!(cause.ends_with("twice: eth2 and eth1"), "{cause}");
    // A pattern that is written as a name.
    let name = selector(&[("eth1", Hook::Auto), ("eth*", Hook::Auto)]);
    reconciler.change_selector(name).unwrap();
    let told = manager.troubles().all();
    let missing = told.iter().find(|it| it.kind == InterfaceMissing).unwrap();
    assert!(missing.cause.contains("`/^eth/`"), "{missing}");
}
