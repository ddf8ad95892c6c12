use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::Manager;
use crate::{
    interface::{Interface, InterfaceConfig},
    manager::ManagerOptions,
    source::{
        Attachment, BankCounters, HookState, Hooks, LinkState, RecordSource, RecordStream, Source,
        SourceError, SourceStatistics, SupervisedHooks,
    },
    status::{StatusReader, WatchStatus},
    trouble::TroubleKind,
};
use probe_flow::{
    coverage::{CoverageState, LinkCounts, LostHook},
    interval::Interval,
    ledger::Loss,
    ticks::TickClock,
};

/// One link whose counters and hooks the test sets.
#[derive(Clone, Default)]
struct Host(Arc<Mutex<HostState>>);

#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fault of its own, which a test switches on"
)]
struct HostState {
    link_packets: u64,
    counters: BankCounters,
    bank: u8,
    lost: Vec<LostHook>,
    refuses: bool,
    is_down: bool,
    /// Links cannot be listed.
    hides_links: bool,
    /// Hooks cannot be checked.
    hides_hooks: bool,
    attempts: usize,
}

const INTERFACE: u32 = 7;

fn attachment(reason: &str) -> Attachment {
    Attachment {
        ingress: "box",
        egress: "box",
        reason: reason.to_owned(),
    }
}

impl RecordSource for Host {
    fn take_streams(&mut self) -> Vec<Box<dyn RecordStream>> {
        Vec::new()
    }

    fn switch_bank(&mut self) -> Result<u8, SourceError> {
        let mut host = self.0.lock();
        let closed = host.bank;
        host.bank = 1 - closed;
        Ok(closed)
    }

    fn counters(&self, _: u32) -> Result<BankCounters, SourceError> {
        Ok(self.0.lock().counters)
    }

    fn tick_clock(&self) -> TickClock {
        TickClock::default()
    }
}

impl Hooks for Host {
    fn attach(&mut self, _: &Interface, _: &InterfaceConfig) -> Result<Attachment, SourceError> {
        Ok(attachment("free"))
    }

    fn detach(&mut self, _: &[u32]) -> Result<(), SourceError> {
        Ok(())
    }

    fn release(&mut self, _: u32) {}
}

impl SupervisedHooks for Host {
    fn links(&self, _: &[u32]) -> Result<HashMap<u32, LinkState>, SourceError> {
        let host = self.0.lock();
        if host.hides_links {
            return Err(SourceError::unusable("no list"));
        }
        let link = LinkState {
            name: "eth0".to_owned(),
            counts: Some([host.link_packets, 0].map(|packets| LinkCounts { packets, octets: 0 })),
            xdp_programs: Vec::new(),
            is_down: host.is_down,
        };
        Ok(HashMap::from([(INTERFACE, link)]))
    }

    fn check(&self, _: u32, _: &LinkState) -> Result<HookState, SourceError> {
        if self.0.lock().hides_hooks {
            return Err(SourceError::attach("eth0", "no answer"));
        }
        Ok(HookState {
            lost: self.0.lock().lost.clone(),
            ahead: [None; 2],
        })
    }

    fn reattach(
        &mut self,
        interface: &Interface,
        _: &InterfaceConfig,
    ) -> Result<Attachment, SourceError> {
        let mut host = self.0.lock();
        host.attempts += 1;
        if host.refuses {
            return Err(SourceError::attach(&interface.name, "taken"));
        }
        host.lost.clear();
        Ok(attachment("attached again"))
    }
}

impl Source for Host {
    fn supervised_hooks(&mut self) -> Option<&mut dyn SupervisedHooks> {
        Some(self)
    }

    fn statistics(&self) -> Option<&dyn SourceStatistics> {
        None
    }
}

struct Bench {
    host: Host,
    manager: Manager,
    written: Arc<Mutex<Vec<Interval>>>,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let (host, written) = (Host::default(), Arc::default());
        let output = Arc::<Mutex<Vec<Interval>>>::clone(&written);
        let options = ManagerOptions {
            writeout: Box::new(move |interval| output.lock().push(interval)),
            ..ManagerOptions::default()
        };
        let manager = Manager::new(Box::new(host.clone()), options).unwrap();
        let eth0 = Interface {
            name: "eth0".into(),
            ifindex: INTERFACE,
        };
        manager
            .update([(eth0, InterfaceConfig::default())])
            .unwrap();
        Self {
            host,
            manager,
            written,
            now: Instant::now(),
        }
    }

    /// A second in which the link moves so many packets and we see so many of them, none of which
    /// is IP.
    fn second(&mut self, link: u64, seen: u64) {
        self.now += Duration::from_secs(1);
        let mut host = self.host.0.lock();
        host.link_packets += link;
        let bank = usize::from(host.bank);
        let counters = &mut host.counters[bank][0];
        counters.seen.add(seen, 60 * seen);
        counters.losses[Loss::NonIp as usize].add(seen, 60 * seen);
        drop(host);
        self.manager.supervise(self.now);
    }

    fn watch(&self) -> WatchStatus {
        let mut status = self.manager.flush_and_read();
        status.interfaces.remove("eth0").unwrap().watch
    }

    fn lose(&self) {
        self.lose_to(None);
    }

    fn lose_to(&self, occupant: Option<&str>) {
        self.host.0.lock().lost = vec![LostHook {
            direction: 0,
            hook: "box",
            occupant: occupant.map(str::to_owned),
        }];
    }
}

