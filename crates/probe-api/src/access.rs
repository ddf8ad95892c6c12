//! Who may ask for what.
//!
//! On the unix socket the kernel tells who asks; on TCP a key does. `/healthz` and `/readyz` are
//! open to everybody, since those who ask have no secrets to keep.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::{Choice, ConstantTimeEq};

use super::{
    places::{Answering, Class, Holder, Place},
    problem::Problem,
    routes::HEALTH_PATH,
};
use crate::options::{Role, Secret};

/// Paths that need no role.
pub(super) const OPEN: [&str; 2] = [HEALTH_PATH, "/readyz"];

/// How the clients of an address prove who they are.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// By the credentials of the socket's other end.
    Peer,
    /// By an API key, over TCP.
    Keys(Arc<[(Role, Secret)]>),
    /// Not at all, over the loopback: every user of the host may read. A page in a browser of the
    /// host may not, whatever address its name resolves to meanwhile (DNS rebinding).
    Loopback,
    /// Not at all: everybody may read.
    Everybody,
}

impl Access {
    /// That of an address which asks nobody for a key.
    pub(super) const fn without_key(addr: SocketAddr) -> Self {
        if addr.ip().is_loopback() {
            Self::Loopback
        } else {
            Self::Everybody
        }
    }

    /// Whether a user is root or could attach a debugger to the agent, on a unix socket.
    pub(super) fn is_admin(&self, uid: Option<u32>) -> bool {
        let own = rustix::process::geteuid().as_raw();
        matches!(self, Self::Peer) && uid.is_some_and(|uid| uid == 0 || uid == own)
    }
}

/// What is known of a client from its connection alone.
#[derive(Clone)]
pub(super) struct Client {
    access: Access,
    /// Its user, on a unix socket.
    uid: Option<u32>,
    place: Option<Arc<Place>>,
}

impl Client {
    pub(super) const fn new(access: Access, uid: Option<u32>) -> Self {
        Self {
            access,
            uid,
            place: None,
        }
    }

    /// The same client, with its place.
    pub(super) fn at(self, place: &Arc<Place>) -> Self {
        Self {
            place: Some(Arc::clone(place)),
            ..self
        }
    }

    /// Keeps its place as long as a request is being answered.
    pub(super) fn answering(&self) -> Option<Answering> {
        self.place.as_ref().map(Place::answering)
    }

    /// Whose share the requests of a client count for. Those who have no place share one.
    pub(super) fn share(client: Option<&Self>) -> (Holder, Class) {
        let place = client.and_then(|client| client.place.as_ref());
        place.map_or((Holder::UNKNOWN, Class::Guest), |place| {
            (place.holder(), place.class())
        })
    }

    /// The role that the request proves, if any.
    fn role(&self, headers: &HeaderMap) -> Option<Role> {
        match &self.access {
            // Those whom the file's group lets in may read.
            Access::Peer if self.access.is_admin(self.uid) => Some(Role::Admin),
            Access::Keys(keys) => role_of_key(keys, bearer(headers)?),
            Access::Peer | Access::Loopback | Access::Everybody => Some(Role::Read),
        }
    }

    /// Whether there is a place for it among those who have sent a key. Others need none.
    fn takes_place_of_member(&self) -> bool {
        let place = self.place.as_ref();
        !matches!(self.access, Access::Keys(_)) || place.is_none_or(|place| place.promote())
    }
}

/// Whether a name is no other one than this host's: an address, or `localhost` (RFC 6761, section
/// 6.3), with or without a port.
fn is_own_name(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    if bare.unwrap_or(host).parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
}

/// The first name that a request is sent to and that is not this host's.
fn foreign_name(request: &Request) -> Option<String> {
    let named = request.headers().get_all(header::HOST).into_iter();
    let named = named.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let target = request.uri().authority().map(ToString::to_string);
    named.chain(target).find(|host| !is_own_name(host))
}

