//! Traffic by sockets of our own, where the test must know it to the packet without a witness.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use probe_common::headers::ip_protocol::UDP;

use super::{
    PATIENCE,
    flows::{Counts, FlowKey, Flows},
    netns::Namespace,
    testbed::{HOST_V4, HOST_V6, PEER_V4, PEER_V6, Testbed},
};

/// Pause for about 10,000 packets a second, which leaves the machine to other tests.
pub(crate) const AT_EASE: Duration = Duration::from_millis(5);

/// Pause for as many packets as sender and receiver manage.
pub(crate) const IN_HASTE: Duration = Duration::ZERO;

/// Opens a connection, asks and is answered, so and so many times.
#[track_caller]
pub(crate) fn ask(client: &Namespace, server: &Namespace, address: SocketAddr, times: usize) {
    const OCTETS: usize = 3000;
    let listener = server.enter(|| TcpListener::bind(address).expect("a listener"));
    let answering = thread::spawn(move || {
        for _ in 0..times {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.read_exact(&mut [0; OCTETS]).expect("a question");
            stream.write_all(&[0; 2 * OCTETS]).expect("answered");
        }
    });
    for _ in 0..times {
        client.enter(|| {
            let mut stream = TcpStream::connect(address).expect("connected");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream.write_all(&[0; OCTETS]).expect("asked");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("an answer");
            assert_eq!(answer.len(), 2 * OCTETS);
        });
    }
    answering.join().expect("answered all");
}

/// A conversation of datagrams between the ends of the testbed: every one is awaited by the other end,
/// so that no queue in between can overflow and all that were sent have passed.
pub(crate) struct Conversation {
    client: UdpSocket,
    server: UdpSocket,
    octets: usize,
    counts: Counts,
}

impl Conversation {
    /// `asker` talks to `answerer`, in datagrams of so many octets.
    pub(crate) fn new(
        asker: (&Namespace, IpAddr),
        answerer: (&Namespace, IpAddr),
        octets: usize,
    ) -> Self {
        // One of them below the range of ephemeral ports, so that ports tell which side is the server.
        let bind = |address: IpAddr, port: u16| {
            move || UdpSocket::bind((address, port)).expect("a free port")
        };
        let server = answerer.0.enter(bind(answerer.1, 7000));
        let client = asker.0.enter(bind(asker.1, 40000));
        let (from, to) = (client.local_addr(), server.local_addr());
        client.connect(to.expect("bound")).expect("connected");
        server.connect(from.expect("bound")).expect("connected");
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        }
        Self {
            client,
            server,
            octets,
            counts: Counts::default(),
        }
    }

    fn key(&self) -> FlowKey {
        FlowKey {
            client: self.client.local_addr().expect("bound"),
            server: self.server.local_addr().expect("bound"),
            ip_protocol: UDP,
        }
    }

    /// So many datagrams there, and one back.
    pub(crate) fn talk(&mut self, datagrams: u64) {
        for _ in 0..datagrams {
            pass(&self.client, &self.server, self.octets);
        }
        pass(&self.server, &self.client, self.octets);
        let is_v4 = self.key().client.is_ipv4();
        let octets = u64::try_from(self.octets).expect("few") + 8 + if is_v4 { 20 } else { 40 };
        let (there, back) = (datagrams, 1);
        let asker = self.key().client.ip();
        let (received, sent) = if [HOST_V4, HOST_V6].contains(&asker) {
            (back, there)
        } else {
            (there, back)
        };
        self.counts += Counts {
            packets_rcvd: received,
            packets_sent: sent,
            bytes_rcvd: received * octets,
            bytes_sent: sent * octets,
            tcp_flags: 0,
        };
    }
}

/// What is expected of a conversation: its flow.
impl From<&Conversation> for (FlowKey, Counts) {
    fn from(conversation: &Conversation) -> Self {
        (conversation.key(), conversation.counts)
    }
}

fn pass(from: &UdpSocket, to: &UdpSocket, octets: usize) {
    let mut datagram = [0x5a; 1500];
    from.send(&datagram[..octets]).expect("sent");
    let received = to.recv(&mut datagram).expect("received");
    assert_eq!(received, octets);
}

/// Datagrams of both families in both directions, until it is told to stop.
pub(crate) struct Chatter {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Flows>>,
}

impl Chatter {
    /// Starts to talk, with so long a pause after every 54 packets.
    pub(crate) fn start(testbed: &Testbed, pause: Duration) -> Self {
        let (host, peer) = (&testbed.host, &testbed.peer);
        let mut conversations = vec![
            Conversation::new((host, HOST_V4), (peer, PEER_V4), 20),
            Conversation::new((host, HOST_V6), (peer, PEER_V6), 1200),
            Conversation::new((peer, PEER_V4), (host, HOST_V4), 700),
            Conversation::new((peer, PEER_V6), (host, HOST_V6), 1),
        ];
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let talk = move || {
            while !stopped.load(Relaxed) {
                for (number, conversation) in (1..).zip(&mut conversations) {
                    conversation.talk(5 * number);
                }
                thread::sleep(pause);
            }
            let said = conversations.iter();
            said.map(Into::into).collect()
        };
        Self {
            stop,
            thread: Some(thread::spawn(talk)),
        }
    }

    /// Ends it and tells what was said, all of which was heard.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Flows {
        self.stop.store(true, Relaxed);
        let thread = self.thread.take().expect("runs until here");
        thread.join().expect("all was heard")
    }
}

impl Drop for Chatter {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // A panic of the thread has been printed where it happened.
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}
