//! Programs that are attached to a link already.

use serde::Serialize;

use probe_datapath::inventory::AttachedProgram;

/// A program that is attached to a link.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramPlan {
    /// Where: `xdp-native`, `tcx ingress` …
    pub hook: &'static str,
    /// `bpf`, or the kind of a filter that is no program.
    pub kind: String,
    /// The kernel's number of the program.
    pub id: Option<u32>,
    /// Name of the program; `None` if it has none.
    pub name: Option<String>,
    /// It is of this agent: one is running, or was.
    pub ours: bool,
    /// Processes that hold it open.
    pub held_by: Vec<HolderPlan>,
}

/// A process that holds a program open.
#[derive(Clone, Debug, Serialize)]
pub struct HolderPlan {
    /// Process id in our namespace.
    pub pid: u32,
    /// Name of the process's command.
    pub command: String,
}

impl ProgramPlan {
    pub(super) fn from_program(program: &AttachedProgram) -> Self {
        let holders = program.holders.iter();
        Self {
            hook: program.hook.name(),
            kind: program.kind.clone(),
            id: program.id,
            name: program.name.clone(),
            ours: program.is_ours(),
            held_by: holders
                .map(|holder| HolderPlan {
                    pid: holder.pid,
                    command: holder.command.clone(),
                })
                .collect(),
        }
    }
}
