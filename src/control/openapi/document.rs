//! The document (OpenAPI 3.1), made once from the list of routes, the operations and the types.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::response::Response;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};

use crate::control::json;
use crate::control::openapi::errors::{errors, has_retry_after};
use crate::control::openapi::operation::{Access, Operation, ResponseContent, Shape};
use crate::control::openapi::routes::ApiRoute;
use crate::control::problem::{MEDIA_TYPE, ProblemDetails};

/// The media type of server-sent events.
const EVENT_STREAM: &str = "text/event-stream";

/// The version of the specification. Its schemas are those of JSON Schema 2020-12.
const VERSION: &str = "3.1.0";

const ABOUT: &str = "The API of an authoritative DNS server that steers clients. Every error is a problem (RFC 9457). \
                     A path with GET has HEAD too. A path with another method gets 405, and another path 404, as \
                     problems. A request that is no valid HTTP, or whose head has over 16 KiB, gets 400, 414 or 431 \
                     without a body. Responses may get further fields in later versions.";

/// `GET /v1/openapi.json`.
pub(in crate::control) async fn respond() -> Response {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| json::octets(&document()));
    json::with_type(TEXT.clone())
}

/// The OpenAPI document of the API.
pub fn document() -> Value {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    for route in ApiRoute::ALL {
        let operations = route.operations();
        let methods = operations.iter().map(|of| (of.method.to_owned(), operation(*route, of, &mut schemas)));
        paths.insert(path_of(*route), Value::Object(methods.collect()));
    }
    let license = env!("CARGO_PKG_LICENSE");
    json!({
        "openapi": VERSION,
        "info": {
            "title": "Portolan",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": license, "identifier": license },
        },
        // The server that the document comes from.
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas.0,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A secret of the file of tokens" },
            },
        },
    })
}

/// The path as OpenAPI writes it.
pub(super) fn path_of(route: ApiRoute) -> String {
    route.path().replace("{*", "{")
}

/// The schemas by name.
#[derive(Default)]
struct Schemas(BTreeMap<String, RefOr<Schema>>);

impl Schemas {
    /// A reference to a type, which is added with its parts.
    fn reference(&mut self, shape: Shape) -> Value {
        let mut all = Vec::new();
        (shape.collect)(&mut all);
        self.0.extend(all);
        json!({ "$ref": format!("#/components/schemas/{}", (shape.name)()) })
    }
}

fn operation(route: ApiRoute, of: &Operation, schemas: &mut Schemas) -> Value {
    let mut value = json!({
        "summary": of.what,
        "operationId": format!("{}{route:?}", of.method),
        "responses": responses(route, of, schemas),
    });
    if !of.parameters.is_empty() {
        value["parameters"] = of.parameters.clone().into();
    }
    if let Some((shape, is_required)) = of.body {
        let content = json!({ "application/json": { "schema": schemas.reference(shape) } });
        value["requestBody"] = json!({ "required": is_required, "content": content });
    }
    match of.access {
        Access::Everybody => value["security"] = json!([]),
        Access::With(role) => {
            value["security"] = json!([{ "token": [] }]);
            value["description"] = format!("It needs a token with the role {}.", role.as_str()).into();
        }
        Access::Partly(role) => {
            value["security"] = json!([{}, { "token": [] }]);
            let role = role.as_str();
            value["description"] = format!("Some requests need a token with the role {role}.").into();
        }
    }
    value
}

fn responses(route: ApiRoute, of: &Operation, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    responses.insert("200".to_owned(), success(of.content, schemas));
    for (status, causes) in errors(&path_of(route), of) {
        let schema = schemas.reference(Shape::of::<ProblemDetails>());
        let content = json!({ MEDIA_TYPE: { "schema": schema } });
        let mut response = json!({ "description": format!("{}.", causes.join("; ")), "content": content });
        if has_retry_after(status) {
            let seconds = json!({ "type": "integer", "minimum": 1 });
            let what = "After how many seconds the client may call again";
            response["headers"] =
                json!({ "Retry-After": { "description": what, "required": true, "schema": seconds } });
        }
        if status == 401 {
            let what = "The challenge (RFC 6750)";
            response["headers"] = json!({
                "WWW-Authenticate": { "description": what, "required": true, "schema": { "type": "string" } },
            });
        }
        responses.insert(status.to_string(), response);
    }
    let too_long = (431, "The head of the request has over 16 KiB.", None);
    for (status, when, media) in of.others.iter().chain([&too_long]) {
        let mut response = json!({ "description": when });
        if let Some(media) = media {
            response["content"] = text(media);
        }
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

fn success(content: ResponseContent, schemas: &mut Schemas) -> Value {
    let of_json = |schema: Value| json!({ "application/json": { "schema": schema } });
    let content = match content {
        ResponseContent::Text(EVENT_STREAM) => json!({ EVENT_STREAM: {} }),
        ResponseContent::Text(media) => text(media),
        ResponseContent::Object => of_json(json!({ "type": "object" })),
        ResponseContent::Json(shape) => of_json(schemas.reference(shape)),
        ResponseContent::List(shape) => of_json(json!({ "type": "array", "items": schemas.reference(shape) })),
        ResponseContent::JsonOrEvents(shape) => {
            let mut both = of_json(schemas.reference(shape));
            // Tools differ in whether a schema is that of one event or of the whole text.
            both[EVENT_STREAM] = json!({});
            both
        }
    };
    json!({ "description": "Success.", "content": content })
}

fn text(media: &str) -> Value {
    json!({ media: { "schema": { "type": "string" } } })
}
