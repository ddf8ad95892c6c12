//! A folder in the place of `/sys`.

use std::{
    fs,
    os::{fd::AsRawFd, unix::fs::symlink},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use tempfile::TempDir;

use super::{
    Batch, Expedite, MANY, SLOW,
    setting::{OF_SERVICE, end_at, own_mark, put_back, put_back_stale_setting_at},
};
use crate::options::ExpediteAttach::{self, Always, Auto, Never};

fn write(kernel: &TempDir, name: &str, text: &str) {
    let path = kernel.path().join(name);
    let folder = path.parent().expect("a folder");
    fs::create_dir_all(folder).expect("a folder");
    fs::write(path, text).expect("written");
}

pub(super) fn kernel(expedited: &str, normal: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, "kernel/rcu_expedited", expedited);
    write(&folder, "kernel/rcu_normal", normal);
    folder
}

/// A host with a file that says what its owner minds.
fn host(name: &str, text: &str) -> TempDir {
    let kernel = kernel("0\n", "0\n");
    write(&kernel, name, text);
    kernel
}

/// Not by permissions, which root overrides.
fn read_only() -> (TempDir, impl AsRawFd) {
    let kernel = kernel("0\n", "0\n");
    let setting = kernel.path().join("kernel/rcu_expedited");
    let file = memfd_create("setting", MemfdFlags::ALLOW_SEALING).expect("a file");
    rustix::io::write(&file, b"0\n").expect("written");
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK).expect("sealed");
    fs::remove_file(&setting).expect("ours");
    symlink(format!("/proc/self/fd/{}", file.as_raw_fd()), &setting).expect("a link");
    (kernel, file)
}

pub(super) fn expedited(kernel: &TempDir) -> i32 {
    let text = fs::read_to_string(kernel.path().join("kernel/rcu_expedited"));
    text.expect("a setting").trim().parse().expect("a number")
}

fn during_a_batch(kernel: &TempDir, wanted: ExpediteAttach, interfaces: usize) -> i32 {
    let expedite = Expedite::at(kernel.path(), wanted);
    let batch = expedite.batch("attaching", interfaces);
    let during = expedited(kernel);
    drop(batch);
    during
}

/// What a batch that took so long says.
fn told(
    kernel: &Path,
    wanted: ExpediteAttach,
    interfaces: usize,
    took: Duration,
) -> Option<String> {
    let expedite = Expedite::at(kernel, wanted);
    let batch = expedite.batch("attaching", interfaces);
    batch.advice(took)
}

#[test]
fn the_setting_is_ours_for_many_interfaces_and_back_afterwards() {
    for wanted in [Auto, Always] {
        let kernel = kernel("0\n", "0\n");
        assert_eq!(during_a_batch(&kernel, wanted, MANY), own_mark());
        assert_eq!(expedited(&kernel), 0);
        assert_eq!(during_a_batch(&kernel, wanted, MANY - 1), 0);
        assert!(Expedite::at(kernel.path(), wanted).may_hold());
    }
    let kernel = kernel("0\n", "0\n");
    assert_eq!(during_a_batch(&kernel, Never, MANY), 0);
    assert!(!Expedite::at(kernel.path(), Never).may_hold());
}

#[test]
fn what_others_have_set_is_left_alone() {
    for wanted in [Auto, Always] {
        let others = kernel("1\n", "0\n");
        assert_eq!(during_a_batch(&others, wanted, MANY), 1);
        assert_eq!(expedited(&others), 1);
        let normal = kernel("0\n", "1\n");
        assert_eq!(during_a_batch(&normal, wanted, MANY), 0);
    }
}

#[test]
fn auto_minds_what_the_owner_of_the_host_minds() {
    for (name, text, objection) in [
        (
            "devices/system/cpu/isolated",
            "2-7,12\n",
            "CPUs 2-7,12 are isolated (/sys/devices/system/cpu/isolated)",
        ),
        (
            "devices/system/cpu/nohz_full",
            "1\n",
            "CPUs 1 are isolated (/sys/devices/system/cpu/nohz_full)",
        ),
        (
            "fs/cgroup/cpuset.cpus.isolated",
            "0-3\n",
            "CPUs 0-3 are isolated (/sys/fs/cgroup/cpuset.cpus.isolated)",
        ),
        (
            "kernel/realtime",
            "1\n",
            "this is a real-time kernel (/sys/kernel/realtime)",
        ),
    ] {
        let host = host(name, text);
        assert_eq!(during_a_batch(&host, Auto, MANY), 0, "{name}");
        let told = told(host.path(), Auto, MANY, SLOW).expect("advice");
        assert!(told.contains(objection), "{told}");
        assert!(told.contains("capture.expedite_attach: true"), "{told}");
        assert_eq!(during_a_batch(&host, Always, MANY), own_mark(), "{name}");
    }
}

#[test]
fn a_host_that_isolates_nothing_has_no_objection() {
    for (name, text) in [
        ("devices/system/cpu/isolated", "\n"),
        ("devices/system/cpu/nohz_full", "  (null)\n"),
        ("devices/system/cpu/nohz_full", "\n"),
        ("devices/system/cpu/nohz_full", ""),
        ("fs/cgroup/cpuset.cpus.isolated", "\n"),
        ("kernel/realtime", "0\n"),
    ] {
        let host = host(name, text);
        assert_eq!(during_a_batch(&host, Auto, MANY), own_mark(), "{name}");
    }
}

