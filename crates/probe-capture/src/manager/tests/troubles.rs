//! What the reconciler finds wrong is told until it is over.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

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

/// Links that the test adds, and their reconciler.
fn reconciler(bench: Bench, wanted: InterfaceSelector) -> (Arc<Mutex<Vec<HostLink>>>, Reconciler) {
    let host = Arc::new(Mutex::new(vec![link("eth1", 1)]));
    let listed = host.clone();
    let list = move || Ok(LinkList::from(listed.lock().clone()));
    let manager = Arc::new(bench.manager);
    (host, Reconciler::new(manager, wanted, Box::new(list)))
}

/// How many interfaces a comparison changed, and how many refused.
fn changes(reconciler: &mut Reconciler) -> Option<(usize, usize)> {
    let changes = reconciler.reconcile(&[]).unwrap()?;
    let refused = changes.failures().count();
    Some((
        changes.enabled.len() + changes.updated.len() - refused,
        refused,
    ))
}

#[test]
fn each_refused_link_is_asked_again_every_minute() {
    let bench = Bench::new(1 << 20);
    let kernel = bench.kernel.clone();
    kernel.0.picky.lock().extend([1, 2]);
    let picky = selector(&[("/eth/", Hook::Tc)]);
    let (host, mut reconciler) = reconciler(bench, picky);
    assert_eq!(changes(&mut reconciler), Some((0, 1)));
    reconciler.pass(Duration::from_secs(40));
    host.lock().push(link("eth2", 2));
    assert_eq!(changes(&mut reconciler), Some((0, 1)), "the new one");
    kernel.0.picky.lock().clear();
    reconciler.pass(Duration::from_secs(20));
    assert_eq!(changes(&mut reconciler), Some((1, 0)), "the first one");
    reconciler.pass(Duration::from_secs(40));
    assert_eq!(changes(&mut reconciler), Some((1, 0)), "the other one");
    reconciler.pass(Duration::from_hours(1));
    assert_eq!(changes(&mut reconciler), None);
}

#[test]
fn new_settings_that_were_refused_are_tried_again() {
    let bench = Bench::new(1 << 20);
    let (kernel, troubles) = (bench.kernel.clone(), bench.manager.troubles().clone());
    let (_host, mut reconciler) = reconciler(bench, selector(&[("eth1", Hook::Auto)]));
    assert_eq!(changes(&mut reconciler), Some((1, 0)));
    kernel.0.picky.lock().insert(1);
    let picky = selector(&[("eth1", Hook::Tc)]);
    let (refused, _) = reconciler.change_selector(picky).unwrap();
    assert_eq!(refused.failures().count(), 1);
    let told = troubles.all();
    assert!(told[0].remedy.starts_with("mend the cause"), "{}", told[0]);

    // Each time the capture is interrupted, so the waits grow.
    for minutes in [1, 2, 4] {
        reconciler.pass(Duration::from_secs(60 * minutes - 1));
        assert_eq!(changes(&mut reconciler), None, "{minutes} min");
        reconciler.pass(Duration::from_secs(1));
        assert_eq!(changes(&mut reconciler), Some((0, 1)), "{minutes} min");
    }
    kernel.0.picky.lock().clear();
    reconciler.pass(Duration::from_mins(8));
    assert_eq!(changes(&mut reconciler), Some((1, 0)));
    assert_eq!(troubles.all(), []);
}
