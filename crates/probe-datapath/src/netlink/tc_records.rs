//! Qdiscs and filters as the kernel describes them, as far as the agent asks.

use rtnetlink::packet_core::DecodeError;
use rtnetlink::packet_route::tc::{TcHandle, TcHeader};

use super::message::{attributes, text, u32_of};

/// Octets of `struct tcmsg` (linux/rtnetlink.h).
const HEADER_LEN: usize = 20;

/// Attributes of eBPF filters (linux/pkt_cls.h).
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;

/// A qdisc or filter, from one message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct TcRecord {
    /// Index of its link.
    pub(crate) ifindex: u32,
    /// Its handle, shown as `major:minor`.
    pub(crate) handle: TcHandle,
    /// Its kind, such as `clsact` or `bpf`.
    pub(crate) kind: String,
    /// It has options of its own: it does not stand for a whole priority.
    pub(crate) has_options: bool,
    /// Name of the eBPF program, as it was given with the filter.
    pub(crate) program_name: Option<String>,
    /// The eBPF program, by the kernel's number.
    pub(crate) program: Option<u32>,
}

impl TcRecord {
    /// Reads a message `RTM_NEWQDISC` or `RTM_NEWTFILTER`. The only error is a payload that is
    /// shorter than its header.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, DecodeError> {
        let header = TcHeader::parse(payload)?;
        let mut record = Self {
            ifindex: header.index.cast_unsigned(),
            handle: header.handle,
            ..Self::default()
        };
        let mut options: &[u8] = &[];
        for (kind, value) in attributes(&payload[HEADER_LEN..]) {
            match kind {
                libc::TCA_KIND => record.kind = text(value),
                libc::TCA_OPTIONS => {
                    record.has_options = true;
                    options = value;
                }
                _ => {}
            }
        }
        if record.kind == "bpf" {
            for (kind, value) in attributes(options) {
                match kind {
                    TCA_BPF_NAME => record.program_name = Some(text(value)),
                    TCA_BPF_ID => record.program = u32_of(value),
                    _ => {}
                }
            }
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADER_LEN, TCA_BPF_ID, TCA_BPF_NAME, TcRecord};
    use crate::netlink::message::attribute;

    #[test]
    fn a_filter_of_any_name_is_read() {
        let options = [
            attribute(TCA_BPF_NAME, b"B\xfcro\0"),
            attribute(0x3fff, &[1]),
            attribute(TCA_BPF_ID, &7_u32.to_ne_bytes()),
        ];
        let filter = |kind: &[u8]| {
            let attributes = [
                attribute(libc::TCA_KIND, kind),
                attribute(libc::TCA_OPTIONS, &options.concat()),
            ];
            TcRecord::parse(&[vec![0; HEADER_LEN], attributes.concat()].concat()).unwrap()
        };
        let ours = filter(b"bpf\0");
        assert_eq!(ours.program_name.as_deref(), Some(r"B\xfcro"));
        assert_eq!((ours.program, ours.has_options), (Some(7), true));
        // The same numbers mean something else there.
        assert_eq!(filter(b"flower\0").program, None);
        assert!(TcRecord::parse(&[0; HEADER_LEN - 1]).is_err());
    }
}
