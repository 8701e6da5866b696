//! A fleet for the tests: three regions, of which one is down and one is drained in part.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use crate::cli::text;
use crate::cli::top::draw::draw;
use crate::cli::top::state::{Readout, ServerNews, TopState};
use crate::control::JournalEvent;
use crate::control::names::NameReport;
use crate::model::Moment;

/// 2026-11-30 07:00:00 UTC.
pub(super) const AT: f64 = 1_796_022_000.0;

pub(super) const NOW: Moment = Moment::from_start(Duration::from_secs(100_000));

pub(super) fn parsed<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    text::parsed(&value.to_string()).unwrap()
}

fn check(vantage: &str, region: &str, address: &str, health: &str, rtt: Option<f64>) -> Value {
    let why = if health == "down" { json!("connection refused") } else { Value::Null };
    json!({ "vantage": vantage, "region": region, "address": address, "health": health, "rtt_ms": rtt,
            "age_ms": 300, "why": why })
}

pub(super) fn endpoint(name: &str, region: &str, address: &str, health: &str) -> Value {
    let rtts = [("ns1", "us-east", 12.3), ("ns2", "eu-west", 80.0), ("ns3", "ap-south", 210.5)];
    let rtt = |ms: f64| (health == "up").then_some(ms);
    let verdicts: Vec<Value> = rtts.iter().map(|(v, r, ms)| check(v, r, address, health, rtt(*ms))).collect();
    let regions: Vec<Value> =
        rtts.iter().map(|(_, r, ms)| json!({ "region": r, "rtt_ms": rtt(*ms), "reachable": true })).collect();
    json!({ "name": name, "region": region, "health": health, "verdicts": verdicts, "regions": regions,
            "override": null })
}

pub(super) fn name(name: &str, answers: &[(&str, &str, f64)], preferred: bool, notes: &[&str]) -> Value {
    let answers: Vec<Value> = answers
        .iter()
        .map(|(endpoint, rdata, part)| json!({ "endpoint": endpoint, "rdata": rdata, "probability": part }))
        .collect();
    let class = |class: &str| {
        json!({ "class": class, "type": "A", "gives": "endpoints", "from": "pool", "answers": answers, "ttl": 5,
                "on_empty": false, "preferred": preferred })
    };
    json!({ "zone": "demo.example.", "name": name, "eligible": 2, "on_empty": false, "preferred": preferred,
            "classes": [class("us-east"), class("eu-west")], "notes": notes })
}

pub(super) fn status() -> Value {
    let mut drained = endpoint("db-eu", "eu-west", "127.2.0.98", "up");
    drained["override"] = json!({ "target": "db-eu", "state": "drain", "why": "kernel update", "who": "alice",
                                  "until": null });
    let region = |name: &str, at: [f64; 2]| json!({ "name": name, "location": at });
    json!({
        "generation": 7,
        "zones": [{ "zone": "demo.example.", "names": ["www", "db"], "endpoints": [
            endpoint("www-us", "us-east", "127.1.0.99", "down"),
            endpoint("www-eu", "eu-west", "127.2.0.99", "up"),
            drained,
            endpoint("www-ap", "ap-south", "127.3.0.99", "up"),
        ] }],
        "vantages": [
            { "name": "ns1", "region": "us-east", "state": "up" },
            { "name": "ns2", "region": "eu-west", "state": "up" },
            { "name": "ns3", "region": "ap-south", "state": "blind", "why": "nothing answers" },
        ],
        "reload": { "ok": true, "at": AT, "problems": [] },
        "sources": [{ "name": "discover.web", "zone": "demo.example.", "type": "consul", "state": "ok", "age_ms": 0,
                      "endpoints": 3, "changed_at": AT - 60.0, "problem": null }],
        "sinks": [{ "name": "audit", "type": "webhook", "to": "http://127.0.0.1:9000/events", "state": "ok",
                    "behind": 0, "position": 9, "delivered": 9, "failed": 0, "dead_letters": 0, "lost": 0 }],
        "server": { "node": "ns1", "version": "0.1.0", "at": AT, "started": AT - 7200.0, "uptime_s": 7200,
                    "traffic": { "queries": 1000, "qps": 123.4, "recent": [1.0, 5.0, 80.0, 123.4] } },
        "regions": [
            region("us-east", [39.0, -77.5]), region("eu-west", [53.3, -6.3]), region("ap-south", [19.1, 72.9]),
        ],
    })
}

pub(super) fn readout(status: &Value, names: &[Value]) -> ServerNews {
    let names: Vec<NameReport> = names.iter().map(parsed).collect();
    let away = names.iter().filter(|name| !name.preferred).cloned().collect();
    ServerNews::Answer(Box::new(Readout { status: parsed(status), names, away }))
}

pub(super) fn event(number: u64, at: f64, endpoint: &str, to: &str) -> JournalEvent {
    JournalEvent {
        id: format!("ns1/{number}"),
        at,
        zone: "demo.example.".into(),
        endpoint: endpoint.into(),
        from: if to == "up" { "down" } else { "up" }.into(),
        to: to.into(),
        why: "seen by ns1, ns2, ns3: connection refused".into(),
        generation: 7,
        ..JournalEvent::default()
    }
}

fn series(kind: &str, region: &str, from: Option<&str>, values: [f64; 3]) -> Value {
    json!({ "kind": kind, "region": region, "from": from, "values": values })
}

/// The state with everything in it.
pub(super) fn state() -> TopState {
    let mut state = TopState::new("http://127.0.0.1:8053".to_owned(), true);
    let www = name("www", &[("www-eu", "127.2.0.99", 1.0)], false, &["www gives www-eu instead of www-us: it is down"]);
    let db = name("db", &[("www-eu", "127.2.0.99", 0.7), ("www-ap", "127.3.0.99", 0.3)], true, &[]);
    state.take(readout(&status(), &[www, db]), NOW);
    state.take(ServerNews::Stream(true), NOW);
    let events = vec![event(2, AT - 3.0, "www-us", "down"), event(1, AT - 90_000.0, "www-us", "up")];
    state.take(ServerNews::Events(events), NOW);
    let qps = [10.0, 50.0, 123.4];
    let history = json!({ "end": AT, "step_s": 10, "qps": qps, "left_out": 0, "not_stored": 0, "series": [
        series("answers", "us-east", None, [9.0, 5.0, 0.0]),
        series("answers", "eu-west", None, [1.0, 45.0, 75.0]),
        series("answers", "ap-south", None, [0.0, 0.0, 25.0]),
        series("rtt", "eu-west", Some("us-east"), [80.0, 81.0, 79.5]),
    ] });
    state.take(ServerNews::History(Box::new(parsed(&history))), NOW);
    state
}

/// The text of the picture at `now`, without spaces at the ends of lines.
pub(super) fn picture_at(state: &mut TopState, (columns, rows): (u16, u16), now: Moment) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(state, frame.area(), frame.buffer_mut(), now)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..rows {
        let mut line = String::new();
        let mut skipped = 0;
        for x in 0..columns {
            let symbol = buffer[(x, y)].symbol();
            // The cell after a wide character is hidden by it.
            if skipped > 0 {
                skipped -= 1;
                continue;
            }
            skipped = ratatui::text::Span::raw(symbol).width().saturating_sub(1);
            line.push_str(symbol);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

pub(super) fn picture(state: &mut TopState, size: (u16, u16)) -> String {
    picture_at(state, size, NOW)
}
