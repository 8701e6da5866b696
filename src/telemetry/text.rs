//! The text format of Prometheus (exposition format 0.0.4). All samples of a family follow its head, which is written
//! before the first of them. A family without samples is left out.

use std::fmt::{Display, Write};

use crate::telemetry::families::{Family, MetricKind};

/// A text that is being written.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family; the previous one is complete.
    pub(super) fn family(&mut self, family: &'static Family) -> Samples<'_> {
        Samples { text: &mut self.text, family, has_head: false }
    }

    /// Writes the only sample of a family without labels.
    pub(super) fn single(&mut self, family: &'static Family, value: impl Display) {
        self.family(family).sample(&[], value);
    }

    /// Appends families that were written elsewhere, without empty lines.
    pub(super) fn append(&mut self, families: &str) {
        for line in families.lines().filter(|line| !line.is_empty()) {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// The samples of one family.
pub(super) struct Samples<'t> {
    text: &'t mut String,
    family: &'static Family,
    has_head: bool,
}

impl Samples<'_> {
    /// Writes a sample; `values` are the values of the family's labels, in their order.
    pub(super) fn sample(&mut self, values: &[&str], value: impl Display) {
        self.line("", values, None, value);
    }

    /// Writes a histogram. `counts` has each upper bound with the number of values up to it, `all` is the number of all
    /// values, and `sum` their sum.
    pub(super) fn histogram(&mut self, values: &[&str], counts: impl Iterator<Item = (f64, u64)>, all: u64, sum: f64) {
        debug_assert_eq!(self.family.kind, MetricKind::Histogram);
        for (bound, count) in counts {
            self.line("_bucket", values, Some(&bound.to_string()), count);
        }
        self.line("_bucket", values, Some("+Inf"), all);
        self.line("_sum", values, None, sum);
        self.line("_count", values, None, all);
    }

    fn line(&mut self, suffix: &str, values: &[&str], le: Option<&str>, value: impl Display) {
        let Family { name, kind, labels, help } = self.family;
        debug_assert_eq!(labels.len(), values.len(), "{name}");
        // Writing into a string can't fail.
        if !std::mem::replace(&mut self.has_head, true) {
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
        }
        // There are a hundred thousand lines in a large server: no formatting where a copy does.
        self.text.push_str(name);
        self.text.push_str(suffix);
        let pairs = labels.iter().zip(values).map(|(label, value)| (*label, *value)).chain(le.map(|le| ("le", le)));
        let mut open = '{';
        for (label, value) in pairs {
            self.text.push(open);
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(self.text, value);
            self.text.push('"');
            open = ',';
        }
        self.text.push_str(if open == ',' { "} " } else { " " });
        let _ = writeln!(self.text, "{value}");
    }
}

/// Adds the value of a label.
fn escape(text: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        text.push_str(&rest[..at]);
        text.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::families::{GENERATION, HELD, PROBE_SECONDS, QUERIES};

    #[test]
    fn samples_stand_below_the_head_of_their_family() {
        let mut text = Exposition::default();
        text.single(&GENERATION, 3);
        text.family(&QUERIES);
        text.family(&HELD).sample(&["a\\b\"c\nd"], 0.5);
        text.family(&PROBE_SECONDS).histogram(&["ns1", "tcp"], [(0.0005, 0), (2.5, 7)].into_iter(), 9, 30.25);
        let held = "# HELP portolan_held_connections Idle connections that a vantage keeps open, one to each address \
                    of a monitor with hold = true.\n# TYPE portolan_held_connections gauge\n\
                    portolan_held_connections{vantage=\"a\\\\b\\\"c\\nd\"} 0.5\n";
        let probes = "# HELP portolan_probe_seconds How long a probe took, failed ones too.\n\
                      # TYPE portolan_probe_seconds histogram\n\
                      portolan_probe_seconds_bucket{vantage=\"ns1\",kind=\"tcp\",le=\"0.0005\"} 0\n\
                      portolan_probe_seconds_bucket{vantage=\"ns1\",kind=\"tcp\",le=\"2.5\"} 7\n\
                      portolan_probe_seconds_bucket{vantage=\"ns1\",kind=\"tcp\",le=\"+Inf\"} 9\n\
                      portolan_probe_seconds_sum{vantage=\"ns1\",kind=\"tcp\"} 30.25\n\
                      portolan_probe_seconds_count{vantage=\"ns1\",kind=\"tcp\"} 9\n";
        let text = text.finish();
        assert!(text.contains("\n# TYPE portolan_generation gauge\nportolan_generation 3\n"), "{text}");
        assert!(text.ends_with(&format!("{held}{probes}")), "{text}");
        assert!(!text.contains("portolan_queries_total"), "{text}");
    }
}
