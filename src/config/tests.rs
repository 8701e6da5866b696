//! What files become: the model that a few small files make, and that no text whatever makes a reader panic.

mod costs;
mod growth;
mod policy;
mod text;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::masterfile;
use crate::model::{
    AdminState, AnswerRdata, ClassId, Facet, MemberRef, Model, OnEmpty, ProbeKind, ProbeTarget, RegionId, Steering,
};
use crate::placing::ClientTable;
use crate::source::{Problems, Texts};

const ZONE: &str =
    "$TTL 300\n@ SOA Ns1 hostmaster 1 2h 600 604800 30\n@ NS Ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n";

/// A directory with these files, and what loading it gives under the given environment and flags.
fn load_files(
    files: &[(&str, &str)],
    environment: &[(&str, &str)],
    flags: &Flags,
) -> (tempfile::TempDir, Option<Settings>, Model, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let environment: HashMap<String, String> =
        environment.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
    let mut problems = Problems::default();
    let file = dir.path().join("portolan.toml");
    let settings = settings::read(file.exists().then_some(&file), environment, flags, &mut problems);
    let model = settings.as_ref().map_or_else(Model::default, |settings| load::whole(settings, None, &mut problems).0);
    let prefix = format!("{}/", dir.path().display());
    let found = problems.into_sorted().iter().map(|problem| problem.to_string().replace(&prefix, "")).collect();
    (dir, settings, model, found)
}

/// The model of one policy over the usual master file; there must be no problem.
fn model_of(policy: &str) -> Model {
    let settings =
        "region = \"here\"\n[zones]\ndir = \".\"\n[regions.here]\n[regions.there]\nnets = [\"198.18.0.0/15\"]\n";
    let files = [
        ("portolan.toml", settings),
        ("svc.example.zone", ZONE),
        ("svc.example.policy.toml", &format!("zone = \"Svc.example\"\n{policy}")),
    ];
    let (_dir, _, model, mut found) = load_files(&files, &[], &Flags::default());
    // There is no database of clients here, which is warned of and no matter of these policies.
    found.retain(|problem| !problem.contains("selects nobody by"));
    assert_eq!(found, Vec::<String>::new());
    model
}

#[test]
fn defaults_are_those_of_the_contract() {
    let model = model_of(
        "[endpoint.a]\naddresses = [\"192.0.2.10\"]\nmonitor = \"web\"\n[monitor.web]\ntype = \"http\"\n[name.www]\n\
         pool = \"a\"\n",
    );
    let policy = &model.policies[0];
    assert_eq!(
        (policy.answers, policy.on_empty.as_slice(), policy.facets.as_slice()),
        (None, &[OnEmpty::LastGood][..], &[Facet::V4][..])
    );
    assert_eq!((policy.ttl.max, policy.ttl.min), (Duration::from_secs(20), Duration::from_secs(5)));
    assert_eq!((model.endpoints[0].weight, model.endpoints[0].state), (1, AdminState::Enabled));
    let key = &model.checks[0].key;
    assert_eq!(key.target, ProbeTarget::Socket("192.0.2.10:80".parse().unwrap()));
    let monitor = &key.monitor;
    assert_eq!((monitor.interval, monitor.timeout), (Duration::from_secs(1), Duration::from_millis(500)));
    assert_eq!((monitor.fall, monitor.rise), (3, 2));
    let ProbeKind::Http(http) = &monitor.kind else { panic!("http") };
    assert_eq!((http.path.as_str(), http.statuses.as_slice(), &http.host), ("/", &[200][..], &None));
    assert_eq!(model.zones[0].ecs, crate::model::Ecs::default());
}

