//! Questions to the kernel over route netlink: short, blocking, in the caller's network namespace.
//!
//! Answers are read attribute by attribute ([`message`] tells why), and are whole or an error: a dump
//! that was interrupted is asked for again, since a link that is missing in it would count as gone.

mod link_record;
pub(crate) mod message;
mod tc_records;

use std::{
    collections::HashMap,
    io,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkExtentMask, LinkMessage},
        tc::{TcHandle, TcMessage},
    },
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

use self::message::{Message, messages};
pub(crate) use self::{
    link_record::{LinkRecord, XdpMode},
    tc_records::TcRecord,
};

/// An answer that was interrupted is asked for again so often, after a wait that doubles from 1 ms:
/// altogether a quarter of a second.
const ATTEMPTS: u32 = 9;

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
    pub(super) fn link(&self, ifindex: u32) -> Result<LinkRecord, NetlinkError> {
        self.ask_link(ifindex, link_question())
    }

    /// The same with its counters, or none if it is gone.
    pub(super) fn link_with_counters(
        &self,
        ifindex: u32,
    ) -> Result<Option<LinkRecord>, NetlinkError> {
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
    ) -> Result<LinkRecord, NetlinkError> {
        question.header.index = ifindex;
        let question = RouteNetlinkMessage::GetLink(question);
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        let mut links = self.ask("a link", &question, flags, new_link)?;
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
        question: &RouteNetlinkMessage,
        flags: u16,
        mut keep: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut wait = Duration::from_millis(1);
        for _ in 1..ATTEMPTS {
            let answer = exchange(&self.socket, question.clone(), flags, &mut keep);
            match answer.map_err(|source| NetlinkError { object, source })? {
                Answer::Whole(answers) => return Ok(answers),
                Answer::Interrupted => thread::sleep(wait),
            }
            wait *= 2;
        }
        match exchange(&self.socket, question.clone(), flags, &mut keep) {
            Ok(Answer::Whole(answers)) => Ok(answers),
            Ok(Answer::Interrupted) => Err(NetlinkError {
                object,
                source: io::Error::new(
                    io::ErrorKind::Interrupted,
                    "they change faster than the kernel can list them; the next check asks again",
                ),
            }),
            Err(source) => Err(NetlinkError { object, source }),
        }
    }
}

/// A link, unless the message is not of one. What has no header is no link.
fn new_link(answer: &Message<'_>) -> Option<LinkRecord> {
    (answer.kind == libc::RTM_NEWLINK)
        .then(|| LinkRecord::parse(answer.payload).ok())
        .flatten()
}

/// All links, in the kernel's order.
pub(super) fn links() -> Result<Vec<LinkRecord>, NetlinkError> {
    dump_links(link_question())
}

/// The same with their counters.
pub(super) fn links_with_counters() -> Result<Vec<LinkRecord>, NetlinkError> {
    dump_links(LinkMessage::default())
}

fn dump_links(question: LinkMessage) -> Result<Vec<LinkRecord>, NetlinkError> {
    ask(
        "the links",
        &RouteNetlinkMessage::GetLink(question),
        NLM_F_REQUEST | NLM_F_DUMP,
        new_link,
    )
}

/// The filters of a link on one side of its clsact (or ingress) qdisc; none if it has no such qdisc.
/// `minor` is [`TcHandle::MIN_INGRESS`] or [`TcHandle::MIN_EGRESS`].
pub(super) fn filters(ifindex: u32, minor: u16) -> Result<Vec<TcRecord>, NetlinkError> {
    let mut question = TcMessage::with_index(ifindex.cast_signed());
    question.header.parent = TcHandle {
        major: TcHandle::CLSACT.major,
        minor,
    };
    ask(
        "the filters",
        &RouteNetlinkMessage::GetTrafficFilter(question),
        NLM_F_REQUEST | NLM_F_DUMP,
        |answer| new_tc(answer, libc::RTM_NEWTFILTER),
    )
}

/// Programs of the eBPF filters of a link, by the kernel's numbers, in the order in which they run.
/// `minor` as for [`filters`].
pub(super) fn filter_programs(ifindex: u32, minor: u16) -> Result<Vec<u32>, NetlinkError> {
    let filters = filters(ifindex, minor)?.into_iter();
    Ok(filters.filter_map(|filter| filter.program).collect())
}