#[test]
fn what_is_lost_is_attached_again_and_counts_go_on() {
    let mut bench = Bench::new();
    bench.second(100, 100);
    assert_eq!(bench.watch().state(), "ok");
    bench.lose();
    bench.second(100, 0);
    assert_eq!(bench.watch().state(), "detached");
    assert_eq!(bench.watch().lost.len(), 1);
    bench.second(100, 0);
    assert_eq!(bench.watch().reattached, 1);
    // Ours came in the middle of the window that ends here, by which nothing is judged.
    bench.second(100, 60);
    let watch = bench.watch();
    assert_eq!((watch.state(), watch.coverage[0].ratio), ("idle", None));
    bench.second(100, 100);
    let watch = bench.watch();
    assert_eq!(watch.state(), "ok");
    assert_eq!(watch.coverage[0].compared.link, 500);
    assert_eq!((watch.unseen.detached, watch.unseen.uncovered), (240, 0));
    assert_eq!(
        (watch.was_lost, watch.changed),
        ([true, false], Duration::ZERO)
    );
    bench.manager.rotate().unwrap();
    let interval = bench.written.lock().pop().unwrap();
    assert_eq!(interval.ledger.seen.packets, 260);
    assert_eq!(interval.ledger.residue(), 0);
    assert_eq!(interval.watched.reattached, 1);
    assert_eq!(interval.watched.coverage[0].ratio(), Some(0.52));

    bench.second(50, 50);
    bench.manager.rotate().unwrap();
    let interval = bench.written.lock().pop().unwrap();
    assert_eq!(
        interval.watched.reattached, 0,
        "that was the interval before"
    );
    assert_eq!(interval.watched.coverage[0].ratio(), Some(1.0));
}

#[test]
fn a_refusal_is_met_with_patience() {
    let mut bench = Bench::new();
    bench.host.0.lock().refuses = true;
    bench.lose();
    for _ in 0..60 {
        bench.second(0, 0);
    }
    // After 1, 2, 4, 8 and 16 seconds.
    assert_eq!(bench.host.0.lock().attempts, 5);
    bench.host.0.lock().refuses = false;
    for _ in 0..5 {
        bench.second(0, 0);
    }
    assert_eq!(bench.watch().reattached, 1);
    assert!(bench.watch().detached >= Duration::from_mins(1));
}

/// A program of somebody else that was there for minutes is gone.
#[test]
fn a_hook_that_is_free_again_is_taken_at_once() {
    let mut bench = Bench::new();
    bench.host.0.lock().refuses = true;
    bench.lose_to(Some("theirs"));
    for _ in 0..300 {
        bench.second(0, 0);
    }
    // After 1, 2, 4 … 128 seconds.
    assert_eq!(bench.host.0.lock().attempts, 8);
    bench.host.0.lock().refuses = false;
    bench.lose();
    bench.second(0, 0);
    assert_eq!(bench.watch().reattached, 1);
}

#[test]
fn what_cannot_be_checked_is_told_until_it_can() {
    let mut bench = Bench::new();
    let mut told = |change: fn(&mut HostState)| {
        change(&mut bench.host.0.lock());
        bench.second(0, 0);
        let troubles = bench.manager.troubles().all().into_iter();
        troubles.map(|it| it.kind).collect::<Vec<_>>()
    };
    assert_eq!(told(|_| {}), []);
    assert_eq!(
        told(|host| host.hides_links = true),
        [TroubleKind::LinksUnknown]
    );
    assert_eq!(told(|host| host.hides_links = false), []);
    assert_eq!(
        told(|host| host.hides_hooks = true),
        [TroubleKind::HooksUnknown]
    );
    assert_eq!(told(|host| host.hides_hooks = false), []);
}

#[test]
fn a_blind_capture_is_known_and_recovers() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.second(100, 0);
    }
    let rcvd = &bench.watch().coverage[0];
    assert_eq!((rcvd.state, rcvd.ratio), (CoverageState::Blind, Some(0.0)));
    assert!(rcvd.cause.is_some());
    assert_eq!(bench.watch().state(), "blind");
    bench.second(100, 100);
    assert_eq!(bench.watch().state(), "ok");
    assert_eq!(bench.watch().coverage[0].cause, None);
}

#[test]
fn a_link_that_is_down_is_neither_idle_nor_ok() {
    let mut bench = Bench::new();
    for state in ["idle", "ok"] {
        assert_eq!(bench.watch().state(), state);
        bench.host.0.lock().is_down = true;
        bench.second(0, 0);
        assert_eq!(bench.watch().state(), "down");
        bench.host.0.lock().is_down = false;
        bench.second(100, 100);
    }
    bench.host.0.lock().is_down = true;
    bench.lose();
    bench.second(0, 0);
    assert_ne!(bench.watch().state(), "down", "{:?}", bench.watch());
}

#[test]
fn supervision_counts_nothing_and_history_outlives_a_capture() {
    let mut bench = Bench::new();
    bench.second(100, 100);
    let before = bench.watch();
    for _ in 0..10 {
        assert_eq!(bench.watch(), before);
    }
    let eth0 = Interface {
        name: "eth0".into(),
        ifindex: INTERFACE,
    };
    bench.manager.close(&["eth0"]).unwrap();
    bench
        .manager
        .update([(eth0, InterfaceConfig::default())])
        .unwrap();
    bench.second(5, 5);
    assert_eq!(bench.watch().coverage[0].compared.link, 105);
}
