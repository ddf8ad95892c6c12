//! What happens to intervals when the clock is set.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use jiff::SignedDuration;
use parking_lot::Mutex;

use super::{Manager, ManagerOptions, kernel::Kernel};
use crate::{
    interface::{Interface, InterfaceConfig},
    status::StatusReader,
};
use probe_flow::{interval::Interval, moment::Moment};

/// A manager that captures `eth1` by a clock that the test sets, and the intervals it wrote.
struct Clocked {
    manager: Manager,
    clock: Arc<Mutex<Moment>>,
    written: Arc<Mutex<Vec<Interval>>>,
}

impl Clocked {
    fn new() -> Self {
        let begin = Moment {
            wall: "2026-03-01T12:00:00Z".parse().unwrap(),
            since_boot: Duration::from_hours(1),
        };
        let clock = Arc::new(Mutex::new(begin));
        let written = Arc::new(Mutex::new(Vec::new()));
        let (read, output) = (clock.clone(), written.clone());
        let options = ManagerOptions {
            clock: Box::new(move || *read.lock()),
            writeout: Box::new(move |interval| output.lock().push(interval)),
            ..ManagerOptions::default()
        };
        let manager = Manager::new(Box::new(Kernel::default()), options).unwrap();
        let eth1 = Interface {
            name: "eth1".into(),
            ifindex: 1,
        };
        manager
            .update([(eth1, InterfaceConfig::default())])
            .unwrap();
        Self {
            manager,
            clock,
            written,
        }
    }

    /// Five minutes pass, in which the clock is set by so many hours.
    fn pass_five_minutes(&self, set_by_hours: i64) {
        let mut now = self.clock.lock();
        now.since_boot += Duration::from_mins(5);
        now.wall += SignedDuration::from_mins(5) + SignedDuration::from_hours(set_by_hours);
    }
}

#[test]
fn live_flows_begin_by_the_clock_that_was_set() {
    let bench = Clocked::new();
    let minutes_live = || {
        let mut since = None;
        bench.manager.flush_and_visit_flows(&[], |_, start, _| {
            since = Some(start);
            ControlFlow::Continue(())
        });
        let now = bench.clock.lock().wall;
        now.duration_since(since.unwrap()).as_mins()
    };
    assert_eq!(minutes_live(), 0);
    for (hours, minutes) in [(0, 5), (-8760, 10), (8766, 15)] {
        bench.pass_five_minutes(hours);
        assert_eq!(
            minutes_live(),
            minutes,
            "the clock was set by {hours} hours"
        );
    }
    bench.manager.rotate().unwrap();
    assert_eq!(minutes_live(), 0);
}

#[test]
fn no_interval_ends_before_its_start_and_each_tells_of_its_steps() {
    let bench = Clocked::new();
    for hours in [0, -8760, 8760, 2] {
        bench.pass_five_minutes(hours);
        bench.manager.rotate().unwrap();
    }
    let Clocked {
        manager, written, ..
    } = &bench;
    let written = written.lock();
    let told = written.iter().map(|interval: &Interval| {
        let lasted = interval.end.duration_since(interval.start);
        let watched = interval.watched;
        (
            lasted.as_mins(),
            watched.clock_steps,
            watched.clock_stepped.as_hours(),
        )
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(5, 0, 0), (5, 1, -8760), (5, 1, 8760), (5, 1, 2)]
    );
    // The other clock of each end tells a sink that the first was set since.
    let ends = written.iter().map(|interval| interval.end_since_boot);
    let minutes = [65, 70, 75, 80].map(|minutes| Some(Duration::from_mins(minutes)));
    assert_eq!(ends.collect::<Vec<_>>(), minutes);
    let steps = manager.flush_and_read().clock_steps;
    assert_eq!((steps.forward, steps.backward), (2, 1));
}
