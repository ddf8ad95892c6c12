//! Opening a capture file: what it is, and which interfaces it has.

use std::{
    fs::{self, File},
    io::{self, IsTerminal, Read, Seek},
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::Path,
    sync::Arc,
};

use probe_common::control::MAX_INTERFACES;
use probe_flow::ticks::{TickTable, TickTableBuilder};
use rustix::fs::OFlags;

use super::{
    error::{Numbered, PcapError},
    interfaces::{FileInterface, shown},
    link_type::{LinkType, SUPPORTED},
    pcap::{FILE_HEADER_LEN, FileHeader, HeaderError},
    pcapng::{BlockHead, Sections},
    playback::Playback,
    reader::{PacketReader, Unreadable},
    sniff::{Format, SNIFF_LEN, looks_like},
    spool::spool,
};

/// Path that stands for standard input.
const STDIN: &str = "-";

pub(super) struct Opened {
    /// At the first packet.
    pub(super) reader: PacketReader,
    pub(super) names: Vec<Arc<str>>,
    pub(super) file_bytes: u64,
    pub(super) warnings: Vec<String>,
    /// Ticks of the times of the file.
    pub(super) ticks: TickTable,
}

pub(super) fn open(path: &Path, playback: &Playback) -> Result<Opened, PcapError> {
    let io_error = |operation| {
        move |source| PcapError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    let mut file = seekable(path, playback)?;
    let file_bytes = file.metadata().map_err(io_error("read"))?.len();
    let head = read_head(&mut file).map_err(io_error("read"))?;
    let format = check_head(path, &head)?;
    let stem = stem(path);
    // A file that still grows has the same length both times.
    let read_again = || {
        let file = file.try_clone().map_err(io_error("read"))?;
        PacketReader::new(file, file_bytes, format, Arc::clone(&stem)).map_err(
            |error| match error {
                Unreadable::Io(source) => io_error("read")(source),
                Unreadable::Header(error) => header_error(path, format, error),
            },
        )
    };

    let mut scan = read_again()?;
    let ticks = scan_packets(&mut scan);
    let interfaces = scan.interfaces().to_vec();
    drop(scan);
    check_interfaces(path, &interfaces)?;
    Ok(Opened {
        reader: read_again()?,
        warnings: warnings(&interfaces, &ticks),
        ticks,
        names: interfaces
            .into_iter()
            .map(|interface| interface.name)
            .collect(),
        file_bytes,
    })
}

fn header_error(path: &Path, format: Format, error: HeaderError) -> PcapError {
    let path = path.to_owned();
    match error {
        HeaderError::Bad => PcapError::BadHeader { path },
        HeaderError::Version { major, minor } => PcapError::UnsupportedVersion {
            path,
            format: format.name(),
            known: format.known_versions(),
            major,
            minor,
        },
    }
}

/// Reads the file a first time: for its interfaces, which may stand anywhere in a pcapng file but are
/// attached before the first packet, and for its times, which must be known before the first of them
/// gets a tick. Where the file ends early is found again by the replay.
fn scan_packets(reader: &mut PacketReader) -> TickTable {
    let mut ticks = TickTableBuilder::default();
    while reader.interfaces().len() <= MAX_INTERFACES as usize {
        let read = reader
            .read_packet(&mut |packet| packet.timestamp.into_iter().for_each(|at| ticks.add(at)));
        if read.is_err() {
            break;
        }
    }
    ticks.build()
}

fn check_interfaces(path: &Path, interfaces: &[FileInterface]) -> Result<(), PcapError> {
    if interfaces.len() > MAX_INTERFACES as usize {
        return Err(PcapError::TooManyInterfaces {
            path: path.to_owned(),
            limit: MAX_INTERFACES as usize,
        });
    }
    let nothing_supported = !interfaces.iter().any(|interface| interface.is_supported);
    let unsupported = interfaces
        .iter()
        .find_map(|interface| interface.unsupported);
    match unsupported {
        Some(number) if nothing_supported => Err(PcapError::UnsupportedLinkType {
            path: path.to_owned(),
            number,
        }),
        _ => Ok(()),
    }
}

fn warnings(interfaces: &[FileInterface], ticks: &TickTable) -> Vec<String> {
    let of_interfaces = interfaces.iter().filter_map(unsupported_warning);
    let alike = interfaces.iter().filter_map(alike_warning);
    let of_interfaces = of_interfaces.chain(alike);
    of_interfaces.chain(inexact_warning(ticks)).collect()
}

fn alike_warning(interface: &FileInterface) -> Option<String> {
    let other = interface.shown_like.as_ref()?;
    let name = &interface.name;
    Some(format!(
        "interface {name} is another one than {other}: their names agree in all that is shown of them"
    ))
}

fn inexact_warning(ticks: &TickTable) -> Option<String> {
    let ms = ticks.ms_per_tick();
    (ms > 1).then(|| {
        format!(
            "packets were captured for more than 24 days almost without a pause: the times of flows \
             are up to {} ms early",
            ms - 1
        )
    })
}

fn unsupported_warning(interface: &FileInterface) -> Option<String> {
    let link_type = Numbered(interface.unsupported?);
    let name = &interface.name;
    Some(format!(
        "interface {name} has packets of link type {link_type}, which is not supported; they are \
         counted as non_ip (supported: {SUPPORTED})"
    ))
}

/// The file, or a temporary copy of what can be read only once.
fn seekable(path: &Path, playback: &Playback) -> Result<File, PcapError> {
    let io_error = |operation| {
        move |source| PcapError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    let mut file = if path == Path::new(STDIN) {
        if io::stdin().is_terminal() {
            return Err(PcapError::Terminal);
        }
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        File::from(stdin.map_err(io_error("read"))?)
    } else {
        open_without_waiting(path).map_err(io_error("open"))?
    };
    let metadata = file.metadata().map_err(io_error("read"))?;
    // Files of procfs and the like are empty by their metadata, whatever they hold. Of the standard
    // input another process may have read the beginning.
    let is_whole = metadata.is_file() && metadata.len() > 0;
    if is_whole && file.stream_position().is_ok_and(|position| position == 0) {
        return Ok(file);
    }
    if metadata.is_dir() {
        return Err(io_error("read")(io::ErrorKind::IsADirectory.into()));
    }
    playback.on_copy(true);
    let copy = spool(file, path, playback);
    playback.on_copy(false);
    copy
}

/// A named pipe would keep `open` waiting until somebody writes.
fn open_without_waiting(path: &Path) -> io::Result<File> {
    let is_fifo = fs::metadata(path)?.file_type().is_fifo();
    let flags = if is_fifo { OFlags::NONBLOCK.bits() } else { 0 };
    let flags = i32::try_from(flags).unwrap_or_default();
    File::options().read(true).custom_flags(flags).open(path)
}

/// Refuses what begins like nothing that can be replayed, as soon as enough of it is there.
pub(super) fn check_head(path: &Path, head: &[u8]) -> Result<Format, PcapError> {
    let format = Format::from_head(head).ok_or_else(|| PcapError::NotACapture {
        path: path.to_owned(),
        looks_like: looks_like(head),
    })?;
    if format == Format::Pcap && head.len() >= FILE_HEADER_LEN {
        let header = FileHeader::read(head).map_err(|error| header_error(path, format, error))?;
        let number = header.link_type;
        if LinkType::from_number(number).is_none() {
            return Err(PcapError::UnsupportedLinkType {
                path: path.to_owned(),
                number,
            });
        }
    }
    if format == Format::PcapNg && head.len() >= BlockHead::SECTION_LEN {
        let mut sections = Sections::new("".into());
        let block = BlockHead::read(head, &sections);
        let begun = block.map(|block| sections.begin(block, head));
        begun
            .unwrap_or(Err(HeaderError::Bad))
            .map_err(|error| header_error(path, format, error))?;
    }
    Ok(format)
}

fn read_head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(SNIFF_LEN);
    file.by_ref()
        .take(SNIFF_LEN as u64)
        .read_to_end(&mut head)?;
    Ok(head)
}

fn stem(path: &Path) -> Arc<str> {
    if path == Path::new(STDIN) {
        return "stdin".into();
    }
    let name = path.file_stem().unwrap_or(path.as_os_str());
    shown(name.as_encoded_bytes())
}
