//! A host in which time passes, clocks are set and disks fill up, for the tests.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    rc::Rc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, civil::Date};

use probe_flow::moment::Moment;

use super::{
    Bounds, Pruner,
    order::date_of,
    tree::{Days, Disk, Partial, StoredFile},
    trust::Trust,
};
use crate::{WriteoutError, layout::FileName, options::Retention, partition::Space};

/// Size of every file.
pub(super) const FILE: u64 = 4096;
/// From one interval to the next, in seconds of true time.
pub(super) const INTERVAL: i64 = 6 * 3600;
/// When the host begins, in seconds of the epoch.
const BEGIN: i64 = 1_772_323_200;

/// An interval that waits for being written.
pub(super) struct Ended {
    bounds: Bounds,
    /// True time of its end.
    time: i64,
}

/// A file with the true time at which its interval ended.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) file: StoredFile,
    pub(super) written: i64,
}

#[derive(Default)]
pub(super) struct Contents {
    pub(super) kept: BTreeMap<(Date, String), Kept>,
    /// Deleted by retention since this was last taken.
    pub(super) deleted: Vec<Kept>,
    /// Bytes of the file system, and what others use of it.
    pub(super) total: u64,
    pub(super) foreign: u64,
    /// The day that is compacted once it is listed.
    pub(super) compacts: Option<Date>,
    /// No directory can be listed.
    pub(super) is_unreadable: bool,
    /// How often all sizes were counted, and how often a day was listed.
    pub(super) counts: u64,
    pub(super) listings: u64,
    pub(super) trust: Option<Trust>,
}

impl Contents {
    pub(super) fn stored(&self) -> u64 {
        self.kept.len() as u64 * FILE
    }

    pub(super) fn free(&self) -> u64 {
        self.total.saturating_sub(self.foreign + self.stored())
    }

    /// One file takes the place of a day's files if that is wanted.
    fn on_listed(&mut self, date: Date) {
        if self.compacts.take_if(|day| *day == date).is_none() {
            return;
        }
        let is_of_day = |(day, _): &(Date, String), _: &mut Kept| *day == date;
        let mut files = self.kept.extract_if(.., is_of_day);
        let (_, first) = files.next().expect("a file of the day");
        let (key, mut last) = files.last().expect("two files of the day");
        last.file.start = first.file.start;
        last.file.name = format!("compacted-{}", key.1);
        self.kept.insert((date, last.file.name.clone()), last);
    }

    /// A person deletes what was written at a time.
    pub(super) fn remove_written(&mut self, time: i64) {
        self.kept.retain(|_, kept| kept.written != time);
    }
}

/// The disk as the pruner sees it.
#[derive(Clone, Default)]
pub(super) struct Model(pub(super) Rc<RefCell<Contents>>);

impl Disk for Model {
    fn days(&mut self) -> Partial<Days> {
        if self.0.borrow().is_unreadable {
            let refused = io::Error::from(io::ErrorKind::PermissionDenied);
            let error = WriteoutError::file("list", "/flows".as_ref(), refused);
            return (Days::new(), Err(error));
        }
        let mut days = Days::new();
        for (date, _) in self.0.borrow().kept.keys() {
            days.insert(*date, vec!["iface=eth0".to_owned()]);
        }
        (days, Ok(()))
    }

    fn sizes(&mut self, _: &Days) -> Partial<BTreeMap<Date, u64>> {
        self.0.borrow_mut().counts += 1;
        let mut sizes = BTreeMap::new();
        for (date, _) in self.0.borrow().kept.keys() {
            *sizes.entry(*date).or_default() += FILE;
        }
        (sizes, Ok(()))
    }

    fn files(&self, date: Date, ifaces: &[String]) -> Partial<Vec<StoredFile>> {
        self.0.borrow_mut().listings += 1;
        let contents = self.0.borrow();
        let kept = contents
            .kept
            .iter()
            .filter(|((day, _), _)| *day == date && !ifaces.is_empty());
        let mut files: Vec<_> = kept.map(|(_, kept)| kept.file.clone()).collect();
        files.sort_unstable();
        drop(contents);
        self.0.borrow_mut().on_listed(date);
        (files, Ok(()))
    }

    fn remove(&mut self, date: Date, file: &StoredFile) -> Result<Option<u64>, WriteoutError> {
        let mut contents = self.0.borrow_mut();
        let Some(kept) = contents.kept.remove(&(date, file.name.clone())) else {
            return Ok(None);
        };
        contents.deleted.push(kept);
        Ok(Some(FILE))
    }

