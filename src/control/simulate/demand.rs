//! The lines of a demand: how many queries a second come from each net.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most lines of a demand. Judgment: enough for a line for each region, site and large network.
pub const MAX_LINES: usize = 10_000;

/// The queries a second that come from one net.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DemandLine {
    /// The net of the clients.
    #[schema(value_type = String)]
    pub net: IpNet,
    /// Queries a second, 0 or more.
    pub qps: f64,
    /// The name that they ask for, as the policy file writes it or in full; without it, every steered name in equal
    /// parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Parses lines of `NET QPS [NAME]`. Blank lines and text after a `#` are ignored. An error names the line.
pub fn parse(text: &str) -> Result<Vec<DemandLine>, String> {
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let fields: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let wrong = |why: String| format!("line {}: {why}", at + 1);
        let (net, qps, name) = match fields[..] {
            [] => continue,
            [net, qps] => (net, qps, None),
            [net, qps, name] => (net, qps, Some(name.to_owned())),
            [_] | [_, _, _, _, ..] => {
                return Err(wrong("expected NET QPS or NET QPS NAME: 192.0.2.0/24 120".to_owned()));
            }
        };
        let parsed = net.parse().or_else(|_| net.parse::<IpAddr>().map(IpNet::from));
        let net = parsed.map_err(|_| wrong(format!("`{net}` is not a net; write 192.0.2.0/24")))?;
        let number = qps.parse().ok().filter(|qps| is_rate(*qps));
        let qps = number.ok_or_else(|| wrong(format!("`{qps}` is no number of queries a second")))?;
        lines.push(DemandLine { net, qps, name });
    }
    if lines.is_empty() {
        return Err("there is no line in it: NET QPS, such as 192.0.2.0/24 120".to_owned());
    }
    Ok(lines)
}

pub(super) fn is_rate(qps: f64) -> bool {
    qps.is_finite() && (0.0..=1e15).contains(&qps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demand_is_nets_and_numbers() {
        let lines = parse("# night\n\n192.0.2.0/24 120  # the office\n2001:db8::1 0.5 www\n").unwrap();
        assert_eq!(lines[0], DemandLine { net: "192.0.2.0/24".parse().unwrap(), qps: 120.0, name: None });
        assert_eq!((lines[1].net.to_string().as_str(), lines[1].name.as_deref()), ("2001:db8::1/128", Some("www")));
        for (text, expected) in [
            ("", "there is no line in it: NET QPS, such as 192.0.2.0/24 120"),
            ("\n192.0.2.0/24", "line 2: expected NET QPS or NET QPS NAME: 192.0.2.0/24 120"),
            ("192.0.2.0/33 1", "line 1: `192.0.2.0/33` is not a net; write 192.0.2.0/24"),
            ("192.0.2.0/24 -1", "line 1: `-1` is no number of queries a second"),
            ("192.0.2.0/24 inf", "line 1: `inf` is no number of queries a second"),
            ("192.0.2.0/24 1 www more", "line 1: expected NET QPS or NET QPS NAME: 192.0.2.0/24 120"),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        }
    }
}
