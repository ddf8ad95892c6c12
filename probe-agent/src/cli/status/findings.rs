//! What is wrong with a capture, and what to do about it, in sentences.

use crate::{term::human::counted, troubles};
use probe_api::v1::status::{InterfaceStatus, StatusReport};
use probe_capture::trouble::TroubleKind;
use probe_flow::ledger::Loss;

mod sinks;

/// Something that the operator should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::cli) struct Finding {
    /// Something is to be done; else it was wrong, or may become so.
    pub(in crate::cli) is_trouble: bool,
    /// It is not wrong yet: told behind all that is.
    is_forecast: bool,
    /// What, and the remedy.
    pub(in crate::cli) text: String,
}

const fn trouble(text: String) -> Finding {
    finding(true, text)
}

const fn note(text: String) -> Finding {
    finding(false, text)
}

const fn finding(is_trouble: bool, text: String) -> Finding {
    Finding {
        is_trouble,
        is_forecast: false,
        text,
    }
}

/// Trouble to come, about which something is to be done now.
fn forecast(text: String) -> Finding {
    Finding {
        is_forecast: true,
        ..trouble(text)
    }
}

/// What a reading shows, with an earlier one if there is one.
pub(in crate::cli) fn compare(now: &StatusReport, earlier: Option<&StatusReport>) -> Vec<Finding> {
    let mut findings = Vec::new();
    // What the states say is in the list of the agent as well, which has it from the same function.
    let listed = now.troubles.iter().filter(|it| {
        let kind = TroubleKind::of_name(&it.kind);
        !kind.is_some_and(TroubleKind::is_of_state)
    });
    for it in listed {
        let told = if TroubleKind::of_name(&it.kind).is_some_and(TroubleKind::is_note) {
            note
        } else {
            trouble
        };
        let subject = it.subject.as_ref().map(|it| format!("{it}: "));
        findings.push(told(format!(
            "{}{}. Remedy: {}",
            subject.unwrap_or_default(),
            it.cause,
            it.remedy
        )));
    }
    let of_states = troubles::of_report(now);
    findings.extend(of_states.iter().map(|it| match it.kind {
        TroubleKind::StoreFilling => forecast(it.to_string()),
        _ => trouble(it.to_string()),
    }));
    for (iface, it) in &now.interfaces {
        let earlier = earlier.and_then(|report| report.interfaces.get(iface));
        interface(&mut findings, iface, it, earlier);
    }
    for (sink, it) in &now.sinks {
        sinks::compare(&mut findings, sink, it);
    }
    sinks::clock(&mut findings, now);
    findings.sort_by_key(|it| it.is_forecast);
    findings
}

fn interface(
    findings: &mut Vec<Finding>,
    iface: &str,
    it: &InterfaceStatus,
    earlier: Option<&InterfaceStatus>,
) {
    for loss in Loss::ALL {
        let Some(remedy) = loss.remedy() else {
            continue;
        };
        let lost = |it: &InterfaceStatus| it.ledger.losses.get(loss.name()).copied().unwrap_or(0);
        let packets = lost(it);
        if packets == 0 {
            continue;
        }
        let grows = earlier.is_some_and(|earlier| lost(earlier) < packets);
        let when = if grows {
            "and losing more"
        } else {
            "since the start, none now"
        };
        let text = format!(
            "{iface}: {} lost ({}), {when}; {remedy}",
            counted(packets, "packet"),
            loss.name()
        );
        findings.push(finding(grows, text));
    }
    findings.extend(overflow(iface, it, earlier));
    residue(findings, iface, it, earlier);
    if it.state == "down" {
        findings.push(note(format!(
            "{iface}: the link is switched off or has no carrier (`ip link show {iface}`): until it is up \
             no packet can pass"
        )));
    }
    findings.extend(detached(iface, it));
    findings.extend(uncovered(iface, it));
}

