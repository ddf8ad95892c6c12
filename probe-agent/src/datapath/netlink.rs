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
        let mut question = link_question();
        question.header.index = ifindex;
        let question = RouteNetlinkMessage::GetLink(question);
        only_link(self.ask("a link", question, NLM_F_REQUEST | NLM_F_ACK)?)
    }

    /// Sends one message and collects the answers up to the acknowledgement or the end of the dump.
    fn ask(
        &self,
        object: &'static str,
        question: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        exchange(&self.socket, question, flags).map_err(|source| NetlinkError { object, source })
    }
}

fn only_link(answers: Vec<RouteNetlinkMessage>) -> Result<LinkMessage, NetlinkError> {
    let link = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    });
    link.ok_or_else(|| NetlinkError {
        object: "a link",
        source: io::ErrorKind::NotFound.into(),
    })
}

/// All links.
pub(super) fn links() -> Result<Vec<LinkMessage>, NetlinkError> {
    dump_links(link_question())
}

/// All links with their counters.
pub(super) fn links_with_counters() -> Result<Vec<LinkMessage>, NetlinkError> {
    dump_links(LinkMessage::default())
}

fn dump_links(question: LinkMessage) -> Result<Vec<LinkMessage>, NetlinkError> {
    let answers = ask(
        "the links",
        RouteNetlinkMessage::GetLink(question),
        NLM_F_REQUEST | NLM_F_DUMP,
    )?;
    let links = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    });
    Ok(links.collect())
}

/// Names of all links.
pub(super) fn link_names() -> Result<Vec<String>, NetlinkError> {
    Ok(links()?.iter().filter_map(link_name).collect())
}

/// The filters of a link on one side of its clsact (or ingress) qdisc; none if it has no such qdisc.
/// `minor` is [`TcHandle::MIN_INGRESS`] or [`TcHandle::MIN_EGRESS`].
pub(super) fn filters(ifindex: u32, minor: u16) -> Result<Vec<TcMessage>, NetlinkError> {
    let mut question = TcMessage::with_index(ifindex.cast_signed());
    question.header.parent = TcHandle {
        major: TcHandle::CLSACT.major,
        minor,
    };
    let answers = ask(
        "the filters",
        RouteNetlinkMessage::GetTrafficFilter(question),
        NLM_F_REQUEST | NLM_F_DUMP,
    )?;
    let filters = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewTrafficFilter(filter) => Some(filter),
        _ => None,
    });
    Ok(filters.collect())
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
    let answers = ask(
        "the qdiscs",
        RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()),
        NLM_F_REQUEST | NLM_F_DUMP,
    )?;
    let kinds = answers.into_iter().filter_map(|answer| match answer {
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
    });
    Ok(kinds.collect())
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
fn ask(
    object: &'static str,
    question: RouteNetlinkMessage,
    flags: u16,
) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
    Connection::open()?.ask(object, question, flags)
}

fn exchange(
    socket: &Socket,
    question: RouteNetlinkMessage,
    flags: u16,
) -> io::Result<Vec<RouteNetlinkMessage>> {
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
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    _ => {}
                }
            }
            // Messages are aligned to 4 bytes (NLMSG_ALIGNTO); a length of 0 would not advance.
            rest = rest.get(len.next_multiple_of(4).max(4)..).unwrap_or(&[]);
        }
    }
}
