//! Tests of requests: what is refused, how demand is read, the bounds, and the API.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;

use super::*;
use crate::control::simulate::respond;
use crate::control::test_world;

fn refused(request: &SimulationRequest) -> String {
    let snapshot = compiled(POLICY);
    simulate(&snapshot, &snapshot, request, Bounds::NONE).unwrap_err().to_string()
}

#[test]
fn a_target_that_does_not_exist_is_refused_with_a_hint() {
    for (text, expected) in [
        ("fra3", "no endpoint is called `fra3`; did you mean `fra2`?"),
        ("eu", "no endpoint is called `eu`; did you mean `region:eu`?"),
        ("region:en", "no region is called `en`; did you mean `eu`?"),
        ("vantage:v-uk", "no vantage is called `v-uk`; did you mean `v-us`?"),
        ("fra1=dran", "`dran` is no state of an override: did you mean `drain`?"),
        (
            "vantage:v-us=up",
            "no endpoint is called `vantage:v-us`; a TARGET is ENDPOINT, ZONE/ENDPOINT, a glob such as 'fra*', \
             pool:NAME, region:NAME or zone:NAME",
        ),
        ("fra1=up fra1=down", "two overrides of fra1 contradict each other"),
        ("fra*=up *1=down", "the overrides of fra* and *1 contradict each other"),
        ("pool:wbe", "no pool is called `wbe`; did you mean `web`?"),
    ] {
        assert_eq!(refused(&request(text)), expected, "{text}");
    }
}

#[test]
fn demand_counts_in_the_classes_of_its_clients() {
    let snapshot = compiled(POLICY);
    let of = |text: &str| {
        let request = SimulationRequest { demand: parse_demand(text).unwrap(), ..request("") };
        let SimulationResult::One(report) = simulate(&snapshot, &snapshot, &request, Bounds::NONE).unwrap() else {
            panic!()
        };
        is_whole(&report);
        *report
    };
    let qps = |report: &SimulationReport, endpoint: &str| row(report, endpoint).qps_after.unwrap();
    let near_only = of("203.0.113.0/25 60 near\n192.0.2.1 40 near.svc.test");
    near(&[qps(&near_only, "nyc"), qps(&near_only, "fra1")], &[60.0, 40.0], 1e-6);
    // A net of two regions in equal parts, to every address.
    let split = of("10.0.0.0/8 100 near");
    near(&[qps(&split, "nyc"), qps(&split, "fra1")], &[50.0, 50.0], 1e-6);
    // The first quarter is one region's.
    let quarter = of("10.0.0.0/10 100 near");
    near(&[qps(&quarter, "nyc"), qps(&quarter, "fra1")], &[0.0, 100.0], 1e-6);
    let all = of("0.0.0.0/0 90");
    assert_eq!(all.demand, "90 queries a second in one line of demand");
    near(&[all.endpoints.iter().filter_map(|row| row.qps_after).sum()], &[90.0], 1e-6);
    for (text, expected) in [
        ("192.0.2.0/24 1 nera", "no steered name is called `nera`; did you mean `near`?"),
        ("192.0.2.0/24 1 file.svc.tset", "no steered name is called `file.svc.tset`; did you mean `file`?"),
    ] {
        assert_eq!(refused(&SimulationRequest { demand: parse_demand(text).unwrap(), ..request("") }), expected);
    }
    let both = SimulationRequest { demand: parse_demand("192.0.2.0/24 1").unwrap(), ..request("100") };
    assert_eq!(refused(&both), "qps and demand exclude each other: the lines add up");
    assert_eq!(refused(&request("-1")), "-1 is no number of queries a second");
}

