use super::{
    Compared, Coverage, CoverageState, LinkCounts, Sample, Seen, Surroundings, likely_cause,
};
use crate::coverage::LostHook;

fn sample(link: u64, frames: u64, packets: u64) -> Sample {
    let seen = Seen {
        frames,
        packets,
        octets: 0,
    };
    Sample {
        link: LinkCounts {
            packets: link,
            octets: 0,
        },
        before: seen,
        after: seen,
    }
}

/// Samples in turn, each with what was added since the one before: link, frames, packets.
fn play(coverage: &mut Coverage, from: &mut Sample, steps: &[[u64; 3]]) -> Vec<CoverageState> {
    let mut changes = Vec::new();
    for [link, frames, packets] in steps {
        *from = sample(
            from.link.packets + link,
            from.after.frames + frames,
            from.after.packets + packets,
        );
        changes.extend(coverage.on_sample(*from));
    }
    changes
}

fn started() -> (Coverage, Sample) {
    let mut coverage = Coverage::default();
    // What the link moved before the first sample counts for no side.
    let baseline = sample(1_000_000, 3, 3);
    assert_eq!(coverage.on_sample(baseline), None);
    (coverage, baseline)
}

#[test]
fn super_packets_count_once_or_by_segment_and_both_are_full() {
    for link in [10, 450, 200] {
        let compared = Compared {
            link,
            frames: 10,
            packets: 450,
            ..Compared::default()
        };
        assert_eq!(compared.ratio(), Some(1.0), "{link}");
    }
}

#[test]
fn missed_and_surplus_packets_show_in_the_ratio() {
    let of = |link, frames, packets| {
        let compared = Compared {
            link,
            frames,
            packets,
            ..Compared::default()
        };
        compared.ratio()
    };
    assert_eq!(of(100, 80, 80), Some(0.8));
    assert_eq!(of(100, 0, 0), Some(0.0));
    assert_eq!(of(100, 110, 110), Some(1.1));
    assert_eq!(of(0, 5, 5), None);
}

/// A veth counts super-packets, of which a program before ours lets four in five pass without us. The numbers
/// were measured.
#[test]
fn super_packets_that_we_do_not_see_show_in_the_octets() {
    let of = |link_octets| {
        let compared = Compared {
            link: 10_158,
            frames: 2040,
            packets: 62_021,
            link_octets,
            octets: 62_021 * 1514,
        };
        compared.ratio()
    };
    let all = 62_021 * 1514;
    for seen in [all / 100, all, all + 62_021 * 40] {
        assert_eq!(of(seen), Some(1.0), "no more than we saw");
    }
    let fifth = of(5 * all);
    assert!(
        fifth.is_some_and(|it| (0.2..0.21).contains(&it)),
        "{fifth:?}"
    );
    assert_eq!(of(0), Some(1.0), "a link that does not count octets");
}

/// Whatever a link counts as a packet, and beside the packet's octets.
#[test]
fn all_that_is_seen_is_full_coverage_however_the_link_counts() {
    for (segments, octets) in [(1, 64), (2, 100), (3, 128), (45, 1500)] {
        for further in [-14, 0, 14, 26, 32, 40] {
            let packets = 100 * segments;
            for link in [100, packets, u64::midpoint(100, packets)] {
                let compared = Compared {
                    link,
                    frames: 100,
                    packets,
                    link_octets: (packets * octets)
                        .strict_add_signed(further * packets.cast_signed()),
                    octets: packets * octets,
                };
                assert_eq!(compared.ratio(), Some(1.0), "{compared:?}");
            }
        }
    }
}

#[test]
fn what_passes_while_we_look_is_nobodys_fault() {
    let mut coverage = Coverage::default();
    let sample = |link, before, after| Sample {
        before: sample(link, before, before).before,
        ..sample(link, after, after)
    };
    coverage.on_sample(sample(100, 90, 110));
    // The link counted 40, we somewhere between 30 and 60.
    coverage.on_sample(sample(140, 140, 150));
    assert_eq!(coverage.ratio(), Some(1.0));
}

