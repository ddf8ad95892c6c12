//! The faults: how each is made and ended, and what tells it.

use super::{alerts::Alert, day::Day};

/// The configuration of a good day. Generic XDP leaves a hook that a foreign program can take.
pub(super) const GOOD: &str = "{ one: {}, two: {}, three: { hook: xdp-generic }, '/^B/': {} }";

/// Seconds of a thousand days, by which the clock is set ahead.
const AHEAD: &str = "86400000";

/// What goes wrong, and what tells it.
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) make: fn(&Day),
    pub(super) end: fn(&Day),
    /// A metric with labels, which is more than 0 as long as it lasts.
    pub(super) metric: (&'static str, &'static str),
    /// In the answer of `status --json`: a path, and a part of what is there.
    pub(super) finding: (&'static str, &'static str),
    pub(super) alert: Alert,
    /// Whether the agent is in service all the same.
    pub(super) is_ready: bool,
}

impl Fault {
    /// Whether intervals are lost, and the queue is full when it ends.
    pub(super) fn loses_intervals(&self) -> bool {
        self.metric.1.contains("overrun")
    }

    /// Whether retention deletes for it, or at its end.
    pub(super) fn deletes_days(&self) -> bool {
        let [crowded, short] = ["crowded", "short"].map(|kind| self.metric.1.contains(kind));
        crowded || short || self.metric.0 == "probe_retention_failing"
    }
}

/// About the links of the host and what is attached to them.
pub(super) const LINKS: [Fault; 5] = [
    Fault {
        name: "a configured interface that does not exist",
        make: |day| day.testbed.host.ip("link set two name elsewhere\n"),
        end: |day| day.testbed.host.ip("link set elsewhere name two\n"),
        metric: ("probe_troubles", "kind=\"interface_missing\""),
        finding: ("/troubles/0/kind", "interface_missing"),
        alert: ("ProbeInterfaceMissing", "severity", "warning"),
        is_ready: true,
    },
    Fault {
        name: "a program that is removed beside a link with odd texts",
        make: |day| {
            day.add_odd_link();
            day.take_hook();
        },
        end: |day| {
            day.free_hook();
            day.testbed.host.ip("link delete odd0\n");
        },
        metric: ("probe_capture_state", "iface=\"three\",state=\"detached\""),
        finding: ("/interfaces/three/lost_hooks/0/hook", "xdp-generic"),
        alert: ("ProbeDetached", "iface", "three"),
        is_ready: true,
    },
    Fault {
        name: "a link whose name is shown as that of another",
        make: Day::add_twins,
        end: Day::delete_twins,
        metric: ("probe_troubles", "kind=\"link_unreadable\""),
        finding: ("/troubles/0/cause", "its name is no plain text"),
        alert: ("ProbeInterfaceRefused", "kind", "link_unreadable"),
        is_ready: true,
    },
    Fault {
        name: "links that cannot be listed",
        make: |day| {
            day.mark("no-netlink");
            day.testbed.host.ip("link add new0 type bridge\n");
        },
        end: |day| {
            // No event tells the agent that it may ask again.
            day.testbed.host.ip("link delete new0\n");
            day.unmark("no-netlink");
        },
        metric: ("probe_troubles", "kind=\"links_unknown\""),
        finding: (
            "/troubles/0/cause",
            "links that come and go are not followed",
        ),
        alert: ("ProbeLinksUnknown", "kind", "links_unknown"),
        is_ready: false,
    },
    Fault {
        name: "programs that cannot be checked",
        make: |day| day.mark("no-query"),
        end: |day| day.unmark("no-query"),
        metric: ("probe_troubles", "kind=\"hooks_unknown\""),
        finding: ("/troubles/0/kind", "hooks_unknown"),
        alert: ("ProbeLinksUnknown", "kind", "hooks_unknown"),
        is_ready: true,
    },
];

