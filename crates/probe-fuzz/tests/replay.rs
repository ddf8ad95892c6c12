//! The corpus and mutations of it through every target, on stable Rust.
//!
//! The mutations are the same in each run. A target that panics leaves the input in a file, which
//! joins the corpus once the fault is mended.

#[path = "replay/mutate.rs"]
mod mutate;
#[path = "replay/proc_status.rs"]
mod proc_status;

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
};

use probe_fuzz::{TARGETS, Target};
use rustix::time::{ClockId, clock_gettime};

use self::mutate::Mutator;

/// Seconds of CPU time that one input may take, in a build without optimisation.
const MOST_SECONDS: i64 = 5;

/// Memory that all inputs together may take at their peak.
const MOST_KIB: u64 = 96 << 10;

/// Octets of all files of the corpus: it is cloned by everybody.
const MOST_CORPUS_BYTES: usize = 512 << 10;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The files of a target, sorted by name, so that each run is the same.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = fuzz_folder().join("corpus").join(target.name);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("listed").path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a readable file"))
        .collect()
}

/// Keeps an input at which its target panics.
struct Kept<'a> {
    target: &'a Target,
    input: &'a [u8],
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let path = env::temp_dir().join(format!("probe-fuzz-{}", self.target.name));
            match fs::write(&path, self.input) {
                Ok(()) => eprintln!("the input is in {}", path.display()),
                Err(error) => eprintln!("{}: {error}: {:02x?}", path.display(), self.input),
            }
        }
    }
}

fn check(target: &Target, input: &[u8]) {
    let _kept = Kept { target, input };
    let cpu_time = || clock_gettime(ClockId::ThreadCPUTime).tv_sec;
    let started = cpu_time();
    (target.check)(input);
    assert!(
        cpu_time() - started < MOST_SECONDS,
        "{}: an input took {MOST_SECONDS} s",
        target.name
    );
}

/// Mutations of each file, for longer runs than those of every change.
const MUTATIONS_VARIABLE: &str = "PROBE_FUZZ_MUTATIONS";

/// The number of mutations that the caller wishes, or else this one.
fn wished_mutations(usual: usize) -> usize {
    let wished = env::var(MUTATIONS_VARIABLE).ok();
    wished.map_or(usual, |it| it.parse().expect("a number of mutations"))
}

/// Runs the corpus of a target, and so many mutations of each of its files.
fn replay(name: &str, mutations: usize) {
    let mutations = wished_mutations(mutations);
    let found = TARGETS.iter().find(|target| target.name == name);
    let target = found.expect("a target");
    let seeds = corpus(target);
    assert!(!seeds.is_empty(), "{name} has no corpus");
    let memory = proc_status::Peak::begin();
    for seed in &seeds {
        check(target, seed);
    }
    let mut mutator = Mutator::new(&seeds);
    for seed in &seeds {
        for _ in 0..mutations {
            check(target, &mutator.mutate(seed));
        }
    }
    let kib = memory.grown_kib();
    assert!(kib < MOST_KIB, "{name} took {kib} KiB");
}

#[test]
fn api_queries_are_read_or_refused_by_name() {
    replay("api_query", 300);
}

#[test]
fn capture_files_end_and_balance() {
    replay("capture_file", 250);
}

#[test]
fn configurations_round_trip_or_have_places() {
    replay("config", 100);
}

#[test]
fn filters_round_trip_or_have_columns() {
    replay("filter", 150);
}

#[test]
fn packets_are_parsed_as_by_the_plain_parser() {
    replay("parser", 500);
}

/// As much as anybody may send, of one piece again and again behind the start of a file of the corpus:
/// bombs are short texts that ask for much. `most_kib` is what one of them may take.
fn bombs(name: &str, octets: usize, count: usize, most_kib: u64) {
    let found = TARGETS.iter().find(|target| target.name == name);
    let target = found.expect("a target");
    let seeds = corpus(target);
    let mut mutator = Mutator::new(&seeds);
    for number in 0..wished_mutations(count) {
        let bomb = mutator.bomb(octets);
        let memory = proc_status::Peak::begin();
        check(target, &bomb);
        let kib = memory.grown_kib();
        let _kept = Kept {
            target,
            input: &bomb,
        };
        assert!(kib < most_kib, "{name}: bomb {number} took {kib} KiB");
    }
}

#[test]
fn no_configuration_is_a_bomb() {
    bombs("config", 512 << 10, 24, 192 << 10);
}

#[test]
fn no_filter_is_a_bomb() {
    bombs("filter", 64 << 10, 100, 64 << 10);
}

#[test]
fn no_query_is_a_bomb() {
    bombs("api_query", 64 << 10, 100, 64 << 10);
}

#[test]
fn every_target_has_its_fuzzer() {
    let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).expect("a manifest");
    let programs = manifest.lines().filter(|line| *line == "[[bin]]").count();
    assert_eq!(programs, TARGETS.len());
    for Target { name, .. } in TARGETS {
        let path = format!("targets/{name}.rs");
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{name}");
        let program = fs::read_to_string(fuzz_folder().join(path)).expect("a program");
        assert!(
            program.contains(&format!("probe_fuzz::{name}::check(")),
            "{name}"
        );
    }
}

#[test]
fn the_corpus_is_small() {
    let inputs = TARGETS.iter().flat_map(corpus);
    let bytes: usize = inputs.map(|input| input.len()).sum();
    assert!(bytes < MOST_CORPUS_BYTES, "{bytes} octets");
}
