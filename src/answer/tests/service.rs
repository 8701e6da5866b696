//! Names that say where a service is: SRV, HTTPS and SVCB as they go out.

use super::{check, compiled, line, loaded, question, reply};
use crate::model::{CheckView, Health, WorldView};
use crate::snapshot::Snapshot;
use crate::snapshot::compile::refresh;
use crate::wire::code::rtype::{A, AAAA, ANY, HTTPS, SRV, SVCB, TXT};

const ZONE: &str = "$TTL 300\n@ SOA ns h 1 2 3 4 900\n@ NS ns\n@ NS ns.other.\nns A 192.0.2.1\n@ A 192.0.2.80\n\
    _sip._udp SRV 9 9 9 ns\n_sip._udp TXT beside\nfra1.endpoints A 192.0.2.10\n";

const POLICY: &str = r#"
zone = "svc.test."

[defaults]
ttl = "20s"

[monitor.web]
type = "tcp"
port = 8080

[endpoint.fra1]
addresses = ["192.0.2.10", "2001:db8::10"]
monitor = "web"
weight = 70

[endpoint.Ams]
addresses = ["192.0.2.20"]
probe = "192.0.2.120:9090"
monitor = "web"
weight = 30

[endpoint.spare]
addresses = ["192.0.2.30"]
monitor = "web"
weight = 0

[endpoint.cdn]
cname = "Edge.CDN.test."

[pool.world]
members = ["fra1", "Ams", "spare"]

[pool.every]
members = ["fra1", "Ams"]
steer = "all"

[pool.outside]
members = ["fra1", "cdn"]

[name."_http._tcp.www"]
pool = "world"
types = ["SRV"]

[name."_every._tcp"]
pool = "every"
types = ["SRV"]
port = 443

[name."_one._tcp"]
pool = "world"
types = ["SRV"]
answers = 1

[name."_mixed._tcp"]
pool = "outside"
types = ["SRV"]
port = 5

[name."_sip._udp"]
pool = "Ams"
types = ["SRV"]
on_empty = "static"

[name.www]
pool = "world"
types = ["A", "AAAA", "HTTPS"]
answers = 2
alpn = ["h2", "h3"]

[name.old]
pool = "fra1"
types = ["A", "HTTPS"]
port = 8443

[name."_dns"]
pool = "world"
types = ["SVCB"]
alpn = ["dot"]
port = 853

[name."@"]
pool = "cdn"
types = ["HTTPS"]
"#;

/// The world with every endpoint up but for the checks of these targets.
fn world(down: &[&str]) -> Snapshot {
    let files =
        [("zones/svc.test.zone", ZONE), ("zones/svc.test.policy.toml", POLICY), ("portolan.toml", "region = \"eu\"\n")];
    let up = compiled(loaded(&files), Health::Up);
    let checks = up.model.checks.iter().map(|check| {
        let is_down = down.contains(&check.key.target.to_string().as_str());
        CheckView { health: if is_down { Health::Down } else { Health::Up }, tried: true, ..CheckView::default() }
    });
    let view = WorldView { checks: checks.collect(), ..WorldView::default() };
    refresh(&up, view.into())
}

fn shown(snapshot: &Snapshot, name: &str, rtype: u16) -> String {
    line(&reply(snapshot, &question(name, rtype, Some((1232, &[])))))
}

const NEGATIVE: &str = "svc.test. 20 SOA ns.svc.test. h.svc.test. 1 2 3 4 900";

#[test]
fn srv_says_all_that_is_up_by_tier_and_weight() {
    let all = world(&[]);
    // 30 of 70 are 28,086 of 65,535.
    let fra1 = "_http._tcp.www.svc.test. 20 SRV 0 65535 8080 fra1.endpoints.svc.test.";
    let ams = "_http._tcp.www.svc.test. 20 SRV 0 28086 9090 ams.endpoints.svc.test.";
    let of_fra1 = "fra1.endpoints.svc.test. 300 A 192.0.2.10 fra1.endpoints.svc.test. 20 AAAA 2001:db8::10";
    let of_ams = "ams.endpoints.svc.test. 20 A 192.0.2.20";
    check(
        &all,
        &[
            ("_http._tcp.www.svc.test.", SRV, &format!("ok aa {fra1} {ams} add: {of_fra1} {of_ams}")),
            ("_http._tcp.www.svc.test.", ANY, &format!("ok aa {fra1} {ams} add: {of_fra1} {of_ams}")),
            (
                "_one._tcp.svc.test.",
                SRV,
                &format!("ok aa _one._tcp.svc.test. 20 SRV 0 65535 8080 fra1.endpoints.svc.test. add: {of_fra1}"),
            ),
            ("_http._tcp.www.svc.test.", A, &format!("ok aa auth: {}", NEGATIVE.replace(" 20 ", " 300 "))),
            ("fra1.endpoints.svc.test.", AAAA, "ok aa fra1.endpoints.svc.test. 20 AAAA 2001:db8::10"),
            ("ams.endpoints.svc.test.", A, "ok aa ams.endpoints.svc.test. 20 A 192.0.2.20"),
            ("endpoints.svc.test.", A, &format!("ok aa auth: {}", NEGATIVE.replace(" 20 ", " 300 "))),
        ],
    );
    let every = shown(&all, "_every._tcp.svc.test.", SRV);
    assert!(every.contains("0 65535 443 fra1.endpoints") && every.contains("0 65535 443 ams.endpoints"), "{every}");
    let mixed = shown(&all, "_mixed._tcp.svc.test.", SRV);
    assert!(mixed.contains("fra1.endpoints.svc.test.") && mixed.contains(" 5 Edge.CDN.test."), "{mixed}");
    // An endpoint is given while any of its addresses is up.
    assert_eq!(
        shown(&world(&["192.0.2.10:8080"]), "_http._tcp.www.svc.test.", SRV),
        shown(&all, "_http._tcp.www.svc.test.", SRV)
    );
    let without = shown(&world(&["192.0.2.10:8080", "[2001:db8::10]:8080"]), "_http._tcp.www.svc.test.", SRV);
    assert_eq!(without, format!("ok aa {} add: {of_ams}", ams.replace("28086", "65535")));
}

