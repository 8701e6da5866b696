//! What many checks of one monitor cost.

use std::sync::Arc;

use super::*;

/// Endpoints `e1` to `eN` with a monitor.
fn endpoints(count: usize, monitor: &str) -> String {
    let one = |nth: usize| {
        let ip = format!("10.{}.{}.{}", nth >> 16, nth >> 8 & 255, nth & 255);
        format!("[endpoint.e{nth}]\naddresses = [\"{ip}\"]\nmonitor = \"{monitor}\"\n")
    };
    (1..=count).map(one).collect()
}

#[test]
fn all_checks_of_a_monitor_share_its_texts() {
    let body = "b".repeat(1000);
    let monitors = format!(
        "[monitor.w]\ntype = \"http\"\npath = \"/{body}\"\n[monitor.x]\ntype = \"exec\"\nprogram = \"/bin/true\"\n\
         args = [\"{body}\"]\n[monitor.c]\ntype = \"all\"\nmonitors = [\"w\", \"x\"]\n"
    );
    let members: Vec<String> = (1..=50).map(|nth| format!("\"e{nth}\"")).collect();
    let used = format!("[pool.p]\nmembers = [{}]\n[name.www]\npool = \"p\"\n", members.join(", "));
    let model = model_of(&format!("{monitors}{}{used}", endpoints(50, "c")));
    let of = |kind: &str| -> Vec<_> {
        model.checks.iter().map(|check| &check.key.monitor).filter(|monitor| monitor.kind.as_str() == kind).collect()
    };
    let (http, exec, all) = (of("http"), of("exec"), of("all"));
    assert_eq!([http.len(), exec.len(), all.len()], [50; 3]);
    assert!(http.iter().all(|monitor| monitor.is_same_copy(http[0])));
    let command = |nth: usize| match &exec[nth].kind {
        ProbeKind::Exec(spec) => &spec.command,
        other => panic!("{other:?}"),
    };
    assert!((0..50).all(|nth| command(nth).is_same_copy(command(0))));
    let name = |nth: usize| &all[nth].kind.composite().unwrap().parts[1].name;
    assert!((0..50).all(|nth| Arc::ptr_eq(name(nth), name(0))));
}

#[test]
fn a_small_file_that_asks_for_too_many_checks_or_texts_is_refused() {
    let leaf = |nth: usize| format!("[monitor.m{nth}]\ntype = \"tcp\"\nport = {nth}\n");
    let members: Vec<String> = (1..=60).map(|nth| format!("\"m{nth}\"")).collect();
    let composite = format!("[monitor.c]\ntype = \"all\"\nmonitors = [{}]\n", members.join(", "));
    let many = format!("{composite}{}{}", (1..=60).map(leaf).collect::<String>(), endpoints(1700, "c"));
    let header = |nth: usize| format!("\"X-{nth}\" = \"{}\"", "h".repeat(4000));
    let headers: Vec<String> = (0..30).map(header).collect();
    let long =
        format!("[monitor.w]\ntype = \"http\"\nheaders = {{ {} }}\n{}", headers.join(", "), endpoints(9000, "w"));
    for (policy, expected) in [
        (many, "error: the endpoints of svc.example. need at least 100001 checks, more than 100000"),
        (
            long,
            "error: the first 8940 checks of svc.example. alone send 1024 MiB of headers, arguments and other texts",
        ),
    ] {
        let policy = format!("zone = \"svc.example\"\n{policy}");
        let files = [("svc.example.zone", ZONE), ("svc.example.policy.toml", &policy)];
        let settings = ("portolan.toml", "region = \"here\"\n[zones]\ndir = \".\"\n[regions.here]\n");
        let (_dir, _, model, found) = load_files(&[&files[..], &[settings]].concat(), &[], &Flags::default());
        let errors: Vec<&String> = found.iter().filter(|problem| problem.contains("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(expected), "{errors:?}");
        assert!(model.checks.len() <= 100_000);
    }
}
