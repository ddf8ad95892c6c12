//! What ends the reading of a pipe: a signal, as it ends the capture at the other end.

use std::{io, process, thread};

use probe_pcap::Playback;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// Exit status of a process that a signal ended, above the signal's number (POSIX shell, section 2.8.2).
const ENDED_BY_SIGNAL: i32 = 128;

/// From now on the first SIGINT or SIGTERM ends the copy of a pipe. All others end the process, as
/// they would without this.
pub(super) fn on_signals(playback: &Playback) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        let receive = |kind: SignalKind| signal(kind);
        (
            receive(SignalKind::interrupt())?,
            receive(SignalKind::terminate())?,
        )
    };
    let playback = playback.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                loop {
                    let kind = tokio::select! {
                        _ = interrupt.recv() => SignalKind::interrupt(),
                        _ = terminate.recv() => SignalKind::terminate(),
                    };
                    if !playback.stop() {
                        process::exit(ENDED_BY_SIGNAL + kind.as_raw_value());
                    }
                }
            });
        })?;
    Ok(())
}