#[test]
fn master_files_keep_case_in_content_and_lose_it_in_owners() {
    let model = model_of("");
    let zone = &model.zones[0];
    assert_eq!(zone.apex.to_string(), "svc.example.");
    let soa = zone.rrsets.iter().find(|set| set.rtype == 6).unwrap();
    assert!(soa.rdatas[0].starts_with(b"\x03Ns1\x03svc\x07example\x00"), "{:?}", soa.rdatas);
    assert!(soa.rdatas[0].ends_with(&[0, 0, 0, 30]), "the minimum");
    assert!(
        zone.rrsets
            .iter()
            .any(|set| set.owner.to_string() == "ns1.svc.example." && set.rdatas[0][..] == [192, 0, 2, 1])
    );
}

#[test]
fn one_check_for_each_distinct_monitor_and_address() {
    let endpoint = |name: &str, rest: &str| format!("[endpoint.{name}]\nmonitor = \"m\"\n{rest}\n");
    let policy = format!(
        "[monitor.m]\ntype = \"tcp\"\nport = 9\n{}{}{}{}{}[pool.p]\nsteer = \"failover\"\n\
         members = [\"a\", \"b\", \"c\", \"d\", \"e\"]\n[name.www]\npool = \"p\"\n",
        endpoint("a", "addresses = [\"2001:db8::1\", \"192.0.2.10\"]"),
        endpoint("b", "addresses = [\"192.0.2.10\"]"),
        endpoint("c", "addresses = [\"192.0.2.30\", \"2001:db8::3\"]\nprobe = \"192.0.2.31:7\""),
        endpoint("d", "addresses = [\"192.0.2.40\"]\nstate = \"disabled\""),
        endpoint("e", "cname = \"Www.CDN.example\"\nprobe = \"192.0.2.10\""),
    );
    let model = model_of(&policy);
    let targets: Vec<String> = model
        .checks
        .iter()
        .map(|check| match check.key.target {
            ProbeTarget::Host(ip) => ip.to_string(),
            ProbeTarget::Socket(socket) => socket.to_string(),
            ProbeTarget::Nowhere => "nowhere".to_owned(),
        })
        .collect();
    assert_eq!(targets, ["192.0.2.10:9", "[2001:db8::1]:9", "192.0.2.31:7"]);
    let checks = |at: usize| model.endpoints[at].answerables.iter().map(|a| a.check.map(|id| id.0)).collect::<Vec<_>>();
    assert_eq!(
        [checks(0), checks(1), checks(2), checks(3), checks(4)],
        [vec![Some(0), Some(1)], vec![Some(0)], vec![Some(2), Some(2)], vec![None], vec![Some(0)]]
    );
    let alias = &model.endpoints[4].answerables[0];
    assert_eq!(alias.rdata, AnswerRdata::Cname(b"\x03Www\x03CDN\x07example\x00"[..].into()));
    assert_eq!(model.endpoints[0].answerables[0].rdata, AnswerRdata::Address("192.0.2.10".parse::<IpAddr>().unwrap()));
}

#[test]
fn names_that_are_answered_alike_share_a_policy() {
    let model = model_of(
        "[defaults]\nttl = \"7s\"\nanswers = 2\n[endpoint.a]\naddresses = [\"192.0.2.10\"]\n[endpoint.b]\n\
         addresses = [\"192.0.2.11\"]\nweight = 9\n\
         [pool.in]\nmembers = [\"b\", { to = \"a\", weight = 0 }]\nsteer = \"failover\"\n[pool.p]\n\
          members = [\"a\", \"in\"]\n\
         [name.x]\npool = \"p\"\n[name.\"*.y\"]\npool = \"p\"\n[name.z]\npool = \"p\"\nanswers = 1\n[name.o]\n\
          pool = \"a\"\non_empty = \"in\"\n",
    );
    let zone = &model.zones[0];
    let policies: Vec<(&str, u32)> = zone.steered.iter().map(|name| (name.label.as_str(), name.policy.0)).collect();
    assert_eq!(policies, [("x", 0), ("*.y", 0), ("z", 1), ("o", 2)]);
    assert!(zone.steered[1].owner.is_wildcard());
    let listed = |at: usize| model.policies[at].endpoints.iter().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!([listed(0), listed(2)], [vec![0, 1], vec![0, 1]]);
    assert_eq!((model.policies[0].answers, model.policies[1].answers), (Some(2), Some(1)));
    assert_eq!(
        (model.policies[0].ttl.min, model.policies[0].ttl.max),
        (Duration::from_secs(7), Duration::from_secs(7))
    );
    assert!(
        matches!(model.policies[2].on_empty[..], [OnEmpty::Other(MemberRef::Pool(id))] if model.pool(id).name == "in")
    );
    let inner = &model.pools[0];
    assert_eq!(inner.members.iter().map(|m| m.weight).collect::<Vec<_>>(), [9, 0]);
    assert_eq!((inner.steering, model.pools[1].members[1].weight), (Steering::Failover, 1));
}

