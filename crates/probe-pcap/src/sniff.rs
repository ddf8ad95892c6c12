//! What a file is, by its first bytes.

use super::pcap;

/// Bytes that [`looks_like`] and [`Format::from_head`] want to see.
pub(super) const SNIFF_LEN: usize = 64;

/// Bytes that tell a format from all else.
pub(super) const MAGIC_LEN: usize = 4;

/// The format of a capture file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// libpcap's, with one link type and no interface names.
    Pcap,
    /// pcapng: blocks, with interfaces.
    PcapNg,
}

impl Format {
    /// The format, if it is one that can be read. Magic numbers: draft-ietf-opsawg-pcap, section 4;
    /// draft-ietf-opsawg-pcapng, section 4.1.
    pub(super) fn from_head(head: &[u8]) -> Option<Self> {
        match head {
            [0x0a, 0x0d, 0x0d, 0x0a, ..] => Some(Self::PcapNg),
            _ if pcap::magic(head).is_some() => Some(Self::Pcap),
            _ => None,
        }
    }

    /// What people call the format.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pcap => "pcap",
            Self::PcapNg => "pcapng",
        }
    }

    /// Versions that can be read.
    pub(super) const fn known_versions(self) -> &'static str {
        match self {
            Self::Pcap => "2.0 to 2.4, and 543.0 of DG/UX,",
            Self::PcapNg => "1.0 and 1.2",
        }
    }
}

/// What a file that is no capture looks like, with the remedy if there is one.
pub(super) fn looks_like(head: &[u8]) -> &'static str {
    match head {
        [] => "is empty",
        [0x1f, 0x8b, ..] => "is compressed with gzip; unpack it first: gzip -dc FILE > FILE.pcap",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "is compressed with zstd; unpack it first: zstd -dc FILE > FILE.pcap"
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            "is compressed with xz; unpack it first: xz -dc FILE > FILE.pcap"
        }
        [b'B', b'Z', b'h', ..] => {
            "is compressed with bzip2; unpack it first: bzip2 -dc FILE > FILE.pcap"
        }
        [0x04, 0x22, 0x4d, 0x18, ..] => {
            "is compressed with lz4; unpack it first: lz4 -dc FILE > FILE.pcap"
        }
        [b'P', b'K', 3, 4, ..] => "is a zip archive; unpack it first",
        [b's', b'n', b'o', b'o', b'p', 0, 0, 0, ..] => {
            "is a snoop capture; convert it first: editcap -F pcapng FILE FILE.pcapng"
        }
        [b'G', b'M', b'B', b'U', ..] | [b'R', b'T', b'S', b'S', ..] => {
            "is a Microsoft Network Monitor capture; convert it first: editcap -F pcapng FILE FILE.pcapng"
        }
        [0xa1, 0xb2, 0x34, 0xcd, ..] | [0xcd, 0x34, 0xb2, 0xa1, ..] => {
            "is a capture in Francisco Mesquita's format; convert it with the program that wrote it"
        }
        [0xa1, 0x2b, 0x3c, 0x4d, ..] | [0x4d, 0x3c, 0x2b, 0xa1, ..] => {
            "is a capture in Navtel's format; convert it with the program that wrote it"
        }
        [0x1c, 0, 1, 0xab | 0xac, ..] | [0xab | 0xac, 1, 0, 0x1c, ..] => {
            "is a capture in IXIA's format; convert it first: editcap -F pcapng FILE FILE.pcapng"
        }
        [0xa1, 0xb2, 0xc3, 0xcb, ..] | [0xcb, 0xc3, 0xb2, 0xa1, ..] => {
            "is a compiled filter of libpcap (cbpf-savefile), without packets"
        }
        [b'P', b'A', b'R', b'1', ..] => "looks like a Parquet file",
        [0x7f, b'E', b'L', b'F', ..] => "is an ELF object",
        _ if is_text(head) => "looks like text",
        _ if head.len() < 4 => "is too short",
        _ => "starts with unknown bytes",
    }
}

fn is_text(head: &[u8]) -> bool {
    head.iter()
        .all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t' | 0x80..))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{Format, looks_like};

    #[rstest]
    #[case(&[0xd4, 0xc3, 0xb2, 0xa1], Some(Format::Pcap))]
    #[case(&[0xa1, 0xb2, 0x3c, 0x4d], Some(Format::Pcap))]
    #[case(&[0xa1, 0xb2, 0xcd, 0x34], Some(Format::Pcap))]
    #[case(&[0x34, 0xcd, 0xb2, 0xa1], Some(Format::Pcap))]
    #[case(&[0x0a, 0x0d, 0x0d, 0x0a], Some(Format::PcapNg))]
    #[case(&[0xd4, 0xc3, 0xb2], None)]
    #[case(b"GIF8", None)]
    fn formats_are_told_by_their_magic(#[case] head: &[u8], #[case] format: Option<Format>) {
        assert_eq!(Format::from_head(head), format);
    }

    #[rstest]
    #[case(&[], "is empty")]
    #[case(&[0x1f, 0x8b, 8, 0], "gzip -dc")]
    #[case(&[0x28, 0xb5, 0x2f, 0xfd], "zstd -dc")]
    #[case(b"snoop\0\0\0\0\0\0\x02", "editcap")]
    #[case(&[0x4d, 0x3c, 0x2b, 0xa1], "Navtel")]
    #[case(&[0x1c, 0, 1, 0xac], "IXIA")]
    #[case(b"interfaces:\n  eth0: {}\n", "looks like text")]
    #[case(&[0, 1], "too short")]
    #[case(&[0, 1, 2, 3], "unknown bytes")]
    fn other_files_are_named(#[case] head: &[u8], #[case] answer: &str) {
        assert!(looks_like(head).contains(answer), "{}", looks_like(head));
    }
}
