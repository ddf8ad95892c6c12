//! Every command in a terminal: no line is longer than the terminal is wide, also of errors.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    process::Command,
};

use clap::CommandFactory;
use probe_agent::cli::Cli;
use rstest::rstest;
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// The command in a terminal of this size: its exit code, and what it writes there.
fn in_terminal(words: &[&str], [columns, rows]: [u16; 2]) -> (Option<i32>, String) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&screen).expect("granted");
    unlockpt(&screen).expect("unlocked");
    let name = ptsname(&screen, Vec::new()).expect("a name");
    let name = name.into_string().expect("text");
    let terminal = File::options().read(true).write(true).open(name);
    let terminal = terminal.expect("it opens");
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).expect("resized");
    let end = || terminal.try_clone().expect("a second handle");
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe-agent"));
    command
        .args(words)
        .env("NO_COLOR", "1")
        .env("TERM", "xterm");
    command.env_remove("RUST_LOG").env_remove("COLUMNS");
    command.stdin(end()).stdout(end()).stderr(end());
    let mut child = command.spawn().expect("the binary runs");
    drop((command, terminal));
    let mut shown = Vec::new();
    // The kernel tells the end by an error: nobody has the terminal open any more.
    let _ = File::from(screen).read_to_end(&mut shown);
    let code = child.wait().expect("it ends").code();
    let shown = String::from_utf8(shown).expect("text");
    (code, shown.replace("\r\n", "\n"))
}

#[track_caller]
fn assert_fits(words: &[&str], columns: u16, shown: &str) {
    for line in shown.lines() {
        let length = line.chars().count();
        assert!(
            length <= columns.into(),
            "{words:?}: {length}: {line}\n{shown}"
        );
    }
}

/// With an agent that is dead, a wrong filter with the longest addresses, and a wrong configuration.
#[rstest]
#[case::small([80, 24])]
#[case::large([200, 50])]
fn errors_fit(#[case] size: [u16; 2]) {
    let folder = tempfile::tempdir().expect("a directory");
    let wrong = folder.path().join("probe.yaml");
    let problems = "captur: {}\nlogging: { level: loud }\nautodetection: { enabled: maybe }\n";
    fs::write(&wrong, problems).expect("written");
    let wrong = wrong.to_str().expect("a path");
    let filter = "--filter=dst host 2001:db8:1234:5678:9abc:def0:1234:5678 and src net \
                  2001:db8:1234:5678:9abc:def0:1234:5678/128 and dst port htps";
    let pcap = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/demo.pcap");
    let pcap = pcap.to_str().expect("a path");
    let nobody = "--addr=unix:/nonexistent/probe.sock";
    for (words, code, part) in [
        (&["status", nobody][..], 4, "api.addr?"),
        (&["flows", nobody], 4, "api.addr?"),
        (&["top", nobody], 4, "api.addr?"),
        (&["reload", nobody], 4, "api.addr?"),
        (&["retention", "confirm", nobody], 4, "api.addr?"),
        (&["flows", filter, nobody], 2, "^^^^"),
        (&["top", filter, nobody], 2, "^^^^"),
        (&["replay", filter, pcap], 2, "^^^^"),
        (&["replay", pcap, "dst", "port", "htps"], 2, "^^^^"),
        (&["replay", pcap, "-n", "3"], 0, "captured from"),
        (&["replay", pcap, "--by", "src,dst,proto"], 0, "groups"),
        (&["replay", pcap, "--rate"], 0, "bit/s"),
        (&["replay", "/nonexistent.pcap"], 1, "nonexistent"),
        (&["check", "-c", wrong], 2, "did you mean"),
        (&["plan", "-c", wrong], 2, "did you mean"),
        (&["run", "-c", wrong], 2, "did you mean"),
        (&["expedite", "-c", wrong], 2, "did you mean"),
        (&["selftest", "-c", wrong], 2, "did you mean"),
        (&["selftest", "--object", "/nonexistent"], 1, "cannot read"),
        (&["chek"], 2, "Usage"),
    ] {
        let (found, shown) = in_terminal(words, size);
        assert_eq!(found, Some(code), "{words:?}: {shown}");
        assert!(shown.contains(part), "{words:?}: {shown}");
        assert_fits(words, size[0], &shown);
    }
}

#[rstest]
#[case::small([80, 24])]
#[case::large([200, 50])]
fn help_fits(#[case] size: [u16; 2]) {
    let command = Cli::command();
    let commands = command.get_subcommands().map(clap::Command::get_name);
    for name in commands {
        let words = [name, "--help"];
        let (code, shown) = in_terminal(&words, size);
        assert_eq!(code, Some(0), "{shown}");
        assert_fits(&words, size[0], &shown);
    }
    let (_, shown) = in_terminal(&["--help"], size);
    assert_fits(&["--help"], size[0], &shown);
}
