use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use super::{QueuePolicy, Writeout, worker::Worker};
use crate::{
    SinkStats, WriteoutError, WriteoutHandler, fixture,
    stats::{SinkReader as _, SinkTroubleKind},
};
use probe_flow::interval::Interval;

/// Far beyond what any of these tests needs.
const LONG: Duration = Duration::from_mins(1);

fn eager() -> QueuePolicy {
    QueuePolicy {
        max_attempts: 3,
        first_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(2),
        ..QueuePolicy::default()
    }
}

fn interval(second: u32) -> Arc<Interval> {
    let start = format!("2026-03-01T00:00:{second:02}Z");
    Arc::new(fixture::interval("eth0", &start, 10))
}

enum Step {
    Store,
    Fail,
    Refuse,
    Panic,
}

/// Does as the script says, then stores; reports the start of what it stored.
struct Scripted {
    name: &'static str,
    steps: VecDeque<Step>,
    stored: Sender<Arc<str>>,
    bytes: u64,
}

impl WriteoutHandler for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn write(&mut self, interval: &Interval) -> Result<(), WriteoutError> {
        match self.steps.pop_front() {
            None | Some(Step::Store) => {
                self.bytes += 7;
                let _test_may_be_over = self.stored.send(interval.start.to_string().into());
                Ok(())
            }
            Some(Step::Fail) => Err(WriteoutError::Store {
                operation: "write",
                object: "/flows".to_owned(),
                source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
                is_transient: true,
            }),
            Some(Step::Refuse) => Err(WriteoutError::Encode {
                iface: Arc::clone(&interval.iface),
                source: "scripted".into(),
            }),
            Some(Step::Panic) => panic!("scripted panic"),
        }
    }

    fn stored_bytes(&self) -> u64 {
        self.bytes
    }
}

/// Waits in every write until the test lets it go on.
struct Gated {
    entered: Sender<()>,
    gate: Receiver<()>,
}

impl WriteoutHandler for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn write(&mut self, _: &Interval) -> Result<(), WriteoutError> {
        let _test_may_be_over = self.entered.send(());
        let _closed_gate_is_open = self.gate.recv();
        Ok(())
    }
}

fn scripted(steps: Vec<Step>) -> (Box<dyn WriteoutHandler>, Receiver<Arc<str>>) {
    let (stored, log) = channel();
    let handler = Scripted {
        name: "scripted",
        steps: steps.into(),
        stored,
        bytes: 0,
    };
    (Box::new(handler), log)
}

fn gated() -> (Box<dyn WriteoutHandler>, Receiver<()>, Sender<()>) {
    let (entered, has_entered) = channel();
    let (open, gate) = channel();
    (Box::new(Gated { entered, gate }), has_entered, open)
}

fn counts(stats: &SinkStats) -> [u64; 4] {
    [
        stats.written(),
        stats.failed(),
        stats.retried(),
        stats.dropped(),
    ]
}

#[test]
fn everything_is_written_in_order_and_reported() {
    let (handler, log) = scripted(vec![]);
    let writeout = Writeout::start(vec![handler], QueuePolicy::default()).unwrap();
    for second in 0..20 {
        writeout.submit(interval(second));
    }
    let reports = writeout.finish(Instant::now() + LONG);
    let expected: Vec<_> = (0..20)
        .map(|second| Arc::from(format!("2026-03-01T00:00:{second:02}Z")))
        .collect();
    assert_eq!(log.try_iter().collect::<Vec<_>>(), expected);
    assert!(reports[0].is_complete(), "{}", reports[0]);
    let stats = &writeout.stats()[0];
    assert_eq!(counts(stats), [20, 0, 0, 0]);
    assert_eq!(
        (stats.bytes(), stats.queue_length(), stats.queue_bytes()),
        (140, 0, 0)
    );
}

#[test]
fn a_stuck_sink_blocks_neither_the_caller_nor_its_neighbour() {
    let (stuck, has_entered, open) = gated();
    let (healthy, log) = scripted(vec![]);
    let policy = QueuePolicy {
        max_intervals: 3,
        ..eager()
    };
    let writeout = Writeout::start(vec![stuck, healthy], policy).unwrap();
    writeout.submit(interval(0));
    has_entered.recv_timeout(LONG).unwrap();
    for second in 1..6 {
        writeout.submit(interval(second));
        // The neighbour's queue has the same bound: let it keep up.
        log.recv_timeout(LONG).unwrap();
    }
    log.recv_timeout(LONG).unwrap();
    let stats = writeout.stats();
    assert_eq!(
        counts(&stats[0]),
        [0, 0, 0, 2],
        "one in flight and three wait"
    );
    assert_eq!(stats[0].queue_length(), 4);
    assert_eq!(stats[1].dropped(), 0);

    drop(open);
    let reports = writeout.finish(Instant::now() + LONG);
    assert!(reports[0].is_complete(), "{}", reports[0]);
    assert_eq!(counts(&stats[0]), [4, 0, 0, 2]);
}

