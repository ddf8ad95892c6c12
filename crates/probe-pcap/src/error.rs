//! Why a file cannot be replayed, or not to its end.

use std::{fmt, io, path::PathBuf};

use super::{
    link_type::{self, SUPPORTED},
    reader::MAX_PACKET_BYTES,
};

/// A capture file that cannot be replayed at all.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// It cannot be opened or read.
    #[error("cannot {operation} {path}: {source}", path = path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// Path of the capture file.
        path: PathBuf,
        /// Cause, as the system tells it.
        source: io::Error,
    },
    /// It can be read only once, and there is no room for a copy.
    #[error(
        "cannot copy {path} to a temporary file in {folder}: {source}; name another folder by TMPDIR",
        path = path.display(),
        folder = folder.display()
    )]
    Copy {
        /// Path of the capture file.
        path: PathBuf,
        /// Where temporary files are.
        folder: PathBuf,
        /// Cause, as the system tells it.
        source: io::Error,
    },
    /// Standard input is a terminal.
    #[error(
        "cannot replay the standard input, which is a terminal; pipe a capture into it: tcpdump -w - \
         | probe-agent replay -"
    )]
    Terminal,
    /// It is something else.
    #[error(
        "cannot replay {path}: it is no pcap or pcapng capture, it {looks_like}",
        path = path.display()
    )]
    NotACapture {
        /// Path of the capture file.
        path: PathBuf,
        /// What it is instead, and the remedy.
        looks_like: &'static str,
    },
    /// It ends or is damaged inside its own header.
    #[error(
        "cannot replay {path}: its file header is incomplete or damaged; capture it again",
        path = path.display()
    )]
    BadHeader {
        /// Path of the capture file.
        path: PathBuf,
    },
    /// Its format has a version that is not known.
    #[error(
        "cannot replay {path}: it is of version {major}.{minor} of {format}, which is not known \
         ({known} are); convert it with the program that wrote it",
        path = path.display()
    )]
    UnsupportedVersion {
        /// Path of the capture file.
        path: PathBuf,
        /// `pcap` or `pcapng`, as the file's magic number says.
        format: &'static str,
        /// The versions that are known.
        known: &'static str,
        /// First part of the version in the file header.
        major: u16,
        /// Second part of the version in the file header.
        minor: u16,
    },
    /// None of its packets could be parsed.
    #[error(
        "cannot replay {path}: link type {named} is not supported; if IP packets follow a header of \
         a fixed length, cut it off: editcap -C LENGTH -T rawip FILE NEW; supported are {SUPPORTED}",
        path = path.display(),
        named = Numbered(*number)
    )]
    UnsupportedLinkType {
        /// Path of the capture file.
        path: PathBuf,
        /// Link type by <https://www.tcpdump.org/linktypes.html>.
        number: u16,
    },
    /// More interfaces than the agent can capture.
    #[error(
        "cannot replay {path}: it has more than {limit} interfaces; split it with editcap",
        path = path.display()
    )]
    TooManyInterfaces {
        /// Path of the capture file.
        path: PathBuf,
        /// How many there can be.
        limit: usize,
    },
}

/// The number of a link type, with its name.
pub(super) struct Numbered(pub(super) u16);

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = link_type::name(self.0).unwrap_or("no assigned one");
        write!(f, "{} ({name})", self.0)
    }
}

/// How the replay of a file ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// At the end of the file, behind a whole packet.
    Complete,
    /// The packet that starts at byte `offset` reaches beyond the end of the file.
    Cut {
        /// Position in the file.
        offset: u64,
    },
    /// What stands at byte `offset` is no packet.
    Damaged {
        /// Position in the file.
        offset: u64,
    },
    /// The packet that starts at byte `offset` claims to be longer than any.
    TooLarge {
        /// Position in the file.
        offset: u64,
        /// Length that it claims, with its header in the file.
        bytes: u64,
    },
    /// The section that starts at byte `offset` has a version that is not known.
    Unsupported {
        /// Position in the file.
        offset: u64,
        /// First part of the version.
        major: u16,
        /// Second part of the version.
        minor: u16,
    },
    /// The file could not be read any further, beginning at byte `offset`.
    Unreadable {
        /// Position in the file.
        offset: u64,
    },
}

impl Ending {
    /// Whether every packet of the file was seen.
    pub const fn is_complete(self) -> bool {
        matches!(self, Self::Complete)
    }
}

impl fmt::Display for Ending {
    /// A sentence about the file, without its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("the file was replayed to its end"),
            Self::Cut { offset } => write!(
                f,
                "the file is cut in the middle of the packet or block at byte {offset}; all packets \
                 before it are counted"
            ),
            Self::TooLarge { offset, bytes } => write!(
                f,
                "the packet at byte {offset} claims {bytes} bytes with its header, more than the {} MiB that \
                 a packet may have; all packets before it are counted, none behind it",
                MAX_PACKET_BYTES >> 20
            ),
            Self::Unsupported {
                offset,
                major,
                minor,
            } => write!(
                f,
                "the section at byte {offset} is of version {major}.{minor} of pcapng, which is not \
                 known (1.0 and 1.2 are); all packets before it are counted, none behind it"
            ),
            Self::Damaged { offset } => write!(
                f,
                "the file is damaged at byte {offset}; all packets before it are counted, none \
                 behind it"
            ),
            Self::Unreadable { offset } => write!(
                f,
                "the file cannot be read any further at byte {offset} (the kernel log may say \
                 why); all packets before it are counted"
            ),
        }
    }
}