#[test]
fn a_server_has_bounds() {
    let snapshot = compiled(POLICY);
    let tight = Bounds { decisions: 10, rows: 100, targets: 10 };
    let error = simulate(&snapshot, &snapshot, &request(""), tight).unwrap_err();
    assert!(matches!(&error, SimulationError::TooMuch(why) if why.contains("--config FILE")), "{error}");
    let few_rows = Bounds { decisions: 10_000, rows: 5, targets: 10 };
    assert!(simulate(&snapshot, &snapshot, &request(""), few_rows).is_ok());
    assert!(simulate(&snapshot, &snapshot, &request("pairs"), few_rows).is_err());
    let lose = |count: usize| SimulationRequest { lose: vec!["*".to_owned(); count], ..SimulationRequest::default() };
    assert!(simulate(&snapshot, &snapshot, &lose(1000), Bounds::OF_SERVER).is_ok());
    let error = simulate(&snapshot, &snapshot, &lose(1001), Bounds::OF_SERVER).unwrap_err();
    assert!(matches!(&error, SimulationError::TooMuch(why) if why.contains("1001 targets")), "{error}");
}

async fn sent(state: &crate::control::ApiState, request: Request<Body>) -> axum::response::Response {
    let (parts, body) = request.into_parts();
    let caller = crate::control::caller::Caller::of(&parts);
    respond(axum::extract::State(state.clone()), caller, Request::from_parts(parts, body)).await
}

/// The status and the body of the response to a POST.
async fn posted(state: &crate::control::ApiState, kind: &str, body: &str) -> (StatusCode, serde_json::Value) {
    let request = Request::post("/v1/simulate").header("content-type", kind).body(Body::from(body.to_owned())).unwrap();
    let response = sent(state, request).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn the_api_simulates_on_what_is_served_and_holds_to_its_bounds() {
    let state = test_world::world().state;
    state.snapshots.store(Arc::new(compiled(POLICY)));
    let (status, report) = posted(&state, "application/json", r#"{"lose":["region:eu"],"qps":9}"#).await;
    assert_eq!(status, StatusCode::OK, "{report}");
    assert_eq!(
        (&report["lost"][0], &report["endpoints"][0]["after"]),
        (&"region:eu".into(), &row_of(&report, "fra1")["after"])
    );
    assert_eq!(report["exceeded"].as_array().unwrap().len(), 0);
    let (status, pairs) = posted(&state, "application/json", r#"{"pairs":true}"#).await;
    assert_eq!((status, pairs.as_array().unwrap().len()), (StatusCode::OK, 3));
    for (kind, body, expected, detail) in [
        ("application/json", r#"{"lose":["fra3"]}"#, 400, "no endpoint is called `fra3`; did you mean `fra2`?"),
        ("application/json", r#"{"loose":["fra1"]}"#, 400, "unknown field `loose`"),
        ("application/json", r#"{"demand":[{"net":"x","qps":1}]}"#, 400, "expected {"),
        ("application/x-www-form-urlencoded", r#"lose=fra1"#, 400, "expected {"),
        ("application/json", &" ".repeat((1 << 20) + 1), 413, "over 1048576 octets"),
    ] {
        let (status, problem) = posted(&state, kind, body).await;
        assert_eq!(status.as_u16(), expected, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    }
    for (kind, body) in [("application/x-www-form-urlencoded", r#"{"lose":["fra1"]}"#), ("text/plain", " ")] {
        assert_eq!(posted(&state, kind, body).await.0, StatusCode::OK, "as curl sends it");
    }
    let foreign = Request::post("/v1/simulate").header("origin", "http://evil.example").body(Body::from("{}")).unwrap();
    assert_eq!(sent(&state, foreign).await.status(), StatusCode::FORBIDDEN);
    let client = std::net::Ipv4Addr::UNSPECIFIED.into();
    let shares = [state.simulations.share(client).unwrap(), state.simulations.share(client).unwrap()];
    let (status, problem) = posted(&state, "application/json", "{}").await;
    assert_eq!((status, &problem["status"]), (StatusCode::TOO_MANY_REQUESTS, &429.into()));
    drop(shares);
    assert_eq!(posted(&state, "application/json", "{}").await.0, StatusCode::OK);
}

fn row_of<'a>(report: &'a serde_json::Value, endpoint: &str) -> &'a serde_json::Value {
    report["endpoints"].as_array().unwrap().iter().find(|row| row["endpoint"] == endpoint).unwrap()
}
