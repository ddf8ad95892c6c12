//! `selftest`: passes on this kernel, and fails with a clear report where the object is wrong.

use std::{
    fs,
    ops::Range,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use caps::CapSet;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind};
use probe_agent::config::Config;
use probe_datapath::{load::Object, verify};
use probe_testkit::skip;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_probe-agent");
const OBJECT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/probe-datapath/bpf/probe.bpf.o"
);
const UDP: i32 = 17;
const IPV6: i32 = 0x86dd;
const NOBODY: u32 = 65534;

fn selftest(arguments: &[&str]) -> Output {
    let mut selftest = Command::new(BINARY);
    selftest.arg("selftest").args(arguments);
    selftest.output().expect("the binary runs")
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn in_folder(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("written");
    path
}

/// Where the instructions of an object are.
fn code(object: &[u8]) -> Vec<Range<usize>> {
    let file = object::File::parse(object).expect("an ELF file");
    let sections = file.sections();
    let code = sections.filter(|section| section.kind() == SectionKind::Text);
    let ranges = code.filter_map(|section| section.file_range());
    let place = |offset| usize::try_from(offset).expect("it is in the file");
    ranges
        .map(|(start, len)| place(start)..place(start + len))
        .collect()
}

/// The committed object with another number in the place of `from` wherever it is compared with a
/// register: what a slip in the source would have made of it.
fn mutated(from: i32, to: i32) -> Vec<u8> {
    // BPF_JMP and BPF_JMP32, JEQ and JNE, with an immediate (RFC 9669, section 4.3).
    const COMPARISONS: [u8; 4] = [0x15, 0x55, 0x16, 0x56];
    let mut object = fs::read(OBJECT).expect("the committed object");
    let mut changed = 0;
    for code in code(&object) {
        for instruction in object[code].as_chunks_mut::<8>().0 {
            let (opcode, immediate) = (instruction[0], &mut instruction[4..]);
            if COMPARISONS.contains(&opcode) && *immediate == from.to_le_bytes() {
                immediate.copy_from_slice(&to.to_le_bytes());
                changed += 1;
            }
        }
    }
    assert!(changed > 0, "the object compares nothing with {from:#x}");
    object
}

/// The committed object whose program of this name begins with a register that nothing has set.
fn refused(program: &str) -> Vec<u8> {
    let mut bytes = fs::read(OBJECT).expect("the committed object");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let mut symbols = file.symbols();
    let symbol = symbols
        .find(|symbol| symbol.name() == Ok(program))
        .expect("the object has the program");
    let section = symbol.section_index().expect("a section");
    let section = file.section_by_index(section).expect("that section");
    let (start, _) = section.file_range().expect("it is in the file");
    let at = usize::try_from(start + symbol.address()).expect("it is in the file");
    // BPF_ALU64, MOV, X: r0 = r9 (RFC 9669, section 4.1).
    bytes[at..at + 8].copy_from_slice(&[0xbf, 0x90, 0, 0, 0, 0, 0, 0]);
    bytes
}

#[test]
fn a_program_that_the_kernel_refuses_is_named_and_hides_no_other() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let options = Config::default().source_options().load_options();
    assert!(
        verify::refused_programs(options)
            .expect("it loads")
            .is_empty()
    );
    let object = refused("probe_tc_egress_l3");
    let found = verify::refused_programs_of(&object, options).expect("it loads");
    let names: Vec<_> = found.keys().copied().collect();
    assert_eq!(names, ["probe_tc_egress_l3"]);
    assert!(
        found["probe_tc_egress_l3"].contains("R9 !read_ok"),
        "{found:?}"
    );

    let folder = tempfile::tempdir().expect("a folder");
    let object = in_folder(folder.path(), "refused.o", &object);
    let output = selftest(&["--object", object.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("probe_tc_egress_l3"), "{told}");
}

/// For hundreds of links, each of which asks twice.
#[test]
fn what_the_verifier_has_refused_is_not_loaded_again() {
    const PROGRAM: &str = "probe_tc_egress_l3";
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let options = Config::default().source_options().load_options();
    let mut object = Object::load_bytes(&refused(PROGRAM), options).expect("it loads");
    let told = object.program(PROGRAM).map(drop).expect_err("refused");
    // From now on the kernel would say something else, to this thread.
    caps::clear(None, CapSet::Effective).expect("fewer privileges");
    let again = object.program(PROGRAM).map(drop).expect_err("refused");
    assert_eq!(again.to_string(), told.to_string());
    let other = object.program("probe_tc_egress").map(drop);
    let other = other.expect_err("not permitted").to_string();
    assert!(other.contains("Operation not permitted"), "{other}");
}

#[test]
fn it_loads_what_the_configuration_makes_of_the_programs() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let with = |capture: &str| {
        let yaml = format!("interfaces: {{ lo: {{}} }}\ncapture: {{ {capture} }}\n");
        let config = in_folder(folder.path(), "probe.yaml", yaml.as_bytes());
        selftest(&["--json", "-c", config.to_str().expect("a path")])
    };
    let steps = |output: &Output| {
        let report = json(output);
        assert_eq!(output.status.code(), Some(0), "{report:#}");
        let programs = report["programs"].as_array().expect("a list").clone();
        let of = |program: &Value| program["jited_bytes"].as_u64().expect("a number");
        programs.iter().map(of).sum::<u64>()
    };
    // Without a cache the verifier drops the code for it.
    let with_cache = steps(&with("cache_slots: 1024"));
    assert!(steps(&with("cache_slots: 0")) < with_cache);
    assert_eq!(with("cache_slots: 3").status.code(), Some(2));
}

