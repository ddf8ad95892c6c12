//! An agent that does not answer: whether it is only busy, or gives no sign of life.

use std::{fs, time::Duration};

use hyper::Method;
use tokio::{net::UnixStream, time};

use super::{Client, ClientError};
use crate::routes::HEALTH_PATH;

/// An answer that is not there by then may take long, or never come.
const PATIENCE: Duration = Duration::from_secs(4);

/// A sign of life takes no work: only an agent that cannot run takes longer.
const SIGN_WITHIN: Duration = Duration::from_secs(4);

impl Client {
    /// Ends when the agent gives no sign of life, whatever it was asked.
    pub(super) async fn silence(&self) -> ClientError {
        loop {
            time::sleep(PATIENCE).await;
            let sign = self.exchange(Method::GET, HEALTH_PATH, "", None);
            // An error comes at once, and the answer that is waited for tells it.
            if time::timeout(SIGN_WITHIN, sign).await.is_err() {
                return self.broken(format!(
                    "no answer, and no sign of life in {SIGN_WITHIN:?}; {}",
                    self.condition()
                ));
            }
        }
    }

    /// The answer took too long, though there may be signs of life.
    pub(super) fn late(&self, timeout: Duration) -> ClientError {
        self.broken(format!("no answer in {timeout:?}; {}", self.condition()))
    }

    /// Remembers whose socket it is (`SO_PEERCRED`, unix(7)).
    pub(super) fn learn_process(&self, stream: &UnixStream) {
        let process = stream.peer_cred().ok().and_then(|it| it.pid());
        // 0: in a namespace from which it is not seen.
        if let Some(process) = process.filter(|process| *process > 0) {
            // It stays the same as long as a command runs, or what is told is a question anyway.
            let _ = self.process.set(process);
        }
    }

    /// What keeps an agent from answering which is there, since it took the connection.
    pub(super) fn condition(&self) -> String {
        match self.process.get() {
            Some(process) if state(*process) == Some('T') => {
                format!("its process {process} is stopped: `kill -CONT {process}` lets it go on")
            }
            Some(process) if state(*process) == Some('t') => {
                format!("its process {process} is held by a debugger")
            }
            _ => "is it stopped or short of CPU time (`systemctl status probe-agent`)?".to_owned(),
        }
    }
}

/// State of a process in a letter (proc_pid_stat(5)); `None` if it is gone.
fn state(process: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, in parentheses, may have any characters.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.chars().next()
}
