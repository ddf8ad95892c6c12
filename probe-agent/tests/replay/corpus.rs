//! Every capture of the corpus against the oracle.

use probe_flow::ledger::Loss;
use probe_pcap::Ending;

use crate::{
    differences,
    oracle::{self, Oracle},
    play::{Table, play},
};

#[test]
fn flow_tables_equal_the_oracle() {
    let Some(corpus) = oracle::corpus() else {
        return;
    };
    let captures = oracle::captures(&corpus);
    for name in differences::captures() {
        assert!(
            captures.contains_key(name),
            "a difference is listed for {name}, which is not there"
        );
    }
    let mut wrong = Vec::new();
    for (name, path) in captures {
        let mut expected = Oracle::read(&corpus, &name);
        differences::apply(&name, &mut expected);
        let played = play(&path);
        let mut complain = |what: String| wrong.push(format!("{name}: {what}"));
        if played.ending != Ending::Complete {
            complain(played.ending.to_string());
        }
        if played.ledger.residue() != 0 {
            complain(played.ledger.to_string());
        }
        let seen = (played.ledger.seen.packets, played.ledger.seen.bytes);
        if seen != (expected.packets, expected.frame_bytes) {
            complain(format!(
                "seen {seen:?}, the oracle has {:?}",
                (expected.packets, expected.frame_bytes)
            ));
        }
        for loss in Loss::ALL {
            let theirs = expected.losses.get(loss.name()).copied().unwrap_or(0);
            if played.loss(loss) != theirs {
                complain(format!(
                    "{} {} instead of {theirs}",
                    loss.name(),
                    played.loss(loss)
                ));
            }
        }
        let beyond_frame = played.ledger.beyond_frame;
        let found = (beyond_frame.packets, beyond_frame.bytes);
        let known = differences::beyond_frame(&name);
        if found != known {
            complain(format!(
                "beyond the frame {found:?}, of which known {known:?}"
            ));
        }
        compare("flow", &played.flows, &expected.flows, &mut complain);
        compare(
            "fragment",
            &played.fragments,
            &expected.fragments,
            &mut complain,
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn compare(what: &str, ours: &Table, theirs: &Table, complain: &mut dyn FnMut(String)) {
    for (key, count) in ours {
        if theirs.get(key) != Some(count) {
            complain(format!(
                "{what} {key:?}: {count:?}, the oracle has {:?}",
                theirs.get(key)
            ));
        }
    }
    for (key, count) in theirs {
        if !ours.contains_key(key) {
            complain(format!("{what} {key:?}: missing, the oracle has {count:?}"));
        }
    }
}
