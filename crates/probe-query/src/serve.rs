//! `probe-query serve`: the same questions, over HTTP, and a page that asks them.
//!
//! docs/PAGE.md says what it answers. A question comes as parameters of a URL, becomes the words of the
//! command line, and is asked as from there: languages, defaults and errors are the same.

mod access;
mod key;
mod listener;
mod page;
mod parameters;
mod problem;
mod routes;
mod runner;
mod series;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;

use self::{
    access::Access,
    key::KeyError,
    listener::{Address, Bound},
    routes::App,
    runner::Runner,
};
use crate::cli;

/// The word that asks for the page, as the first of the command line.
pub const COMMAND: &str = "serve";

/// Most rows of an answer.
const MOST_ROWS: usize = 10_000;

const AFTER_HELP: &str = "\
The page needs nothing from elsewhere. docs/PAGE.md describes it, and the addresses of its answers.

Exit codes:
  0    ended by SIGINT or SIGTERM
  1    cannot listen
  2    wrong command line, or a key that cannot be used";

/// Shows stored flows on a page in the browser, and answers questions over HTTP
#[derive(Debug, Parser)]
#[command(name = "probe-query serve", version, after_help = AFTER_HELP)]
pub struct ServeCli {
    /// Directory of a store: `path` of a Parquet sink. May be given several times
    #[arg(long = "store", value_name = "DIR", default_value = cli::DEFAULT_STORE)]
    stores: Vec<PathBuf>,

    /// Where to listen: address and port, or the path of a unix socket. Beyond the loopback only with
    /// --key-file
    #[arg(long, value_name = "ADDR|PATH", default_value = "127.0.0.1:9480")]
    listen: String,

    /// File with the key that clients must send, of 32 to 256 visible ASCII characters
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Memory of a question for groups and rows, such as 512MiB. Two are asked at a time
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    memory: String,

    /// Seconds that a question may wait and run
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    time_limit: u64,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    /// A word of the command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The file with the key.
    #[error("--key-file: {0}")]
    Key(#[from] KeyError),
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}; name another one (`--listen`)")]
    Listen { address: String, source: io::Error },
    /// No threads, no signals.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

impl ServeCli {
    /// Serves until SIGINT or SIGTERM, and gives the exit code.
    pub fn run(&self) -> ExitCode {
        match self.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                match error {
                    ServeError::Usage(_) | ServeError::Key(_) => ExitCode::from(2),
                    ServeError::Listen { .. } | ServeError::Start(_) => ExitCode::FAILURE,
                }
            }
        }
    }

    fn serve(&self) -> Result<(), ServeError> {
        let address = Address::read(&self.listen).map_err(ServeError::Usage)?;
        let access = self.access(&address)?;
        cli::memory(&self.memory).map_err(ServeError::Usage)?;
        let questions = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let runner = Runner::new(
            questions.handle().clone(),
            Duration::from_secs(self.time_limit),
        );
        let app = App::new(self.stores.clone(), self.memory.clone(), runner);
        let router = routes::router(Arc::new(app), access);
        // Answers only hand over and wait: one thread is enough.
        let http = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let outcome = http.block_on(async {
            let ended = ended()?;
            let bound = Bound::bind(&address).map_err(|source| ServeError::Listen {
                address: address.to_string(),
                source,
            })?;
            self.tell(&bound);
            tokio::select! {
                () = bound.serve(router) => {}
                () = ended => {}
            }
            Ok(())
        });
        // What still runs is of no use to anybody.
        questions.shutdown_background();
        outcome
    }

    fn access(&self, address: &Address) -> Result<Access, ServeError> {
        match (&self.key_file, address) {
            (Some(path), _) => Ok(Access::Key(Arc::new(key::read(path)?))),
            (None, Address::Socket(_)) => Ok(Access::Socket),
            (None, Address::Tcp(addr)) if addr.ip().is_loopback() => Ok(Access::Loopback),
            (None, Address::Tcp(addr)) => Err(ServeError::Usage(format!(
                "--listen: {addr} can be reached from other hosts, and no key is asked for; give a file with \
                 one (`--key-file`, made by `openssl rand -hex 32`), or listen on 127.0.0.1"
            ))),
        }
    }

    fn tell(&self, bound: &Bound) {
        println!("serving {bound}; Ctrl-C ends it");
        if self.key_file.is_some() && bound.is_beyond_this_host() {
            eprintln!(
                "warning: key and answers cross the network in the clear; put a proxy with TLS in front, or \
                 an SSH tunnel"
            );
        }
        for store in self.stores.iter().filter(|store| !store.is_dir()) {
            eprintln!(
                "warning: there is no directory {}: answers are errors until there is",
                store.display()
            );
        }
    }
}

/// Ends with SIGINT or SIGTERM.
fn ended() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod command_line {
    use clap::{CommandFactory, Parser};

    use super::{Access, Address, ServeCli};

    #[test]
    fn it_is_consistent() {
        ServeCli::command().debug_assert();
    }

    #[test]
    fn beyond_the_loopback_a_key_is_needed() {
        let access = |listen: &str| {
            let cli = ServeCli::parse_from(["probe-query serve", "--listen", listen]);
            let address = Address::read(&cli.listen).unwrap();
            cli.access(&address).map_err(|error| error.to_string())
        };
        for own in ["127.0.0.1:9480", "127.1.2.3:1", "[::1]:9480"] {
            assert!(matches!(access(own), Ok(Access::Loopback)), "{own}");
        }
        assert!(matches!(access("/run/x.sock"), Ok(Access::Socket)));
        for open in ["0.0.0.0:9480", "[::]:9480", "192.0.2.1:9480"] {
            let error = access(open).unwrap_err();
            assert!(error.contains("--key-file"), "{open}: {error}");
        }
    }
}
