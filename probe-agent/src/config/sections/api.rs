//! The section `api`: addresses, keys and TLS.

use std::path::PathBuf;

use probe_api::{
    endpoint::Endpoint,
    options::{ApiConfig, ApiKey, KeySource, Role, Secret, TlsConfig},
};

use super::super::{
    declare::{Section, section},
    kind::{Kind, OrNone, Scalar, either, required},
    mapping::{Collector, Mapping, items},
    on_host::{Named, OnHost},
    reference::Row,
    settings::Settings,
    tree::{Node, Value},
    value::{AbsolutePath, Boolean, Choice, text},
};

section! {
    keys of ApiConfig {
        /// Serves the API, `/metrics`, `/healthz` and `/readyz`, on a unix socket by default. A TCP
        /// address other than of the loopback needs `keys`.
        #[key("addr", Restart, OrNone(Address))]
        addr,

        /// Where Prometheus scrapes: `/metrics`, `/healthz` and `/readyz`, without key and TLS, and
        /// nothing else.
        #[key("metrics_addr", Restart, OrNone(TcpAddress))]
        metrics_addr,

        /// Leaves the `iface` label out of the metrics and gives sums: fewer series on hosts with
        /// many interfaces.
        #[key("disable_iface_metrics", Restart, Boolean)]
        disable_iface_metrics,

        /// Who may ask over TCP, by `Authorization: Bearer KEY`. Without keys a TCP address of the
        /// loopback may be read by every user of the host. The unix socket asks for no key.
        #[key("keys", OfItsKeys, Keys)]
        keys,

        /// TLS on the TCP address of `api.addr`.
        #[key("tls", OfItsKeys, Tls)]
        tls,
    }
}

section! {
    /// One key, as the file has it.
    struct KeyItem {
        /// `admin` may also change something: reload, rotate.
        #[key("role", Restart, Choice(&ROLES))]
        pub role: Role = Role::Read,

        /// The key itself, or else `file`. It is never logged or shown.
        #[key("key", Restart, either(SecretText))]
        pub key: Option<Secret> = None,

        /// File that holds the key. It must belong to root or the agent's user, who alone may read
        /// it.
        #[key("file", Restart, either(AbsolutePath))]
        pub file: Option<PathBuf> = None,
    }
}

section! {
    /// The mapping `tls`, as the file has it.
    struct TlsFiles {
        /// Certificates as PEM, that of the agent first.
        #[key("cert", Restart, required(AbsolutePath))]
        pub cert: Option<PathBuf> = None,

        /// Private key as PEM, in a file like `api.keys[].file`.
        #[key("key", Restart, required(AbsolutePath))]
        pub key: Option<PathBuf> = None,
    }
}

const ROLES: [(&str, Role); 2] = [("read", Role::Read), ("admin", Role::Admin)];