    fn remove_empty(&mut self, _: Date, _: &BTreeSet<String>) -> Result<(), WriteoutError> {
        Ok(())
    }

    fn space(&self) -> Option<Space> {
        let contents = self.0.borrow();
        Some(Space {
            free: contents.free(),
            total: contents.total,
        })
    }

    fn load_trust(&self) -> Option<Trust> {
        self.0.borrow().trust.clone()
    }

    fn save_trust(&mut self, trust: &Trust) -> Result<(), WriteoutError> {
        // It goes through the same text as on a real disk.
        let text = serde_json::to_string(trust).expect("encoded");
        self.0.borrow_mut().trust = Some(serde_json::from_str(&text).expect("the same"));
        Ok(())
    }
}

/// A host with one sink.
pub(super) struct Host {
    pub(super) disk: Model,
    pub(super) pruner: Pruner<Model>,
    retention: Retention,
    /// Seconds of true time since the host began.
    pub(super) time: i64,
    /// Seconds by which the clock is ahead.
    pub(super) error: i64,
    booted: i64,
    pub(super) boots: i64,
}

impl Host {
    pub(super) fn new(retention: Retention, total: u64) -> Self {
        let disk = Model::default();
        disk.0.borrow_mut().total = total;
        let pruner = Pruner::new(disk.clone(), "parquet", retention, "boot-1".to_owned());
        Self {
            disk,
            pruner,
            retention,
            time: 0,
            error: 0,
            booted: -3600,
            boots: 1,
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment {
            wall: Timestamp::from_second(BEGIN + self.time + self.error).expect("in range"),
            since_boot: Duration::from_secs((self.time - self.booted).unsigned_abs()),
        }
    }

    /// The agent starts again.
    pub(super) fn restart(&mut self) {
        let boot = format!("boot-{}", self.boots);
        self.pruner = Pruner::new(self.disk.clone(), "parquet", self.retention, boot);
    }

    /// The host is off for a while, and starts with a clock that is ahead by `error`.
    pub(super) fn reboot(&mut self, down: i64, error: i64) {
        self.time += down;
        self.booted = self.time - 30;
        self.boots += 1;
        self.error = error;
        self.restart();
    }

    /// The trusted time of a file, if its clock was not believed.
    pub(super) fn moved(&self, file: &StoredFile) -> Option<Timestamp> {
        self.pruner.trust.as_ref()?.moved(file.end)
    }

    /// An interval goes by and is written. Returns whether it could be.
    pub(super) fn write(&mut self) -> bool {
        self.write_after(INTERVAL)
    }

    /// An interval of so many seconds goes by and is written. Returns whether it could be.
    pub(super) fn write_after(&mut self, seconds: i64) -> bool {
        let ended = self.end_interval(seconds);
        self.write_ended(&ended)
    }

    /// An interval of so many seconds goes by, and waits for being written.
    pub(super) fn end_interval(&mut self, seconds: i64) -> Ended {
        self.time += seconds;
        let now = self.now();
        Ended {
            bounds: Bounds {
                start: now.wall - SignedDuration::from_secs(seconds),
                end: now.wall,
                end_since_boot: Some(now.since_boot),
            },
            time: self.time,
        }
    }

    /// An interval that waited is written. Returns whether it could be.
    pub(super) fn write_ended(&mut self, ended: &Ended) -> bool {
        let Bounds { start, end, .. } = ended.bounds;
        let (disk, written, now) = (self.disk.clone(), ended.time, self.now());
        let result = self.pruner.write_with_room(ended.bounds, now, |_| {
            let mut contents = disk.0.borrow_mut();
            if contents.free() < FILE {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                return Err(WriteoutError::file("write", "/flows".as_ref(), full));
            }
            let mut name = FileName {
                end,
                start,
                serial: 0,
                extension: "parquet",
            };
            while contents
                .kept
                .contains_key(&(date_of(start), name.to_string()))
            {
                name.serial += 1;
            }
            let file = StoredFile {
                end,
                start,
                iface: "iface=eth0".to_owned(),
                name: name.to_string(),
            };
            let key = (date_of(start), file.name.clone());
            contents.kept.insert(key, Kept { file, written });
            Ok(FILE)
        });
        result.is_ok()
    }

    /// A person deletes every so many-th file.
    pub(super) fn remove_by_hand(&mut self, every: usize) {
        let mut index = 0;
        self.disk.0.borrow_mut().kept.retain(|_, _| {
            index += 1;
            index % every != 0
        });
    }
}
