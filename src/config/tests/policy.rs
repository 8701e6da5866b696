//! The keys of a policy that say who is steered where: selectors, fences, bands, and what names say of themselves.

use super::*;
use crate::model::{AffinityNet, Band, Check, Continent, Country, EndpointId, Failback, Selector};

const ENDPOINTS: &str = "[endpoint.a]\naddresses = [\"192.0.2.10\"]\ncountry = \"de\"\ncapacity = 9000\n\
    [endpoint.b]\naddresses = [\"192.0.2.11\"]\ncountry = \"US\"\n[endpoint.c]\naddresses = [\"192.0.2.12\"]\n\
     region = \"there\"\n";

fn policy(text: &str) -> Model {
    model_of(&format!("{ENDPOINTS}{text}"))
}

#[test]
fn equal_selectors_are_one_however_they_are_written() {
    let model = policy(
        "[pool.g]\nsteer = \"geo\"\nmembers = [\
           { to = \"a\", when = { nets = [\"10.0.0.0/8\", \"192.0.2.0/24\", \"10.1.0.0/16\"], asns = [3, \"AS1\"] } },\
           { to = \"b\", when = { countries = [\"SE\", \"no\"], continents = [\"eu\"] } },\
           { to = \"a\", when = { countries = [\"NO\", \"SE\"], continents = [\"EU\"], unknown = false } },\
           \"c\"]\n\
         [fence.f]\nclients = { continents = [\"EU\"], countries = [\"SE\", \"NO\"] }\n\
          allow = { countries = [\"DE\"] }\n\
         [name.g]\npool = \"g\"\n[name.f]\npool = \"a\"\nfence = \"f\"\n",
    );
    let nets = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24"].map(|net| net.parse().unwrap()).to_vec();
    let expected = [
        Selector { nets, asns: vec![1, 3], ..Selector::default() },
        Selector {
            countries: ["NO", "SE"].map(|code| Country::parse(code).unwrap()).to_vec(),
            continents: vec![Continent::Europe],
            ..Selector::default()
        },
    ];
    assert_eq!(model.clients.selectors, expected);
    let whens: Vec<Option<u16>> = model.pools[0].members.iter().map(|member| Some(member.when?.0)).collect();
    assert_eq!(whens, [Some(0), Some(1), Some(1), None]);
    assert_eq!((model.fences[0].clients.0, model.pools[0].steering), (1, Steering::Geo));
}

#[test]
fn files_of_nets_are_read_once_and_listed_to_watch() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("portolan.toml", "region = \"here\"\n[zones]\ndir = \".\"\n");
    write("svc.example.zone", ZONE);
    write("office-nets.txt", "# Oslo\n192.0.2.0/24\n10.0.0.0/8 # and Bergen\n");
    let member = |to: &str, net: &str| format!("{{ to = \"{to}\", when = {{ nets = [{net}] }} }}");
    let file = "\"file:office-nets.txt\"";
    let members = [member("a", &format!("{file}, \"10.0.0.0/8\", \"10.2.0.0/16\"")), member("b", file)].join(", ");
    let pool = format!("[pool.g]\nsteer = \"geo\"\nmembers = [{members}, \"c\"]\n[name.g]\npool = \"g\"\n");
    let endpoints = ENDPOINTS.replace("there", "here");
    write("svc.example.policy.toml", &format!("zone = \"svc.example\"\n{endpoints}{pool}"));
    let loaded = load(Some(&dir.path().join("portolan.toml")), &Flags::default()).unwrap();
    assert_eq!(loaded.files, [dir.path().join("office-nets.txt")]);
    assert_eq!(loaded.warnings, []);
    let nets = |at: usize| loaded.model.clients.selectors[at].nets.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        [nets(0), nets(1)],
        [vec!["10.0.0.0/8", "10.2.0.0/16", "192.0.2.0/24"], vec!["10.0.0.0/8", "192.0.2.0/24"]]
    );
}

#[test]
fn who_is_inside_a_fence() {
    let pool = "[pool.p]\nmembers = [\"a\", \"b\", \"c\"]\n";
    for (allow, expected) in [
        ("countries = [\"DE\", \"FR\"], regions = [\"there\"]", &[0, 2][..]),
        ("continents = [\"NA\"], regions = [\"there\"]", &[1, 2]),
        ("continents = [\"EU\", \"NA\"], regions = [\"there\"]", &[0, 1, 2]),
        ("regions = [\"there\"]", &[2]),
    ] {
        let model = policy(&format!(
            "{pool}[fence.f]\nclients = {{ unknown = true }}\nallow = {{ {allow} }}\n[name.x]\npool = \"p\"\n\
             fence = \"f\"\n"
        ));
        let expected: Vec<EndpointId> = expected.iter().map(|id| EndpointId(*id)).collect();
        assert_eq!(model.fences[0].inside, expected, "{allow}");
        assert!(model.clients.selectors[0].unknown);
        assert_eq!(model.policies[0].fence.map(|id| model.fence(id).name.as_str()), Some("f"));
    }
}

