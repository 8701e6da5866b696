//! The questions that had an answer before a change and have none after it: the names, the classes of their clients,
//! the types, and their share of all questions. Plain data, and a sentence for people. `simulate::compare` finds the
//! questions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most groups of names in the sentence; the JSON has all of them.
const SHOWN: usize = 8;

/// Questions that had an answer and would have none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnansweredQuestions {
    /// Their share of all questions, 0 to 1.
    #[serde(rename = "unanswered_share", default)]
    pub share: f64,
    /// The names, in the order of the files.
    #[serde(rename = "unanswered")]
    // Absent with the others, where there are no such questions.
    #[schema(required = false)]
    pub names: Vec<UnansweredName>,
    /// How many more names there are than the list has.
    #[serde(rename = "unanswered_left_out", default, skip_serializing_if = "is_zero")]
    pub left_out: usize,
}

/// A name for which clients of these classes would get no answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnansweredName {
    /// The name as the policy file writes it.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// The classes of the clients, by region; `unknown` for clients without a region.
    pub classes: Vec<String>,
    /// The classes in which other clients still get an answer, because the policy has several client classes in one
    /// region.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partly: Vec<String>,
    /// Whether these are all clients.
    pub all_clients: bool,
    /// The types: `A`, `AAAA`, `CNAME`, `SRV`, `HTTPS`, `SVCB`.
    pub types: Vec<String>,
    /// Whether these are all types of the name.
    pub all_types: bool,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl UnansweredQuestions {
    /// Whether nobody loses an answer.
    pub fn is_nobody(&self) -> bool {
        self.names.is_empty() && self.left_out == 0
    }

    /// `33.3 % of questions now get no answer: www, api for clients in eu`; `get` is `now get` or `would get`.
    pub fn sentence(&self, get: &str) -> String {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        let mut positions: BTreeMap<String, usize> = BTreeMap::new();
        let several_zones = self.names.iter().any(|name| name.zone != self.names[0].zone);
        for name in &self.names {
            let clients = name.clients();
            let at = *positions.entry(clients.clone()).or_insert_with(|| {
                groups.push((clients, Vec::new()));
                groups.len() - 1
            });
            groups[at].1.push(name.shown(several_zones));
        }
        let mut parts: Vec<String> = Vec::new();
        let mut left_out = self.left_out;
        for (at, (clients, names)) in groups.iter().enumerate() {
            let shown = if at < SHOWN { names.len().min(SHOWN) } else { 0 };
            left_out += names.len() - shown;
            if shown > 0 {
                parts.push(format!("{} for {clients}", names[..shown].join(", ")));
            }
        }
        let more = if left_out > 0 { format!("; and {left_out} more") } else { String::new() };
        format!("{} % of questions {get} no answer: {}{more}", percent(self.share), parts.join("; "))
    }
}

impl UnansweredName {
    fn shown(&self, with_zone: bool) -> String {
        let name = match (with_zone, &*self.name) {
            (false, name) => name.to_owned(),
            (true, "@") => self.zone.clone(),
            (true, name) => format!("{name}.{}", self.zone),
        };
        if self.all_types { name } else { format!("{name} ({})", self.types.join(", ")) }
    }

    fn clients(&self) -> String {
        let is_whole = |class: &&String| !self.partly.contains(class);
        let whole: Vec<&str> = self.classes.iter().filter(is_whole).map(String::as_str).collect();
        match (self.all_clients, &whole[..], &self.partly[..]) {
            (true, _, _) => format!("all clients ({})", whole.join(", ")),
            (false, whole, []) => format!("clients in {}", whole.join(", ")),
            (false, [], partly) => format!("some clients in {}", partly.join(", ")),
            (false, whole, partly) => format!("clients in {} and some in {}", whole.join(", "), partly.join(", ")),
        }
    }
}

/// A share in percent with one decimal. A share that is not 0 is never shown as 0.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.05 => "under 0.1".to_owned(),
        percent => format!("{percent:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str, classes: &[&str]) -> UnansweredName {
        let classes = classes.iter().map(|class| (*class).to_owned()).collect();
        let (zone, types) = ("svc.example.".to_owned(), vec!["A".to_owned()]);
        let partly = Vec::new();
        UnansweredName { name: name.to_owned(), zone, classes, partly, all_clients: false, types, all_types: true }
    }

    #[test]
    fn names_with_the_same_clients_are_one_group() {
        let mut all = UnansweredQuestions {
            share: 1.0 / 3.0,
            names: vec![name("www", &["eu"]), name("db", &["eu", "us"]), name("api", &["eu"])],
            left_out: 0,
        };
        assert_eq!(
            all.sentence("now get"),
            "33.3 % of questions now get no answer: www, api for clients in eu; db for clients in eu, us"
        );
        all.names[1].partly = vec!["us".to_owned()];
        all.names[2].partly = vec!["eu".to_owned()];
        assert_eq!(
            all.sentence("now get"),
            "33.3 % of questions now get no answer: www for clients in eu; db for clients in eu and some in us; \
             api for some clients in eu"
        );
        all.names.truncate(1);
        all.names[0].all_clients = true;
        all.names[0].all_types = false;
        all.share = 0.0001;
        all.left_out = 3;
        assert_eq!(
            all.sentence("would get"),
            "under 0.1 % of questions would get no answer: www (A) for all clients (eu); and 3 more"
        );
        all.names = vec![name("@", &["eu"]), UnansweredName { zone: "b.example.".into(), ..name("www", &["eu"]) }];
        assert!(all.sentence("now get").contains(": svc.example., www.b.example. for clients in eu"));
    }

    #[test]
    fn a_long_list_is_cut_for_people() {
        let names: Vec<UnansweredName> = (0..30).map(|n| name(&format!("n{n}"), &["eu"])).collect();
        let parts = UnansweredQuestions { share: 0.5, names, left_out: 10 }.sentence("now get");
        assert!(parts.ends_with("n6, n7 for clients in eu; and 32 more"), "{parts}");
    }
}
