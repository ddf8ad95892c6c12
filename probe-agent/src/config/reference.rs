//! Every key of the configuration file: what the reader accepts and what the manual says.

/// A key of the file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands; `<name>` is an interface name or `/regex/`, `[]` an entry of a list.
    pub path: &'static str,
    /// What it holds.
    pub kind: &'static str,
    /// What holds without it, as YAML; empty if it must be given.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

const fn key(
    path: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default,
        meaning,
    }
}

/// All keys, in the order of the manual.
#[rustfmt::skip] // A table: one key a row.
pub const KEYS: &[Key] = &[
    key("interfaces", "mapping", "{}",
        "The interfaces to capture, by name or `/regex/`. Either this or `autodetection`."),
    key("interfaces.<name>.hook", "`auto`, `xdp`, `xdp-native`, `xdp-generic`, `tc`", "auto",
        "Where received packets are seen. `auto` takes native XDP where it costs the traffic nothing, else TC. Sent packets are always seen at TC."),
    key("interfaces.<name>.promisc", "boolean", "false",
        "Puts the interface into promiscuous mode while it is captured."),
    key("interfaces.<name>.ignore_vlans", "boolean", "false",
        "Leaves packets with a VLAN tag out of the flows; they are counted as the loss `filtered`."),
    key("interfaces.<name>.disable", "boolean", "false",
        "Excludes the interface, also from what a regex matches."),
    key("autodetection", "mapping", "{}",
        "Captures every link of the host but the excluded ones. Either this or `interfaces`."),
    key("autodetection.enabled", "boolean", "false",
        "Switches it on."),
    key("autodetection.exclude", "list of names and `/regex/`", "[lo, \"/^veth/\"]",
        "Links to leave out. By default loopback, and veth ends, whose traffic is seen again on the bridge or the uplink."),
    key("capture", "mapping", "{}",
        "How packets become flows, on all interfaces."),
    key("capture.ring_buffer", "size, a power of two, 64KiB to 1GiB", "16MiB",
        "Buffers between kernel and agent, for all interfaces. It is divided among as many rings as there are CPUs, rounded up to a power of two and at most 32, but none is smaller than 4 MiB: CPUs have one in common instead. When the ring of a CPU is full, packets are counted as the loss `ring_full`."),
    key("capture.cache_slots", "`auto`, or a number per CPU: 0 or a power of two up to 1048576", "auto",
        "Flows that each CPU adds up in the kernel, so that their packets do not cost a record each; twice, and for both IP versions: 288 bytes a slot. Fewer than 64 are 64. More than 8192 have a front of 8192 besides, and are for IPv4; IPv6 has half of them: 168 bytes a slot. `auto` takes 1024 to 131072, at most 50 MiB altogether on up to 160 CPUs. 0 makes a record of each packet."),
    key("capture.flush_interval", "duration, whole seconds, 1s to 1m", "5s",
        "How often what was added up is handed to the flows while nobody asks. Live queries, status and metrics see to it themselves, so what they show is always fresh; longer intervals make fewer records of the same packets."),
    key("capture.port_aggregation", "boolean", "true",
        "Stores the client's port as 0 for common services (TCP 53, 80, 443, 445, 8080; UDP 53, 443), so that all connections of a client to a server are one flow."),
    key("capture.max_flows", "number, 1 to 100000000", "1000000",
        "Flows per interface. More are folded into marked overflow flows (at most 4352 per IP version): detail is lost, totals stay exact. A million IPv4 flows take about 120 MB."),
    key("capture.max_flows_total", "number, 1 to 1000000000", "4000000",
        "Flows over all interfaces, folded beyond it likewise. Whichever of the two limits is reached first holds. An interface may withhold room for up to 255 flows from the others until its next rotation; a lowered limit is reached as idle flows are dropped."),
    key("capture.expedite_attach", "`auto`, `true`, `false`", "auto",
        "Sets `/sys/kernel/rcu_expedited` while 16 or more interfaces are attached or detached at once, and puts it back: 500 start in 1 s instead of 10 s. It is a setting of the whole machine: meanwhile the kernel interrupts all CPUs hundreds of times a second. So `auto` leaves it alone where CPUs are isolated (`isolcpus=`, `nohz_full=`, isolated partitions) and on real-time kernels. It takes root and a writable `/sys`; the unit of systemd does it for its agent (docs/SERVICE.md). Where it cannot be done `auto` goes on slowly and tells so once, if it took longer than 2 s; `true` warns."),
    key("rotation", "mapping", "{}",
        "When flows are handed to the sinks."),
    key("rotation.interval", "duration, whole seconds, 1s to 1d", "5m",
        "Flows are written on wall-clock multiples of this: with `5m` at :00, :05, :10 …"),
    key("rotation.local_buffers", "mapping", "{}",
        "Memory for packets that arrive while flows are being rotated or copied."),
    key("rotation.local_buffers.num", "number, 1 to 1024", "1",
        "How many buffers of `size_limit` all interfaces may take together."),
    key("rotation.local_buffers.size_limit", "size, 4KiB to 16GiB", "64MiB",
        "Most that the buffer of one interface takes. Beyond it packets are counted as the loss `local_buffer_full`."),
    key("writeout", "list", "[{ type: parquet, path: /var/lib/probe/flows }]",
        "The sinks. Each has a queue of its own; a slow or dead one holds up nobody. With `[]` nothing is stored."),
    key("writeout[].type", "`parquet`, `json`", "",
        "Format: Parquet files, partitioned by interface and date, or JSON lines."),
    key("writeout[].path", "absolute path", "",
        "Directory of the sink. No two sinks may share one."),
    key("writeout[].retention", "mapping", "{}",
        "What is deleted when."),
    key("writeout[].retention.max_age", "duration, 1m to 36500d, or `none`", "90d",
        "Intervals older than this are deleted."),
    key("writeout[].retention.max_size", "size, 1MiB to 1024TiB, or `none`", "20GiB",
        "Beyond this the oldest intervals are deleted."),
    key("api", "mapping", "{}",
        "HTTP endpoints."),
    key("api.addr", "`unix:/path`, `IP:port`, or `none`", "unix:/run/probe/probe.sock",
        "Serves the API, `/metrics`, `/healthz` and `/readyz`, on a unix socket by default. A TCP address other than of the loopback needs `keys`."),
    key("api.metrics_addr", "`IP:port`, or `none`", "127.0.0.1:9478",
        "Where Prometheus scrapes: `/metrics`, `/healthz` and `/readyz`, without key and TLS, and nothing else."),
    key("api.disable_iface_metrics", "boolean", "false",
        "Leaves the `iface` label out of the metrics and gives sums: fewer series on hosts with many interfaces."),
    key("api.keys", "list", "[]",
        "Who may ask over TCP, by `Authorization: Bearer KEY`. Without keys a TCP address of the loopback may be read by everybody. The unix socket asks for no key."),
    key("api.keys[].role", "`read`, `admin`", "read",
        "`admin` may also change something: reload, rotate."),
    key("api.keys[].key", "text, 32 to 256 visible characters of ASCII", "",
        "The key itself, or else `file`. It is never logged or shown."),
    key("api.keys[].file", "absolute path", "",
        "File that holds the key. It must belong to root or the agent's user, who alone may read it."),
    key("api.tls", "mapping, or `none`", "none",
        "TLS on the TCP address of `api.addr`."),
    key("api.tls.cert", "absolute path", "",
        "Certificates as PEM, that of the agent first."),
    key("api.tls.key", "absolute path", "",
        "Private key as PEM, in a file like `api.keys[].file`."),
    key("logging", "mapping", "{}",
        "What is logged, on standard error."),
    key("logging.level", "`error`, `warn`, `info`, `debug`, `trace`", "info",
        "Least severe level that is logged. The environment variable `RUST_LOG` overrides it."),
    key("logging.format", "`text`, `json`", "text",
        "Lines for people, or one JSON object a line."),
    key("reload", "mapping", "{}",
        "When a running agent reads this file again, besides being asked to (SIGHUP)."),
    key("reload.watch", "boolean", "false",
        "Reads it when it has changed, and then not for two seconds."),
];

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// Names of the keys directly in a section; the document itself is the section ``.
pub(super) fn keys_of(section: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter()
        .map(|key| split(key.path))
        .filter(move |(parent, _)| *parent == section)
        .map(|(_, name)| name)
}

/// The path of a key that stands in the wrong section.
pub(super) fn home_of(name: &str) -> Option<&'static str> {
    let mut paths = KEYS.iter().map(|key| key.path);
    paths.find(|path| split(path).1 == name)
}

/// The table of the manual.
pub fn markdown() -> String {
    let head = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    let rows = KEYS.iter().map(|key| {
        let default = match key.default {
            "" => "required".to_owned(),
            default => format!("`{default}`"),
        };
        let (path, kind, meaning) = (key.path, key.kind, key.meaning);
        format!("| `{path}` | {kind} | {default} | {meaning} |\n")
    });
    [head].into_iter().chain(rows).collect()
}
