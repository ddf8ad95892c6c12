//! Input that can be read only once, and may never end.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use probe_testkit::process::status;
use rstest::rstest;
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    io::ioctl_fionread,
    process::{Pid, Signal, kill_process},
};

use crate::{
    packets::frame,
    write::{ETHERNET, Folder, Order, Pcap, PcapNg, USB},
};

/// Longer than anything here takes on a machine that is busy.
const AT_MOST: Duration = Duration::from_mins(1);

fn replay_of(path: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_probe-agent"))
        .args(["replay", path])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < AT_MOST, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Writes until nobody reads any more.
fn write_without_end(mut stdin: ChildStdin, head: &[u8], rest: &[u8]) {
    let mut written = stdin.write_all(head);
    while written.is_ok() {
        written = stdin.write_all(rest);
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

fn version(bytes: &[u8], minor: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[14] = minor;
    bytes
}

#[rstest]
#[case::text(b"y\ny\n", "looks like text")]
#[case::zeros(&[0; 64], "starts with unknown bytes")]
#[case::gzip(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "gzip -dc")]
#[case::link_type(&Pcap::new(Order::Little, 0xa1b2_c3d4, USB).bytes, "189 (USB_LINUX)")]
#[case::version_of_pcap(
    &Pcap::of_version(Order::Big, 0xa1b2_c3d4, (3, 0), ETHERNET).bytes,
    "version 3.0 of pcap"
)]
#[case::version_of_pcapng(&version(&PcapNg::new(Order::Little).bytes, 9), "version 1.9 of pcapng")]
fn endless_input_that_is_no_capture_is_refused_at_once(#[case] head: &[u8], #[case] answer: &str) {
    let mut child = replay_of("-");
    let stdin = child.stdin.take().expect("a pipe");
    thread::scope(|scope| {
        scope.spawn(|| write_without_end(stdin, head, head));
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(1));
        let stderr = text(output.stderr);
        assert!(stderr.contains(answer), "{stderr}");
    });
}

/// The first octets are enough, though the pipe stays open and silent.
#[test]
fn silent_input_that_is_no_capture_is_refused_at_once() {
    let mut child = replay_of("-");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"hello\n").expect("written");
    let output = child.wait_with_output().expect("it ends");
    drop(stdin);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stderr).contains("looks like text"));
}

fn signals_are_caught(child: &Child) -> bool {
    let caught = status(child.id(), "SigCgt").ok();
    let mask = caught.and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    let interrupt = 1 << (Signal::INT.as_raw() - 1);
    mask.is_some_and(|mask| mask & interrupt != 0)
}

fn interrupt(child: Child) -> Output {
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).expect("signalled");
    child.wait_with_output().expect("it ends")
}

/// As `tcpdump -w - | probe-agent replay -` is ended by Ctrl-C.
#[rstest]
#[case::between_packets(0)]
#[case::in_a_packet(30)]
fn a_signal_ends_a_live_stream_and_shows_its_flows(#[case] more: usize) {
    let frame = frame::Ipv4::of(frame::UDP).frame(&frame::udp(4));
    let file = Pcap::ethernet().whole(&frame).whole(&frame);
    let cut = Pcap::ethernet().whole(&frame).bytes;
    let mut child = replay_of("-");
    let mut stdin = child.stdin.take().expect("a pipe");
    let bytes = [&file.bytes, &cut[24..24 + more]].concat();
    stdin.write_all(&bytes).expect("written");
    wait_until("the handler", || signals_are_caught(&child));
    wait_until("the pipe is empty", || ioctl_fionread(&stdin) == Ok(0));
    let output = interrupt(child);
    drop(stdin);
    assert!(output.status.success(), "{output:?}");
    let stdout = text(output.stdout);
    assert!(stdout.contains("seen 2 = flows 2 (residue 0)"), "{stdout}");
    let stderr = text(output.stderr);
    assert!(stderr.contains("reading was stopped"), "{stderr}");
}

fn fifo(folder: &Folder) -> std::path::PathBuf {
    let path = folder.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a named pipe");
    path
}

fn is_open(child: &Child, path: &Path) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", child.id())) else {
        return false;
    };
    let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.any(|target| target == path)
}

#[test]
fn a_named_pipe_is_read_like_a_file() {
    let frame = frame::Ipv4::of(frame::UDP).frame(&frame::udp(4));
    let file = PcapNg::new(Order::Little)
        .named(ETHERNET, "eth0")
        .whole(0, &frame);
    let folder = Folder::new();
    let path = fifo(&folder);
    let child = replay_of(path.to_str().expect("text"));
    // A writer waits for a reader, which waits for neither.
    wait_until("the reader", || is_open(&child, &path));
    let mut writer = File::options().write(true).open(&path).expect("opened");
    writer.write_all(&file.bytes).expect("written");
    drop(writer);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    assert!(text(output.stdout).contains("seen 1 = flows 1"));
}

#[test]
fn a_named_pipe_without_a_writer_is_left_by_a_signal() {
    let folder = Folder::new();
    let path = fifo(&folder);
    let child = replay_of(path.to_str().expect("text"));
    wait_until("the handler", || signals_are_caught(&child));
    wait_until("the reader", || is_open(&child, &path));
    let output = interrupt(child);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(output.stderr);
    assert!(stderr.contains("it is empty"), "{stderr}");
}

/// What another process has read of a file is not read again.
#[test]
fn a_redirected_file_is_read_from_where_it_stands() {
    let frame = frame::Ipv4::of(frame::UDP).frame(&frame::udp(4));
    let bytes = [&[0; 10][..], &Pcap::ethernet().whole(&frame).bytes].concat();
    let folder = Folder::new();
    let mut file = File::open(folder.file("x", &bytes)).expect("opened");
    file.read_exact(&mut [0; 10]).expect("read");
    let output = crate::command::probe_agent(&["-"], file.into());
    assert!(output.status.success(), "{output:?}");
}
