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

/// How often an answer that was interrupted is asked for, with a wait in between that doubles from
/// 1 ms.
#[derive(Clone, Copy)]
enum Attempts {
    /// For a quarter of a second.
    Many = 9,
    /// For 7 ms: who asks keeps others waiting, and asks again soon.
    Few = 4,
}

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

impl NetlinkError {
    /// The list changed whenever the kernel was about to have it whole.
    pub(super) fn is_interrupted(&self) -> bool {
        self.source.kind() == io::ErrorKind::Interrupted
    }
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
        // No dump, so nothing interrupts it.
        let mut links = self.ask("a link", &question, flags, Attempts::Few, new_link)?;
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
        attempts: Attempts,
        mut keep: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let answers = whole(attempts, || {
            exchange(&self.socket, question.clone(), flags, &mut keep)
        });
        answers.map_err(|source| NetlinkError { object, source })
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
    dump_links(link_question(), Attempts::Many)
}

/// The same with their counters, for a check that is made every second.
pub(super) fn links_with_counters() -> Result<Vec<LinkRecord>, NetlinkError> {
    dump_links(LinkMessage::default(), Attempts::Few)
}

fn dump_links(question: LinkMessage, attempts: Attempts) -> Result<Vec<LinkRecord>, NetlinkError> {
    let question = RouteNetlinkMessage::GetLink(question);
    dump("the links", &question, attempts, new_link)
}

/// The filters of a link on one side of its clsact (or ingress) qdisc; none if it has no such qdisc.
/// `minor` is [`TcHandle::MIN_INGRESS`] or [`TcHandle::MIN_EGRESS`].
pub(super) fn filters(ifindex: u32, minor: u16) -> Result<Vec<TcRecord>, NetlinkError> {
    dump_filters(ifindex, minor, Attempts::Many)
}

/// Programs of the eBPF filters of a link, by the kernel's numbers, in the order in which they run,
/// for a check that is made every second. `minor` as for [`filters`].
pub(super) fn filter_programs(ifindex: u32, minor: u16) -> Result<Vec<u32>, NetlinkError> {
    let filters = dump_filters(ifindex, minor, Attempts::Few)?.into_iter();
    Ok(filters.filter_map(|filter| filter.program).collect())
}

fn dump_filters(
    ifindex: u32,
    minor: u16,
    attempts: Attempts,
) -> Result<Vec<TcRecord>, NetlinkError> {
    let mut question = TcMessage::with_index(ifindex.cast_signed());
    question.header.parent = TcHandle {
        major: TcHandle::CLSACT.major,
        minor,
    };
    let question = RouteNetlinkMessage::GetTrafficFilter(question);
    dump("the filters", &question, attempts, |answer| {
        new_tc(answer, libc::RTM_NEWTFILTER)
    })
}

/// Kind of the qdisc with handle `ffff:` of a link: `clsact`, `ingress` or none.
pub(super) fn clsact_kind(ifindex: u32) -> Result<Option<String>, NetlinkError> {
    Ok(clsact_kinds()?.remove(&ifindex))
}

/// The same of all links that have one. The kernel always lists the qdiscs of all links.
pub(super) fn clsact_kinds() -> Result<HashMap<u32, String>, NetlinkError> {
    let question = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let kinds = dump("the qdiscs", &question, Attempts::Many, |answer| {
        let qdisc = new_tc(answer, libc::RTM_NEWQDISC)?;
        (qdisc.handle == CLSACT_HANDLE).then_some((qdisc.ifindex, qdisc.kind))
    })?;
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

/// One question for a list, over a socket of its own.
fn dump<T>(
    object: &'static str,
    question: &RouteNetlinkMessage,
    attempts: Attempts,
    keep: impl FnMut(&Message<'_>) -> Option<T>,
) -> Result<Vec<T>, NetlinkError> {
    let flags = NLM_F_REQUEST | NLM_F_DUMP;
    Connection::open()?.ask(object, question, flags, attempts, keep)
}

/// Asks until an answer is whole.
fn whole<T>(
    attempts: Attempts,
    mut ask: impl FnMut() -> io::Result<Answer<T>>,
) -> io::Result<Vec<T>> {
    let mut wait = Duration::from_millis(1);
    for attempt in 1..=attempts as u32 {
        if attempt > 1 {
            thread::sleep(wait);
            wait *= 2;
        }
        if let Answer::Whole(answers) = ask()? {
            return Ok(answers);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::Interrupted,
        "they change faster than the kernel can list them; the next check asks again",
    ))
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

    use super::{Answer, Attempts, collect, message::message, whole};

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

    #[test]
    fn an_interrupted_answer_is_asked_for_again_a_few_times() {
        let ask_after = |interrupted| {
            let mut asked = 0;
            let answer = whole(Attempts::Few, || {
                asked += 1;
                Ok(if asked > interrupted {
                    Answer::Whole(vec![()])
                } else {
                    Answer::Interrupted
                })
            });
            (asked, answer.map_err(|error| error.kind()))
        };
        assert_eq!(ask_after(0), (1, Ok(vec![()])));
        assert_eq!(ask_after(3), (4, Ok(vec![()])));
        assert_eq!(ask_after(4), (4, Err(std::io::ErrorKind::Interrupted)));
        let refused = whole::<()>(
            Attempts::Few,
            || Err(std::io::ErrorKind::OutOfMemory.into()),
        );
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::OutOfMemory);
    }
}
