//! The description of the API as OpenAPI 3.1, made from the types and handlers themselves.

use axum::{Json, extract::State};
use utoipa::{
    OpenApi,
    openapi::{
        Content, Object, Ref, RefOr, Response, Schema,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{limits::Server, problem::Problem, routes, v1};
use probe_flow::schema::live_fields;

/// Where it is served.
pub const PATH: &str = "/api/v1/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "probe",
        description = "Flows, ledgers and state of a running agent. Reading changes nothing. \
                       See docs/API.md for roles and limits.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Problem)),
    tags(
        (name = "agent", description = "The agent itself"),
        (name = "capture", description = "What is captured"),
    ),
    paths(
        routes::metrics,
        routes::healthz,
        routes::readyz,
        openapi,
        v1::info::info,
        v1::config::config,
        v1::config::replace,
        v1::reload::reload,
        v1::status::status,
        v1::interfaces::interfaces,
        v1::flows::flows,
        v1::flows::groups::groups,
        v1::flows::stream::stream,
        v1::flows::interval::interval,
        v1::ledger::ledger,
        v1::retention::confirm,
        v1::rotation::rotation,
        v1::rotation::rotate,
    )
)]
struct Document;

/// What any operation may be answered with besides its own answers.
const PROBLEMS: [(&str, &str); 7] = [
    ("400", "The request is not understood"),
    ("401", "No key, or not one of this agent"),
    ("403", "The role of the key or user does not allow this"),
    ("413", "The body is too large"),
    (
        "421",
        "The header `Host` has a foreign name, on a loopback address without keys",
    ),
    ("500", "A defect, which the log tells more of"),
    ("503", "The agent is busy; ask again later"),
];

/// Said without a document: there is no request yet that could be answered.
const TOO_LARGE_HEAD: &str = "The head of the request is too large";

/// The OpenAPI document of all endpoints.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    if let Some(components) = &mut document.components {
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
        if let Some(RefOr::T(Schema::Object(flow))) = components.schemas.get_mut("LiveFlow") {
            describe_fields(flow);
        }
    }
    for (path, item) in &mut document.paths.paths {
        let is_open = super::access::OPEN.contains(&path.as_str());
        for operation in [&mut item.get, &mut item.post, &mut item.put]
            .into_iter()
            .flatten()
        {
            complete(operation, is_open);
        }
    }
    document
}

/// Takes the meanings of a flow's fields from their schema.
fn describe_fields(flow: &mut Object) {
    for field in live_fields() {
        if let Some(RefOr::T(Schema::Object(property))) = flow.properties.get_mut(field.name) {
            property.description = Some(field.meaning.to_owned());
        }
    }
}

fn complete(operation: &mut Operation, is_open: bool) {
    for (status, meaning) in PROBLEMS {
        if is_open && matches!(status, "401" | "403") {
            continue;
        }
        let answers = &mut operation.responses.responses;
        let answer = || RefOr::T(problem(meaning));
        answers.entry(status.to_owned()).or_insert_with(answer);
    }
    let answers = &mut operation.responses.responses;
    answers.insert("431".to_owned(), RefOr::T(Response::new(TOO_LARGE_HEAD)));
    if !is_open {
        // A key over TCP, nothing on the socket.
        let none = SecurityRequirement::default();
        let key = SecurityRequirement::new::<_, [&str; 0], &str>("key", []);
        operation.security = Some(vec![key, none]);
    }
}

fn problem(meaning: &str) -> Response {
    let schema = Ref::from_schema_name("Problem");
    let content = Content::new(Some(schema));
    let mut response = Response::new(meaning);
    response
        .content
        .insert("application/problem+json".to_owned(), RefOr::T(content));
    response
}

/// OpenAPI description of this API
#[utoipa::path(get, path = PATH, tag = "agent", responses(
    (status = 200, description = "The description of the API", body = serde_json::Value),
))]
pub(super) async fn openapi(State(_): State<Server>) -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
