//! The section `api`: addresses, keys and TLS.

use std::path::PathBuf;

use probe_api::{
    endpoint::Endpoint,
    options::{ApiConfig, ApiKey, KeySource, Role, Secret, TlsConfig},
};
use probe_flow::text::quoted;

use super::{Collector, Node, Section, Value, boolean, choice, items, text, unless_none};

const ROLES: [(&str, Role); 2] = [("read", Role::Read), ("admin", Role::Admin)];

/// Reads the section.
pub(super) fn api(node: &Node, problems: &mut Collector) -> ApiConfig {
    let section = Section::open(node, "api", "api", problems);
    let default = ApiConfig::default();
    let addr = section.read("addr", problems, unless_none(api_addr));
    let metrics_addr = section.read("metrics_addr", problems, unless_none(metrics_addr));
    let keys = section.node("keys").map(|list| keys(list, problems));
    let has_keys = section.node("keys").is_some_and(is_filled);
    let tls = section.node("tls").and_then(|node| tls(node, problems));
    let api = ApiConfig {
        addr: addr.unwrap_or(default.addr),
        metrics_addr: metrics_addr.unwrap_or(default.metrics_addr),
        disable_iface_metrics: section
            .read("disable_iface_metrics", problems, boolean)
            .unwrap_or(default.disable_iface_metrics),
        keys: keys.unwrap_or_default(),
        tls,
    };
    let both = [&api.addr, &api.metrics_addr].map(|addr| Endpoint::parse(addr.as_ref()?).ok());
    if let [Some(first), Some(second)] = &both
        && first.collides_with(second)
    {
        let at = section.node("metrics_addr").or(section.node("addr"));
        let message = format!("{second} and api.addr {first} want the same port; change one");
        problems.refuse(at.unwrap_or(node), &section.path("metrics_addr"), message);
    }
    match &both[0] {
        Some(Endpoint::Tcp(tcp)) if !tcp.ip().is_loopback() && !has_keys => {
            let message = format!(
                "{tcp} can be reached from outside, and there are no keys; add api.keys, or use \
                 unix:/run/probe/probe.sock or an address of the loopback"
            );
            let at = section.node("addr").unwrap_or(node);
            problems.refuse(at, &section.path("addr"), message);
        }
        Some(Endpoint::Tcp(_)) | None => {}
        Some(Endpoint::Unix(_)) => {
            for name in ["keys", "tls"] {
                if let Some(unused) = section.node(name).filter(|node| is_filled(node)) {
                    let message = "is for a TCP address, and api.addr is a unix socket, which asks \
                                   for no key; remove it, or give IP:port";
                    problems.refuse(unused, &section.path(name), message);
                }
            }
        }
    }
    api
}

fn is_filled(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::List(list) => !list.is_empty(),
        Value::Text(text) => text != "none",
        _ => true,
    }
}

fn api_addr(value: &Value) -> Result<String, String> {
    let addr = text(value)?;
    Endpoint::parse(addr).map(|_| addr.to_owned())
}

fn metrics_addr(value: &Value) -> Result<String, String> {
    let addr = text(value)?;
    match Endpoint::parse(addr)? {
        Endpoint::Unix(_) => Err("must be IP:port; api.addr takes unix sockets, \
                                  and serves /metrics as well"
            .to_owned()),
        Endpoint::Tcp(_) => Ok(addr.to_owned()),
    }
}

fn keys(list: &Node, problems: &mut Collector) -> Vec<ApiKey> {
    let items = items(list, "api.keys", problems);
    items
        .into_iter()
        .filter_map(|(at, item)| {
            let section = Section::open(item, at, "api.keys[]", problems);
            let role = section.read("role", problems, choice(&ROLES));
            let inline = section.read("key", problems, secret);
            let file = section.read("file", problems, absolute_path);
            let given = [section.node("key"), section.node("file")];
            let is_mapping = matches!(item.value, Value::Map(_));
            if is_mapping && given.iter().flatten().count() != 1 {
                let message = "give either the key or the file that holds it";
                problems.refuse(item, &section.path("key"), message);
                return None;
            }
            let inline = inline.map(KeySource::Inline);
            Some(ApiKey {
                role: role.unwrap_or_default(),
                source: inline.or(file.map(KeySource::File))?,
            })
        })
        .collect()
}

/// Its errors do not show the value.
fn secret(value: &Value) -> Result<Secret, String> {
    match value {
        Value::Text(text) => Secret::new(text),
        _ => Err("must be text; quote it".to_owned()),
    }
}

fn tls(node: &Node, problems: &mut Collector) -> Option<TlsConfig> {
    if !is_filled(node) {
        return None;
    }
    let section = Section::open(node, "api.tls", "api.tls", problems);
    let cert = section.require("cert", problems, absolute_path);
    let key = section.require("key", problems, absolute_path);
    Some(TlsConfig {
        cert: cert?,
        key: key?,
    })
}

fn absolute_path(value: &Value) -> Result<PathBuf, String> {
    let path = text(value)?;
    let usable = path.starts_with('/') && !path.contains('\0');
    usable
        .then(|| PathBuf::from(path))
        .ok_or_else(|| format!("must be an absolute path, found {}", quoted(path)))
}
