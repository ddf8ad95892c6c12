//! The commands and their client over TLS: whom they trust, and what they say of whom they do not.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command};

use probe_api::{
    Api,
    client::{AgentAddr, Client, ClientError, Trust},
    endpoint::Endpoint,
    options::{ApiConfig, ApiKey, KeySource, Role, Secret, TlsConfig},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::{
    server::{Running, config},
    source::Script,
};

const KEY: &str = "read-read-read-read-read-read-read-read";

/// An agent whose certificate is for `probe.example` and signed by a CA of its own.
struct Testbed {
    addr: SocketAddr,
    metrics: SocketAddr,
    folder: tempfile::TempDir,
    _running: Running,
}

impl Testbed {
    fn new(is_tls: bool) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&path, private).expect("its mode");
            path
        };
        let ca_key = KeyPair::generate().expect("a key");
        let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        write("ca.pem", &ca.self_signed(&ca_key).expect("signed").pem());
        let issuer = Issuer::new(ca, ca_key);
        let own_key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(vec!["probe.example".to_owned()]).expect("parameters");
        let own = own.signed_by(&own_key, &issuer).expect("signed");
        let tls = TlsConfig {
            cert: write("cert.pem", &own.pem()),
            key: write("key.pem", &own_key.serialize_pem()),
        };
        write("api-key", KEY);
        let api = Api::bind(&ApiConfig {
            keys: vec![ApiKey {
                role: Role::Read,
                source: KeySource::Inline(Secret::new(KEY).expect("a key")),
            }],
            tls: is_tls.then_some(tls),
            ..config(Some("127.0.0.1:0"), Some("127.0.0.1:0"))
        })
        .expect("bound");
        let Some(Endpoint::Tcp(addr)) = api.addr() else {
            panic!("it is TCP");
        };
        let metrics = api.metrics_addr().expect("an address");
        let running = Running::new(api);
        Script::capture(&running.manager, &["eth0"]);
        Self {
            addr,
            metrics,
            folder,
            _running: running,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn info(&self, addr: &str, ca: Option<&str>, name: Option<&str>) -> Result<(), ClientError> {
        let trust = Trust {
            ca_file: ca.map(|ca| self.path(ca)),
            server_name: name.map(str::to_owned),
        };
        let addr: AgentAddr = addr.parse().expect("an address");
        let client = Client::with_trust(addr, Some(KEY.to_owned()), &trust)?;
        client.info().map(drop)
    }
}

#[test]
fn commands_talk_to_an_agent_with_tls() {
    let testbed = Testbed::new(true);
    let addr = format!("https://{}", testbed.addr);
    for words in [&["status"][..], &["flows"], &["reload", "--dry-run"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_probe-agent"));
        command.args(words).args(["--addr", &addr]);
        command.args(["--server-name", "probe.example", "--ca-file"]);
        command.arg(testbed.path("ca.pem"));
        command.arg("--key-file").arg(testbed.path("api-key"));
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        match words[0] {
            "reload" => assert!(said.contains("this needs the role admin"), "{said}"),
            _ => assert!(output.status.success(), "{words:?}: {said}"),
        }
    }
}

#[test]
fn only_the_agent_that_is_meant_is_trusted() {
    let testbed = Testbed::new(true);
    let addr = format!("https://{}", testbed.addr);
    let info = |ca, name| testbed.info(&addr, ca, name);
    info(Some("ca.pem"), Some("probe.example")).expect("signed by its CA");
    let told = |ca, name| info(ca, name).expect_err("not trusted").to_string();
    let unknown = told(None, Some("probe.example"));
    assert!(unknown.contains("--ca-file"), "{unknown}");
    let other = told(Some("ca.pem"), None);
    assert!(other.contains("by --server-name"), "{other}");
    let missing = told(Some("missing.pem"), None);
    assert!(missing.contains("missing.pem: No such file"), "{missing}");
    let no_pem = told(Some("api-key"), None);
    assert!(no_pem.contains("it has no certificate as PEM"), "{no_pem}");
    let no_name = told(Some("ca.pem"), Some("no name"));
    assert!(no_name.contains("`no name` is no name"), "{no_name}");
}

#[test]
fn the_wrong_port_or_protocol_is_told_with_the_right_one() {
    let testbed = Testbed::new(true);
    let told = |addr: String| {
        let asked = testbed.info(&addr, Some("ca.pem"), Some("probe.example"));
        asked.expect_err("no answer").to_string()
    };
    let plain = told(testbed.addr.to_string());
    assert!(plain.contains("write https:// before"), "{plain}");
    let no_tls = told(format!("https://{}", testbed.metrics));
    assert!(no_tls.contains("api.metrics_addr never does"), "{no_tls}");
    let metrics = told(testbed.metrics.to_string());
    assert!(metrics.contains("this is api.metrics_addr"), "{metrics}");
    let api = format!("the API is at https://{} (api.addr)", testbed.addr);
    assert!(metrics.contains(&api), "{metrics}");
}