#[test]
fn it_passes_on_this_kernel() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let output = selftest(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text.contains("good: all "), "{text}");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");

    let output = selftest(&["--json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(
        (&report["ok"], &report["object"]),
        (&true.into(), &"embedded".into())
    );
    assert_eq!(report["runs"], report["agreed"]);
    assert!(report["packets"].as_u64() > Some(150), "{report:#}");
    let programs = report["programs"].as_array().expect("a list");
    assert_eq!(programs.len(), 6, "all programs of the object");
    for program in programs {
        let is_left_out = !program["left_out"].is_null();
        assert!(
            is_left_out || program["runs"].as_u64() > Some(150),
            "{program:#}"
        );
    }
}

#[test]
fn the_committed_object_passes_as_a_file() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let output = selftest(&["--object", OBJECT]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn an_object_that_takes_udp_for_something_else_fails() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let object = in_folder(folder.path(), "udp.o", &mutated(UDP, 18));
    let object = object.to_str().expect("a path");
    let output = selftest(&["--object", object]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for told in [
        "udp",
        "in probe_xdp_ingress",
        "dst_port: expected 2222, got 0",
        "failed: ",
    ] {
        assert!(text.contains(told), "{told} is not in\n{text}");
    }
    let output = selftest(&["--json", "--object", object]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report["ok"], false);
    let differences = report["differences"].as_array().expect("a list");
    assert!(!differences.is_empty());
    for difference in differences {
        let expected = difference["expected"]["text"].as_str().expect("text");
        assert!(expected.contains("ip_protocol 17,"), "{difference:#}");
        assert_ne!(difference["expected"], difference["got"]);
    }
    let agreed = report["agreed"].as_u64().expect("a number");
    let runs = report["runs"].as_u64().expect("a number");
    assert_eq!(agreed + differences.len() as u64, runs);
    assert!(agreed > runs / 2, "what is not UDP still agrees");
}

#[test]
fn an_object_that_does_not_know_ipv6_fails() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let object = in_folder(folder.path(), "ipv6.o", &mutated(IPV6, 0x86de));
    let output = selftest(&["--object", object.to_str().expect("a path")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.contains("record: expected IPv6, got none"), "{text}");
    assert!(
        text.contains("counted as non_ip: expected none, got 1 of "),
        "{text}"
    );
}

#[test]
fn what_is_no_object_is_one_sentence() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let text = in_folder(folder.path(), "notes.txt", b"no object");
    let output = selftest(&["--object", text.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("eBPF object"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");

    let output = selftest(&["--object", "/nonexistent.o"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("/nonexistent.o"), "{told}");
}

#[test]
fn without_privileges_the_remedy_is_told() {
    if !skip::kernel_or_skip(&[]) {
        return;
    }
    // The folder of the build may not be open to everybody.
    let folder = tempfile::tempdir().expect("a folder");
    let binary = folder.path().join("agent");
    fs::copy(BINARY, &binary).expect("a copy");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), everybody).expect("readable");
    let mut selftest = Command::new(binary);
    let output = selftest.arg("selftest").uid(NOBODY).gid(NOBODY).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("lacks CAP_BPF"), "{told}");
    assert!(told.contains("start it as root"), "{told}");
}
