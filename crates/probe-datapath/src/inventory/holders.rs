//! Which processes hold programs in the kernel, by their open files.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
};

use probe_flow::text::escaped;

/// A process that holds a program open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Process id in our namespace.
    pub pid: u32,
    /// Name of the command, 15 octets at most.
    pub command: String,
}

/// The processes that hold programs, or links that attach programs, by program.
pub(super) fn holders(hidden: &mut BTreeSet<String>) -> HashMap<u32, Vec<Holder>> {
    let mut holders: HashMap<u32, Vec<Holder>> = HashMap::new();
    let Ok(processes) = fs::read_dir("/proc") else {
        hidden.insert("holders of attached programs: /proc cannot be read".to_owned());
        return holders;
    };
    for process in processes.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|pid| pid.parse().ok())
        else {
            continue;
        };
        match programs_held_by(pid) {
            Ok(programs) => {
                for program in programs {
                    let command = fs::read(format!("/proc/{pid}/comm"));
                    let command = escaped(command.unwrap_or_default().trim_ascii_end());
                    holders
                        .entry(program)
                        .or_default()
                        .push(Holder { pid, command });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                hidden.insert(
                    "holders of attached programs in other users' processes: CAP_SYS_PTRACE"
                        .to_owned(),
                );
            }
            // It has just ended.
            Err(_) => {}
        }
    }
    holders
}

fn programs_held_by(pid: u32) -> io::Result<BTreeSet<u32>> {
    let mut programs = BTreeSet::new();
    for file in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        // `bpf-prog`, `bpf_link`, and on older kernels `bpf-link`.
        let is_bpf = fs::read_link(file.path())
            .is_ok_and(|target| target.to_string_lossy().starts_with("anon_inode:bpf"));
        if !is_bpf {
            continue;
        }
        let info = format!("/proc/{pid}/fdinfo/{}", file.file_name().to_string_lossy());
        let info = fs::read_to_string(info).unwrap_or_default();
        let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"));
        programs.extend(id.and_then(|id| id.trim().parse::<u32>().ok()));
    }
    Ok(programs)
}