#[test]
fn memory_is_bounded_but_one_large_interval_always_fits() {
    let (stuck, has_entered, open) = gated();
    let policy = QueuePolicy {
        max_bytes: 1,
        ..eager()
    };
    let writeout = Writeout::start(vec![stuck], policy).unwrap();
    writeout.submit(interval(0));
    has_entered.recv_timeout(LONG).unwrap();
    let stats = &writeout.stats()[0];
    assert_eq!(stats.queue_bytes(), interval(0).approximate_bytes() as u64);
    writeout.submit(interval(1));
    assert_eq!(stats.dropped(), 1, "the one in flight counts");
    open.send(()).unwrap();
    while stats.queue_length() > 0 {
        std::thread::yield_now();
    }
    writeout.submit(interval(2));
    assert_eq!(stats.dropped(), 1);
    has_entered.recv_timeout(LONG).unwrap();
    drop(open);
    assert!(writeout.finish(Instant::now() + LONG)[0].is_complete());
}

#[test]
fn failures_are_retried_and_given_up_after_the_last_attempt() {
    use Step::{Fail, Panic, Refuse, Store};
    let (handler, log) = scripted(vec![
        Fail, Fail, Store, // the third attempt succeeds
        Fail, Fail, Fail,   // given up
        Refuse, // not worth a second attempt
        Panic,  // costs the interval, not the sink
    ]);
    let writeout = Writeout::start(vec![handler], eager()).unwrap();
    for second in 0..5 {
        writeout.submit(interval(second));
    }
    for second in [0, 4] {
        let stored = log.recv_timeout(LONG).unwrap();
        assert_eq!(*stored, format!("2026-03-01T00:00:{second:02}Z"));
    }
    let report = &writeout.finish(Instant::now() + LONG)[0];
    let stats = &writeout.stats()[0];
    assert_eq!(counts(stats), [2, 3, 4, 0], "{report}");
    let last_error = stats.last_error().unwrap();
    assert!(last_error.contains("scripted panic"), "{last_error}");
}

#[test]
fn finishing_cuts_a_backoff_short_for_a_last_attempt() {
    for (steps, written) in [(vec![Step::Fail], 1), (vec![Step::Fail, Step::Fail], 0)] {
        let (handler, _log) = scripted(steps);
        let policy = QueuePolicy {
            first_backoff: Duration::from_hours(1),
            ..QueuePolicy::default()
        };
        let writeout = Writeout::start(vec![handler], policy).unwrap();
        writeout.submit(interval(0));
        let stats = &writeout.stats()[0];
        while stats.last_error().is_none() {
            std::thread::yield_now();
        }
        let report = &writeout.finish(Instant::now() + LONG)[0];
        assert_eq!(report.unfinished, 0, "{report}");
        assert_eq!(
            (stats.written(), stats.failed()),
            (written, 1 - written),
            "{report}"
        );
    }
}

#[test]
fn a_sink_that_hangs_is_left_behind_at_the_deadline() {
    let (stuck, has_entered, _open) = gated();
    let writeout = Writeout::start(vec![stuck], QueuePolicy::default()).unwrap();
    for second in 0..3 {
        writeout.submit(interval(second));
    }
    has_entered.recv_timeout(LONG).unwrap();
    let report = &writeout.finish(Instant::now())[0];
    assert_eq!(
        (report.preserved, report.lost, report.unfinished),
        (0, 2, 1)
    );
    assert_eq!(
        report.to_string(),
        "gated: 0 queued intervals preserved, 2 lost, 1 unfinished at the deadline"
    );
    writeout.submit(interval(3));
    let stats = &writeout.stats()[0];
    assert_eq!((stats.dropped(), stats.queue_length()), (3, 1));
}

