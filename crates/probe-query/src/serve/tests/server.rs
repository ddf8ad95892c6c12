//! A server of the tests, and plain requests to it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use serde_json::Value;

use crate::serve::{
    access::Access,
    key::Key,
    listener::{Address, Bound},
    routes::{self, App},
    runner::Runner,
};

/// A key that the server may ask for.
pub(super) const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A server on a free port of the loopback, until it is dropped.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    http: Option<tokio::runtime::Runtime>,
    questions: Option<tokio::runtime::Runtime>,
}

/// A runtime with few threads.
pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// Who may ask with [`KEY`] only.
pub(super) fn with_key() -> Access {
    Access::Key(Arc::new(Key::new(KEY.as_bytes()).unwrap()))
}

impl Server {
    /// Serves a store to the loopback.
    pub(super) fn new(store: &Path) -> Self {
        Self::with(store, Access::Loopback, Duration::from_mins(1))
    }

    pub(super) fn with(store: &Path, access: Access, limit: Duration) -> Self {
        let questions = runtime();
        let runner = Runner::new(questions.handle().clone(), limit);
        let app = App::new(vec![store.to_owned()], "64MiB".to_owned(), runner);
        let mut server = Self::of(routes::router(Arc::new(app), access));
        server.questions = Some(questions);
        server
    }

    /// Serves any routes.
    pub(super) fn of(router: Router) -> Self {
        let http = runtime();
        let address = Address::read("127.0.0.1:0").unwrap();
        let bound = http.block_on(async { Bound::bind(&address).unwrap() });
        let Bound::Tcp(_, addr) = &bound else {
            panic!("an address of TCP was asked for")
        };
        let addr = *addr;
        http.spawn(bound.serve(router));
        Self {
            addr,
            http: Some(http),
            questions: None,
        }
    }

    /// A connection to it.
    pub(super) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).unwrap()
    }

    /// The answer to `GET`, with more lines in the head of the request.
    pub(super) fn get_with(&self, target: &str, lines: &[&str]) -> Answer {
        self.send(&format!("GET {target} HTTP/1.1"), lines)
    }

    /// The answer to a request of this first line.
    pub(super) fn send(&self, first: &str, lines: &[&str]) -> Answer {
        let mut stream = self.connect();
        let has_host = lines.iter().any(|line| line.starts_with("Host:"));
        let host = if has_host { "" } else { "Host: localhost\r\n" };
        let lines = [&["Connection: close"], lines].concat().join("\r\n");
        let request = format!("{first}\r\n{host}{lines}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).unwrap();
        let text = String::from_utf8(octets).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head[9..12].parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    /// The answer to `GET`.
    pub(super) fn get(&self, target: &str) -> Answer {
        self.get_with(target, &[])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for runtime in [self.http.take(), self.questions.take()]
            .into_iter()
            .flatten()
        {
            runtime.shutdown_background();
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// In small letters.
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
