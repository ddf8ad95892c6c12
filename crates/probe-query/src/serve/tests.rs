//! The page and its answers, from a server that listens: over plain sockets, and in a browser.

mod access;
mod browser;
mod cdp;
mod day;
mod http;
mod page;
mod server;