/// Kind of the qdisc with handle `ffff:` of a link: `clsact`, `ingress` or none.
pub(super) fn clsact_kind(ifindex: u32) -> Result<Option<String>, NetlinkError> {
    Ok(clsact_kinds()?.remove(&ifindex))
}

/// The same of all links that have one. The kernel always lists the qdiscs of all links.
pub(super) fn clsact_kinds() -> Result<HashMap<u32, String>, NetlinkError> {
    let kinds = ask(
        "the qdiscs",
        &RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()),
        NLM_F_REQUEST | NLM_F_DUMP,
        |answer| {
            let qdisc = new_tc(answer, libc::RTM_NEWQDISC)?;
            (qdisc.handle == CLSACT_HANDLE).then_some((qdisc.ifindex, qdisc.kind))
        },
    )?;
    Ok(kinds.into_iter().collect())
}

fn new_tc(answer: &Message<'_>, kind: u16) -> Option<TcRecord> {
    (answer.kind == kind)
        .then(|| TcRecord::parse(answer.payload).ok())
        .flatten()
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
    question: &RouteNetlinkMessage,
    flags: u16,
    keep: impl FnMut(&Message<'_>) -> Option<T>,
) -> Result<Vec<T>, NetlinkError> {
    Connection::open()?.ask(object, question, flags, keep)
}

/// What a question came to.
#[derive(Debug, Eq, PartialEq)]
enum Answer<T> {
    /// Everything that was kept.
    Whole(Vec<T>),
    /// Something may be missing, because it changed while the kernel listed it.
    Interrupted,
}

fn exchange<T>(
    socket: &Socket,
    question: RouteNetlinkMessage,
    flags: u16,
    keep: impl FnMut(&Message<'_>) -> Option<T>,
) -> io::Result<Answer<T>> {
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
    collect(sequence, keep, || {
        loop {
            match socket.recv_from_full() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => return received.map(|(datagram, _)| datagram),
            }
        }
    })
}

/// Reads the answer to one question from as many datagrams as it takes.
fn collect<T>(
    sequence: u32,
    mut keep: impl FnMut(&Message<'_>) -> Option<T>,
    mut receive: impl FnMut() -> io::Result<Vec<u8>>,
) -> io::Result<Answer<T>> {
    let mut answers = Vec::new();
    let mut is_interrupted = false;
    loop {
        for message in messages(&receive()?) {
            let message = message
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            if message.sequence != sequence {
                continue;
            }
            is_interrupted |= message.is_interrupted();
            match message.end() {
                None => answers.extend(keep(&message)),
                Some(0) if is_interrupted => return Ok(Answer::Interrupted),
                Some(0) => return Ok(Answer::Whole(answers)),
                Some(error) => return Err(io::Error::from_raw_os_error(-error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::{NLM_F_DUMP_INTR, NLMSG_DONE};

    use super::{Answer, collect, message::message};

    fn read(datagrams: &[Vec<u8>]) -> std::io::Result<Answer<Vec<u8>>> {
        let mut datagrams = datagrams.iter().cloned();
        let keep = |message: &super::Message<'_>| Some(message.payload.to_vec());
        collect(7, keep, || Ok(datagrams.next().unwrap()))
    }

    #[test]
    fn an_answer_is_whole_or_it_is_told() {
        let part = |flags, payload| message(16, flags, 7, payload);
        let done = |code: i32| message(NLMSG_DONE, 0, 7, &code.to_ne_bytes());
        let stale = message(16, 0, 6, b"of an earlier question");
        let first = [stale, part(0, b"one."), part(0, b"two.")].concat();
        let whole = Answer::Whole(vec![b"one.".to_vec(), b"two.".to_vec()]);
        assert_eq!(read(&[first.clone(), done(0)]).unwrap(), whole);
        let changed = part(NLM_F_DUMP_INTR, b"two.");
        let read_changed = read(&[first.clone(), changed, done(0)]).unwrap();
        assert_eq!(read_changed, Answer::Interrupted);
        let failed = read(&[first, done(-libc::ENOMEM)]).unwrap_err();
        assert_eq!(failed.raw_os_error(), Some(libc::ENOMEM));
    }
}