#[test]
fn sinks_of_one_name_are_told_apart() {
    let handlers = (0..3).map(|_| scripted(vec![]).0).collect();
    let writeout = Writeout::start(handlers, eager()).unwrap();
    let stats = writeout.stats();
    let names: Vec<_> = stats.iter().map(|stats| stats.sink()).collect();
    assert_eq!(names, ["scripted", "scripted-2", "scripted-3"]);
}

#[test]
fn inline_writes_before_submit_returns() {
    let (handler, log) = scripted(vec![Step::Store, Step::Fail]);
    let writeout = Writeout::inline(vec![handler]);
    writeout.submit(interval(0));
    assert_eq!(log.try_iter().count(), 1);
    writeout.submit(interval(1));
    let report = &writeout.finish(Instant::now())[0];
    assert!(report.is_complete(), "nothing was queued: {report}");
    writeout.submit(interval(2));
    assert_eq!(counts(&writeout.stats()[0]), [1, 1, 0, 1]);
}

/// Looks as it is told to; its writes succeed.
struct Looking(Receiver<Result<(), io::ErrorKind>>, Sender<()>);

impl WriteoutHandler for Looking {
    fn name(&self) -> &'static str {
        "looking"
    }

    fn look(&mut self) -> Result<(), WriteoutError> {
        let told = self.0.try_recv().unwrap_or(Ok(()));
        told.map_err(|kind| WriteoutError::file("write to", Path::new("/flows"), kind.into()))
    }

    fn maintain(&mut self) {
        let _test_may_be_over = self.1.send(());
    }

    fn write(&mut self, interval: &Interval) -> Result<(), WriteoutError> {
        Err(WriteoutError::Encode {
            iface: Arc::clone(&interval.iface),
            source: "no such type".into(),
        })
    }
}

/// Stores all interfaces but one.
struct AllBut(&'static str);

impl WriteoutHandler for AllBut {
    fn name(&self) -> &'static str {
        "all-but"
    }

    fn write(&mut self, interval: &Interval) -> Result<(), WriteoutError> {
        let denied = io::ErrorKind::PermissionDenied.into();
        let path = Path::new("/flows/iface=eth1");
        if &*interval.iface == self.0 {
            return Err(WriteoutError::file("create a file in", path, denied));
        }
        Ok(())
    }
}

#[test]
fn a_trouble_ends_with_its_own_interface() {
    let stats = Arc::new(SinkStats::new("all-but".to_owned(), None));
    let tell = |handler, iface: &str, minute| {
        let mut worker = Worker::new(Box::new(AllBut(handler)), Arc::clone(&stats));
        let start = format!("2026-03-01T00:{minute:02}:00Z");
        worker.write_once(&fixture::interval(iface, &start, 1));
        // A look at the place sees nothing of it.
        worker.maintain();
        stats.state().trouble.map(|it| it.kind)
    };
    let failing = Some(SinkTroubleKind::Failing);
    for minute in [0, 5, 10, 15] {
        assert_eq!(tell("eth1", "eth1", minute), failing);
        assert_eq!(tell("eth1", "eth0", minute), failing, "minute {minute}");
    }
    assert_eq!(tell("none", "eth1", 20), None);

    // An interface that is gone has no interval any more.
    assert_eq!(tell("eth1", "eth1", 25), failing);
    assert_eq!(tell("eth1", "eth0", 25), failing);
    assert_eq!(tell("eth1", "eth0", 30), failing, "its next may follow");
    assert_eq!(tell("eth1", "eth0", 35), None);
}

#[test]
fn what_a_look_finds_is_told_until_a_look_finds_it_over() {
    let (tell, told) = channel();
    let (seen, has_seen) = channel();
    let stats = Arc::new(SinkStats::new("looking".to_owned(), None));
    let mut worker = Worker::new(Box::new(Looking(told, seen)), Arc::clone(&stats));
    let mut look = |result| {
        tell.send(result).unwrap();
        worker.maintain();
        has_seen.try_recv().unwrap();
        let trouble = stats.state().trouble;
        trouble.map(|it| (it.kind, it.remedy))
    };
    assert_eq!(look(Ok(())), None);
    let (kind, remedy) = look(Err(io::ErrorKind::ReadOnlyFilesystem)).unwrap();
    assert_eq!(kind, SinkTroubleKind::Failing);
    assert!(
        remedy.contains("mount its file system for writing"),
        "{remedy}"
    );
    assert_eq!(look(Ok(())), None);
    // No look sees why this failed, so none ends it.
    worker.write_once(&interval(0));
    worker.maintain();
    assert!(stats.state().trouble.is_some());
}
