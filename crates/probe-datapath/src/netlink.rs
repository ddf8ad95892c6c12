//! Questions to the kernel over route netlink: short, blocking, in the caller's network namespace.

use std::{
    collections::HashMap,
    io,
    sync::atomic::{AtomicU32, Ordering},
};

use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkExtentMask, LinkMessage},
        tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

/// Handle of the one ingress or clsact qdisc that a link can have: `ffff:`.
const CLSACT_HANDLE: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0,
};

/// A question could not be asked or the answer not be understood.
#[derive(Debug, thiserror::Error)]
#[error("cannot ask the kernel for {object} over netlink: {source}")]
pub struct NetlinkError {
    /// What was asked for.
    pub object: &'static str,
    /// Why there is no answer.
    pub source: io::Error,
}

/// A socket that stays open for several questions, in the network namespace of who opened it.
///
/// The kernel frees a closed socket after a grace period of RCU, which it begins for it. To attach a
/// program to TCX it waits for one as well (`tcx_entry_sync`, include/net/tcx.h, 6.6, commit
/// e420bed02507), and one that has begun already does not count: who closes a socket before each of
/// hundreds of programs waits a third longer (docs/PERFORMANCE.md).
pub(super) struct Connection {
    socket: Socket,
}

impl Connection {
    pub(super) fn open() -> Result<Self, NetlinkError> {
        let open = || {
            let socket = Socket::new(NETLINK_ROUTE)?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(Self { socket })
        };
        open().map_err(|source| NetlinkError {
            object: "anything",
            source,
        })
    }

    /// The link with this index, as the kernel describes it.
    pub(super) fn link(&self, ifindex: u32) -> Result<LinkMessage, NetlinkError> {
        self.ask_link(ifindex, link_question())
    }

