//! Tests that a simulation without changes agrees with what is served, and a simulated loss with what is then
//! answered.

use std::collections::HashMap;

use super::*;
use crate::answer::{Outcome as Answered, RawQuery as Question, Transport, answer};
use crate::control::explain::{Client, explain};
use crate::control::simulate::change::WorldChange;
use crate::control::simulate::run::settled;
use crate::wire::Name;

/// Averages over names, regions and types. Each name and region counts the same, and so do the types of a name.
fn averaged(share: impl Fn(&str, &str, &str) -> HashMap<String, f64>) -> HashMap<String, f64> {
    let mut sums: HashMap<String, f64> = HashMap::new();
    for (name, types) in NAMES {
        for region in REGIONS {
            for rtype in types {
                let each = 1.0 / (NAMES.len() * REGIONS.len() * types.len()) as f64;
                for (endpoint, part) in share(name, region, rtype) {
                    *sums.entry(endpoint).or_default() += part * each;
                }
            }
        }
    }
    sums
}

#[track_caller]
fn holds(report: &SimulationReport, expected: &HashMap<String, f64>, within: f64) {
    let of = |row: &EndpointReport| expected.get(&row.endpoint).copied().unwrap_or_default();
    let expected: Vec<f64> = report.endpoints.iter().map(of).collect();
    near(&after(report), &expected, within);
}

#[test]
fn a_simulation_without_changes_agrees_with_explain() {
    let snapshot = compiled(POLICY);
    let report = simulated(&snapshot, "");
    let expected = averaged(|name, region, rtype| {
        let name = format!("{name}.svc.test");
        let explanation = explain(&snapshot, &name, Some(rtype), Client::Region(region), NOW).unwrap();
        let records: f64 = explanation.answers.iter().map(|answer| answer.probability).sum();
        explanation.answers.into_iter().map(|a| (a.endpoint.unwrap(), a.probability / records)).collect()
    });
    holds(&report, &expected, 1e-6);
    assert!(report.endpoints.iter().all(|row| row.before == row.after), "{report:?}");
    assert_eq!((report.empty.len(), report.exceeded.len(), report.generation), (0, 0, 1));
    is_whole(&report);
}

#[test]
fn a_simulated_loss_agrees_with_the_answers() {
    /// Replies to each question. With so many, a share of 1 in 27 names and regions is accurate to 0.01.
    const DRAWS: u64 = 2000;
    let snapshot = compiled(POLICY);
    for text in ["", "region:eu", "nyc", "vantage:v-us"] {
        let changes = WorldChange::read(&snapshot.model, &snapshot.view, &request(text)).unwrap();
        let lost = settled(&snapshot, changes.apply(&snapshot.model, &snapshot.view));
        let drawn = averaged(|name, region, rtype| {
            let source = ["192.0.2.1", "203.0.113.1", "198.51.100.1"]
                [REGIONS.iter().position(|known| *known == region).unwrap()];
            let mut packet = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            packet.extend(Name::parse(&format!("{name}.svc.test")).unwrap().as_wire());
            packet.extend([0, if rtype == "A" { 1 } else { 28 }, 0, 1]);
            let mut counts = HashMap::new();
            let mut out = vec![0; 1232];
            for entropy in 0..DRAWS {
                let source = format!("{source}:4000").parse().unwrap();
                let entropy = entropy.wrapping_mul(0xD134_2543_DE82_EF95);
                let question = Question { packet: &packet, source, transport: Transport::Udp, entropy, unix_secs: 0 };
                let Answered::Reply(reply) = answer(&lost, &question, &mut out) else { panic!("silence") };
                let picks = reply.tallies.as_slice();
                for pick in picks {
                    let endpoint = lost.tallies.labels(*pick).unwrap().endpoint.to_string();
                    *counts.entry(endpoint).or_insert(0.0) += 1.0 / (picks.len() as u64 * DRAWS) as f64;
                }
            }
            counts
        });
        holds(&simulated(&snapshot, text), &drawn, 0.01);
    }
}
