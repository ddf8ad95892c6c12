//! A real Prometheus beside the agent, with the rules of `deploy/`: which alerts are active.

use std::time::Duration;

use serde_json::Value;

use crate::{
    agent::Installation,
    process::Process,
    prometheus::{PATIENT, ask, query, start},
    testbed::Testbed,
    within,
};

/// How long a busy machine may take until the first scrape, which is not begun for five seconds, and
/// evaluation.
const START: Duration = Duration::from_mins(1);

/// Alerts that go on when all is well again, since they tell what happened in the last 15 minutes.
const LINGERING: [&str; 2] = ["ProbeClockSet", "ProbeWriteoutFails"];

/// The alert that belongs to a fault: its name, and a label with its value.
pub(super) type Alert = (&'static str, &'static str, &'static str);

/// Ends its Prometheus when dropped.
pub(super) struct Alerts(#[expect(dead_code, reason = "held to be dropped")] Process);

impl Alerts {
    /// Starts Prometheus, and waits until it has metrics of the agent and every rule is evaluated.
    pub(super) fn start(testbed: &Testbed, installation: &Installation, agent: &str) -> Self {
        let prometheus = start(testbed, installation, agent);
        within(START, "the agent is scraped", || {
            let samples = query(testbed, "probe_interfaces_capturing")?;
            (!samples.is_empty()).then_some(())
        });
        within(START, "the rules are evaluated", || {
            let rules = rules(testbed)?;
            let is_evaluated = |rule: &Value| rule["health"] == "ok";
            (!rules.is_empty() && rules.iter().all(is_evaluated)).then_some(())
        });
        Self(prometheus)
    }
}

fn rules(testbed: &Testbed) -> Option<Vec<Value>> {
    let answer = ask(testbed, "/api/v1/rules")?;
    answer["data"]["groups"][0]["rules"].as_array().cloned()
}

/// The alerts that are pending or fire.
pub(super) fn active(testbed: &Testbed) -> Vec<Value> {
    let answer = ask(testbed, "/api/v1/alerts");
    let alerts = answer.and_then(|it| it["data"]["alerts"].as_array().cloned());
    alerts.expect("Prometheus answers")
}

/// How long a rule has to hold until its alert fires.
pub(super) fn fires_after(testbed: &Testbed, (name, ..): Alert) -> Duration {
    let rules = rules(testbed).expect("Prometheus answers");
    let rule = rules.iter().find(|rule| rule["name"] == name);
    let seconds = rule.and_then(|rule| rule["duration"].as_f64());
    Duration::from_secs_f64(seconds.expect("there is this rule"))
}

/// Whether an alert is active. `must_fire`: it has to fire, by the scrapes that are not missed.
pub(super) fn is_told(active: &[Value], (name, label, value): Alert, must_fire: bool) -> bool {
    active.iter().any(|alert| {
        let labels = &alert["labels"];
        let is_it = labels["alertname"] == name && labels[label] == value;
        is_it && is_patient(alert) == must_fire && (!must_fire || alert["state"] == "firing")
    })
}

fn is_patient(alert: &Value) -> bool {
    alert["labels"]["instance"] == PATIENT
}

/// Whether no alert says that something is wrong now.
pub(super) fn is_quiet(active: &[Value]) -> bool {
    let mut names = active
        .iter()
        .filter(|alert| !is_patient(alert))
        .filter_map(|alert| alert["labels"]["alertname"].as_str());
    names.all(|name| LINGERING.contains(&name))
}
