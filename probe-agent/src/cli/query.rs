//! `probe-agent query …`: hands over to `probe-query`, which asks what is stored.
//!
//! That is a program of its own, since its engine is larger than the agent: nothing of it is in this
//! binary. The process is replaced, so output, signals and exit codes are those of `probe-query`.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
};

use clap::Args;

/// Name of the program that answers.
const PROGRAM: &str = "probe-query";

/// Ask what is stored: who talked to whom, when, how much, and how complete the answer is
///
/// Becomes `probe-query`, which is installed beside `probe-agent` or in the PATH; all words go to it.
/// `probe-query --help` shows its options, docs/QUERY.md is its manual.
#[derive(Args, Debug)]
pub(super) struct QueryArgs {
    /// The words of `probe-query`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "WORD"
    )]
    words: Vec<OsString>,
}

/// Becomes `probe-query`, or says what helps.
pub(super) fn run(args: &QueryArgs) -> anyhow::Result<ExitCode> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for program in [beside(), Some(PROGRAM.into())].into_iter().flatten() {
        failed = Command::new(program).args(&args.words).exec();
        if failed.kind() != io::ErrorKind::NotFound {
            break;
        }
    }
    if failed.kind() == io::ErrorKind::NotFound {
        anyhow::bail!(
            "`{PROGRAM}` is not installed: put it beside probe-agent or into the PATH \
             (`cargo build --release` in crates/probe-query builds it)"
        );
    }
    anyhow::bail!("cannot start `{PROGRAM}`: {failed}")
}

/// In the directory of this binary.
fn beside() -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    Some(own.parent()?.join(PROGRAM))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser;

    use super::super::{Cli, Command};

    #[test]
    fn all_words_go_to_the_program() {
        let words = [
            "--since", "-24h", "--by", "src", "tcp", "--strict", "-n", "0",
        ];
        let cli = Cli::try_parse_from(["probe-agent", "query"].iter().chain(&words)).unwrap();
        let Command::Query(args) = cli.command else {
            panic!("another command");
        };
        assert_eq!(args.words, words.map(OsString::from));
    }
}
