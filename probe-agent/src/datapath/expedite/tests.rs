//! A folder in the place of `/sys/kernel`.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::{Expedite, Leftover, MANY, MARK, SLOW, own_mark, put_back, put_back_leftover_at};

fn kernel(expedited: &str, normal: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("rcu_expedited"), expedited).expect("written");
    fs::write(folder.path().join("rcu_normal"), normal).expect("written");
    folder
}

fn expedited(kernel: &TempDir) -> i32 {
    let text = fs::read_to_string(kernel.path().join("rcu_expedited")).expect("a setting");
    text.trim().parse().expect("a number")
}

fn during_a_batch(kernel: &TempDir, is_wanted: bool, interfaces: usize) -> i32 {
    let expedite = Expedite::at(kernel.path(), is_wanted);
    let batch = expedite.batch("attaching", interfaces);
    let during = expedited(kernel);
    drop(batch);
    during
}

#[test]
fn the_setting_is_ours_for_many_interfaces_and_back_afterwards() {
    let kernel = kernel("0\n", "0\n");
    assert_eq!(during_a_batch(&kernel, true, MANY), own_mark());
    assert_eq!(expedited(&kernel), 0);
    assert_eq!(during_a_batch(&kernel, true, MANY - 1), 0);
    assert_eq!(during_a_batch(&kernel, false, MANY), 0);
}

#[test]
fn what_others_have_set_is_left_alone() {
    let others = kernel("1\n", "0\n");
    assert_eq!(during_a_batch(&others, true, MANY), 1);
    assert_eq!(expedited(&others), 1);
    let real_time = kernel("0\n", "1\n");
    assert_eq!(during_a_batch(&real_time, true, MANY), 0);
}

#[test]
fn what_others_set_meanwhile_is_left_alone() {
    let kernel = kernel("0\n", "0\n");
    let expedite = Expedite::at(kernel.path(), true);
    let batch = expedite.batch("attaching", MANY);
    fs::write(kernel.path().join("rcu_expedited"), "1\n").expect("written");
    drop(batch);
    assert_eq!(expedited(&kernel), 1);
}

#[test]
fn a_batch_within_a_batch_leaves_it_to_the_first() {
    let kernel = kernel("0\n", "0\n");
    let expedite = Expedite::at(kernel.path(), true);
    let first = expedite.batch("attaching", MANY);
    drop(expedite.batch("attaching again", MANY));
    assert_eq!(expedited(&kernel), own_mark());
    drop(first);
    assert_eq!(expedited(&kernel), 0);
}

#[test]
fn a_panic_puts_it_back() {
    let kernel = kernel("0\n", "0\n");
    let expedite = Expedite::at(kernel.path(), true);
    let panicking = catch_unwind(AssertUnwindSafe(|| {
        let _batch = expedite.batch("attaching", MANY);
        panic!("in the middle, at {}", expedited(&kernel));
    }));
    assert!(panicking.is_err());
    assert_eq!(expedited(&kernel), 0);
}

#[test]
fn an_end_that_drops_nothing_puts_it_back_too() {
    let kernel = kernel("0\n", "0\n");
    let expedite = Expedite::at(kernel.path(), true);
    std::mem::forget(expedite.batch("detaching", MANY));
    put_back(kernel.path());
    assert_eq!(expedited(&kernel), 0);
}

#[test]
fn without_the_setting_it_goes_on_and_says_so_once() {
    let kernel = tempfile::tempdir().expect("a folder");
    let expedite = Expedite::at(kernel.path(), true);
    for _ in 0..2 {
        assert!(!expedite.batch("attaching", MANY).holds);
    }
    assert!(expedite.is_told.into_inner());
    assert!(
        !kernel.path().join("rcu_expedited").exists(),
        "no file of ours"
    );
}

#[test]
fn what_a_killed_agent_left_is_put_back() {
    let mut child = Command::new("true").spawn().expect("a child");
    child.wait().expect("its end");
    let process = i32::try_from(child.id()).expect("a number");
    let kernel = kernel(&format!("{}\n", MARK + process), "0\n");
    let leftover = put_back_leftover_at(kernel.path()).expect("it can be written");
    assert_eq!(leftover, Some(Leftover { process }));
    assert_eq!(expedited(&kernel), 0);
    assert_eq!(put_back_leftover_at(kernel.path()).expect("read"), None);
}

#[test]
fn what_is_no_leftover_stays() {
    for value in ["1", "2", "-1", "2147483647", "-2147483648"] {
        let kernel = kernel(value, "0\n");
        assert_eq!(put_back_leftover_at(kernel.path()).expect("read"), None);
        assert_eq!(expedited(&kernel).to_string(), value);
    }
}

#[test]
fn a_living_agent_keeps_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("probe-agent");
    fs::copy("/bin/sleep", &program).expect("a copy");
    let mut agent = Command::new(program).arg("60").spawn().expect("a child");
    let mark = MARK + i32::try_from(agent.id()).expect("a number");
    let kernel = kernel(&mark.to_string(), "0\n");
    assert_eq!(put_back_leftover_at(kernel.path()).expect("read"), None);
    agent.kill().expect("killed");
    // Not waited for yet.
    while put_back_leftover_at(kernel.path())
        .expect("written")
        .is_none()
    {
        std::thread::yield_now();
    }
    assert_eq!(expedited(&kernel), 0);
    agent.wait().expect("its end");
}

#[test]
fn the_setting_is_advised_where_it_would_help() {
    let advice = |kernel: &TempDir, is_wanted, interfaces, took| {
        let expedite = Expedite::at(kernel.path(), is_wanted);
        let batch = expedite.batch("attaching", interfaces);
        batch.advice(took)
    };
    let slow = kernel("0\n", "0\n");
    let told = advice(&slow, false, 500, Duration::from_millis(9310)).expect("advice");
    assert!(
        told.starts_with("attaching 500 interfaces took 9.3 s: "),
        "{told}"
    );
    assert!(told.contains("capture.expedite_attach: true"), "{told}");
    for (kernel, is_wanted, interfaces, took) in [
        (&slow, false, 500, SLOW / 2),
        (&slow, false, MANY - 1, SLOW),
        (&slow, true, 500, SLOW),
        (&kernel("1\n", "0\n"), false, 500, SLOW),
        (&kernel("0\n", "1\n"), false, 500, SLOW),
    ] {
        assert_eq!(advice(kernel, is_wanted, interfaces, took), None);
    }
}