#[test]
fn what_is_empty_falls_back_as_addresses_do() {
    let down = world(&["192.0.2.120:9090"]);
    assert_eq!(
        shown(&down, "_sip._udp.svc.test.", SRV),
        "ok aa _sip._udp.svc.test. 20 SRV 9 9 9 ns.svc.test. add: ns.svc.test. 300 A 192.0.2.1"
    );
    assert_eq!(shown(&down, "_sip._udp.svc.test.", TXT), "ok aa _sip._udp.svc.test. 300 TXT beside");
    let all_down = world(&["192.0.2.10:8080", "[2001:db8::10]:8080", "192.0.2.120:9090", "192.0.2.30:8080"]);
    let last = shown(&all_down, "_http._tcp.www.svc.test.", SRV);
    assert!(last.contains("0 65535 8080 fra1.") && last.contains("0 28086 9090 ams."), "{last}");
    let hints = shown(&all_down, "old.svc.test.", HTTPS);
    assert!(hints.contains("ipv4hint=192.0.2.10"), "given though it is down: {hints}");
}

#[test]
fn https_and_svcb_hint_at_the_addresses_that_are_up() {
    let all = world(&[]);
    let www = shown(&all, "www.svc.test.", HTTPS);
    assert!(www.contains("HTTPS 1 . alpn=h2,h3, ipv4hint=192.0.2.10, ipv6hint=2001:db8::10"), "{www}");
    assert!(www.contains("HTTPS 1 . alpn=h2,h3, ipv4hint=192.0.2.20"), "{www}");
    let half = shown(&world(&["[2001:db8::10]:8080"]), "www.svc.test.", HTTPS);
    assert!(half.contains("ipv4hint=192.0.2.10") && !half.contains("ipv6hint"), "{half}");
    let old = "ok aa old.svc.test. 20 HTTPS 1 . port=8443 ipv4hint=192.0.2.10,";
    assert_eq!(shown(&all, "old.svc.test.", HTTPS), old, "a name without AAAA doesn't hint at one");
    let dns = "ok aa _dns.svc.test. 20 SVCB 1 fra1.endpoints.svc.test. alpn=dot, port=853 ipv4hint=192.0.2.10, \
               ipv6hint=2001:db8::10, add: fra1.endpoints.svc.test. 300 A 192.0.2.10 fra1.endpoints.svc.test. 20 AAAA \
               2001:db8::10";
    assert_eq!(shown(&world(&["192.0.2.120:9090"]), "_dns.svc.test.", SVCB), dns);
    let apex = shown(&all, "svc.test.", HTTPS);
    assert_eq!(apex, "ok aa svc.test. 20 HTTPS 0 Edge.CDN.test.", "alias mode, at the apex too");
    assert_eq!(shown(&all, "svc.test.", A), "ok aa svc.test. 300 A 192.0.2.80");
}

#[test]
fn parameters_stand_in_rising_order_on_the_wire() {
    let bytes = reply(&world(&["192.0.2.120:9090"]), &question("_dns.svc.test.", SVCB, Some((1232, &[]))));
    let rdata = [
        &b"\0\x01\x04fra1\x09endpoints\x03svc\x04test\x00"[..],
        b"\0\x01\0\x04\x03dot",
        b"\0\x03\0\x02\x03\x55",
        b"\0\x04\0\x04\xc0\0\x02\x0a",
        b"\0\x06\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x10",
    ]
    .concat();
    let framed = [&(rdata.len() as u16).to_be_bytes()[..], &rdata].concat();
    assert!(bytes.windows(framed.len()).any(|window| window == framed), "{bytes:02x?}");
}
