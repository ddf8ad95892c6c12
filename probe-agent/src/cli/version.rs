//! `probe-agent version`: what exactly is running, for a report of a defect.

use std::process::ExitCode;

use super::print;

/// Kernels that the programs are made for.
const KERNELS: &str = "made for 5.10 and newer, tested on 6.18";

/// Tells version, commit, object and kernels.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    print(&text())?;
    Ok(ExitCode::SUCCESS)
}

fn text() -> String {
    let (version, commit) = (crate::VERSION, crate::COMMIT);
    let object = probe_datapath::OBJECT_SHA256;
    format!(
        "probe-agent  {version}\n\
         commit       {commit}\n\
         eBPF object  sha256 {object}\n\
         kernels      {KERNELS}\n"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_text_names_version_object_and_kernels() {
        let text = super::text();
        for part in [
            crate::VERSION,
            "commit",
            "eBPF object",
            "made for 5.10 and newer, tested on 6.18",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