/// What times without programs have cost, by why they were missing.
fn detached(iface: &str, it: &InterfaceStatus) -> Vec<Finding> {
    let mut found = Vec::new();
    if it.changed_ms > 0 {
        found.push(note(format!(
            "{iface}: its settings were changed; nothing was seen for {} ms altogether",
            it.changed_ms
        )));
    }
    let removed_ms = it.detached_ms.saturating_sub(it.changed_ms);
    let why = match it.reattached {
        0 if removed_ms == 0 => return found,
        0 if it.lost_hooks.is_empty() => "programs were removed and put back".to_owned(),
        0 => "programs were removed, and are missing still".to_owned(),
        1 => "programs were removed and attached again once".to_owned(),
        more => format!("programs were removed and attached again {more} times"),
    };
    let what = match it.detached_directions.as_slice() {
        [direction] if direction == "rcvd" => "no received packet was seen",
        [direction] if direction == "sent" => "no sent packet was seen",
        _ => "programs were missing",
    };
    let unseen = unseen(it.detached_packets);
    found.push(note(format!(
        "{iface}: {why}; {what} for {removed_ms} ms altogether{unseen}"
    )));
    found
}

fn unseen(packets: u64) -> String {
    let were = if packets == 1 { "was" } else { "were" };
    match packets {
        0 => String::new(),
        packets => format!(
            ", and {} of the link {were} not seen",
            counted(packets, "packet")
        ),
    }
}

/// A time in which less was seen than the link moved, which is over.
fn uncovered(iface: &str, it: &InterfaceStatus) -> Option<Finding> {
    let directions = [&it.coverage.rcvd, &it.coverage.sent];
    let is_told = directions
        .iter()
        .any(|it| matches!(it.state.as_str(), "partial" | "blind"));
    (it.uncovered_packets > 0 && !is_told).then(|| {
        note(format!(
            "{iface}: it was blind, wholly or in part, while its programs were in place: {} of the link were not \
             seen. The log tells when and the likely cause",
            counted(it.uncovered_packets, "packet")
        ))
    })
}

/// No packet is lost, but it is not known whose they are.
fn overflow(
    iface: &str,
    it: &InterfaceStatus,
    earlier: Option<&InterfaceStatus>,
) -> Option<Finding> {
    let packets = it.ledger.overflow_packets;
    let grows = earlier.is_some_and(|earlier| earlier.ledger.overflow_packets < packets);
    let when = if grows {
        "and more come"
    } else {
        "since the start, none now"
    };
    let are = if packets == 1 { "is" } else { "are" };
    (packets > 0).then(|| {
        let text = format!(
            "{iface}: the flow log was full, {} {are} in overflow flows, {when}: they stand for \
             many, without their addresses; raise capture.max_flows or capture.max_flows_total, or \
             shorten rotation.interval",
            counted(packets, "packet")
        );
        finding(grows, text)
    })
}

