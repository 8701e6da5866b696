//! Checks as JSON: what is written, what is read back, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::model::{HeartbeatSpec, Need};

fn socket(text: &str) -> ProbeTarget {
    ProbeTarget::Socket(text.parse().unwrap())
}

#[test]
fn the_text_has_what_differs_from_the_defaults_and_never_changes() {
    let web = |spec| Monitor::new(ProbeKind::Http(spec));
    let spec =
        HttpSpec { path: "/".into(), host: None, headers: vec![], statuses: vec![200], body: None, redirects: 0 };
    let all = HttpSpec {
        path: "/healthz".into(),
        host: Some("www".into()),
        headers: vec![("a".into(), "1".into()), ("b".into(), "\"".into())],
        statuses: vec![200, 204],
        body: Some("ok".into()),
        redirects: 2,
    };
    let mut hasty = Monitor::new(ProbeKind::Icmp);
    (hasty.interval, hasty.timeout, hasty.adaptive) = (Duration::from_millis(50), Duration::from_micros(1500), true);
    (hasty.fall, hasty.rise, hasty.damping) = (1, 9, false);
    hasty.hold_down = Duration::from_secs(90);
    for (monitor, target, expected) in [
        (Monitor::new(ProbeKind::Tcp), socket("192.0.2.1:80"), r#"{"type":"tcp","target":"192.0.2.1:80"}"#),
        (web(spec), socket("[2001:db8::1]:80"), r#"{"type":"http","target":"[2001:db8::1]:80"}"#),
        (
            Monitor { hold: true, ..web(all) },
            socket("192.0.2.1:80"),
            concat!(
                r#"{"type":"http","target":"192.0.2.1:80","hold":true,"host":"www","path":"/healthz","#,
                r#""headers":{"a":"1","b":"\""},"statuses":[200,204],"body":"ok","redirects":2}"#,
            ),
        ),
        (
            hasty,
            ProbeTarget::Host("192.0.2.1".parse().unwrap()),
            concat!(
                r#"{"type":"icmp","target":"192.0.2.1","interval":"50ms","timeout":"1ms 500us","#,
                r#""adaptive":true,"fall":1,"rise":9,"hold_down":"1m 30s","undamped":true}"#,
            ),
        ),
    ] {
        let key = CheckKey { monitor: monitor.into(), target };
        assert_eq!(to_json(&key).as_deref(), Some(expected));
    }
}

#[test]
fn the_quorum_does_not_identify_a_check_and_heartbeats_do_not_travel() {
    let key = |monitor: Monitor| CheckKey { monitor: monitor.into(), target: socket("192.0.2.1:80") };
    let plain = Monitor::new(ProbeKind::Tcp);
    let mut strict = plain.clone();
    strict.quorum.per_region = Need::All;
    assert_eq!(to_json(&key(plain)), to_json(&key(strict)));
    let (ttl, longest) = (Duration::from_secs(1), Duration::from_secs(2));
    let spec = HeartbeatSpec { zone: "z.".into(), endpoint: "e".into(), ttl, longest, phi: None };
    let heartbeat = Monitor::new(ProbeKind::Heartbeat(spec));
    assert_eq!(to_json(&CheckKey { monitor: heartbeat.into(), target: ProbeTarget::Nowhere }), None);
}

#[test]
fn what_this_release_cannot_probe_as_it_is_meant_is_refused() {
    for wrong in [
        r#"{"type":"tcp","target":"192.0.2.1"}"#,
        r#"{"type":"icmp","target":"192.0.2.1:80"}"#,
        r#"{"type":"tcp","target":"192.0.2.1:80","new_key":1}"#,
        r#"{"type":"quic","target":"192.0.2.1:80"}"#,
        r#"{"type":"heartbeat","target":"nowhere"}"#,
        r#"{"type":"tcp"}"#,
        r#"{"type":"tcp","target":"192.0.2.1:80","interval":"1ms"}"#,
        r#"{"type":"tcp","target":"192.0.2.1:80","interval":"1000000h"}"#,
        r#"{"type":"tcp","target":"192.0.2.1:80","timeout":"0s"}"#,
        r#"{"type":"tcp","target":"192.0.2.1:80","fall":0}"#,
        r#"{"type":"tcp","target":"192.0.2.1:80","rise":101}"#,
        r#"{"type":"tcp","target":"192.0.2.1:80","fall":-1}"#,
        r#"{"type":"http","target":"192.0.2.1:80","redirects":11}"#,
        r#"{"type":"http","target":"192.0.2.1:80","statuses":[70000]}"#,
        r#"{"type":"icmp","target":"192.0.2.1","hold":true}"#,
        r#"{"type":"exec","target":"192.0.2.1","program":"check","endpoint":"e"}"#,
        r#"{"type":"exec","target":"192.0.2.1","program":"/bin/check"}"#,
        r#"{"type":"exec","target":"192.0.2.1","program":"/bin/check","endpoint":"e","args":["a\u0000"]}"#,
        r#"{"type":"dns","target":"192.0.2.1:53"}"#,
        r#"{"type":"dns","target":"192.0.2.1:53","name":"a..b"}"#,
        r#"{"type":"dns","target":"192.0.2.1:53","name":"a.","address":"192.0.2.1","text":"x"}"#,
        "[]",
        "null",
        "7",
    ] {
        assert!(from_json(&serde_json::from_str(wrong).unwrap()).is_err(), "{wrong}");
    }
    let long = format!(r#"{{"type":"http","target":"192.0.2.1:80","body":"{}"}}"#, "x".repeat(MAX_TEXT + 1));
    assert!(from_json(&serde_json::from_str(&long).unwrap()).is_err());
}

fn any_kind() -> impl Strategy<Value = ProbeKind> {
    let text = || proptest::option::of("[a-z]{1,8}");
    let rule = || (any::<bool>(), 0u32..4000).prop_map(|(verify, min_days)| CertificateRule { verify, min_days });
    let http = || {
        let headers = proptest::collection::btree_map("[a-z]{1,4}", "[ -~]{0,6}", 0..3);
        let statuses = proptest::collection::vec(100u16..1000, 1..4);
        (text(), text(), headers, statuses, text(), 0u32..=10).prop_map(
            |(path, host, headers, statuses, body, redirects)| {
                let path = format!("/{}", path.unwrap_or_default());
                HttpSpec { path, host, headers: headers.into_iter().collect(), statuses, body, redirects }
            },
        )
    };
    let rdata = prop_oneof![
        Just(None),
        any::<u32>().prop_map(|ip| Some(DnsRdata::Address(IpAddr::V4(ip.into())))),
        "[a-z \"]{0,5}".prop_map(|text| Some(DnsRdata::Text(text))),
    ];
    prop_oneof![
        Just(ProbeKind::Icmp),
        Just(ProbeKind::Tcp),
        http().prop_map(ProbeKind::Http),
        (http(), rule()).prop_map(|(spec, rule)| ProbeKind::Https(spec, rule)),
        (text(), rule()).prop_map(|(host, certificate)| ProbeKind::Tls(TlsSpec { host, certificate })),
        (proptest::collection::vec("[ -~é]{0,4}", 0..3), "[a-z]{0,4}").prop_map(|(args, endpoint)| {
            ProbeKind::Exec(ExecSpec { command: ExecCommand { program: "/bin/check".into(), args }.into(), endpoint })
        }),
        ("[a-z]{1,5}\\.[a-z]{1,5}\\.", any::<u16>(), 0u16..16, rdata).prop_map(|(name, qtype, rcode, rdata)| {
            ProbeKind::Dns(DnsSpec { name: Name::parse(&name).unwrap(), qtype, rcode, rdata })
        }),
        ("[a-z.]{0,6}", text(), proptest::option::of(rule()))
            .prop_map(|(service, host, tls)| ProbeKind::Grpc(GrpcSpec { service, host, tls })),
    ]
}

proptest! {
    #[test]
    fn every_check_is_read_as_it_was_written(
        kind in any_kind(),
        ip in any::<u128>().prop_map(|ip| IpAddr::V6(ip.into())),
        port in 1u16..,
        times in (50u64..90_000, 1u64..90_000, 0u64..3_600),
        runs in (1u32..=100, 1u32..=100),
        flags in any::<[bool; 3]>(),
    ) {
        let can_hold = !matches!(kind, ProbeKind::Icmp | ProbeKind::Dns(_) | ProbeKind::Exec(_));
        let target = match kind {
            ProbeKind::Icmp => ProbeTarget::Host(ip),
            _ => ProbeTarget::Socket((ip, port).into()),
        };
        let monitor = Monitor {
            interval: Duration::from_millis(times.0),
            timeout: Duration::from_millis(times.1),
            hold_down: Duration::from_secs(times.2),
            fall: runs.0,
            rise: runs.1,
            adaptive: flags[0],
            damping: flags[1],
            hold: flags[2] && can_hold,
            ..Monitor::new(kind)
        };
        let key = CheckKey { monitor: monitor.into(), target };
        let text = to_json(&key).expect("probed");
        let read = from_json(&serde_json::from_str(&text).unwrap());
        prop_assert_eq!(read.as_ref(), Ok(&key), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(key in "[a-z_]{1,9}", value in "[ -~]{0,9}", number in any::<i64>()) {
        for text in [
            format!(r#"{{"type":"http","target":"192.0.2.1:80",{key:?}:{value:?}}}"#),
            format!(r#"{{"type":"dns","target":{value:?},{key:?}:{number}}}"#),
        ] {
            let _ = serde_json::from_str(&text).map(|check| from_json(&check));
        }
    }
}