#[test]
fn what_cannot_be_written_goes_on_slowly_and_is_no_fault_of_auto() {
    let (kernel, _file) = read_only();
    let auto = Expedite::at(kernel.path(), Auto);
    let batches: Vec<Batch<'_>> = (0..2).map(|_| auto.batch("attaching", MANY)).collect();
    assert!(batches.iter().all(|batch| !batch.holds));
    assert_eq!(expedited(&kernel), 0);
    assert_eq!(batches[0].advice(SLOW / 2), None);
    let told = batches[0].advice(SLOW).expect("advice");
    assert!(
        told.contains("rcu_expedited: Operation not permitted"),
        "{told}"
    );
    assert!(
        told.contains("deploy/systemd/probe-agent.service"),
        "{told}"
    );
    assert_eq!(batches[1].advice(SLOW), None, "once");

    let always = Expedite::at(kernel.path(), Always);
    assert_eq!(always.batch("attaching", MANY).advice(SLOW), None);
    assert!(always.is_told.into_inner(), "a warning, at once");
}

#[test]
fn a_service_manager_hurries_for_its_service() {
    let kernel = kernel("0\n", "0\n");
    let begin = |wanted, interfaces| {
        let begun = Expedite::at(kernel.path(), wanted).begin(interfaces);
        begun.expect("it can be written")
    };
    assert!(!begin(Never, MANY) && !begin(Auto, MANY - 1));
    assert!(begin(Auto, MANY));
    assert_eq!(expedited(&kernel), OF_SERVICE);
    assert!(!begin(Auto, MANY), "it is there already");
    // The agent finds it set, and neither of its own nor of one that was killed.
    assert_eq!(during_a_batch(&kernel, Auto, MANY), OF_SERVICE);
    assert_eq!(told(kernel.path(), Auto, MANY, SLOW), None);
    assert_eq!(
        put_back_stale_setting_at(kernel.path()).expect("read"),
        None
    );
    assert_eq!(expedited(&kernel), OF_SERVICE);
    assert!(end_at(kernel.path()).expect("written"));
    assert_eq!(expedited(&kernel), 0);
    assert!(!end_at(kernel.path()).expect("read"));
}

#[test]
fn a_service_manager_minds_the_same() {
    let host = host("devices/system/cpu/isolated", "1\n");
    let begun = Expedite::at(host.path(), Auto).begin(MANY);
    begun.expect_err("isolated CPUs");
    assert_eq!(expedited(&host), 0);
    write(&host, "kernel/rcu_expedited", "1\n");
    assert!(!end_at(host.path()).expect("read"), "somebody else's");
    assert_eq!(expedited(&host), 1);
}

#[test]
fn what_others_set_meanwhile_is_left_alone() {
    let kernel = kernel("0\n", "0\n");
    let expedite = Expedite::at(kernel.path(), Always);
    let batch = expedite.batch("attaching", MANY);
    fs::write(kernel.path().join("kernel/rcu_expedited"), "1\n").expect("written");
    drop(batch);
    assert_eq!(expedited(&kernel), 1);
}

#[test]
fn a_batch_within_a_batch_leaves_it_to_the_first() {
    let kernel = kernel("0\n", "0\n");
    let expedite = Expedite::at(kernel.path(), Always);
    let first = expedite.batch("attaching", MANY);
    drop(expedite.batch("attaching again", MANY));
    assert_eq!(expedited(&kernel), own_mark());
    drop(first);
    assert_eq!(expedited(&kernel), 0);
}

#[test]
fn a_panic_puts_it_back() {
    let kernel = kernel("0\n", "0\n");
    let expedite = Expedite::at(kernel.path(), Always);
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
    let expedite = Expedite::at(kernel.path(), Always);
    std::mem::forget(expedite.batch("detaching", MANY));
    put_back(kernel.path(), own_mark());
    assert_eq!(expedited(&kernel), 0);
}

#[test]
fn without_the_setting_it_goes_on_and_says_so_once() {
    let kernel = tempfile::tempdir().expect("a folder");
    let expedite = Expedite::at(kernel.path(), Always);
    for _ in 0..2 {
        assert!(!expedite.batch("attaching", MANY).holds);
    }
    assert!(expedite.is_told.into_inner());
    assert!(!Expedite::at(kernel.path(), Auto).may_hold());
    assert!(
        !kernel.path().join("kernel/rcu_expedited").exists(),
        "no file of ours"
    );
}

#[test]
fn what_was_slow_is_told_where_something_can_be_done() {
    let none = tempfile::tempdir().expect("a folder");
    let took = Duration::from_millis(9310);
    let text = told(none.path(), Auto, 500, took).expect("advice");
    assert!(
        text.starts_with("attaching 500 interfaces took 9.3 s: "),
        "{text}"
    );
    assert!(text.contains("this kernel has no such setting"), "{text}");
    for (kernel, wanted, interfaces) in [
        (none.path(), Auto, MANY - 1),
        (none.path(), Never, 500),
        (kernel("1\n", "0\n").path(), Auto, 500),
        (kernel("0\n", "1\n").path(), Auto, 500),
    ] {
        assert_eq!(told(kernel, wanted, interfaces, took), None);
    }
}
