//! The section `capture`: rings, cache and limits of flows.

use std::time::Duration;

use probe_datapath::options::{CacheSlots, ExpediteAttach};

use super::super::{
    declare::section,
    kind::Scalar,
    mapping::{Collector, Mapping},
    tree::Value,
    value::{Boolean, Integer, Size, WholeSeconds},
};

section! {
    /// How packets become flows, on all interfaces.
    #[derive(Clone, Debug, Eq, PartialEq)]
    pub struct CaptureConfig {
        /// Size of the buffer between kernel and agent, for all interfaces. It is divided among as many rings
        /// as there are CPUs, rounded up to a power of two and at most 32. No ring is smaller than
        /// 4 MiB: CPUs have one in common instead. When the ring of a CPU is full, packets are
        /// counted as the loss `ring_full`.
        // Mapped twice (so that records never wrap), which the kernel counts as memory of ours.
        #[key("ring_buffer", Restart, RING_SIZE)]
        pub ring_buffer_bytes: u32 = 16 << 20,

        /// Flows that each CPU adds up in the kernel, so that their packets do not cost a record
        /// each. A slot takes 288 bytes: twice, and for both IP versions. Fewer than 64 are 64. More than
        /// 8192 have an L1 of 8192 besides, and are for IPv4; IPv6 has half of them: 168 bytes a
        /// slot. `auto` takes 1024 to 131072, at most 50 MiB altogether on up to 160 CPUs. 0 makes a
        /// record of each packet.
        #[key("cache_slots", Restart, CacheSlotsKind)]
        pub cache_slots: CacheSlots = CacheSlots::Auto,

        /// How often what was added up is handed to the flows while no query asks for them. Live queries,
        /// status and metrics flush by themselves, so what they show is always fresh. Longer
        /// intervals make fewer records of the same packets.
        #[key("flush_interval", Restart, WholeSeconds(Duration::from_secs(1)..=Duration::from_mins(1)))]
        pub flush_interval: Duration = Duration::from_secs(5),

        /// Stores the client's port as 0 for common services (TCP 53, 80, 443, 445, 8080; UDP 53,
        /// 443). All connections of a client to a server are then one flow. A client's port that is common
        /// itself, or below 1024, is kept: either end may be the server then.
        #[key("port_aggregation", Restart, Boolean)]
        pub port_aggregation: bool = true,

        /// Flows per interface. More are folded into marked overflow flows (at most 4352 per IP
        /// version): detail is lost, totals stay exact. A million IPv4 flows take about 120 MB.
        #[key("max_flows", Restart, Integer(1..=100_000_000))]
        pub max_flows: usize = 1_000_000,

        /// Flows over all interfaces. More are folded in the same way. Whichever of the two limits is
        /// reached first holds. An interface may withhold room for up to 255 flows from the other
        /// interfaces until its next rotation. A lowered limit is reached as idle flows are dropped.
        #[key("max_flows_total", Live, Integer(1..=1_000_000_000))]
        pub max_flows_total: usize = 4_000_000,

        /// Sets `/sys/kernel/rcu_expedited` while 16 or more interfaces are attached or detached at
        /// once, and puts it back. 500 interfaces then start in 1 s instead of 10 s. It is a setting
        /// of the whole machine: meanwhile the kernel interrupts all CPUs hundreds of times a second. So `auto`
        /// leaves it alone where CPUs are isolated (`isolcpus=`, `nohz_full=`, isolated partitions)
        /// and on real-time kernels. It takes root and a writable `/sys`; the unit of systemd does
        /// it for its agent (docs/SERVICE.md). Where it cannot be done `auto` goes on slowly and
        /// tells so once, if it took longer than 2 s; `true` warns.
        #[key("expedite_attach", Restart, ExpediteAttachKind)]
        pub expedite_attach: ExpediteAttach = ExpediteAttach::Auto,
    }
}

