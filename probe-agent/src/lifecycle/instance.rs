//! Whether another agent captures in the network namespace.
//!
//! Two agents may run side by side: hooks take several programs. But what both capture is counted
//! twice, and what the first has attached by clsact looks to the second as if a dead agent had left
//! it. So each agent takes a name for its life, an abstract unix socket (unix(7)), and the kernel
//! frees it with the process. Such names have no permissions: any user may take one. So a name
//! that is taken is no reason to do without, and a holder counts only if it may be an agent.

use std::{
    collections::BTreeSet,
    fs, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    process,
    time::{Duration, Instant},
};

use caps::Capability;
use probe_api::{
    endpoint::Endpoint,
    listener::{listener_of, process as process_name},
};
use probe_flow::text::escaped;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, UCred, connect, socket_with,
        sockopt::socket_peercred,
    },
    process::{geteuid, test_kill_process},
};

mod ending;

const NAME: &str = "probe-agent";

/// How long a start waits for processes that are ending.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who began to listen at an address; none if nobody does.
type Holder = fn(&SocketAddrUnix) -> Result<Option<UCred>, Errno>;

/// What a start has found.
#[derive(Debug)]
pub enum Instance {
    /// The first agent of the namespace, for as long as this is held.
    First {
        /// Holds the name; nothing is ever read from it.
        _name: UnixListener,
    },
    /// Another agent was there before.
    Beside {
        /// Its process, as a message names it.
        other: String,
        /// So that a third agent learns of this one, also when the first has ended.
        _name: UnixListener,
    },
}

impl Instance {
    /// Takes a name, and looks who else has one. Waits for an agent that is ending and still has one, or
    /// listens on `api_addr`: for half a minute at most, since the kernel takes its time. Never waits for a
    /// process that lives.
    ///
    /// # Errors
    ///
    /// The system gives no socket, or does not tell which there are.
    pub fn claim(api_addr: Option<&str>) -> io::Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        for addr in addresses(NAME, api_addr) {
            wait_for_ending(&addr, deadline);
        }
        Self::claim_name(NAME, holder)
    }

    fn claim_name(name: &str, holder: Holder) -> io::Result<Self> {
        let (own, listener) = take(name)?;
        let other = match other_agent(name, &own, holder) {
            // Somebody has the name.
            Err(error) if own != name => Some(cannot_be_named(&error)),
            other => other?,
        };
        Ok(match other {
            None => Self::First { _name: listener },
            Some(other) => Self::Beside {
                other,
                _name: listener,
            },
        })
    }
}

/// Where an agent may listen: at the API's socket of this configuration, and at the names in use.
fn addresses(name: &str, api_addr: Option<&str>) -> Vec<SocketAddrUnix> {
    let api = match api_addr.map(Endpoint::parse) {
        Some(Ok(Endpoint::Unix(path))) => SocketAddrUnix::new(path).ok(),
        _ => None,
    };
    // What cannot be read is an error of what follows.
    let names = held_names(name).unwrap_or_default().into_iter();
    let names = names.filter_map(|it| SocketAddrUnix::new_abstract_name(it.as_bytes()).ok());
    names.chain(api).collect()
}

fn wait_for_ending(addr: &SocketAddrUnix, deadline: Instant) {
    if let Ok(Some(holder)) = holder(addr)
        && may_be_agent(holder)
    {
        ending::wait_until_gone(holder, deadline);
    }
}

