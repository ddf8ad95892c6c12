//! How the commands that ask a running agent find it, and what they say when it does not answer.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::EXIT_UNREACHABLE;
use crate::term::page::tell;
use probe_api::client::{AgentAddr, Client, ClientError, Trust};

/// Where the agent is.
#[derive(Args, Clone, Debug)]
pub(super) struct ConnectArgs {
    /// Where the agent listens: its api.addr, `unix:/path` or `IP:port`; with api.tls `https://HOST:port`
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "unix:/run/probe/probe.sock"
    )]
    addr: AgentAddr,
    /// File with the key, for an agent on TCP; else the variable `PROBE_API_KEY` is used
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Certificates (PEM) that sign the agent's, or its own if self-signed; else those of the system
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Name or IP address that the agent's certificate is for; else the host of ADDR
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Not taken: says what is.
    #[arg(short, long, value_name = "FILE", hide = true, value_parser = no_config)]
    #[arg(num_args = 0..=1, default_missing_value = "")]
    config: Option<String>,
}

/// Other commands read a configuration, and users give it to these as well.
fn no_config(_file: &str) -> Result<String, &'static str> {
    Err(
        "a running agent is asked, not its file; give its api.addr as --addr ADDR, unless that is \
         unix:/run/probe/probe.sock",
    )
}

impl ConnectArgs {
    /// A client of that agent. Does not connect yet.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let key = Client::find_key(self.key_file.as_deref())?;
        let is_tls = matches!(self.addr, AgentAddr::Tcp { is_tls: true, .. });
        if !is_tls && (self.ca_file.is_some() || self.server_name.is_some()) {
            anyhow::bail!(
                "--ca-file and --server-name are for an agent with api.tls; \
                 give its address as --addr https://HOST:port"
            );
        }
        let trust = Trust {
            ca_file: self.ca_file.clone(),
            server_name: self.server_name.clone(),
        };
        Ok(Client::with_trust(self.addr.clone(), key, &trust)?)
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
            | ClientError::Tls { .. }
            | ClientError::Broken { .. },
        ) => {
            tell(format_args!("error: {error}"));
            Ok(ExitCode::from(EXIT_UNREACHABLE))
        }
        _ => Err(error),
    }
}