#[test]
fn a_name_answers_the_families_that_its_endpoints_can() {
    let endpoints = "[endpoint.a]\naddresses = [\"192.0.2.10\"]\n[endpoint.b]\n\
     addresses = [\"192.0.2.11\", \"::2\"]\n[endpoint.c]\ncname = \"c.\"\n\
         [pool.ac]\nsteer = \"failover\"\nmembers = [\"a\", \"c\"]\n[pool.ab]\nmembers = [\"a\", \"b\"]\n";
    let names = "[name.1]\npool = \"a\"\n[name.2]\npool = \"ab\"\n[name.3]\npool = \"ab\"\n\
     types = [\"AAAA\", \"A\"]\nanswers = 2\n\
         [name.4]\npool = \"c\"\n[name.5]\npool = \"ac\"\n[name.6]\npool = \"ab\"\ntypes = [\"A\"]\n";
    let model = model_of(&format!("{endpoints}{names}"));
    let facets: Vec<&[Facet]> = model.policies.iter().map(|policy| policy.facets.as_slice()).collect();
    let both = &[Facet::V4, Facet::V6][..];
    assert_eq!(facets, [&[Facet::V4], both, both, &[Facet::Alias], both, &[Facet::V4]]);
}

#[test]
fn clients_have_a_class_a_region_and_one_for_the_unknown() {
    let model = model_of("");
    assert_eq!(
        model.clients.classes.iter().map(|c| c.region).collect::<Vec<_>>(),
        [Some(RegionId(0)), Some(RegionId(1)), None]
    );
    let table = ClientTable::compile(&model.clients, None, None);
    let class = |ip: &str| table.lookup(ip.parse().unwrap()).0;
    assert_eq!((model.clients.fallback, class("198.18.0.1"), class("9.9.9.9")), (ClassId(2), ClassId(1), ClassId(2)));
}

#[test]
fn settings_come_from_the_file_then_the_environment_then_flags() {
    let file = "region = \"r\"\nnode = \"a\"\n[listen]\nhttp = \"127.0.0.1:1\"\nworkers = 3\n[zones]\ndir = \"sub\"\n";
    let environment = [
        ("PORTOLAN__NODE", "b"),
        ("PORTOLAN__LISTEN__HTTP", "127.0.0.1:2"),
        ("PORTOLAN__LISTEN__DNS", "127.0.0.1:0, [::1]:0"),
        ("PORTOLAN_TOKEN", "not a setting"),
    ];
    let flags = Flags::default().with("node", "c").with("listen.workers", "2");
    let (dir, settings, _, _) = load_files(&[("portolan.toml", file)], &environment, &flags);
    let settings = settings.unwrap();
    assert_eq!((settings.node.as_str(), settings.listen.http.port(), settings.listen.workers), ("c", 2, 2));
    assert_eq!(settings.listen.dns.len(), 2);
    assert_eq!(settings.zones_dir, dir.path().join("sub"));
    assert_eq!(settings.regions.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["r"]);
}