#[test]
fn pools_and_endpoints_say_what_they_are() {
    let model = policy(
        "[monitor.m]\ntype = \"tcp\"\nport = 9\nhold_down = \"10s\"\n[endpoint.d]\naddresses = [\"192.0.2.13\"]\n\
         monitor = \"m\"\nramp = \"90s\"\n\
         [pool.l]\nmembers = [\"d\"]\nsteer = \"latency\"\nband = { ms = 1.5, pct = 10 }\nmin_up = 1\n\
         [pool.k]\nmembers = [\"d\"]\nsteer = \"latency\"\nband = { pct = 5 }\nmin_up = 0.25\n\
         [pool.h]\nmembers = [\"a\", \"b\", \"c\", \"l\", \"k\"]\nsteer = \"affinity\"\n[name.x]\npool = \"h\"\n",
    );
    let bands: Vec<Option<Band>> = model.pools.iter().map(|pool| pool.band).collect();
    let band = Band { over: Duration::from_micros(1500), percent: 10 };
    assert_eq!(bands, [Some(band), Some(Band { percent: 5, ..Band::default() }), None]);
    assert_eq!(model.pools.iter().map(|pool| pool.min_up).collect::<Vec<_>>(), [1.0, 0.25, 0.0]);
    assert_eq!(model.pools[2].steering, Steering::Affinity);
    let of = |at: usize| (model.endpoints[at].country.map(|c| c.to_string()), model.endpoints[at].capacity);
    assert_eq!([of(0), of(2)], [(Some("DE".into()), Some(9000)), (None, None)]);
    assert_eq!(model.checks[0].key.monitor.hold_down, Duration::from_secs(10));
    assert_eq!([0, 3].map(|at| model.endpoints[at].ramp.as_secs()), [0, 90]);
}

#[test]
fn what_a_name_says_makes_a_policy_of_its_own() {
    let names = [
        "",
        "affinity = true",
        "affinity = { v4 = 20 }",
        "affinity = false",
        "failback = \"manual\"",
        "failback = \"10m\"",
        "failback = \"auto\"",
        "fence = \"f\"",
        "affinity = { v4 = 24, v6 = 56 }",
        "failover = \"shared\"",
    ];
    let fence = "[fence.f]\nclients = { unknown = true }\nallow = { countries = [\"DE\"], regions = [\"there\"] }\n";
    let pool = "[pool.p]\nmembers = [\"a\", \"b\", \"c\"]\nsteer = \"failover\"\n";
    let text: String =
        names.iter().enumerate().map(|(at, keys)| format!("[name.n{at}]\npool = \"p\"\n{keys}\n")).collect();
    let model = policy(&format!("{fence}{pool}{text}"));
    let ids: Vec<u32> = model.zones[0].steered.iter().map(|name| name.policy.0).collect();
    assert_eq!(ids, [0, 1, 2, 0, 3, 4, 0, 5, 1, 0]);
    let read: Vec<_> = model.policies.iter().map(|p| (p.affinity, p.failback, p.fence.is_some())).collect();
    let (net, wait) = (AffinityNet::default(), Failback::After(Duration::from_secs(600)));
    assert_eq!(
        read,
        [
            (None, Failback::Auto, false),
            (Some(net), Failback::Auto, false),
            (Some(AffinityNet { v4: 20, ..net }), Failback::Auto, false),
            (None, Failback::Manual, false),
            (None, wait, false),
            (None, Failback::Auto, true),
        ]
    );
}

#[test]
fn a_composite_is_made_of_checks_of_its_own_at_each_address() {
    let model = model_of(
        "[monitor.web]\ntype = \"http\"\n[monitor.db]\ntype = \"tcp\"\nport = 5432\n\
         [monitor.any]\ntype = \"any\"\nmonitors = [\"web\", \"db\"]\n[monitor.beat]\ntype = \"heartbeat\"\n\
         [monitor.all]\ntype = \"all\"\nmonitors = [\"any\", \"web\", \"beat\"]\n\
         [endpoint.a]\naddresses = [\"192.0.2.10\", \"2001:db8::1\"]\nmonitor = \"all\"\n\
         [endpoint.b]\naddresses = [\"192.0.2.10\"]\nmonitor = \"web\"\n\
         [endpoint.c]\naddresses = [\"192.0.2.12\"]\nmonitor = \"all\"\nprobe = \"192.0.2.13:81\"\n\
         [pool.p]\nmembers = [\"a\", \"b\", \"c\"]\n[name.p]\npool = \"p\"\n",
    );
    let line = |check: &Check| {
        let parts: Vec<String> = check.parts.iter().map(|id| id.0.to_string()).collect();
        format!("{} {} {}", check.key.monitor.kind.as_str(), check.key.target, parts.join("+"))
    };
    let found: Vec<String> = model.checks.iter().map(line).collect();
    assert_eq!(
        found,
        [
            "http 192.0.2.10:80 ",
            "tcp 192.0.2.10:5432 ",
            "any nowhere 0+1",
            "heartbeat nowhere ",
            "all nowhere 2+0+3",
            "http [2001:db8::1]:80 ",
            "tcp [2001:db8::1]:5432 ",
            "any nowhere 5+6",
            "all nowhere 7+5+3",
            "http 192.0.2.13:81 ",
            "tcp 192.0.2.13:5432 ",
            "any nowhere 9+10",
            "heartbeat nowhere ",
            "all nowhere 11+9+12",
        ]
    );
    let checks = |at: usize| model.endpoints[at].answerables.iter().map(|a| a.check.unwrap().0).collect::<Vec<_>>();
    assert_eq!(
        [checks(0), checks(1), checks(2)],
        [vec![4, 8], vec![0], vec![13]],
        "a check that another has too is one"
    );
}
