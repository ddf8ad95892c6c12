//! Who may ask for what.
//!
//! On the unix socket the kernel tells who asks; on TCP a key does. `/healthz` and `/readyz` are
//! open to everybody, since those who ask have no secrets to keep.

use std::sync::Arc;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::{Choice, ConstantTimeEq};

use super::problem::Problem;
use crate::options::{Role, Secret};

/// Paths that need no role.
pub(super) const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// How the clients of an address prove who they are.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// By the credentials of the socket's other end.
    Peer,
    /// By an API key, over TCP.
    Keys(Arc<[(Role, Secret)]>),
    /// Not at all: everybody may read.
    Everybody,
}

/// What is known of a client from its connection alone.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) access: Access,
    /// Its user, on a unix socket.
    pub(super) uid: Option<u32>,
}

impl Client {
    /// The role that the request proves, if any.
    fn role(&self, headers: &HeaderMap) -> Option<Role> {
        match &self.access {
            // Root, and who could attach a debugger to the agent, may do everything; those whom the
            // file's group lets in may read.
            Access::Peer => {
                let own = rustix::process::geteuid().as_raw();
                let is_admin = self.uid.is_some_and(|uid| uid == 0 || uid == own);
                Some(if is_admin { Role::Admin } else { Role::Read })
            }
            Access::Keys(keys) => role_of_key(keys, bearer(headers)?),
            Access::Everybody => Some(Role::Read),
        }
    }
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
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let needed = match *request.method() {
        Method::GET | Method::HEAD => Role::Read,
        _ => Role::Admin,
    };
    let client = request.extensions().get::<Client>();
    match client.and_then(|client| client.role(request.headers())) {
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
    use super::{Access, Client, role_of_key};
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
            let client = Client {
                access: Access::Peer,
                uid,
            };
            client.role(&axum::http::HeaderMap::new())
        };
        assert_eq!(role(Some(0)), Some(Role::Admin));
        assert_eq!(role(Some(own)), Some(Role::Admin));
        assert_eq!(role(Some(own + 4711)), Some(Role::Read));
        assert_eq!(role(None), Some(Role::Read));
    }
}
