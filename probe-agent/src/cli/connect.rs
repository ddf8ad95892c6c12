//! How the commands that ask a running agent find it, and what they say when it does not answer.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::EXIT_UNREACHABLE;
use probe_api::{
    client::{Client, ClientError},
    endpoint::Endpoint,
};

/// Where the agent is.
#[derive(Args, Clone, Debug)]
pub(super) struct ConnectArgs {
    /// Where the agent listens: its api.addr, `unix:/path` or `IP:port`
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "unix:/run/probe/probe.sock"
    )]
    #[arg(value_parser = Endpoint::parse)]
    addr: Endpoint,
    /// File with the key, for an agent on TCP; else the variable `PROBE_API_KEY` is used
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl ConnectArgs {
    /// A client of that agent. Does not connect yet.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let key = Client::find_key(self.key_file.as_deref())?;
        Ok(Client::new(self.addr.clone(), key)?)
    }
}

/// Tells an agent that does not answer from other failures, by the exit code.
pub(super) fn outcome(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let error = match result {
        Ok(code) => return Ok(code),
        Err(error) => error,
    };
    match error.downcast_ref() {
        Some(
            ClientError::NotRunning { .. }
            | ClientError::Permission { .. }
            | ClientError::Refused { .. }
            | ClientError::Broken { .. },
        ) => {
            eprintln!("error: {error}");
            Ok(ExitCode::from(EXIT_UNREACHABLE))
        }
        _ => Err(error),
    }
}
