//! Opening a capture file: what it is, and which interfaces it has.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
    sync::Arc,
};

use probe_common::control::MAX_INTERFACES;

use super::{
    error::PcapError,
    link_type::SUPPORTED,
    pcapng::printable,
    reader::{FileInterface, PacketReader},
    sniff::{Format, SNIFF_LEN, looks_like},
};

/// Path that stands for standard input.
const STDIN: &str = "-";

pub(super) struct Opened {
    /// At the first packet.
    pub(super) reader: PacketReader,
    pub(super) names: Vec<Arc<str>>,
    pub(super) file_bytes: u64,
    pub(super) warnings: Vec<String>,
}

pub(super) fn open(path: &Path) -> Result<Opened, PcapError> {
    let io_error = |operation| {
        move |source| PcapError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    let bad_header = || PcapError::BadHeader {
        path: path.to_owned(),
    };
    let mut file = seekable(path)?;
    let file_bytes = file.metadata().map_err(io_error("read"))?.len();
    let head = read_head(&mut file).map_err(io_error("read"))?;
    let format = Format::from_head(&head).ok_or_else(|| PcapError::NotACapture {
        path: path.to_owned(),
        looks_like: looks_like(&head),
    })?;
    let stem = stem(path);
    let rewound = || {
        let mut again = file.try_clone()?;
        again.rewind()?;
        Ok(again)
    };
    let reader_of = |file| PacketReader::new(file, format, Arc::clone(&stem));

    let mut scan = reader_of(rewound().map_err(io_error("read"))?).ok_or_else(bad_header)?;
    if format == Format::PcapNg {
        scan_interfaces(&mut scan);
    }
    let interfaces = scan.interfaces().to_vec();
    drop(scan);
    check_interfaces(path, &interfaces)?;
    Ok(Opened {
        reader: reader_of(rewound().map_err(io_error("read"))?).ok_or_else(bad_header)?,
        warnings: interfaces.iter().filter_map(warning).collect(),
        names: interfaces
            .into_iter()
            .map(|interface| interface.name)
            .collect(),
        file_bytes,
    })
}

/// Interface blocks may stand anywhere in a pcapng file, but interfaces are attached before the
/// first packet: so the file is read twice. Where it ends early is found again by the replay.
fn scan_interfaces(reader: &mut PacketReader) {
    while reader.interfaces().len() <= MAX_INTERFACES as usize {
        if reader.read_packet(&mut |_| {}).is_err() {
            break;
        }
    }
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

fn warning(interface: &FileInterface) -> Option<String> {
    let number = interface.unsupported?;
    let name = &interface.name;
    Some(format!(
        "interface {name} has packets of link type {number}, which is not supported; they are \
         counted as non_ip (supported: {SUPPORTED})"
    ))
}

/// The file, or a temporary copy of what can be read only once.
fn seekable(path: &Path) -> Result<File, PcapError> {
    let io_error = |operation| {
        move |source| PcapError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    if path == Path::new(STDIN) {
        return spool(&mut io::stdin().lock()).map_err(io_error("copy to a temporary file"));
    }
    let mut file = File::open(path).map_err(io_error("open"))?;
    if file.metadata().map_err(io_error("read"))?.is_file() {
        return Ok(file);
    }
    spool(&mut file).map_err(io_error("read"))
}

fn spool(from: &mut dyn Read) -> io::Result<File> {
    let mut copy = tempfile::tempfile()?;
    io::copy(from, &mut copy)?;
    copy.rewind()?;
    Ok(copy)
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
    printable(&name.to_string_lossy())
}
