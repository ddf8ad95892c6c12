//! Where an agent is, as clients are told.

use std::{fmt, path::PathBuf, str::FromStr};

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

impl From<Endpoint> for AgentAddr {
    fn from(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::Unix(path) => Self::Unix(path),
            Endpoint::Tcp(addr) => Self::Tcp {
                host: addr.ip().to_string(),
                port: addr.port(),
                is_tls: false,
            },
        }
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
            Some(addr) => addr.parse::<std::net::Ipv6Addr>().is_ok(),
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
            Self::Tcp { host, port, is_tls } => {
                let scheme = if *is_tls { "https://" } else { "" };
                if host.contains(':') {
                    write!(f, "{scheme}[{host}]:{port}")
                } else {
                    write!(f, "{scheme}{host}:{port}")
                }
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
        ] {
            let addr: AgentAddr = text.parse().expect(text);
            assert_eq!(addr.to_string(), text);
        }
        let plain: AgentAddr = "http://probe.example:9479/".parse().expect("a URL");
        assert_eq!(plain.to_string(), "probe.example:9479");
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
