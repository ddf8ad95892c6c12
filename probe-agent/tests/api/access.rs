//! Who may ask for what, over TCP and TLS, and what is told to those who may not.

use std::{
    fs,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
};

use probe_api::{
    Api,
    client::{AgentAddr, Client, ClientError, Trust},
    endpoint::Endpoint,
    options::{ApiConfig, ApiKey, KeySource, Role, Secret, TlsConfig},
};
use rstest::rstest;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring, pki_types::ServerName,
};

use crate::server::{Running, config, tcp};

const READ: &str = "read-read-read-read-read-read-read-read";
const ADMIN: &str = "admin-admin-admin-admin-admin-admin-admin";

fn key(role: Role, text: &str) -> ApiKey {
    let secret = Secret::new(text).expect("a key");
    ApiKey {
        role,
        source: KeySource::Inline(secret),
    }
}

fn with_keys() -> ApiConfig {
    ApiConfig {
        keys: vec![key(Role::Read, READ), key(Role::Admin, ADMIN)],
        ..config(Some("127.0.0.1:0"), None)
    }
}

fn serve(config: &ApiConfig) -> (Running, SocketAddr) {
    let api = Api::bind(config).expect("bound");
    let Some(Endpoint::Tcp(addr)) = api.addr() else {
        panic!("it is TCP");
    };
    (Running::new(api), addr)
}

/// A request with these header lines, and the whole answer.
fn ask(mut stream: impl Read + Write, line: &str, headers: &str) -> String {
    let request =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[rstest]
#[case::no_key("GET /api/v1/info", "", 401)]
#[case::wrong_key(
    "GET /api/v1/info",
    "Authorization: Bearer read-read-read-read-read-read-read-reaX\r\n",
    401
)]
#[case::prefix_of_a_key("GET /api/v1/info", "Authorization: Bearer read-read-read\r\n", 401)]
#[case::other_scheme(
    "GET /api/v1/info",
    "Authorization: Basic read-read-read-read-read-read-read-read\r\n",
    401
)]
#[case::unknown_path("GET /nothing", "", 401)]
#[case::metrics("GET /metrics", "", 401)]
#[case::open("GET /healthz", "", 200)]
#[case::open_too("GET /readyz", "", 200)]
#[case::read(
    "GET /api/v1/info",
    "Authorization: Bearer read-read-read-read-read-read-read-read\r\n",
    200
)]
#[case::scheme_in_small(
    "GET /metrics",
    "authorization: bearer read-read-read-read-read-read-read-read\r\n",
    200
)]
#[case::read_is_not_admin(
    "POST /api/v1/rotation",
    "Authorization: Bearer read-read-read-read-read-read-read-read\r\n",
    403
)]
#[case::admin(
    "POST /api/v1/rotation",
    "Authorization: Bearer admin-admin-admin-admin-admin-admin-admin\r\n",
    200
)]
#[case::admin_reads(
    "GET /api/v1/flows",
    "Authorization: Bearer admin-admin-admin-admin-admin-admin-admin\r\n",
    200
)]
#[case::method(
    "DELETE /api/v1/info",
    "Authorization: Bearer admin-admin-admin-admin-admin-admin-admin\r\n",
    405
)]
fn over_tcp_a_key_decides(#[case] line: &str, #[case] headers: &str, #[case] status: u16) {
    let (_running, addr) = serve(&with_keys());
    let answer = ask(tcp(addr), line, headers);
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
    if status >= 400 {
        assert!(
            answer.contains("content-type: application/problem+json"),
            "{answer}"
        );
        assert!(
            !answer.contains(READ) && !answer.contains(ADMIN),
            "{answer}"
        );
    }
    assert_eq!(
        answer.contains("www-authenticate: Bearer"),
        status == 401,
        "{answer}"
    );
}