/// A limit of one interface that the limit of all does not let it reach.
pub(in super::super) fn check(
    capture: &CaptureConfig,
    section: &Mapping<'_>,
    problems: &mut Collector,
) {
    let (one, all) = (capture.max_flows, capture.max_flows_total);
    let keys = ["max_flows", "max_flows_total"];
    let is_wrong = keys.map(|key| problems.is_refused(&section.path(key)));
    if one > all && is_wrong == [false; 2] {
        let at = keys.iter().find_map(|key| section.node(key));
        let message = format!(
            "{one} flows of one interface are above capture.max_flows_total, {all} over all, so the latter \
             comes first: raise it, or lower capture.max_flows"
        );
        let at = at.unwrap_or(section.as_node());
        problems.doubt(at, &section.path("max_flows"), message);
    }
}

/// The kernel wants a power of two of whole pages (`ringbuf_map_alloc` in kernel/bpf/ringbuf.c);
/// 64 KiB is the largest page of the kernels we run on.
const RING_SIZE: PowerOfTwo = PowerOfTwo(Size(64 << 10..=1 << 30));

/// A size that is a power of two.
struct PowerOfTwo(Size);

impl Scalar for PowerOfTwo {
    type Value = u32;

    fn parse(&self, value: &Value) -> Result<u32, String> {
        let bytes: u64 = self.0.parse(value)?;
        if !bytes.is_power_of_two() {
            let next = self.0.text(&bytes.next_power_of_two());
            return Err(format!(
                "must be a power of two, found {value}; the next allowed size is {next}"
            ));
        }
        u32::try_from(bytes).map_err(|error| error.to_string())
    }

    fn text(&self, value: &u32) -> String {
        self.0.text(&u64::from(*value))
    }

    fn range(&self) -> String {
        let size = self.0.range();
        size.replacen("size, ", "size, a power of two, ", 1)
    }
}

/// More than fit the caches of any CPU.
const MAX_CACHE_SLOTS: u32 = 1 << 20;

struct CacheSlotsKind;

impl Scalar for CacheSlotsKind {
    type Value = CacheSlots;

    fn parse(&self, value: &Value) -> Result<CacheSlots, String> {
        let explain =
            || format!("must be auto, 0, or a power of two up to {MAX_CACHE_SLOTS}, found {value}");
        match value {
            Value::Text(text) if text == "auto" => Ok(CacheSlots::Auto),
            Value::Integer(number) => u32::try_from(*number)
                .ok()
                .filter(|it| *it == 0 || it.is_power_of_two() && *it <= MAX_CACHE_SLOTS)
                .map(CacheSlots::PerCpu)
                .ok_or_else(explain),
            _ => Err(explain()),
        }
    }

    fn text(&self, value: &CacheSlots) -> String {
        match value {
            CacheSlots::Auto => "auto".to_owned(),
            CacheSlots::PerCpu(slots) => slots.to_string(),
        }
    }

    fn range(&self) -> String {
        format!("`auto`, or a number per CPU: 0 or a power of two up to {MAX_CACHE_SLOTS}")
    }
}

struct ExpediteAttachKind;

impl Scalar for ExpediteAttachKind {
    type Value = ExpediteAttach;

    fn parse(&self, value: &Value) -> Result<ExpediteAttach, String> {
        match value {
            Value::Text(text) if text == "auto" => Ok(ExpediteAttach::Auto),
            Value::Bool(true) => Ok(ExpediteAttach::Always),
            Value::Bool(false) => Ok(ExpediteAttach::Never),
            _ => Err(format!("must be auto, true or false, found {value}")),
        }
    }

    fn text(&self, value: &ExpediteAttach) -> String {
        let text = match value {
            ExpediteAttach::Auto => "auto",
            ExpediteAttach::Always => "true",
            ExpediteAttach::Never => "false",
        };
        text.to_owned()
    }

    fn range(&self) -> String {
        "`auto`, `true`, `false`".to_owned()
    }
}