/// Takes the name, or if it is taken, one that begins with it.
fn take(name: &str) -> io::Result<(String, UnixListener)> {
    let others = (0_u32..).map(|number| format!("{name}.{}.{number}", process::id()));
    for own in [name.to_owned()].into_iter().chain(others) {
        match UnixListener::bind_addr(&SocketAddr::from_abstract_name(&own)?) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return Ok((own, bound?)),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// A process that holds such a name and may be an agent, as a message names it.
fn other_agent(name: &str, own: &str, holder: Holder) -> io::Result<Option<String>> {
    let mut foreign = Vec::new();
    let other = look_for_agent(name, own, holder, &mut foreign);
    if !foreign.is_empty() {
        tracing::warn!(
            "processes that can be no agents hold names of agents: {}",
            foreign.join(", ")
        );
    }
    other
}

/// The same; `foreign` gets the names of those that can be none.
fn look_for_agent(
    name: &str,
    own: &str,
    holder: Holder,
    foreign: &mut Vec<String>,
) -> io::Result<Option<String>> {
    for held in held_names(name)? {
        let addr = SocketAddrUnix::new_abstract_name(held.as_bytes())?;
        if held == own {
            continue;
        }
        match holder(&addr) {
            Ok(Some(credentials)) if !may_be_agent(credentials) => {
                let UCred { pid, uid, .. } = credentials;
                let (pid, uid) = (pid.as_raw_pid(), uid.as_raw());
                foreign.push(format!(
                    "@{} (process {pid}, user {uid})",
                    escaped(held.as_bytes())
                ));
            }
            Ok(Some(credentials)) => return Ok(Some(process_name(credentials.pid.as_raw_pid()))),
            // Who takes no connections does not tell who it is.
            Err(Errno::AGAIN) => {
                let other = listener_of(&addr);
                let other = other.unwrap_or_else(|error| Some(cannot_be_named(&error.into())));
                if other.is_some() {
                    return Ok(other);
                }
            }
            // It has just ended.
            Ok(None) => {}
            Err(error) => return Ok(Some(cannot_be_named(&error.into()))),
        }
    }
    Ok(None)
}

fn cannot_be_named(error: &io::Error) -> String {
    format!("a process that cannot be named: {error}")
}

/// The names in use that [`take`] gives, of this network namespace.
fn held_names(name: &str) -> io::Result<BTreeSet<String>> {
    let sockets = fs::read("/proc/thread-self/net/unix")?;
    let names = sockets.split(|octet| *octet == b'\n').filter_map(|line| {
        // The eighth column; other names may be of any octets.
        let path = line.rsplit(|octet| *octet == b' ').next()?;
        let held = str::from_utf8(path).ok()?.strip_prefix('@')?;
        let rest = held.strip_prefix(name)?;
        let is_one = rest.is_empty() || rest.starts_with('.');
        is_one.then(|| held.to_owned())
    });
    Ok(names.collect())
}

/// Never waits for the process.
fn holder(addr: &SocketAddrUnix) -> Result<Option<UCred>, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, addr) {
        Ok(()) => socket_peercred(&socket).map(Some),
        // What agents hold is a stream.
        Err(Errno::CONNREFUSED | Errno::PROTOTYPE) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An agent is root's, our user's, or has its rights from a service manager. It lives: a process that
/// has ended and left the socket to another one is none. Without an answer the process counts.
fn may_be_agent(holder: UCred) -> bool {
    if holder.uid.is_root() || holder.uid == geteuid() {
        return true;
    }
    let of = |pid: &str, file| fs::read_to_string(format!("/proc/{pid}/{file}"));
    let pid = holder.pid.as_raw_pid().to_string();
    let (Ok(status), Ok(users), Ok(own_users)) = (
        of(&pid, "status"),
        of(&pid, "uid_map"),
        of("self", "uid_map"),
    ) else {
        // Unlike /proc this is told of each process, whatever `hidepid` says.
        return test_kill_process(holder.pid) != Err(Errno::SRCH);
    };
    // In a user namespace of its own every process has all capabilities.
    users == own_users && has_net_admin(&status)
}

/// By the text of /proc/PID/status, proc_pid_status(5).
fn has_net_admin(status: &str) -> bool {
    let mut lines = status.lines();
    let effective = lines.find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    effective.is_none_or(|mask| mask & Capability::CAP_NET_ADMIN.bitmask() != 0)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read as _},
        os::unix::process::CommandExt as _,
        process::{Child, ChildStdout, Command, Stdio},
        thread,
        time::Instant,
    };

    use probe_testkit::{eventually, skip};
    use rustix::{io::Errno, process::Pid};

    use super::{Instance, PATIENCE, addresses, has_net_admin, holder, wait_for_ending};

    fn claim(name: &str) -> std::io::Result<Instance> {
        Instance::claim_name(name, holder)
    }

    fn unique(what: &str) -> String {
        format!("probe-{what}-{}", std::process::id())
    }

    #[test]
    fn the_second_agent_learns_of_the_first_and_the_third_of_the_second() {
        let name = unique("instance");
        let first = claim(&name).unwrap();
        assert!(matches!(first, Instance::First { .. }));
        let us = format!("process {} (", std::process::id());
        let second = claim(&name).unwrap();
        let Instance::Beside { other, .. } = &second else {
            panic!("the name is taken");
        };
        assert!(other.starts_with(&us), "{other}");
        drop(first);
        let third = claim(&name).unwrap();
        assert!(matches!(third, Instance::Beside { .. }), "{third:?}");
        drop((second, third));
        let next = claim(&name).unwrap();
        assert!(matches!(next, Instance::First { .. }));
    }

    /// Another user's process that has the name, until its input ends.
    fn foreign(name: &str, then: &str) -> (Child, BufReader<ChildStdout>) {
        let holds = format!(
            "import os, socket, sys\nit = socket.socket(socket.AF_UNIX)\nit.bind('\\0{name}')\n\
             it.listen()\n{then}\nprint('listens', flush=True)\nsys.stdin.read()"
        );
        let mut python = Command::new("python3");
        python.args(["-c", &holds]).uid(65_534).gid(65_534);
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut python = python.spawn().unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(python.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "listens\n");
        (python, said)
    }

    #[test]
    fn who_has_ended_and_left_the_name_to_its_child_is_no_agent() {
        if !skip::kernel_or_skip(&["python3"]) {
            return;
        }
        let name = unique("left");
        let (mut python, mut said) = foreign(&name, "if os.fork(): os._exit(0)");
        let input = python.stdin.take();
        python.wait().unwrap();
        let first = claim(&name).unwrap();
        assert!(matches!(first, Instance::First { .. }), "{first:?}");
        drop(input);
        said.read_to_string(&mut String::new()).unwrap();
    }

    #[test]
    fn a_name_that_another_user_holds_keeps_no_agent_from_being_the_first() {
        if !skip::kernel_or_skip(&["python3"]) {
            return;
        }
        let name = unique("foreign");
        let (mut python, mut said) = foreign(&name, "");
        let first = claim(&name).unwrap();
        assert!(matches!(first, Instance::First { .. }), "{first:?}");
        let second = claim(&name).unwrap();
        assert!(matches!(second, Instance::Beside { .. }), "{second:?}");
        drop(python.stdin.take());
        said.read_to_string(&mut String::new()).unwrap();
        python.wait().unwrap();
        let third = claim(&name).unwrap();
        assert!(matches!(third, Instance::Beside { .. }), "{third:?}");
    }

    #[test]
    fn who_holds_the_name_and_cannot_be_asked_counts() {
        let name = unique("unnamed");
        let first = claim(&name).unwrap();
        let second = Instance::claim_name(&name, |_| Err(Errno::MFILE)).unwrap();
        let Instance::Beside { other, .. } = &second else {
            panic!("the name is taken");
        };
        assert!(
            other.starts_with("a process that cannot be named: "),
            "{other}"
        );
        drop(first);
    }

    /// As after SIGKILL, while the kernel still takes programs off.
    #[test]
    fn an_agent_that_is_ending_is_waited_for() {
        const DIES_SLOWLY: &str = "\
            import ctypes, os, socket, sys, threading\n\
            it = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]\n\
            it[0].bind('\\0' + sys.argv[1])\n\
            it[1].bind(sys.argv[2])\n\
            for held in it: held.listen()\n\
            def holds():\n  sys.stdin.read()\n  os._exit(0)\n\
            threading.Thread(target=holds).start()\n\
            print('listens', flush=True)\n\
            number = {'x86_64': 60, 'aarch64': 93}[os.uname().machine]\n\
            ctypes.CDLL(None).syscall(number, 0)\n";
        if !skip::kernel_or_skip(&["python3"]) {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let api = folder.path().join("probe.sock");
        let name = unique("ending");
        let mut python = Command::new("python3");
        python.args(["-c", DIES_SLOWLY, &name]).arg(&api);
        let python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut python = python.unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(python.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "listens\n");
        let api = format!("unix:{}", api.display());
        let found = addresses(&name, Some(&api));
        assert_eq!(found.len(), 2);
        let pid = Pid::from_child(&python);
        eventually("its main thread has ended", || {
            super::ending::is_ending(pid.as_raw_pid()).then_some(())
        });
        // It counts until its end, for which no start waits for ever.
        wait_for_ending(&found[1], Instant::now());
        assert!(matches!(claim(&name).unwrap(), Instance::Beside { .. }));

        let waits = thread::spawn({
            let found = found.clone();
            move || {
                let deadline = Instant::now() + PATIENCE;
                for addr in found {
                    wait_for_ending(&addr, deadline);
                }
                Instant::now()
            }
        });
        let begin = Instant::now();
        drop(python.stdin.take());
        assert!(waits.join().unwrap() >= begin);
        let first = claim(&name).unwrap();
        assert!(matches!(first, Instance::First { .. }), "{first:?}");
        python.wait().unwrap();
    }

    #[test]
    fn rights_of_an_agent_are_told_by_its_status() {
        assert!(has_net_admin("Name:\tx\nCapEff:\t000000c000001000\n"));
        assert!(!has_net_admin(
            "CapPrm:\t0000000000001000\nCapEff:\t0000000000000000\n"
        ));
    }
}
