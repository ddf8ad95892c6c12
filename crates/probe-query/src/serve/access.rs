//! Who may ask, and what browsers may do with the answers.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{key::Key, problem::Problem};

/// Where all answers about flows are. Anything else is the page itself, which holds no secret.
const ANSWERS: &str = "/api/";

/// How clients prove who they are.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// By a key that each request sends.
    Key(Arc<Key>),
    /// Not at all, over the loopback: every user of the host may read. A page of somebody else in a
    /// browser of the host may not, whatever address its name resolves to meanwhile (DNS rebinding).
    Loopback,
    /// Not at all, over a unix socket: the mode of its file has let them in. With a tunnel from a port of
    /// another host to the socket there is a browser again, so that names are the same matter.
    Socket,
}

/// Headers of each answer: nothing from elsewhere, no code but the files of the page, no other page
/// around or beside it.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Lets those pass who may.
pub(super) async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&access, &request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(access: &Access, request: &Request) -> Option<Problem> {
    if matches!(access, Access::Loopback | Access::Socket)
        && let Some(host) = foreign_name(request)
    {
        let detail = format!(
            "this address answers to itself only, by an IP address or `localhost` in the header `Host`; \
             found `{}`",
            host.escape_debug()
        );
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    if !request.uri().path().starts_with(ANSWERS) {
        return None;
    }
    if is_of_another_site(request.headers()) {
        let detail = "a page of another site may not ask; open the page of this address itself";
        return Some(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let Access::Key(key) = access else {
        return None;
    };
    let is_known = bearer(request.headers()).is_some_and(|given| key.is(given));
    (!is_known).then(|| {
        let detail = "no key, or not that of `--key-file`; send `Authorization: Bearer KEY`";
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    })
}

/// Whether a browser says that another site asks: it would not see the answer, but have us work for it
/// (Fetch Metadata, `Sec-Fetch-Site`). Programs do not send that.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let site = headers.get(HeaderName::from_static("sec-fetch-site"));
    site.is_some_and(|site| site != "same-origin" && site != "none")
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(7)?;
    // RFC 9110, section 11.1: the scheme is case-insensitive.
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
}

/// The first name that a request is sent to and that is not this host's.
fn foreign_name(request: &Request) -> Option<String> {
    let named = request.headers().get_all(header::HOST).into_iter();
    let named = named.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let target = request.uri().authority().map(ToString::to_string);
    named.chain(target).find(|host| !is_own_name(host))
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