/// Which keys of the section do not fit together.
pub(in super::super) fn check(api: &ApiConfig, section: &Mapping<'_>, problems: &mut Collector) {
    let whole = section.as_node();
    let has_keys = section.node("keys").is_some_and(is_filled);
    // The default in the place of a wrong address says nothing about the other keys.
    let addresses = [("addr", &api.addr), ("metrics_addr", &api.metrics_addr)];
    let both = addresses.map(|(key, addr)| {
        let is_wrong = problems.is_refused(&section.path(key));
        (!is_wrong).then(|| Endpoint::parse(addr.as_ref()?).ok())?
    });
    if let [Some(first), Some(second)] = &both
        && first.collides_with(second)
    {
        let at = section.node("metrics_addr").or(section.node("addr"));
        let message = format!("{second} and api.addr {first} want the same port; change one");
        problems.refuse(at.unwrap_or(whole), &section.path("metrics_addr"), message);
    }
    match &both[0] {
        Some(Endpoint::Tcp(tcp)) if !tcp.ip().is_loopback() && !has_keys => {
            let message = format!(
                "{tcp} can be reached from outside, and there are no keys; add api.keys, or use \
                 unix:/run/probe/probe.sock or an address of the loopback"
            );
            let at = section.node("addr").unwrap_or(whole);
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
}

fn is_filled(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::List(list) => !list.is_empty(),
        Value::Text(text) => text != "none",
        _ => true,
    }
}

/// A unix socket or a TCP address.
struct Address;

impl Scalar for Address {
    type Value = String;

    fn parse(&self, value: &Value) -> Result<String, String> {
        let addr = text(value)?;
        Endpoint::parse(addr).map(|_| addr.to_owned())
    }

    fn text(&self, value: &String) -> String {
        value.clone()
    }

    fn range(&self) -> String {
        "`unix:/path`, `IP:port`".to_owned()
    }
}

/// A TCP address with a port, such as `127.0.0.1:8147`.
struct TcpAddress;

impl Scalar for TcpAddress {
    type Value = String;

    fn parse(&self, value: &Value) -> Result<String, String> {
        let addr = text(value)?;
        match Endpoint::parse(addr)? {
            Endpoint::Unix(_) => Err("must be IP:port; api.addr takes unix sockets, \
                                      and serves /metrics as well"
                .to_owned()),
            Endpoint::Tcp(_) => Ok(addr.to_owned()),
        }
    }

    fn text(&self, value: &String) -> String {
        value.clone()
    }

    fn range(&self) -> String {
        "`IP:port`".to_owned()
    }
}

/// A key of the API. Its errors do not show the value.
struct SecretText;

impl Scalar for SecretText {
    type Value = Secret;

    fn parse(&self, value: &Value) -> Result<Secret, String> {
        match value {
            Value::Text(text) => Secret::new(text),
            _ => Err("must be text; quote it".to_owned()),
        }
    }

    fn text(&self, _value: &Secret) -> String {
        "(redacted)".to_owned()
    }

    fn range(&self) -> String {
        "text, 32 to 256 visible characters of ASCII".to_owned()
    }
}

/// A list of keys, each given in the file or by the path of another.
struct Keys;

impl Kind<Vec<ApiKey>> for Keys {
    fn read(&self, list: &Node, path: &str, problems: &mut Collector) -> Option<Vec<ApiKey>> {
        let items = items(list, path, problems);
        let keys = items
            .into_iter()
            .filter_map(|(at, item)| key(item, &at, problems));
        Some(keys.collect())
    }

    fn show(&self, keys: &Vec<ApiKey>, path: &str, settings: &mut Settings) {
        for (position, ApiKey { role, source }) in keys.iter().enumerate() {
            let (key, file) = match source {
                KeySource::Inline(secret) => (Some(secret.clone()), None),
                KeySource::File(path) => (None, Some(path.clone())),
            };
            let role = *role;
            KeyItem { role, key, file }.show(&format!("{path}[{position}]"), settings);
        }
    }

    fn describe(&self) -> String {
        "list".to_owned()
    }

    fn yaml(&self, _default: &Vec<ApiKey>) -> String {
        "[]".to_owned()
    }

    fn refer(&self, path: &str, rows: &mut Vec<Row>) {
        KeyItem::refer(&format!("{path}[]"), rows);
    }
}

fn key(item: &Node, at: &str, problems: &mut Collector) -> Option<ApiKey> {
    let section = Mapping::open::<KeyItem>(item, at, problems);
    let KeyItem { role, key, file } = KeyItem::read(&section, problems);
    let given = [section.node("key"), section.node("file")];
    let is_mapping = matches!(item.value, Value::Map(_));
    if is_mapping && given.iter().flatten().count() != 1 {
        let message = "give either the key or the file that holds it";
        problems.refuse(item, &section.path("key"), message);
        return None;
    }
    if let (Some(path), Some(node)) = (&file, section.node("file")) {
        let key = section.path("file");
        name(node, key, Named::ApiKey(path.clone()), problems);
    }
    let source = key.map(KeySource::Inline).or(file.map(KeySource::File))?;
    Some(ApiKey { role, source })
}

fn name(node: &Node, key: String, what: Named, problems: &mut Collector) {
    let number = node.number;
    problems.names(OnHost { number, key, what });
}

/// Certificate and key, or none.
struct Tls;

impl Kind<Option<TlsConfig>> for Tls {
    fn read(&self, node: &Node, path: &str, problems: &mut Collector) -> Option<Option<TlsConfig>> {
        if !is_filled(node) {
            return None;
        }
        let section = Mapping::open::<TlsFiles>(node, path, problems);
        let TlsFiles { cert, key } = TlsFiles::read(&section, problems);
        let files = [
            ("cert", cert.clone().map(Named::Certificate)),
            ("key", key.clone().map(Named::PrivateKey)),
        ];
        for (key, file) in files {
            if let (Some(node), Some(file)) = (section.node(key), file) {
                name(node, section.path(key), file, problems);
            }
        }
        Some(cert.zip(key).map(|(cert, key)| TlsConfig { cert, key }))
    }

    fn show(&self, tls: &Option<TlsConfig>, path: &str, settings: &mut Settings) {
        if let Some(TlsConfig { cert, key }) = tls.clone() {
            let (cert, key) = (Some(cert), Some(key));
            TlsFiles { cert, key }.show(path, settings);
        }
    }

    fn describe(&self) -> String {
        "mapping, or `none`".to_owned()
    }

    fn yaml(&self, _default: &Option<TlsConfig>) -> String {
        "none".to_owned()
    }

    fn refer(&self, path: &str, rows: &mut Vec<Row>) {
        TlsFiles::refer(path, rows);
    }
}
