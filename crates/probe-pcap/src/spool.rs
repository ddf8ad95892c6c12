//! Input that can be read only once, such as a pipe. Its first octets decide whether it is a capture.
//! Then all of it is copied to a temporary file, since a replay reads its file twice.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    error::PcapError,
    open::check_head,
    playback::Playback,
    sniff::{MAGIC_LEN, SNIFF_LEN},
};

/// How often a copy that waits for input looks whether it is to stop.
const STOP_POLL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// How long a copy goes on that is to stop, so that a writer which got the same signal can end with a
/// whole packet.
const GRACE: Duration = Duration::from_secs(1);

const COPY_BYTES: usize = 64 << 10;

/// Copies all input, up to its end or to [`Playback::stop`]. What is no capture that can be replayed
/// is refused by its first octets, however much may follow.
pub(super) fn spool(mut input: File, path: &Path, playback: &Playback) -> Result<File, PcapError> {
    let read_error = |source| PcapError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let copy_error = |source| PcapError::Copy {
        path: path.to_owned(),
        folder: std::env::temp_dir(),
        source,
    };
    let mut copy = tempfile::tempfile().map_err(copy_error)?;
    let mut head = Vec::with_capacity(SNIFF_LEN);
    let mut buffer = vec![0; COPY_BYTES];
    let mut stop = Stop::default();
    loop {
        let read = read_some(&mut input, &mut buffer, &mut stop, playback).map_err(read_error)?;
        if read == 0 {
            copy.rewind().map_err(copy_error)?;
            return Ok(copy);
        }
        let bytes = &buffer[..read];
        if head.len() < SNIFF_LEN {
            head.extend(&bytes[..read.min(SNIFF_LEN - head.len())]);
            if head.len() >= MAGIC_LEN {
                check_head(path, &head)?;
            }
        }
        copy.write_all(bytes).map_err(copy_error)?;
        playback.on_copied(read as u64);
    }
}

/// When a copy that is to stop does so.
#[derive(Default)]
struct Stop {
    at: Option<Instant>,
}

impl Stop {
    /// Whether the copy is to end now, where nothing came (`is_idle`) or something did.
    fn is_now(&mut self, playback: &Playback, is_idle: bool) -> bool {
        if !playback.is_stopped() {
            return false;
        }
        let at = *self.at.get_or_insert_with(|| Instant::now() + GRACE);
        is_idle || Instant::now() >= at
    }
}

/// Reads what is there, once there is something; nothing at the end, and when the copy is to stop.
fn read_some(
    input: &mut File,
    buffer: &mut [u8],
    stop: &mut Stop,
    playback: &Playback,
) -> io::Result<usize> {
    loop {
        let ready = match poll(&mut [PollFd::new(input, PollFlags::IN)], Some(&STOP_POLL)) {
            Ok(ready) => ready > 0,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if stop.is_now(playback, !ready) {
            return Ok(0);
        }
        if !ready {
            continue;
        }
        match input.read(buffer) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            read => return read,
        }
    }
}