#[test]
fn blind_after_three_windows_and_well_after_one() {
    let (mut coverage, mut at) = started();
    assert_eq!(
        play(&mut coverage, &mut at, &[[50, 50, 50]]),
        [CoverageState::Ok]
    );
    let changes = play(&mut coverage, &mut at, &[[50, 0, 0]; 2]);
    assert_eq!(changes, [], "a queue that drains is not blindness");
    assert_eq!(coverage.ratio(), Some(0.0));
    assert_eq!(
        play(&mut coverage, &mut at, &[[50, 0, 0]]),
        [CoverageState::Blind]
    );
    assert_eq!(
        play(&mut coverage, &mut at, &[[50, 49, 49]]),
        [CoverageState::Ok]
    );
}

#[test]
fn partial_is_told_from_blind() {
    let (mut coverage, mut at) = started();
    let changes = play(
        &mut coverage,
        &mut at,
        &[[50, 40, 40], [50, 0, 0], [50, 1, 1]],
    );
    assert_eq!(changes, [CoverageState::Partial]);
    let changes = play(&mut coverage, &mut at, &[[50, 0, 0]; 3]);
    assert_eq!(changes, [CoverageState::Blind]);
}

#[test]
fn what_is_not_seen_has_a_cause_and_a_window_of_two_times_no_verdict() {
    let (mut coverage, mut at) = started();
    let unseen = |coverage: &Coverage| {
        let unseen = coverage.unseen();
        [unseen.uncovered, unseen.detached]
    };
    // A program before ours comes in the middle of a window and goes in that of another.
    play(&mut coverage, &mut at, &[[50, 50, 50]]);
    at = sample(
        at.link.packets + 50,
        at.after.frames + 30,
        at.after.packets + 30,
    );
    coverage.on_mixed_sample(at);
    assert_eq!(unseen(&coverage), [0, 0], "not known yet");
    let changes = play(&mut coverage, &mut at, &[[50, 0, 0]; 4]);
    assert_eq!(changes, [CoverageState::Blind]);
    at = sample(
        at.link.packets + 50,
        at.after.frames + 20,
        at.after.packets + 20,
    );
    coverage.on_mixed_sample(at);
    assert_eq!(coverage.state(), CoverageState::Blind, "no verdict");
    play(&mut coverage, &mut at, &[[50, 50, 50]]);
    assert_eq!(unseen(&coverage), [20 + 200 + 30, 0]);
    // Ours is removed and attached again.
    coverage.set_detached(true);
    at = sample(
        at.link.packets + 30,
        at.after.frames + 10,
        at.after.packets + 10,
    );
    coverage.on_mixed_sample(at);
    play(&mut coverage, &mut at, &[[9, 0, 0], [9, 0, 0]]);
    assert_eq!(unseen(&coverage), [250, 20 + 18]);
    coverage.restart();
    at = sample(at.link.packets + 9, at.after.frames, at.after.packets);
    coverage.on_mixed_sample(at);
    coverage.set_detached(false);
    assert_eq!(coverage.ratio(), None, "that of before is past");
    play(
        &mut coverage,
        &mut at,
        &[[50, 50, 50], [50, 20, 20], [50, 50, 50]],
    );
    assert_eq!(
        unseen(&coverage),
        [250, 47],
        "a burst that drains is nothing"
    );
}

#[test]
fn a_window_that_has_passed_is_not_the_present() {
    let (mut coverage, mut at) = started();
    play(&mut coverage, &mut at, &[[50, 50, 50], [50, 18, 18]]);
    assert_eq!(coverage.ratio(), Some(0.36));
    assert_eq!(coverage.state(), CoverageState::Ok);
    play(&mut coverage, &mut at, &[[1, 1, 1]; 10]);
    assert_eq!(coverage.ratio(), None);
}

