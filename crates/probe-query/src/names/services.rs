//! Names of ports.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
};

use probe_common::headers::ip_protocol;

/// The names that were asked for.
#[derive(Debug, Default)]
pub(super) struct Services(HashMap<(u16, bool), Option<String>>);

impl Services {
    /// The service of a port. Without a protocol, that of TCP, else of UDP; none of protocols without ports.
    pub(super) fn name(&mut self, port: u16, protocol: Option<u8>) -> Option<&str> {
        let (first, second) = match protocol {
            None => (false, Some(true)),
            Some(ip_protocol::UDP) => (true, None),
            Some(ip_protocol::TCP | ip_protocol::SCTP) => (false, None),
            Some(_) => return None,
        };
        // 0 is no port, or an aggregated one.
        if port == 0 {
            return None;
        }
        let is_udp = match second {
            Some(second) if self.find(port, first).is_none() => second,
            _ => first,
        };
        self.find(port, is_udp)
    }

    fn find(&mut self, port: u16, is_udp: bool) -> Option<&str> {
        let known = self.0.entry((port, is_udp));
        known.or_insert_with(|| ask(port, is_udp)).as_deref()
    }
}

/// The system gives the number itself where it has no name.
fn ask(port: u16, is_udp: bool) -> Option<String> {
    let datagrams = if is_udp { libc::NI_DGRAM } else { 0 };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (_, name) = dns_lookup::getnameinfo(&address, libc::NI_NUMERICHOST | datagrams).ok()?;
    (name.parse::<u16>() != Ok(port)).then(|| probe_flow::text::printable(&name))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Services;

    /// Another program that asks the same system.
    fn getent(service: &str) -> Option<String> {
        let output = Command::new("getent").args(["services", service]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.split_whitespace().next().map(str::to_owned)
    }

    #[test]
    fn ports_have_the_names_that_the_system_gives() {
        let mut services = Services::default();
        for (port, protocol, service) in [(22, 6, "22/tcp"), (53, 17, "53/udp"), (1, 17, "1/udp")] {
            let name = services.name(port, Some(protocol)).map(str::to_owned);
            assert_eq!(name, getent(service), "{service}");
        }
        assert_eq!(services.name(22, Some(1)), None, "ICMP has no ports");
        assert_eq!(services.name(0, None), None);
        assert_eq!(services.name(65_431, None), None);
        let any = services.name(69, None).map(str::to_owned);
        assert_eq!(any, getent("69/tcp").or(getent("69/udp")));
    }
}
