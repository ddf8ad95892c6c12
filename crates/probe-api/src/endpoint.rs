//! Addresses that the agent listens on.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use probe_flow::text::quoted;

/// Longest path of a unix socket: `sun_path` holds 108 bytes with the final 0 (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// An address that the agent listens on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// TCP address with a port.
    Tcp(SocketAddr),
    /// Path of a unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `unix:/path` or `IP:port`. The error is the end of a sentence: "must be …".
    ///
    /// # Errors
    ///
    /// The text is neither `IP:port` nor `localhost:port`, or what follows `unix:` is no absolute
    /// path of at most 107 bytes.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) => parse_path(path),
            None => parse_tcp(text).map(Self::Tcp),
        }
    }

    /// Whether both would listen on the same TCP port of the same address. Port 0 is any free one.
    pub fn collides_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(a), Self::Tcp(b)) => {
                let (ip, other) = (a.ip(), b.ip());
                let same = ip == other || ip.is_unspecified() || other.is_unspecified();
                a.port() == b.port() && a.port() != 0 && same
            }
            (Self::Unix(a), Self::Unix(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn parse_path(path: &str) -> Result<Endpoint, String> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        let found = quoted(path);
        return Err(format!(
            "must have the absolute path of a socket after `unix:`, found {found}"
        ));
    }
    if path.len() > MAX_SOCKET_PATH {
        let found = path.len();
        return Err(format!(
            "must have a path of at most {MAX_SOCKET_PATH} bytes after `unix:`, found {found}"
        ));
    }
    Ok(Endpoint::Unix(PathBuf::from(path)))
}

/// Names are not resolved: what the agent listens on must not depend on a name server.
fn parse_tcp(text: &str) -> Result<SocketAddr, String> {
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    let local = text.strip_prefix("localhost:");
    if let Some(port) = local.and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    let port_only = text
        .strip_prefix(':')
        .and_then(|port| port.parse::<u16>().ok());
    let remedy = if let Some(port) = port_only {
        format!("; write 0.0.0.0:{port} for all addresses")
    } else if text.parse::<IpAddr>().is_ok() {
        "; the port is missing".to_owned()
    } else if text.starts_with('/') {
        format!("; write unix:{} for a socket file", text.escape_debug())
    } else {
        String::new()
    };
    Err(format!(
        "must be IP:port such as 127.0.0.1:9478 or [::1]:9478, found {}{remedy}",
        quoted(text)
    ))
}
