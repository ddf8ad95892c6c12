//! Where an agent is, as clients are told.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
};

use probe_flow::text::quoted;

use crate::endpoint::Endpoint;

/// Address of an agent: its `api.addr` as others reach it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AgentAddr {
    /// Path of its unix socket.
    Unix(PathBuf),
    /// Its TCP address, with TLS or without.
    Tcp {
        /// Name or IP address of its host.
        host: String,
        /// TCP port, from 1.
        port: u16,
        /// Whether it has `api.tls`.
        is_tls: bool,
    },
}

impl AgentAddr {
    /// That of an agent which listens there; only TCP has TLS.
    pub fn new(endpoint: Endpoint, is_tls: bool) -> Self {
        match endpoint {
            Endpoint::Unix(path) => Self::Unix(path),
            Endpoint::Tcp(addr) => Self::Tcp {
                host: addr.ip().to_string(),
                port: addr.port(),
                is_tls,
            },
        }
    }

    /// Host and port, as a URL and the header `Host` have them (RFC 3986, section 3.2). A unix socket
    /// has none, and any name does.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "probe-agent".to_owned(),
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

impl From<Endpoint> for AgentAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint, false)
    }
}

impl FromStr for AgentAddr {
    type Err = String;

    /// Reads `unix:/path`, `IP:port`, `http://HOST:port` or `https://HOST:port`. The error is the end of
    /// a sentence: "must be …".
    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, is_tls) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (rest, true),
            (_, Some(rest)) => (rest, false),
            _ => return Endpoint::parse(text).map(Self::from),
        };
        let refused = || {
            format!(
                "must have a host and its port and nothing else behind `//`, such as \
                 https://probe.example:9479, found {}",
                quoted(text)
            )
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(refused)?;
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let is_name = |name: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !name.is_empty() && name.chars().all(allowed)
        };
        let is_host = match bare {
            Some(addr) => addr.parse::<Ipv6Addr>().is_ok(),
            None => is_name(host),
        };
        match port.parse() {
            Ok(port) if is_host && port != 0 => Ok(Self::Tcp {
                host: bare.unwrap_or(host).to_owned(),
                port,
                is_tls,
            }),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for AgentAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, is_tls, .. } => {
                let scheme = match (is_tls, host.parse::<IpAddr>()) {
                    (true, _) => "https://",
                    // Without it only an IP address reads back.
                    (false, Err(_)) => "http://",
                    (false, Ok(_)) => "",
                };
                write!(f, "{scheme}{}", self.authority())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AgentAddr;

    #[test]
    fn addresses_of_agents_read_back() {
        for text in [
            "unix:/run/probe/probe.sock",
            "127.0.0.1:9479",
            "[::1]:9479",
            "https://probe.example:9479",
            "https://198.18.0.1:9479",
            "https://[fd00::1]:9479",
            "http://probe.example:9479",
            "http://localhost:9479",
        ] {
            let addr: AgentAddr = text.parse().expect(text);
            assert_eq!(addr.to_string(), text);
        }
        for (text, told) in [
            ("http://probe.example:9479/", "http://probe.example:9479"),
            ("http://127.0.0.1:9479", "127.0.0.1:9479"),
            ("http://[::1]:9479", "[::1]:9479"),
        ] {
            let addr: AgentAddr = text.parse().expect(text);
            assert_eq!(addr.to_string(), told);
        }
        for wrong in [
            "https://probe.example",
            "https://probe.example:0",
            "https://:9479",
            "https://fd00::1:9479",
            "https://user@probe.example:9479",
            "https://probe.example:9479/api",
            "ftp://probe.example:9479",
        ] {
            let told = wrong.parse::<AgentAddr>().expect_err(wrong);
            assert!(told.starts_with("must ") && told.contains(wrong), "{told}");
        }
    }
}
