//! The thread that rotates.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{Kernel, Manager, ManagerOptions};
use crate::schedule::{IntervalSetting, Schedule};

#[test]
fn a_rotation_that_hangs_is_overdue() {
    let (entered, has_entered) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let options = ManagerOptions {
        on_rotation: Box::new(move |_| {
            let _test_may_be_over = entered.send(());
            let _open_gate_is_closed = gate.lock().recv();
        }),
        ..ManagerOptions::default()
    };
    let manager = Manager::new(Box::new(Kernel::default()), options).unwrap();
    let interval = IntervalSetting::new(Duration::from_secs(1));
    let hour = Duration::from_hours(1);
    let schedule = Schedule::start(Arc::new(manager), interval.clone(), hour).unwrap();
    has_entered.recv().unwrap();
    assert_eq!(interval.overdue(Instant::now()), None, "not yet");
    // A minute later it would still hang.
    let late = interval.overdue(Instant::now() + Duration::from_mins(1));
    assert!(late.is_some_and(|it| it.as_secs() >= 58), "{late:?}");
    open.send(()).unwrap();
    has_entered.recv().unwrap();
    assert_eq!(interval.overdue(Instant::now()), None);
    drop(open);
    drop(schedule);
}
