//! A small reader and writer of capture files, on purpose not the agent's own: the frames of their
//! Ethernet interfaces.

use std::{fs, path::Path};

const LINKTYPE_ETHERNET: u16 = 1;

/// The packets of a capture's Ethernet interfaces, as captured, up to the first damaged one.
pub fn ethernet_frames(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::read(path).expect("a readable capture");
    match file.get(..4) {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => pcapng_frames(&file),
        Some([0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1]) => pcap_frames(&file, u32::from_le_bytes),
        Some([0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d]) => pcap_frames(&file, u32::from_be_bytes),
        magic => panic!("{}: no capture: {magic:x?}", path.display()),
    }
}

type ToU32 = fn([u8; 4]) -> u32;

fn pcap_frames(file: &[u8], to_u32: ToU32) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    if word(file, 20, to_u32) != Some(u32::from(LINKTYPE_ETHERNET)) {
        return frames;
    }
    let mut offset = 24;
    while let Some(len) = word(file, offset + 8, to_u32) {
        let begin = offset + 16;
        let Some(frame) = file.get(begin..begin + len as usize) else {
            break;
        };
        frames.push(frame.to_vec());
        offset = begin + len as usize;
    }
    frames
}

fn pcapng_frames(file: &[u8]) -> Vec<Vec<u8>> {
    const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    const INTERFACE: u32 = 1;
    const ENHANCED_PACKET: u32 = 6;
    const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
    let (mut frames, mut is_ethernet) = (Vec::new(), Vec::new());
    let (mut to_u32, mut offset): (ToU32, _) = (u32::from_le_bytes, 0);
    while let Some(kind) = word(file, offset, to_u32) {
        if kind == SECTION_HEADER {
            is_ethernet.clear();
            let is_little = word(file, offset + 8, u32::from_le_bytes) == Some(BYTE_ORDER_MAGIC);
            to_u32 = if is_little {
                u32::from_le_bytes
            } else {
                u32::from_be_bytes
            };
        }
        let Some(len @ 12..) = word(file, offset + 4, to_u32) else {
            break;
        };
        let body = file.get(offset + 8..).unwrap_or_default();
        match kind {
            INTERFACE => {
                let link_type = body.first_chunk::<2>().copied().unwrap_or_default();
                let ethernet = [
                    LINKTYPE_ETHERNET.to_le_bytes(),
                    LINKTYPE_ETHERNET.to_be_bytes(),
                ];
                is_ethernet.push(ethernet.contains(&link_type));
            }
            ENHANCED_PACKET => {
                let interface = word(body, 0, to_u32).unwrap_or(u32::MAX);
                let captured = word(body, 12, to_u32).unwrap_or(0) as usize;
                if is_ethernet.get(interface as usize) == Some(&true) {
                    frames.extend(body.get(20..20 + captured).map(<[u8]>::to_vec));
                }
            }
            _ => {}
        }
        offset += len as usize;
    }
    frames
}

/// A capture file of whole Ethernet frames, without times.
#[track_caller]
pub fn write_pcap(path: &Path, frames: &[Vec<u8>]) {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const VERSION: u32 = 2 | 4 << 16;
    const SNAP_LEN: u32 = 1 << 18;
    const LINKTYPE_ETHERNET: u32 = 1;
    let mut bytes = Vec::new();
    for word in [MAGIC, VERSION, 0, 0, SNAP_LEN, LINKTYPE_ETHERNET] {
        bytes.extend(word.to_le_bytes());
    }
    for frame in frames {
        let len = u32::try_from(frame.len()).expect("a short frame");
        for word in [0, 0, len, len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    fs::write(path, bytes).expect("a capture file");
}

fn word(bytes: &[u8], offset: usize, to_u32: ToU32) -> Option<u32> {
    bytes
        .get(offset..)
        .and_then(|tail| tail.first_chunk())
        .copied()
        .map(to_u32)
}