/// Packets on their way show as a positive residue, so only one that stays is a defect; a negative one is
/// always.
fn residue(
    findings: &mut Vec<Finding>,
    iface: &str,
    it: &InterfaceStatus,
    earlier: Option<&InterfaceStatus>,
) {
    let residue = it.ledger.residue;
    let stays = earlier.is_some_and(|earlier| {
        earlier.ledger.residue == residue && earlier.ledger.seen == it.ledger.seen
    });
    if residue > 0 && stays {
        findings.push(trouble(troubles::unbalanced(iface, residue).to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, compare};
    use crate::cli::status::table::tests::report;
    use probe_api::v1::status::{InterfaceStatus, LostHook, StatusReport, Trouble};

    fn texts(findings: &[Finding]) -> String {
        let lines = findings
            .iter()
            .map(|it| format!("{} {}", it.is_trouble, it.text));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn changed(change: impl FnOnce(&mut InterfaceStatus)) -> StatusReport {
        let mut report = report();
        change(report.interfaces.get_mut("eth0").expect("it is there"));
        report
    }

    #[test]
    fn a_healthy_capture_has_no_findings() {
        assert_eq!(compare(&report(), Some(&report())), []);
    }

    #[test]
    fn one_packet_is_told_as_one() {
        let now = changed(|it| {
            it.ledger.losses.insert("ring_full".to_owned(), 1);
            it.ledger.overflow_packets = 1;
        });
        let told = texts(&compare(&now, Some(&now)));
        for part in ["1 packet lost (ring_full)", "1 packet is in overflow flows"] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn every_trouble_has_a_remedy() {
        let now = changed(|it| {
            it.coverage.rcvd.state = "blind".to_owned();
            it.coverage.rcvd.cause = Some("generic XDP is off".to_owned());
            it.coverage.sent.state = "partial".to_owned();
            it.coverage.sent.ratio = Some(0.5);
            it.lost_hooks = vec![LostHook {
                direction: "rcvd".to_owned(),
                hook: "tcx".to_owned(),
                occupant: Some("cilium".to_owned()),
            }];
            it.ledger.losses.insert("ring_full".to_owned(), 1500);
            it.ledger.overflow_packets = 2500;
            it.ledger.residue = -1;
        });
        let text = texts(&compare(&now, Some(&report())));
        for part in [
            "true eth0: our program was removed from tcx (rcvd), where cilium is now. Remedy: ",
            "true eth0: blind, received packets pass and none is seen: generic XDP is off. Remedy: ",
            "true eth0: only 50 % of the sent packets are seen: the cause is not known. Remedy: ",
            "true eth0: 1.5 k packets lost (ring_full), and losing more; the agent did not keep \
             up: raise capture.ring_buffer",
            "true eth0: the flow log was full, 2.5 k packets are in overflow flows, and more come",
            "true eth0: the ledger does not balance, its residue is -1",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // The same loss, no longer growing, is a note.
        let text = texts(&compare(&now, Some(&now)));
        assert!(text.contains("false eth0: 1.5 k packets lost"), "{text}");
        assert!(text.contains("false eth0: the flow log was full"), "{text}");
    }

    #[test]
    fn what_passed_while_programs_were_removed_is_told() {
        let now = changed(|it| {
            (it.reattached, it.detached_ms, it.detached_packets) = (1, 1997, 40);
        });
        let told = "false eth0: programs were removed and attached again once; programs were missing for 1997 ms \
                    altogether, and 40 packets of the link were not seen";
        assert_eq!(texts(&compare(&now, None)), told);

        let now = changed(|it| (it.detached_ms, it.changed_ms) = (120, 120));
        let told = "false eth0: its settings were changed; nothing was seen for 120 ms altogether";
        assert_eq!(texts(&compare(&now, None)), told);

        // Before it is attached again, and only one direction of it.
        let now = changed(|it| {
            it.detached_ms = 300;
            it.detached_directions = vec!["rcvd".to_owned()];
            it.lost_hooks = vec![LostHook {
                direction: "rcvd".to_owned(),
                hook: "tcx".to_owned(),
                occupant: None,
            }];
        });
        let told = "false eth0: programs were removed, and are missing still; no received packet was seen for 300 ms \
                    altogether";
        assert!(texts(&compare(&now, None)).ends_with(told));
    }

    #[test]
    fn what_a_blind_time_has_missed_is_a_note_when_it_is_over() {
        let mut now = changed(|it| it.uncovered_packets = 198);
        let told = texts(&compare(&now, None));
        assert!(
            told.starts_with("false eth0: it was blind, wholly or in part"),
            "{told}"
        );
        assert!(
            told.contains("198 packets of the link were not seen"),
            "{told}"
        );
        let eth0 = now.interfaces.get_mut("eth0").expect("it is there");
        eth0.coverage.rcvd.state = "blind".to_owned();
        let told = texts(&compare(&now, None));
        assert!(!told.contains("it was blind"), "not over: {told}");
    }

    #[test]
    fn a_link_that_is_down_is_a_note() {
        let now = changed(|it| it.state = "down".to_owned());
        let text = texts(&compare(&now, Some(&now)));
        assert!(
            text.starts_with("false eth0: the link is switched off"),
            "{text}"
        );
    }

    #[test]
    fn packets_on_their_way_are_no_defect() {
        let moving = changed(|it| it.ledger.residue = 5);
        assert_eq!(compare(&moving, Some(&report())), []);
        assert!(texts(&compare(&moving, Some(&moving))).contains("does not balance"));
    }

    #[test]
    fn the_agent_as_a_whole_has_findings_too() {
        let mut now = report();
        now.interfaces.clear();
        now.waiting_for = vec!["the sinks".to_owned()];
        now.undecodable_records = 1;
        now.troubles = vec![Trouble {
            kind: "reload_refused".to_owned(),
            subject: None,
            cause: "the file was refused".to_owned(),
            remedy: "correct it".to_owned(),
        }];
        let findings = compare(&now, None);
        assert!(texts(&findings).contains("true the file was refused. Remedy: correct it"));
        assert_eq!(findings.len(), 3, "{}", texts(&findings));
        assert!(findings.iter().all(|it| it.is_trouble));
        now.troubles[0].kind = super::TroubleKind::CountedTwice.name().to_owned();
        let told = texts(&compare(&now, None));
        assert!(
            told.contains("false the file was refused"),
            "a note: {told}"
        );
    }
}