/// About the configuration.
pub(super) const SETTINGS: [Fault; 4] = [
    Fault {
        name: "a refused reload",
        make: |day| day.reload("{ one: { hoook: tc } }"),
        end: |day| day.reload(GOOD),
        metric: ("probe_troubles", "kind=\"reload_refused\""),
        finding: ("/troubles/0/cause", "hoook"),
        alert: ("ProbeReloadRefused", "severity", "warning"),
        is_ready: true,
    },
    Fault {
        name: "settings that the kernel refuses",
        make: |day| day.reload("{ one: { hook: xdp-native }, two: {} }"),
        end: |day| day.reload(GOOD),
        metric: ("probe_troubles", "kind=\"interface_refused\""),
        finding: ("/troubles/0/cause", "EOPNOTSUPP"),
        alert: ("ProbeInterfaceRefused", "kind", "interface_refused"),
        is_ready: true,
    },
    Fault {
        name: "nothing that can be captured",
        make: |day| {
            day.testbed.host.ip("link add new0 type bridge\n");
            day.reload("{ new0: { hook: xdp-native } }");
        },
        end: |day| {
            day.testbed.host.ip("link delete new0\n");
            day.reload(GOOD);
        },
        metric: ("probe_troubles", "kind=\"nothing_captured\""),
        finding: ("/troubles/0/kind", "nothing_captured"),
        alert: ("ProbeAllRefused", "severity", "critical"),
        is_ready: false,
    },
    Fault {
        name: "a configuration that no link matches",
        make: |day| day.reload("{ '/^nothing/': {}, 'kind:vxlan': {} }"),
        end: |day| day.reload(GOOD),
        metric: ("probe_troubles", "kind=\"nothing_captured\""),
        finding: ("/troubles/0/cause", "no link of this host"),
        alert: ("ProbeCapturesNothing", "severity", "warning"),
        is_ready: false,
    },
];

/// About the clients of the API.
pub(super) const CLIENTS: [Fault; 1] = [Fault {
    name: "clients that hold all places for connections",
    make: Day::hold_places,
    end: Day::free_places,
    metric: ("probe_troubles", "kind=\"places_taken\""),
    finding: ("/troubles/0/cause", "198.18.0.1:9478"),
    alert: ("ProbePlacesTaken", "severity", "warning"),
    is_ready: true,
}];

/// About what is stored, and the clock.
pub(super) const STORES: [Fault; 4] = [
    Fault {
        name: "a full disk",
        make: Day::fill_disk,
        end: |day| day.remove_filler("json"),
        metric: ("probe_writeout_trouble", "sink=\"json\""),
        finding: ("/sinks/json/trouble/error", "No space left on device"),
        alert: ("ProbeSinkInTrouble", "sink", "json"),
        is_ready: false,
    },
    Fault {
        name: "a clock that is set ahead by a thousand days",
        make: |day| day.set_clock(AHEAD),
        end: |day| day.set_clock("0"),
        metric: ("probe_retention_held", "sink=\"json\""),
        finding: ("/sinks/json/store/held/ahead_seconds", "86"),
        alert: ("ProbeRetentionHeld", "sink", "json"),
        is_ready: true,
    },
    Fault {
        name: "a second sink whose file system is read-only",
        make: |day| day.remount("ro"),
        end: |day| day.remount("rw"),
        metric: ("probe_writeout_trouble", "sink=\"parquet\""),
        finding: ("/sinks/parquet/trouble/error", "Read-only file system"),
        alert: ("ProbeSinkInTrouble", "sink", "parquet"),
        is_ready: false,
    },
    Fault {
        name: "a store whose file system is unmounted",
        make: |day| day.in_mounts("umount --lazy"),
        end: |day| day.in_mounts("mount -t tmpfs none"),
        metric: ("probe_store_moved", "sink=\"parquet\""),
        finding: ("/sinks/parquet/store/moved", "was on the file system of"),
        alert: ("ProbeStoreMoved", "sink", "parquet"),
        is_ready: true,
    },
];

