//! The file systems of the sinks, and what goes wrong with them.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::day::Day;
use crate::{run, within};

const MIB: u64 = 1 << 20;

/// Intervals wait by the thousands until the queue runs over.
const RUNS_OVER_WITHIN: Duration = Duration::from_mins(3);

/// The file systems of an agent, and its sinks.
pub(super) struct Disks {
    /// A script that mounts them. `FOLDER` is that of the installation.
    mounts: &'static str,
    /// Entries of `writeout`, with the same.
    writeout: &'static str,
    /// Length of an interval.
    pub(super) interval: &'static str,
}

/// Two small file systems. Each sink deletes its oldest before it is full, which takes more than an hour.
pub(super) const PLAIN: Disks = Disks {
    mounts: "for sink in json parquet; do
                 mkdir FOLDER/$sink
                 mount -t tmpfs -o size=64m none FOLDER/$sink
             done",
    writeout: "- { type: json, path: FOLDER/json, retention: { max_size: 48MiB } }
- { type: parquet, path: FOLDER/parquet, retention: { max_size: 48MiB } }
",
    interval: "1s",
};

/// Three days of each sink are there already, of 6 MiB each.
pub(super) const STORED: Disks = Disks {
    mounts: "for sink in json parquet; do
                 mkdir FOLDER/$sink
                 mount -t tmpfs -o size=64m none FOLDER/$sink
             done
             for ago in 1 2 3; do
                 date=$(date -u -d \"$ago days ago\" +%F)
                 name=$(date -u -d \"$ago days ago\" +%Y%m%dT000000.000Z-%Y%m%dT230000.000Z)
                 mkdir -p FOLDER/json/iface=one/date=$date FOLDER/parquet/iface=one/date=$date
                 head -c 6291456 /dev/zero > FOLDER/json/iface=one/date=$date/$name.jsonl
                 head -c 6291456 /dev/zero > FOLDER/parquet/iface=one/date=$date/$name.parquet
             done",
    writeout: "- { type: json, path: FOLDER/json, retention: { max_age: 30d, max_size: none, min_free: 16MiB } }
- { type: parquet, path: FOLDER/parquet, retention: { max_size: 48MiB } }
",
    interval: "1s",
};

/// The Parquet sink has a disk, below whose root its store is. It is in memory, so that thousands of
/// intervals are soon written.
pub(super) const DISK: Disks = Disks {
    mounts: "mkdir FOLDER/json FOLDER/memory FOLDER/disk
             mount -t tmpfs -o size=256m none FOLDER/json
             mount -t tmpfs -o size=300m none FOLDER/memory
             truncate -s 256M FOLDER/memory/image
             mkfs.ext4 -q FOLDER/memory/image
             mount -o loop FOLDER/memory/image FOLDER/disk
             mkdir FOLDER/disk/flows",
    writeout: "- { type: json, path: FOLDER/json, retention: { max_size: 128MiB } }
- { type: parquet, path: FOLDER/disk/flows, retention: { max_age: 30d, max_size: 128MiB } }
",
    interval: "1s",
};

/// As [`PLAIN`], while nothing is written for an hour. The Parquet sink stores below the mount point of a file
/// system that can be mounted again.
pub(super) const QUIET: Disks = Disks {
    mounts: "mkdir FOLDER/json FOLDER/kept FOLDER/parquet
             mount -t tmpfs -o size=64m none FOLDER/json
             mount -t tmpfs -o size=64m none FOLDER/kept
             mkdir FOLDER/kept/flows
             mount --bind FOLDER/kept FOLDER/parquet",
    writeout: "- { type: json, path: FOLDER/json, retention: { max_size: 48MiB } }
- { type: parquet, path: FOLDER/parquet/flows, retention: { max_size: 48MiB } }
",
    interval: "1h",
};

impl Disks {
    pub(super) fn mounts(&self, folder: &Path) -> String {
        self.mounts.replace("FOLDER", &folder.display().to_string())
    }

    pub(super) fn writeout(&self, folder: &Path) -> String {
        let folder = folder.display().to_string();
        self.writeout.replace("FOLDER", &folder)
    }
}

/// Holds a file system frozen, so that what writes there waits. It thaws when this is dropped, and also
/// when the test is killed: the pipe ends then.
pub(super) struct Freezer(Child);

impl Drop for Freezer {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _it_has_ended = self.0.wait();
    }
}

impl Day {
    /// Others take the room of a sink, but for so many MiB.
    pub(super) fn leave_free(&self, sink: &str, mib: u64) {
        let file = self.filler(sink);
        let file = File::options().create(true).append(true).open(file);
        let file = file.expect("a file");
        let space = statvfs(self.inside(sink)).expect("its space");
        let free = space.f_bavail * space.f_frsize;
        if let Some(more) = free.checked_sub(mib * MIB).filter(|more| *more > 0) {
            let taken = file.metadata().expect("its size").len();
            fallocate(&file, FallocateFlags::empty(), taken, more).expect("there is room");
        }
    }

    /// The same of the JSON sink, and again of what it then deletes, until that is all.
    pub(super) fn leave_free_of_all(&self, mib: u64) {
        within(RUNS_OVER_WITHIN, "all is deleted", || {
            self.leave_free("json", mib);
            let stored = self
                .agent
                .metrics()
                .count("probe_store_bytes", "sink=\"json\"");
            (stored < MIB).then_some(())
        });
        self.leave_free("json", mib);
    }

    pub(super) fn remove_filler(&self, sink: &str) {
        fs::remove_file(self.filler(sink)).expect("it is there");
    }

    /// Has the agent look after its stores now, and not in its own time.
    fn look_now(&self) {
        let (exit, said) = self.agent.command(&["retention", "confirm"]);
        assert!(exit.success(), "{said}");
    }

    /// An interval that is too old, in a directory from which nothing can be deleted.
    pub(super) fn add_fixed_day(&self) {
        let day = self.inside("disk/flows/iface=one/date=2020-01-01");
        fs::create_dir_all(&day).expect("made");
        let name = "20200101T000000.000Z-20200101T000500.000Z.parquet";
        fs::write(day.join(name), [1; 100]).expect("written");
        run(Command::new("chattr").arg("+i").arg(day));
        self.look_now();
    }

    pub(super) fn free_fixed_day(&self) {
        let day = self.inside("disk/flows/iface=one/date=2020-01-01");
        run(Command::new("chattr").arg("-i").arg(day));
    }

    /// A closed day whose files are no Parquet.
    pub(super) fn add_damaged_day(&self) {
        let week_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(7 * 24);
        let path = format!("disk/flows/iface=one/date={}", &week_ago.to_string()[..10]);
        let day = self.inside(&path);
        fs::create_dir_all(&day).expect("made");
        let stamp = week_ago.strftime("%Y%m%d");
        for minute in ["00", "05"] {
            let name = format!("{stamp}T00{minute}00.000Z-{stamp}T00{minute}59.000Z.parquet");
            fs::write(day.join(name), [1; 100]).expect("written");
        }
        let hours_ago = SystemTime::now() - Duration::from_hours(2);
        let directory = File::open(&day).expect("a directory");
        directory.set_modified(hours_ago).expect("set");
        fs::write(self.installation.path().join("damaged"), path).expect("written");
        self.look_now();
    }

    pub(super) fn remove_damaged_day(&self) {
        let path = fs::read_to_string(self.installation.path().join("damaged")).expect("written");
        fs::remove_dir_all(self.inside(&path)).expect("it is there");
    }

    /// Freezes the disk of the Parquet sink.
    pub(super) fn freeze(&self) {
        let mut freeze = Command::new("nsenter");
        let script = "fsfreeze -f $0 && echo frozen && read end; fsfreeze -u $0";
        freeze.args(["--mount", "--target", &self.agent.id().to_string()]);
        freeze.args(["sh", "-c", script]);
        freeze.arg(self.installation.path().join("disk"));
        // Nothing that ends the test's processes together reaches it.
        freeze.process_group(0).stdin(Stdio::piped());
        let freezer = freeze.stdout(Stdio::piped()).spawn();
        let mut freezer = Freezer(freezer.expect("nsenter starts"));
        let said = freezer.0.stdout.as_mut().expect("piped");
        said.read_exact(&mut [0; 7]).expect("it is frozen");
        self.freezer.replace(Some(freezer));
    }

    pub(super) fn thaw(&self) {
        self.freezer.take();
    }

    /// Ends intervals until the Parquet sink, which hangs, has too many.
    pub(super) fn run_over(&self) {
        self.freeze();
        within(RUNS_OVER_WITHIN, "the queue runs over", || {
            for _ in 0..100 {
                self.agent.try_rotate().expect("rotated");
            }
            let metrics = self.agent.metrics();
            let lost = metrics.count("probe_writeout_intervals_total", "result=\"dropped\"");
            (lost > 0).then_some(())
        });
    }

    /// Links that are captured, fewer than are attached in a way that the whole machine notices.
    pub(super) fn add_links(&self) {
        for number in 0..LINKS {
            let add = format!("link add B{number} type bridge\n");
            self.testbed.host.ip(&add);
        }
        within(RUNS_OVER_WITHIN, "all links are captured", || {
            let captured = self.agent.metrics().sum("probe_interfaces_capturing", "");
            (captured == 3 + LINKS).then_some(())
        });
    }

    pub(super) fn delete_links(&self) {
        for number in 0..LINKS {
            self.testbed.host.ip(&format!("link delete B{number}\n"));
        }
    }
}

const LINKS: i64 = 12;
