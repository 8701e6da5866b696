//! The tables of steered names in `portolan status`: what each class of clients gets now, whether that is what the
//! policy prefers, and why not. If there are very many names, those that are not as preferred come first, and the rest
//! is counted.

use crate::cli::{Failure, client::ApiServer, text};
use crate::control::names::{AnswerRow, ClassReport, NameReport, merge};
use crate::control::status::Status;

/// The most names that are shown: some screens (judgment). `/v1/names` has all.
const SHOWN_NAMES: usize = 100;

/// The most endpoints or classes in one cell.
const SHOWN: usize = 4;

/// The names to show: all of them if they are few, else first those that are not as preferred.
pub(super) fn fetch(server: &ApiServer, status: &Status) -> Result<Vec<NameReport>, Failure> {
    let get = |query: &str| -> Result<Vec<NameReport>, Failure> {
        Ok(text::parsed(&server.get(&format!("/v1/names?{query}limit={SHOWN_NAMES}"))?)?)
    };
    let some = get("")?;
    if status.zones.iter().map(|zone| zone.names.len()).sum::<usize>() <= some.len() {
        return Ok(some);
    }
    let mut shown = get("preferred=false&")?;
    let rest: Vec<NameReport> =
        some.into_iter().filter(|name| !shown.iter().any(|known| is_same(known, name))).collect();
    shown.extend(rest);
    shown.truncate(SHOWN_NAMES);
    Ok(shown)
}

fn is_same(one: &NameReport, other: &NameReport) -> bool {
    (&one.zone, &one.name) == (&other.zone, &other.name)
}

/// The table of one zone, and the notes on names that are not as preferred. Empty if the zone has no steered name.
pub(super) fn table(zone: &str, total: usize, names: &[NameReport]) -> String {
    let own: Vec<&NameReport> = names.iter().filter(|name| name.zone == zone).collect();
    if total == 0 {
        return String::new();
    }
    let rows: Vec<Vec<String>> = own.iter().flat_map(|name| rows(name)).collect();
    let mut shown = text::table(&["NAME", "TYPE", "CLIENTS", "GETS", "PREFERRED"], &rows);
    if total > own.len() {
        shown.push_str(&format!("and {} more names, which GET /v1/names lists\n", total - own.len()));
    }
    for note in own.iter().flat_map(|name| &name.notes) {
        shown.push_str(&format!("{note}\n"));
    }
    shown
}

fn rows(name: &NameReport) -> Vec<Vec<String>> {
    let heads = std::iter::once(name.name.clone()).chain(std::iter::repeat(String::new()));
    let cells = |(head, row): (String, AnswerRow)| {
        let AnswerRow { types, classes, report } = row;
        let preferred = if report.preferred { "yes" } else { "no" };
        vec![head, types.join(", "), listed(&classes), gets(report), preferred.to_owned()]
    };
    heads.zip(merge(&name.classes)).map(cells).collect()
}

/// What a class gets: `fra1 70 %, fra2 30 %`.
pub(super) fn gets(class: &ClassReport) -> String {
    let answers = class.answers.iter().map(|answer| match (&answer.endpoint, answer.probability) {
        (None, _) => answer.rdata.clone(),
        (Some(endpoint), probability) if probability > 0.9995 => endpoint.clone(),
        (Some(endpoint), probability) if probability < 0.01 => format!("{endpoint} <1 %"),
        (Some(endpoint), probability) => format!("{endpoint} {:.0} %", probability * 100.0),
    });
    let answers: Vec<String> = answers.collect();
    let gets = if answers.is_empty() { "nothing".to_owned() } else { listed(&answers) };
    match (class.on_empty, class.gives.as_str()) {
        (true, "static") => format!("{gets} (on_empty: zone file)"),
        (true, _) => format!("{gets} (on_empty)"),
        (false, _) => gets,
    }
}

fn listed(all: &[impl AsRef<str>]) -> String {
    let more = all.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    all.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::explain::AnswerReport;

    fn class(class: &str, rtype: &str, endpoints: &[(&str, f64)], preferred: bool) -> ClassReport {
        let answer = |(endpoint, probability): &(&str, f64)| AnswerReport {
            rdata: "192.0.2.1".into(),
            endpoint: Some((*endpoint).into()),
            probability: *probability,
        };
        ClassReport {
            class: class.into(),
            rtype: rtype.into(),
            gives: "endpoints".into(),
            from: "web".into(),
            answers: endpoints.iter().map(answer).collect(),
            ttl: 5,
            on_empty: false,
            preferred,
            prefers: vec![],
        }
    }

    fn name(name: &str, classes: Vec<ClassReport>, notes: &[&str]) -> NameReport {
        NameReport {
            zone: "svc.example.".into(),
            name: name.into(),
            eligible: 2,
            on_empty: false,
            preferred: notes.is_empty(),
            classes,
            notes: notes.iter().map(ToString::to_string).collect(),
            measured: None,
        }
    }

    #[test]
    fn equal_answers_share_a_row() {
        let both = [("fra1", 0.7), ("fra2", 0.3)];
        let www = name("www", vec![class("any", "A", &both, true), class("any", "AAAA", &both, true)], &[]);
        let near = ["eu", "us", "ap"].map(|region| class(region, "A", &[("fra1", 1.0)], region != "us"));
        let pg = name("pg", vec![class("any", "A", &[("pg-b", 1.0)], false)], &["pg stays on pg-b (failback manual)"]);
        let off = ClassReport { on_empty: true, gives: "nodata".into(), ..class("any", "A", &[], false) };
        let names = [www, name("near", near.into(), &[]), pg, name("off", vec![off], &[])];
        assert_eq!(
            table("svc.example.", 7, &names),
            "NAME  TYPE     CLIENTS  GETS                  PREFERRED
www   A, AAAA  any      fra1 70 %, fra2 30 %  yes
near  A        eu, ap   fra1                  yes
      A        us       fra1                  \u{1b}[33mno\u{1b}[0m
pg    A        any      pg-b                  \u{1b}[33mno\u{1b}[0m
off   A        any      nothing (on_empty)    \u{1b}[33mno\u{1b}[0m
and 3 more names, which GET /v1/names lists
pg stays on pg-b (failback manual)
"
        );
        assert_eq!(table("static.example.", 0, &names), "");
    }
}