    /// The same with its counters, or none if it is gone.
    pub(super) fn link_with_counters(
        &self,
        ifindex: u32,
    ) -> Result<Option<LinkMessage>, NetlinkError> {
        match self.ask_link(ifindex, LinkMessage::default()) {
            Ok(link) => Ok(Some(link)),
            Err(error) if error.source.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ask_link(
        &self,
        ifindex: u32,
        mut question: LinkMessage,
    ) -> Result<LinkMessage, NetlinkError> {
        question.header.index = ifindex;
        let question = RouteNetlinkMessage::GetLink(question);
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        let mut links = self.ask("a link", question, flags, new_link)?;
        links.pop().ok_or_else(|| NetlinkError {
            object: "a link",
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// Sends one message and collects what `keep` makes of the answers, up to the acknowledgement or
    /// the end of the dump.
    fn ask<T>(
        &self,
        object: &'static str,
        question: RouteNetlinkMessage,
        flags: u16,
        keep: impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        exchange(&self.socket, question, flags, keep)
            .map_err(|source| NetlinkError { object, source })
    }
}

fn new_link(answer: RouteNetlinkMessage) -> Option<LinkMessage> {
    match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    }
}

/// What `keep` makes of each link.
pub(super) fn links<T>(keep: impl FnMut(&LinkMessage) -> T) -> Result<Vec<T>, NetlinkError> {
    dump_links(link_question(), keep)
}

/// The same, and the links come with their counters.
pub(super) fn links_with_counters<T>(
    keep: impl FnMut(&LinkMessage) -> T,
) -> Result<Vec<T>, NetlinkError> {
    dump_links(LinkMessage::default(), keep)
}

/// A link takes some 17 KiB as a message, with all that the kernel tells of it. So each is checked
/// and dropped before the next one: a thousand together would be memory of the process for good,
/// since what the allocator has once taken for a thread it rarely gives back.
fn dump_links<T>(
    question: LinkMessage,
    mut keep: impl FnMut(&LinkMessage) -> T,
) -> Result<Vec<T>, NetlinkError> {
    ask(
        "the links",
        RouteNetlinkMessage::GetLink(question),
        NLM_F_REQUEST | NLM_F_DUMP,
        |answer| new_link(answer).map(|link| keep(&link)),
    )
}

/// Indices and names of all links.
pub(crate) fn link_names() -> Result<Vec<(u32, String)>, NetlinkError> {
    let names = links(|link| Some((link.header.index, link_name(link)?)))?;
    Ok(names.into_iter().flatten().collect())
}

/// The filters of a link on one side of its clsact (or ingress) qdisc; none if it has no such qdisc.
/// `minor` is [`TcHandle::MIN_INGRESS`] or [`TcHandle::MIN_EGRESS`].
pub(super) fn filters(ifindex: u32, minor: u16) -> Result<Vec<TcMessage>, NetlinkError> {
    let mut question = TcMessage::with_index(ifindex.cast_signed());
    question.header.parent = TcHandle {
        major: TcHandle::CLSACT.major,
        minor,
    };
    ask(
        "the filters",
        RouteNetlinkMessage::GetTrafficFilter(question),
        NLM_F_REQUEST | NLM_F_DUMP,
        |answer| match answer {
            RouteNetlinkMessage::NewTrafficFilter(filter) => Some(filter),
            _ => None,
        },
    )
}

/// Programs of the eBPF filters of a link, by the kernel's numbers, in the order in which they run.
/// `minor` as for [`filters`].
pub(super) fn filter_programs(ifindex: u32, minor: u16) -> Result<Vec<u32>, NetlinkError> {
    let attributes = filters(ifindex, minor)?.into_iter();
    let options = attributes
        .flat_map(|filter| filter.attributes)
        .flat_map(|it| match it {
            TcAttribute::Options(options) => options,
            _ => Vec::new(),
        });
    let programs = options.filter_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(program)) => Some(program),
        _ => None,
    });
    Ok(programs.collect())
}

/// Kind of the qdisc with handle `ffff:` of a link: `clsact`, `ingress` or none.
pub(super) fn clsact_kind(ifindex: u32) -> Result<Option<String>, NetlinkError> {
    Ok(clsact_kinds()?.remove(&ifindex))
}

/// The same of all links that have one. The kernel always lists the qdiscs of all links.
pub(super) fn clsact_kinds() -> Result<HashMap<u32, String>, NetlinkError> {
    let keep = |answer| match answer {
        RouteNetlinkMessage::NewQueueDiscipline(qdisc) if qdisc.header.handle == CLSACT_HANDLE => {
            let ifindex = qdisc.header.index.cast_unsigned();
            let kind = qdisc
                .attributes
                .into_iter()
                .find_map(|attribute| match attribute {
                    TcAttribute::Kind(kind) => Some(kind),
                    _ => None,
                })?;
            Some((ifindex, kind))
        }
        _ => None,
    };
    let kinds = ask(
        "the qdiscs",
        RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()),
        NLM_F_REQUEST | NLM_F_DUMP,
        keep,
    )?;
    Ok(kinds.into_iter().collect())
}

pub(super) fn link_name(link: &LinkMessage) -> Option<String> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })
}

/// A question about links, without the statistics, which are the bulk of the answer.
fn link_question() -> LinkMessage {
    let mut question = LinkMessage::default();
    question
        .attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    question
}

/// One question over a socket of its own.
fn ask<T>(
    object: &'static str,
    question: RouteNetlinkMessage,
    flags: u16,
    keep: impl FnMut(RouteNetlinkMessage) -> Option<T>,
) -> Result<Vec<T>, NetlinkError> {
    Connection::open()?.ask(object, question, flags, keep)
}

fn exchange<T>(
    socket: &Socket,
    question: RouteNetlinkMessage,
    flags: u16,
    mut keep: impl FnMut(RouteNetlinkMessage) -> Option<T>,
) -> io::Result<Vec<T>> {
    static SEQUENCE: AtomicU32 = AtomicU32::new(1);
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let sequence = header.sequence_number;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            let len = usize::try_from(answer.header.length).unwrap_or(usize::MAX);
            if answer.header.sequence_number == sequence {
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(inner) => answers.extend(keep(inner)),
                    _ => {}
                }
            }
            // Messages are aligned to 4 bytes (NLMSG_ALIGNTO); a length of 0 would not advance.
            rest = rest.get(len.next_multiple_of(4).max(4)..).unwrap_or(&[]);
        }
    }
}