fn misdirected(host: &str) -> Response {
    let detail = format!(
        "this address answers to itself only, by an IP address or `localhost` in the header \
         `Host`; found `{}`",
        host.escape_debug()
    );
    Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response()
}

/// The strongest role of the key. Checks all keys, in a time that does not tell how much of any
/// was right.
fn role_of_key(keys: &[(Role, Secret)], given: &[u8]) -> Option<Role> {
    let mut found = None;
    for (role, key) in keys {
        let is_it: Choice = key.expose().ct_eq(given);
        if bool::from(is_it) {
            found = found.max(Some(*role));
        }
    }
    found
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(7)?;
    // RFC 9110, section 11.1: the scheme is case-insensitive.
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
}

/// Lets those pass who may: reading takes one role, everything else the other.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let client = request.extensions().get::<Client>();
    if client.is_some_and(|client| matches!(client.access, Access::Loopback))
        && let Some(host) = foreign_name(&request)
    {
        return misdirected(&host);
    }
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let needed = match *request.method() {
        Method::GET | Method::HEAD => Role::Read,
        _ => Role::Admin,
    };
    let role = client.and_then(|client| client.role(request.headers()));
    if role.is_some() && !client.is_none_or(Client::takes_place_of_member) {
        return busy();
    }
    match role {
        Some(role) if role >= needed => next.run(request).await,
        Some(role) => {
            let detail = format!(
                "this needs the role {}, and you have {}",
                needed.name(),
                role.name()
            );
            Problem::new(StatusCode::FORBIDDEN, detail).into_response()
        }
        None => unauthorized(),
    }
}

fn busy() -> Response {
    let detail = "all places for connections with a key are at work; ask again later";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
}

fn unauthorized() -> Response {
    let detail = "no key, or not one of this agent; send `Authorization: Bearer KEY`";
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
    let challenge = HeaderValue::from_static("Bearer realm=\"probe\"");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

#[cfg(test)]
mod tests {
    use super::{Access, Client, is_own_name, role_of_key};
    use crate::options::{Role, Secret};

    #[test]
    fn only_the_whole_key_counts_and_the_strongest_role() {
        let (read, admin) = ("r".repeat(32), "a".repeat(40));
        let key = |text: &str| Secret::new(text).expect("a key");
        let keys = [
            (Role::Read, key(&read)),
            (Role::Read, key(&admin)),
            (Role::Admin, key(&admin)),
        ];
        let role = |given: &str| role_of_key(&keys, given.as_bytes());
        assert_eq!(role(&read), Some(Role::Read));
        assert_eq!(role(&admin), Some(Role::Admin));
        for wrong in ["", &read[1..], &format!("{read}r"), &"x".repeat(32)] {
            assert_eq!(role(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn on_the_socket_root_and_the_own_user_are_admins() {
        let own = rustix::process::geteuid().as_raw();
        let role = |uid| {
            let client = Client::new(Access::Peer, uid);
            client.role(&axum::http::HeaderMap::new())
        };
        assert_eq!(role(Some(0)), Some(Role::Admin));
        assert_eq!(role(Some(own)), Some(Role::Admin));
        assert_eq!(role(Some(own + 4711)), Some(Role::Read));
        assert_eq!(role(None), Some(Role::Read));
    }
    #[test]
    fn only_names_that_nobody_else_can_own_are_the_host_itself() {
        for own in [
            "127.0.0.1",
            "127.0.0.1:9478",
            "[::1]:9478",
            "[::1]",
            "198.18.0.1",
            "localhost",
            "LocalHost:9478",
        ] {
            assert!(is_own_name(own), "{own}");
        }
        for foreign in [
            "",
            "example.org",
            "example.org:9478",
            "localhost.example.org",
            "127.0.0.1.example.org:9478",
            "127.0.0.1:9478@example.org",
            "::1.example",
        ] {
            assert!(!is_own_name(foreign), "{foreign}");
        }
    }
}