#[test]
fn few_packets_are_judged_when_they_have_become_enough() {
    let (mut coverage, mut at) = started();
    assert_eq!(play(&mut coverage, &mut at, &[[1, 0, 0]; 19]), []);
    assert_eq!(coverage.ratio(), None);
    play(&mut coverage, &mut at, &[[1, 0, 0]]);
    assert_eq!(coverage.ratio(), Some(0.0));
    assert_eq!(
        play(&mut coverage, &mut at, &[[1, 0, 0]; 40]),
        [CoverageState::Blind]
    );
}

#[test]
fn quiet_is_idle_whatever_was_before() {
    let (mut coverage, mut at) = started();
    play(&mut coverage, &mut at, &[[50, 50, 50]]);
    assert_eq!(
        play(&mut coverage, &mut at, &[[0; 3]; 10]),
        [CoverageState::Idle]
    );
    play(&mut coverage, &mut at, &[[50, 0, 0]; 3]);
    assert_eq!(play(&mut coverage, &mut at, &[[0; 3]; 9]), []);
    assert_eq!(
        play(&mut coverage, &mut at, &[[0; 3]]),
        [CoverageState::Idle]
    );
    // It was not over: one bad window is enough now.
    assert_eq!(
        play(&mut coverage, &mut at, &[[50, 0, 0]]),
        [CoverageState::Blind]
    );
}

#[test]
fn few_packets_that_are_seen_end_a_bad_state() {
    let (mut coverage, mut at) = started();
    play(&mut coverage, &mut at, &[[50, 5, 5]; 3]);
    // What was missed before the program before ours went, then a packet each other second.
    play(&mut coverage, &mut at, &[[17, 2, 2]]);
    let quiet = [[1, 1, 1], [0; 3]].repeat(5);
    let changes = play(&mut coverage, &mut at, &quiet[..9]);
    assert_eq!(changes, [CoverageState::Ok]);

    // As few that are not seen leave it as it is.
    play(&mut coverage, &mut at, &[[50, 5, 5]; 3]);
    assert_eq!(coverage.state(), CoverageState::Partial);
    let changes = play(&mut coverage, &mut at, &[[1, 0, 0], [0; 3]].repeat(8));
    assert_eq!(changes, []);
}

#[test]
fn a_counter_that_starts_again_is_a_reset_not_a_loss() {
    let (mut coverage, mut at) = started();
    play(&mut coverage, &mut at, &[[50, 50, 50]]);
    at.link.packets = 0;
    play(&mut coverage, &mut at, &[[7, 7, 7], [30, 30, 30]]);
    assert_eq!(coverage.state(), CoverageState::Ok);
    let expected = Compared {
        link: 80,
        frames: 80,
        packets: 80,
        ..Compared::default()
    };
    assert_eq!(coverage.since_start(), expected);
}

#[test]
fn an_interval_begins_where_the_one_before_ended() {
    let (mut coverage, mut at) = started();
    play(&mut coverage, &mut at, &[[50, 40, 45], [5, 5, 5]]);
    let first = coverage.end_interval();
    play(&mut coverage, &mut at, &[[7, 7, 7]]);
    let second = coverage.end_interval();
    assert_eq!((first.link, first.frames, first.packets), (55, 45, 50));
    assert_eq!((second.link, second.frames, second.packets), (7, 7, 7));
    assert_eq!(coverage.end_interval(), Compared::default());
}

#[test]
fn the_cause_is_the_nearest_one() {
    let lost = [LostHook {
        direction: 0,
        hook: "tcx",
        occupant: None,
    }];
    let mut around = Surroundings {
        lost: &lost,
        ahead: Some(57),
        has_unknown_interface: true,
    };
    let rcvd = likely_cause(0, CoverageState::Blind, around);
    assert!(rcvd.contains("ingress tcx"), "{rcvd}");
    let sent = likely_cause(1, CoverageState::Blind, around);
    assert!(sent.contains("maps"), "{sent}");
    around.has_unknown_interface = false;
    let sent = likely_cause(1, CoverageState::Blind, around);
    assert!(sent.contains("program 57"), "{sent}");
    around.ahead = None;
    let sent = likely_cause(1, CoverageState::Partial, around);
    assert!(sent.contains("AF_XDP"), "{sent}");
}