#[test]
fn problems_of_the_environment_and_of_flags_name_them() {
    let environment = [
        ("PORTOLAN__LISTEN__HTTP", "nowhere"),
        ("PORTOLAN__LISTEN__HTPP", "x"),
        ("PORTOLAN__LISTN__HTTP", "127.0.0.1:1"),
        ("PORTOLAN__SINK__AUDIT__TYPE", "webhook"),
    ];
    let flags = Flags::default().with("region", "r").with("zones.dir", "/").with("listen.workers", "many");
    let (_dir, _, _, found) = load_files(&[], &environment, &flags);
    let firsts: Vec<&str> =
        found.iter().filter_map(|found| found.split(" [see ").next()).filter(|l| !l.contains("warning")).collect();
    assert_eq!(
        firsts,
        [
            "$PORTOLAN__LISTEN__HTPP:1:1: error: unknown key `htpp` in [listen] (hint: did you mean `http`?)",
            "$PORTOLAN__LISTEN__HTTP:1:1: error: `http` must be an address and a port, and \"nowhere\" is not \
             (hint: write \"127.0.0.1:8053\")",
            "$PORTOLAN__LISTN__HTTP:1:1: error: unknown key `listn` (hint: did you mean `listen`?)",
            "$PORTOLAN__SINK__AUDIT__TYPE:1:1: error: [sink.audit] has no `secret_file` (hint: write `secret_file = \
             \"webhook.secret\"`, a file with `whsec_` and what `openssl rand -base64 32` prints)",
            "$PORTOLAN__SINK__AUDIT__TYPE:1:1: error: [sink.audit] has no `url` (hint: write `url = \
             \"https://hooks.example/portolan\"`)",
            "flag listen.workers:1:1: error: `workers` must be a whole number from 0 to 1024, not `many`",
        ]
    );
}

#[test]
fn region_alone_is_enough() {
    let zones = tempfile::tempdir().unwrap();
    let (_dir, settings, ..) = load_files(&[("portolan.toml", "region = \"r\"\n")], &[], &Flags::default());
    let settings = settings.unwrap();
    assert_eq!(settings.listen, Listen::default());
    let settings = Settings { zones_dir: zones.path().to_path_buf(), ..settings };
    let (model, warnings) = reload(&settings).unwrap();
    assert_eq!((model.zones.len(), warnings.len()), (0, 1));
    std::fs::write(zones.path().join("svc.example.zone"), ZONE).unwrap();
    assert_eq!(reload(&settings).unwrap().0.zones.len(), 1);
}

