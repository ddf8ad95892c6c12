//! What is written is what is read.

use std::time::Duration;

use probe_agent::config::{Config, LogFormat};
use probe_api::options::{ApiKey, KeySource, Role};
use probe_capture::interface::{Hook, InterfaceConfig};
use probe_datapath::options::{CacheSlots, ExpediteAttach};
use probe_store::options::{MinFree, Retention, SinkConfig, SinkFormat};

use super::GOOD;

#[test]
fn a_power_of_ten_is_a_whole_number() {
    let read = |number| Config::parse(&format!("{GOOD}capture: {{ max_flows: {number} }}\n"));
    for number in ["1e6", "1.0e+6", "1000000.0"] {
        assert_eq!(read(number).expect(number).capture.max_flows, 1_000_000);
    }
    for number in ["1.5", "1e-3", "1e30", "-1e6", ".inf"] {
        let problems = read(number).expect_err(number).to_string();
        assert!(
            problems.contains("must be a whole number from 1 to"),
            "{problems}"
        );
    }
    // Of flows nobody knows whether it is 1000 times 1000, and of durations `M` is a month.
    for number in ["1M", "1_000_000", "\"1e6\""] {
        let problems = read(number).expect_err(number).to_string();
        let remedy = "; write digits alone, or a power as in 1e6";
        assert!(problems.contains(remedy), "{problems}");
    }
}

#[test]
fn all_settings_are_read() {
    let text = r#"
interfaces:
  eth0: { hook: xdp-native, promisc: true, ignore_vlans: true, disable: false }
  "/^enp.*/":
capture: { ring_buffer: 1MiB, port_aggregation: false, max_flows: 5, max_flows_total: 4, expedite_attach: true }
rotation: { interval: 90s, local_buffers: { num: 2, size_limit: 8KiB } }
writeout:
  - { type: parquet, path: /a/ }
  - { type: json, path: /b, retention: { max_age: none, max_size: 1GiB, min_free: 5% } }
api: { addr: none, metrics_addr: "[::]:1", disable_iface_metrics: true, keys: [] }
logging: { level: trace, format: json }
"#;
    let config = Config::parse(text).expect("good");
    let eth0 = InterfaceConfig {
        hook: Hook::XdpNative,
        promisc: true,
        ignore_vlans: true,
        disable: false,
    };
    assert_eq!(config.interfaces["eth0"], eth0);
    assert_eq!(config.interfaces["/^enp.*/"], InterfaceConfig::default());
    assert_eq!(config.capture.ring_buffer_bytes, 1 << 20);
    assert!(!config.capture.port_aggregation);
    assert_eq!(config.capture.max_flows, 5);
    assert_eq!(config.capture.max_flows_total, 4);
    assert_eq!(config.capture.expedite_attach, ExpediteAttach::Always);
    assert_eq!(config.rotation.interval, Duration::from_secs(90));
    assert_eq!(config.rotation.local_buffers.num, 2);
    assert_eq!(config.rotation.local_buffers.size_limit_bytes, 8192);
    let json = Retention {
        max_age: None,
        max_size_bytes: Some(1 << 30),
        min_free: Some(MinFree::Percent(5)),
    };
    let sinks = [
        SinkConfig {
            format: SinkFormat::Parquet,
            path: "/a".into(),
            retention: Retention::STANDARD,
            compact: true,
        },
        SinkConfig {
            format: SinkFormat::Json,
            path: "/b".into(),
            retention: json,
            compact: true,
        },
    ];
    assert_eq!(config.writeout, sinks);
    assert_eq!(config.api.addr, None);
    assert_eq!(config.api.metrics_addr.as_deref(), Some("[::]:1"));
    assert!(config.api.disable_iface_metrics);
    assert_eq!(config.logging.level, tracing::Level::TRACE);
    assert_eq!(config.logging.format, LogFormat::Json);
}

#[test]
fn a_key_reads_unless_it_says_otherwise() {
    let text = format!("{GOOD}api: {{ addr: 'localhost:0', keys: [{{ file: /x }}] }}");
    let keys = Config::parse(&text).expect("good").api.keys;
    let source = KeySource::File("/x".into());
    let role = Role::Read;
    assert_eq!(keys, [ApiKey { role, source }]);
}

/// All keys with their defaults, but for the cache, whose default depends on the host.
#[test]
fn an_example_with_all_keys_is_the_default() {
    let text = r#"
interfaces:                      # name, /regex/ or kind:KIND
  eth0: { hook: auto, promisc: false, ignore_vlans: false, disable: false }
  "/^enp.*/": {}
autodetection: { enabled: false, exclude: [kind:loopback, kind: veth, "kind:netkit", kind:ifb], stacked: false } # instead of interfaces
capture:  { ring_buffer: 16MiB, cache_slots: 4096, flush_interval: 5s, port_aggregation: true, max_flows: 1000000, max_flows_total: 4000000, expedite_attach: auto }
rotation: { interval: 300s, local_buffers: { num: 1, size_limit: 64MiB } }
writeout:
  - { type: parquet, path: /var/lib/probe/flows, retention: { max_age: 90d, max_size: 20GiB } }
api:      { addr: "unix:/run/probe/probe.sock", metrics_addr: "127.0.0.1:9478", disable_iface_metrics: false, keys: [] }
logging:  { level: info, format: text }
"#;
    let mut config = Config::parse(text).expect("good");
    assert_eq!(config.capture.cache_slots, CacheSlots::PerCpu(4096));
    config.capture.cache_slots = CacheSlots::Auto;
    config.interfaces.clear();
    assert_eq!(config, Config::default());
}
