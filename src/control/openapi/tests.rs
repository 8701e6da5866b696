//! The document is complete, and says what the router does.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::control::openapi::document::{document, path_of};
use crate::control::openapi::routes::ApiRoute;
use crate::control::overrides::MAX_WHY;
use crate::control::{router, serve, test_world};

/// The path with a value for each part.
fn filled(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn each_path_has_the_methods_of_the_document_and_no_others() {
    let document = document();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn(serve(listener, router(test_world::world().state), stop.clone()));
    for route in ApiRoute::ALL {
        let documented = document["paths"][path_of(*route)].as_object().expect("a path");
        let mut expected: BTreeSet<String> = documented.keys().map(|method| method.to_uppercase()).collect();
        assert_eq!(expected.len(), route.operations().len(), "{route:?} has a method twice");
        if expected.contains("GET") {
            expected.insert("HEAD".to_owned());
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        let path = filled(route.path());
        let request = format!("PATCH {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 405 "), "{route:?}: {response}");
        let allow = response.lines().find_map(|line| line.strip_prefix("allow: ")).expect("a header");
        let allowed: BTreeSet<String> = allow.split(',').map(|method| method.trim().to_owned()).collect();
        assert_eq!(allowed, expected, "{route:?}");
    }
    stop.cancel();
    task.await.unwrap();
}

#[test]
fn each_parameter_of_a_path_is_described_and_each_reference_has_its_schema() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let in_path: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for (method, operation) in methods.as_object().expect("methods") {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let described = parameters.iter().filter(|of| of["in"] == "path").filter_map(|of| of["name"].as_str());
            assert_eq!(described.collect::<BTreeSet<_>>(), in_path, "{method} {path}");
            for parameter in &parameters {
                let what = parameter["description"].as_str().unwrap_or_default();
                assert!(!what.is_empty() && parameter["schema"].is_object(), "{method} {path}: {parameter}");
                assert!(parameter["schema"].get("type") != Some(&Value::Null), "{method} {path}: {parameter}");
            }
            assert!(operation["responses"]["400"]["content"]["application/problem+json"].is_object(), "{path}");
            assert!(ids.insert(operation["operationId"].to_string()), "{method} {path} has the id of another");
        }
    }
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 50, "{references:?}");
    for reference in &references {
        let name = reference.strip_prefix("#/components/schemas/").expect("a schema");
        assert!(schemas.contains_key(name), "{reference} is missing");
    }
    assert_eq!(schemas.len(), references.len(), "a schema is not used");
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect(field, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_bounds_in_the_document_are_those_of_the_code() {
    let document = document();
    assert_eq!(document["components"]["schemas"]["PutOverride"]["properties"]["why"]["maxLength"], MAX_WHY);
    let history = document["paths"]["/v1/history"]["get"]["parameters"].as_array().unwrap();
    let limit = history.iter().find(|of| of["name"] == "limit").unwrap();
    assert_eq!(limit["schema"]["maximum"], crate::control::history::MAX_LIMIT);
}