#[test]
fn records_are_read_as_any_server_reads_them() {
    let text = format!(
        "{ZONE}$INCLUDE part.zone sub\nbytes TXT \"\u{e9}\" (\"a;b\"\n \"\\097\\\"\")\n$TTL 300\n\
         unknown TYPE65280 \\# 3 010203\nraw A \\# 4 c0000203\n\
         spf SPF \"v=spf1\"\nsvc HTTPS 1 . alpn=\"h2,h3\" port=8443\n$ORIGIN deep\nx 1h2m IN AAAA ::1\n"
    );
    let part = "a 9 A 192.0.2.9\n$TTL 9\n  A 192.0.2.10\n";
    let files =
        [("portolan.toml", "region = \"r\"\n[zones]\ndir = \".\"\n"), ("svc.example.zone", &text), ("part.zone", part)];
    let (_dir, _, model, found) = load_files(&files, &[], &Flags::default());
    assert_eq!(found, ["svc.example.zone:0: never"; 0]);
    assert_eq!(model.zones.len(), 1, "a file that is included is no zone");
    let find = |owner: &str, rtype: u16| {
        let set = model.zones[0].rrsets.iter().find(|set| set.owner.to_string() == owner && set.rtype == rtype);
        set.map(|set| (set.ttl, set.rdatas.concat()))
    };
    for (owner, rtype, ttl, rdata) in [
        ("bytes.svc.example.", 16, 9, &b"\x02\xc3\xa9\x03a;b\x02a\""[..]),
        ("unknown.svc.example.", 65280, 300, &[1, 2, 3]),
        ("raw.svc.example.", 1, 300, &[192, 0, 2, 3]),
        ("spf.svc.example.", 99, 300, b"\x06v=spf1"),
        ("svc.svc.example.", 65, 300, b"\0\x01\0\0\x01\0\x06\x02h2\x02h3\0\x03\0\x02\x20\xfb"),
        ("x.deep.svc.example.", 28, 3720, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ("a.sub.svc.example.", 1, 9, &[192, 0, 2, 9, 192, 0, 2, 10]),
    ] {
        assert_eq!(find(owner, rtype), Some((ttl, rdata.to_vec())), "{owner}");
    }
}

/// Reads a text as each kind of file there is.
fn swallow(text: &[u8]) {
    let mut problems = Problems::default();
    let dir = Path::new("/nowhere");
    let real = dir.join("svc.example.zone");
    let file = masterfile::FileAt { shown: &real, real: &real };
    let apex = crate::wire::Name::parse("svc.example.").unwrap();
    let texts = Texts::of_directory(dir, dir);
    let zone = masterfile::read(file, text, masterfile::Apex::Named(&apex), &texts, &|_| false, &mut problems);
    if let Some(spec) = spec::read(Path::new("p"), text, &mut problems) {
        validate::Builder::new(Model::default(), HashMap::new(), true).add(&spec, zone, 0, &mut problems);
    }
    problems.into_sorted();
}

/// Texts that look enough like files to get deep into the readers.
fn likely() -> impl Strategy<Value = String> {
    let fragments = [
        "zone = \"svc.example\"\n",
        "[name.www]\n",
        "[name.\"*\"]\n",
        "pool = \"a\"\n",
        "[pool.a]\n",
        "[pool.b]\n",
        "members = [\"a\", \"b\"]\n",
        "members = [{ to = \"b\", weight = 0 }]\n",
        "[endpoint.b]\n",
        "cname = \"x.\"\n",
        "addresses = [\"::1\", \"1.2.3.4\"]\n",
        "[monitor.m]\n",
        "type = \"http\"\n",
        "monitor = \"m\"\n",
        "on_empty = ",
        "steer = \"geo\"\n",
        "members = [{ to = \"b\", when = { nets = [\"10.0.0.0/8\", \"file:x\"] } }, \"b\"]\n",
        "[fence.f]\n",
        "clients = { asns = [1], unknown = true }\n",
        "allow = { continents = [\"EU\"], regions = [\"r\"] }\n",
        "fence = \"f\"\n",
        "rto = \"1s\"\n",
        "affinity = true\n",
        "failback = \"1m\"\n",
        "band = { ms = 8 }\n",
        "min_up = 0.5\n",
        "\"static\"\n",
        "ttl = { min = \"1s\" }\n",
        "steer = \"all\"\n",
        "= ",
        "[",
        "]",
        "{",
        "\"",
        "'",
        "\\",
        "\n",
        " ",
        "@ SOA a b 1 2 3 4 5\n",
        "www ",
        "A ",
        "\\# 4 01020304\n",
        "TXT \"",
        "NS ns\n",
        "$ORIGIN ",
        "$TTL 5\n",
        "$INCLUDE x\n",
        "(",
        ")",
        ";",
        "\\097",
        "\\300",
        "..",
        ".",
        "CNAME @\n",
        "DNAME d\n",
        "IN ",
        "TYPE1 ",
        "HTTPS 1 . ",
        "alpn=",
        "key9=\"x y\"",
        "1h",
        "99999999999999999999 ",
        "\t",
        "\r\n",
        "\u{e9}",
        "\0",
    ];
    proptest::collection::vec(proptest::sample::select(fragments.to_vec()), 0..60).prop_map(|texts| texts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_octets_make_a_reader_panic(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        swallow(&octets);
    }

    #[test]
    fn no_likely_text_makes_a_reader_panic(text in likely()) {
        swallow(text.as_bytes());
    }
}
