//! What is accepted and most likely a mistake, and what one mistake does not say about another.

use probe_agent::config::{Reading, Severity};

use super::problems;

/// The warnings of a document, one a line.
fn doubts(text: &str) -> Vec<String> {
    let problems = Reading::of(text).problems().into_iter();
    let warnings = problems.filter(|problem| problem.severity == Severity::Warning);
    warnings.map(|problem| problem.to_string()).collect()
}

#[test]
fn a_kind_that_no_kernel_has_is_told() {
    let told = doubts("interfaces: { kind:vteh: {}, 'kind:bond': {}, eth0: {} }\n");
    assert_eq!(
        told,
        [
            "1:15: warning: interfaces.\"kind:vteh\": `kind:vteh`: no kernel up to Linux 6.18 has links of \
             this kind; did you mean `kind:veth`?"
        ]
    );
    let told = doubts("autodetection: { enabled: true, exclude: [kind: hyperloop, kind: veth] }\n");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("tells the kind of each link"), "{told:?}");
}

#[test]
fn a_pattern_that_is_written_as_a_name_is_told_in_both_lists() {
    for text in [
        "interfaces: { \"en*\": {} }\n",
        "autodetection: { enabled: true, exclude: [ \"en*\" ] }\n",
    ] {
        let told = doubts(text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].ends_with("`/^en/`"), "{told:?}");
    }
}

#[test]
fn exclusions_that_leave_nothing_are_told() {
    for (exclude, is_told) in [
        ("\"/.*/\"", true),
        ("lo, \"/^./\"", true),
        ("\"/[a-z]/\"", false),
        ("\"/^(eth|en|wl)/\"", false),
        ("\"/^[^v]/\"", false),
        ("\"/^[^v]|^v[^e]|^ve[^t]/\"", false),
        ("", false),
    ] {
        let text = format!("autodetection: {{ enabled: true, exclude: [ {exclude} ] }}\n");
        assert_eq!(doubts(&text).len(), usize::from(is_told), "{exclude}");
    }
}

#[test]
fn a_limit_that_is_never_reached_is_told() {
    for (limits, is_told) in [
        ("max_flows: 9, max_flows_total: 8", true),
        ("max_flows_total: 999999", true),
        ("max_flows: 8, max_flows_total: 8", false),
        // The limit that is meant is not known.
        ("max_flows: many, max_flows_total: 8", false),
        ("", false),
    ] {
        let text = format!("interfaces: {{ eth0: {{}} }}\ncapture: {{ {limits} }}\n");
        assert_eq!(doubts(&text).len(), usize::from(is_told), "{limits}");
    }
}

/// The default in the place of a wrong value is not what the file says, so nothing is concluded from it.
#[test]
fn one_mistake_is_told_once() {
    for text in [
        "autodetection: { enabled: yes }\n",
        "autodetection: { enabeld: true }\n",
        "autodetection: on\n",
        "interfaces: { eth0: {} }\napi: { addr: here, keys: [ { file: /x } ] }\n",
        "interfaces: { eth0: {} }\napi: { addr: 'localhost:9478', metrics_addr: here }\n",
    ] {
        let told = problems(text);
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    // Another section has nothing to do with it.
    let told = problems("autodetection: { exclude: 5 }\n");
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[test]
fn months_are_told_where_they_are_too_long() {
    let told = problems("interfaces: { eth0: {} }\nrotation: { interval: 90M }\n");
    let expected =
        "found `90M`; `90M` is read as months, 2739 days; write days (90d) or minutes (90m)";
    assert!(told.ends_with(expected), "{told}");
}
