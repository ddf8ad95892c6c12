//! One machine in qemu: powered on, listened to, and ended.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// From power on to the first process. Emulated, a quiet host takes 10 s, a busy one 60 s.
const BOOT: Duration = Duration::from_mins(3);

/// From power on to off. Emulated, a quiet host takes 3 to 5 minutes, a busy one 20.
const PATIENCE: Duration = Duration::from_mins(30);

/// What the first process says first.
const STARTED: &str = "verdict kernel ";

/// A kernel that fails ends at once. `no_timer_check`: a machine that gets no CPU for a while takes its
/// timer for broken.
///
/// `maxcpus`: of two possible CPUs only one runs. The agent loads its programs for two: they have more
/// paths to verify. Yet qemu 7.2, where it emulates several CPUs at once, lets one of them meet the
/// breakpoint with which the kernel rewrites its code when a program is attached.
const COMMAND_LINE: &str = "console=ttyS0 quiet oops=panic panic=-1 mitigations=off nokaslr \
                            no_timer_check maxcpus=1";

/// Everything that the machine printed until it went off. Where it does not come up it is tried once
/// more, by emulation.
pub(super) fn run(kernel: &Path, image: &Path, verbose: bool) -> Result<String> {
    match try_run(kernel, image, accelerators(), verbose) {
        Err(error) if error.is::<NotUp>() => {
            println!("{error}\nonce more, emulated:");
            try_run(kernel, image, EMULATION, verbose)
        }
        result => result,
    }
}

/// Options of qemu: emulation, which works everywhere.
const EMULATION: &[&str] = &["-accel", "tcg"];

/// Options of qemu: KVM, and emulation where qemu cannot open it.
const KVM_OR_EMULATION: &[&str] = &["-accel", "kvm", "-accel", "tcg"];

/// KVM where the processor itself runs guests. Elsewhere `/dev/kvm` can exist too, and yet not run a
/// kernel that was not made for it: that of a host that is a guest without nested virtualisation.
fn accelerators() -> &'static [&'static str] {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if runs_guests(&processor) {
        KVM_OR_EMULATION
    } else {
        EMULATION
    }
}

/// Whether the flags of a processor name Intel's or AMD's extension for guests.
fn runs_guests(processor: &str) -> bool {
    let flags = processor.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| {
        line.split_whitespace()
            .any(|it| ["vmx", "svm"].contains(&it))
    })
}

/// The kernel did not reach its first process.
#[derive(Debug)]
struct NotUp(String);

impl std::fmt::Display for NotUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = BOOT.as_secs();
        write!(f, "not up within {seconds} s; it printed:\n{}", self.0)
    }
}

impl std::error::Error for NotUp {}

fn try_run(kernel: &Path, image: &Path, accelerators: &[&str], verbose: bool) -> Result<String> {
    let mut machine = Machine::power_on(kernel, image, accelerators)?;
    let output = machine
        .0
        .stdout
        .take()
        .context("standard output is piped")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                return;
            }
        }
    });
    let started = Instant::now();
    let mut printed = String::new();
    let mut deadline = started + BOOT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => {
                if verbose {
                    println!("{line}");
                }
                if line.contains(STARTED) {
                    deadline = started + PATIENCE;
                }
                printed.push_str(&line);
                printed.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(printed),
            Err(RecvTimeoutError::Timeout) if !printed.contains(STARTED) => {
                return Err(NotUp(printed).into());
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = PATIENCE.as_secs();
                bail!("still running after {seconds} s; it printed:\n{printed}");
            }
        }
    }
}

/// A running machine, off when dropped.
struct Machine(Child);

impl Machine {
    fn power_on(kernel: &Path, image: &Path, accelerators: &[&str]) -> Result<Self> {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-m", "1024", "-smp", "2", "-nographic", "-no-reboot"])
            .args(["-nic", "none"])
            .args(accelerators)
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(image)
            .args(["-append", COMMAND_LINE])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let child = qemu.spawn();
        child
            .map(Self)
            .context("`qemu-system-x86_64` did not start")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail where the machine is off already, which is the rule.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::runs_guests;

    #[test]
    fn only_an_extension_for_guests_makes_kvm_useful() {
        let processor = "processor\t: 0\nvmx flags\t: vnmi\nflags\t\t: fpu vme de hypervisor\n";
        assert!(!runs_guests(processor));
        assert!(!runs_guests(""));
        assert!(runs_guests(
            &processor.replace(" hypervisor", " svm extapic")
        ));
        assert!(runs_guests(&processor.replace(" hypervisor", " vmx")));
    }
}
