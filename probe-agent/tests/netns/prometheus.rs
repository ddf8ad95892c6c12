//! What `deploy/` has for Prometheus and Grafana: a real Prometheus scrapes a real agent, and every
//! query of the dashboard and every rule is asked.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use serde_json::Value;

use super::{
    PATIENCE,
    agent::Installation,
    process::Process,
    run, skip,
    testbed::{LINK, Offloads, Testbed},
    traffic::Chatter,
    within,
};

/// Once a second and not four times a minute, so that the test has a minute's worth of samples
/// (what `rate` needs) in a few seconds.
const SAMPLES: u64 = 12;

fn deployed(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).join(path)
}

/// The queries of all panels, with Grafana's variables filled in.
fn queries() -> Vec<String> {
    let text = fs::read_to_string(deployed("grafana/probe.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let filled = |query: &str| {
        let query = query.replace("$__rate_interval", "10s");
        let query = query.replace("$__range", "1m");
        query.replace("$instance", ".*").replace("$iface", ".*")
    };
    targets
        .map(|target| filled(target["expr"].as_str().expect("a query")))
        .collect()
}

/// Where the agent is asked by the configuration of `deploy/`.
const AGENT: &str = "127.0.0.1:9478";

/// The instance by which the same agent is scraped a second time, at leisure.
pub(crate) const PATIENT: &str = "patient";

/// Where Prometheus is asked.
const PROMETHEUS: &str = "127.0.0.1:9090";

/// Starts Prometheus in the agent's namespace, with the configuration and the rules of `deploy/`, for an
/// agent that is asked at this address.
#[track_caller]
pub(crate) fn start(testbed: &Testbed, installation: &Installation, agent: &str) -> Process {
    let folder = installation.path().display();
    let config = fs::read_to_string(deployed("prometheus/prometheus.yml")).expect("the example");
    let rules = deployed("prometheus/probe.rules.yml");
    let config = config.replace("probe.rules.yml", rules.to_str().expect("a path"));
    let config = config.replace(AGENT, agent);
    let global = "global: { scrape_interval: 1s, evaluation_interval: 1s }\n";
    // A busy machine misses a scrape of a second now and then, which ends all alerts for a moment.
    let patient = format!(
        "- {{ job_name: {PATIENT}, scrape_interval: 10s, static_configs: [ {{ targets: [ \"{agent}\" ], \
         labels: {{ instance: {PATIENT} }} }} ] }}\n"
    );
    let config = config.replace(
        "scrape_configs:\n",
        &format!("scrape_configs:\n  {patient}"),
    );
    let path = format!("{folder}/prometheus.yml");
    fs::write(&path, format!("{global}{config}")).expect("written");
    let mut command = testbed.host.command("prometheus");
    command.arg(format!("--config.file={path}"));
    command.arg(format!("--storage.tsdb.path={folder}/tsdb"));
    command.arg(format!("--web.listen-address={PROMETHEUS}"));
    command.arg("--log.level=warn");
    Process::spawn(&mut command)
}

/// Asks Prometheus inside the namespace.
pub(crate) fn ask(testbed: &Testbed, path: &str) -> Option<Value> {
    serde_json::from_str(&get(testbed, PROMETHEUS, path)?).ok()
}

/// The body of what is answered at this address inside the namespace.
pub(crate) fn get(testbed: &Testbed, addr: &str, path: &str) -> Option<String> {
    testbed.host.enter(|| {
        let mut stream = TcpStream::connect(addr).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    })
}

pub(crate) fn query(testbed: &Testbed, expression: &str) -> Option<Vec<Value>> {
    let bytes = expression.bytes().map(|byte| format!("%{byte:02X}"));
    let encoded = bytes.collect::<Vec<_>>().concat();
    let answer = ask(testbed, &format!("/api/v1/query?query={encoded}"))?;
    answer["data"]["result"].as_array().cloned()
}

#[test]
fn every_query_of_the_dashboard_has_data_and_every_rule_is_healthy() {
    if !skip::kernel_or_skip(&["ip", "ethtool", "prometheus"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::On);
    let installation = Installation::empty();
    let folder = installation.path().display().to_string();
    installation.configure(&format!(
        "interfaces: {{ {LINK}: {{}} }}\n\
         rotation: {{ interval: 1s }}\n\
         writeout: [{{ type: json, path: {folder}/json }}]\n\
         api: {{ addr: \"unix:{folder}/probe.sock\", metrics_addr: \"{AGENT}\" }}\n"
    ));
    let agent = installation.start(&testbed.host);
    let chatter = Chatter::start(&testbed, Duration::from_millis(20));
    let _prometheus = start(&testbed, &installation, AGENT);

    let patience = Duration::from_mins(1);
    within(patience, "enough samples of the agent", || {
        let samples = query(&testbed, "count_over_time(up{job=\"probe\"}[1m])")?;
        let count: u64 = samples.first()?["value"][1].as_str()?.parse().ok()?;
        (count >= SAMPLES).then_some(())
    });
    let queries = queries();
    assert!(queries.len() > 20, "all panels: {queries:#?}");
    for expression in queries {
        // On a busy machine a scrape takes longer than its second, and until the next there is none.
        within(patience, &format!("data: {expression}"), || {
            query(&testbed, &expression).filter(|result| !result.is_empty())
        });
    }
    let packets = query(&testbed, "sum(rate(probe_packets_total[10s]))").expect("an answer");
    let rate: f64 = packets[0]["value"][1]
        .as_str()
        .expect("a value")
        .parse()
        .expect("a number");
    assert!(rate > 10.0, "the traffic is there: {rate}");

    let rules = within(patience, "the rules are evaluated", || {
        let rules = ask(&testbed, "/api/v1/rules")?["data"]["groups"][0]["rules"].clone();
        let evaluated = rules
            .as_array()?
            .iter()
            .all(|rule| rule["health"] != "unknown");
        evaluated.then_some(rules)
    });
    let rules = rules.as_array().expect("rules");
    assert!(rules.len() >= 8);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        // The metrics that a rule asks for exist, whatever it asks of them.
        let expression = rule["query"].as_str().expect("a query");
        for metric in metric_names(expression) {
            let found = query(&testbed, &format!("count({metric})")).expect("an answer");
            assert!(!found.is_empty(), "{metric} of {expression}");
        }
    }
    chatter.finish();
    assert!(agent.terminate().success());
}

/// The names of metrics in an expression.
fn metric_names(expression: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c| !is_name(c));
    words
        .filter(|word| word.starts_with("probe_") || *word == "up")
        .collect()
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    if !skip::kernel_or_skip(&["promtool"]) {
        return;
    }
    let folder = deployed("prometheus");
    for arguments in [
        ["check", "rules", "probe.rules.yml"],
        ["test", "rules", "probe.rules.test.yml"],
        ["check", "config", "prometheus.yml"],
    ] {
        let mut promtool = Command::new("promtool");
        run(promtool.args(arguments).current_dir(&folder));
    }
}

#[test]
fn the_manual_explains_every_alert() {
    let read = |path: PathBuf| fs::read_to_string(path).expect("a text");
    let rules = read(deployed("prometheus/probe.rules.yml"));
    let manual = read(deployed("../docs/METRICS.md"));
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().expect("a name");
        assert!(manual.contains(&format!("`{name}`")), "{name}");
    }
}