#[test]
fn the_client_says_that_its_key_is_wrong() {
    let (running, addr) = serve(&with_keys());
    let client = |key: Option<&str>| {
        let key = key.map(str::to_owned);
        Client::new(Endpoint::Tcp(addr), key).expect("a client")
    };
    for key in [None, Some("x")] {
        let error = client(key).info().expect_err("refused");
        assert!(matches!(error, ClientError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("--key-file"), "{error}");
    }
    client(Some(READ)).info().expect("a read key reads");
    let refused = client(Some(READ)).rotate().expect_err("it only reads");
    assert!(
        refused.to_string().contains("needs the role admin"),
        "{refused}"
    );
    let before = running.manager.last_rotation();
    client(Some(ADMIN)).rotate().expect("an admin rotates");
    assert!(running.manager.last_rotation() > before);
}

/// Without keys a loopback address may be read, and nothing more.
#[test]
fn without_keys_everybody_on_the_host_reads() {
    let (_running, addr) = serve(&config(Some("127.0.0.1:0"), None));
    assert!(ask(tcp(addr), "GET /api/v1/info", "").starts_with("HTTP/1.1 200"));
    assert!(ask(tcp(addr), "POST /api/v1/rotation", "").starts_with("HTTP/1.1 403"));
}

#[test]
fn the_address_of_the_metrics_has_nothing_else() {
    let api = Api::bind(&config(None, Some("127.0.0.1:0"))).expect("bound");
    let addr = api.metrics_addr().expect("an address");
    let _running = Running::new(api);
    assert!(ask(tcp(addr), "GET /metrics", "").starts_with("HTTP/1.1 200"));
    for path in ["/api/v1/info", "/api/v1/flows", "/api/v1/openapi.json"] {
        assert!(ask(tcp(addr), &format!("GET {path}"), "").starts_with("HTTP/1.1 404"));
    }
    assert!(ask(tcp(addr), "POST /api/v1/rotation", "").starts_with("HTTP/1.1 403"));
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}

#[test]
fn a_file_with_a_key_must_be_of_its_owner_alone() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("key");
    let config = ApiConfig {
        keys: vec![ApiKey {
            role: Role::Read,
            source: KeySource::File(path.clone()),
        }],
        ..config(Some("127.0.0.1:0"), None)
    };
    let told = || Api::bind(&config).expect_err("unusable").to_string();
    assert!(told().contains("No such file"), "{}", told());
    write(&path, READ, 0o640);
    assert!(told().contains("mode 640; make it root's"), "{}", told());
    write(&path, "short\n", 0o600);
    assert!(
        told().contains("must have 32 to 256 characters"),
        "{}",
        told()
    );
    write(&path, &format!("{READ}\n"), 0o600);
    let (_running, addr) = serve(&config);
    let header = format!("Authorization: Bearer {READ}\r\n");
    assert!(ask(tcp(addr), "GET /api/v1/info", &header).starts_with("HTTP/1.1 200"));
}

#[test]
fn outside_the_loopback_there_must_be_keys() {
    let told = Api::bind(&config(Some("0.0.0.0:0"), None)).expect_err("refused");
    assert!(told.to_string().contains("there are no keys"), "{told}");
}

#[test]
fn tls_is_spoken_where_it_is_configured() {
    let folder = tempfile::tempdir().expect("a directory");
    let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let identity = identity.expect("a certificate");
    let tls = TlsConfig {
        cert: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    write(&tls.cert, &identity.cert.pem(), 0o644);
    write(&tls.key, &identity.signing_key.serialize_pem(), 0o644);
    let config = ApiConfig {
        tls: Some(tls.clone()),
        ..with_keys()
    };
    let told = Api::bind(&config)
        .expect_err("the key is for all to read")
        .to_string();
    assert!(told.contains("api.tls.key"), "{told}");
    write(&tls.key, &identity.signing_key.serialize_pem(), 0o600);
    let (_running, addr) = serve(&config);

    let mut roots = RootCertStore::empty();
    roots.add(identity.cert.der().clone()).expect("a root");
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(Arc::new(client), name).expect("a client");
    let header = format!("Authorization: Bearer {READ}\r\n");
    let mut stream = StreamOwned::new(client, tcp(addr));
    let request = format!(
        "GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");

    // One that is self-signed is its own CA.
    let trust = Trust {
        ca_file: Some(tls.cert.clone()),
        server_name: Some("localhost".to_owned()),
    };
    let over_tls = format!("https://{addr}").parse::<AgentAddr>();
    let over_tls = over_tls.expect("an address");
    let client = Client::with_trust(over_tls, Some(READ.to_owned()), &trust);
    client.expect("a client").info().expect("trusted");

    // Plain HTTP gets no answer that a client could take for one.
    let mut plain = tcp(addr);
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}