/// About stores that nothing is written to for an hour, on [`QUIET`](super::disks::QUIET).
pub(super) const UNUSED: [Fault; 4] = [
    Fault {
        name: "a JSON store that becomes read-only between two writes",
        make: |day| day.in_mounts_at("mount -o remount,ro", "json"),
        end: |day| day.in_mounts_at("mount -o remount,rw", "json"),
        metric: ("probe_writeout_trouble", "kind=\"failing\",sink=\"json\""),
        finding: ("/sinks/json/trouble/error", "Read-only file system"),
        alert: ("ProbeSinkInTrouble", "sink", "json"),
        is_ready: false,
    },
    Fault {
        name: "a Parquet store whose mount becomes read-only between two writes",
        make: |day| day.in_mounts("mount -o remount,bind,ro"),
        end: |day| day.in_mounts("mount -o remount,bind,rw"),
        metric: (
            "probe_writeout_trouble",
            "kind=\"failing\",sink=\"parquet\"",
        ),
        finding: ("/sinks/parquet/trouble/error", "Read-only file system"),
        alert: ("ProbeSinkInTrouble", "sink", "parquet"),
        is_ready: false,
    },
    Fault {
        name: "a store that is gone with its file system between two writes",
        make: |day| day.in_mounts("umount --lazy"),
        end: Day::mount_kept,
        metric: ("probe_store_moved", "sink=\"parquet\""),
        finding: ("/sinks/parquet/store/moved", "was on the file system of"),
        alert: ("ProbeStoreMoved", "sink", "parquet"),
        is_ready: true,
    },
    Fault {
        name: "a store that is moved away",
        make: |day| day.rename("parquet/flows", "parquet/elsewhere"),
        end: |day| day.rename("parquet/elsewhere", "parquet/flows"),
        metric: ("probe_store_moved", "sink=\"parquet\""),
        finding: ("/sinks/parquet/store/moved", "flows is gone"),
        alert: ("ProbeStoreMoved", "sink", "parquet"),
        is_ready: true,
    },
];

/// About room that others take, on [`STORED`](super::disks::STORED).
pub(super) const ROOM: [Fault; 3] = [
    Fault {
        name: "a disk that will be full before anything is deleted",
        make: |day| day.leave_free("parquet", 8),
        end: |day| day.remove_filler("parquet"),
        metric: ("probe_store_trouble", "kind=\"filling\",sink=\"parquet\""),
        finding: ("/sinks/parquet/store/is_filling", "true"),
        alert: ("ProbeStoreFills", "sink", "parquet"),
        is_ready: true,
    },
    Fault {
        name: "files of others for which days are deleted",
        // Two of the three.
        make: |day| day.leave_free("json", 8),
        end: |day| day.remove_filler("json"),
        metric: ("probe_store_trouble", "kind=\"crowded\",sink=\"json\""),
        finding: ("/sinks/json/store/crowded", "taken_bytes"),
        alert: ("ProbeStoreCrowded", "sink", "json"),
        is_ready: true,
    },
    Fault {
        name: "files of others that leave too little free when all is deleted",
        make: |day| day.leave_free_of_all(4),
        end: |day| day.remove_filler("json"),
        metric: ("probe_store_trouble", "kind=\"short\",sink=\"json\""),
        finding: ("/sinks/json/store/min_free_bytes", "16777216"),
        alert: ("ProbeStoreShort", "sink", "json"),
        is_ready: true,
    },
];

/// About a disk, on [`DISK`](super::disks::DISK).
pub(super) const DISKS: [Fault; 3] = [
    Fault {
        name: "a day that cannot be deleted",
        make: Day::add_fixed_day,
        end: Day::free_fixed_day,
        metric: ("probe_retention_failing", "sink=\"parquet\""),
        finding: ("/sinks/parquet/store/error", "Operation not permitted"),
        alert: ("ProbeRetentionFails", "sink", "parquet"),
        is_ready: true,
    },
    Fault {
        name: "a closed day with damaged files",
        make: Day::add_damaged_day,
        end: Day::remove_damaged_day,
        metric: ("probe_compaction_failing", "sink=\"parquet\""),
        finding: ("/sinks/parquet/store/compaction_error", "cannot compact"),
        alert: ("ProbeCompactionFails", "sink", "parquet"),
        is_ready: true,
    },
    Fault {
        name: "a disk that hangs",
        make: Day::freeze,
        end: Day::thaw,
        metric: ("probe_writeout_trouble", "kind=\"stuck\",sink=\"parquet\""),
        finding: ("/sinks/parquet/trouble/kind", "stuck"),
        alert: ("ProbeSinkInTrouble", "kind", "stuck"),
        is_ready: false,
    },
];

/// About a queue that is full. It is worked off before all is well again.
pub(super) const QUEUE: [Fault; 1] = [Fault {
    name: "a queue that runs over",
    make: |day| {
        day.add_links();
        day.run_over();
    },
    end: |day| {
        day.delete_links();
        day.thaw();
    },
    metric: (
        "probe_writeout_trouble",
        "kind=\"overrun\",sink=\"parquet\"",
    ),
    finding: ("/sinks/parquet/overrun_seconds", ""),
    alert: ("ProbeWriteoutFails", "result", "dropped"),
    is_ready: false,
}];
