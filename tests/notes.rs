//! The notes of `portolan check` on files without a problem.

use std::path::Path;
use std::process::Command;

/// Settings with these regions, the node's own region, and control targets if there are any.
fn settings(regions: usize, control: &str) -> String {
    let more: String = (0..regions).map(|nth| format!("[regions.r{nth}]\nlocation = [0, 0]\n")).collect();
    format!("region = \"here\"\n[zones]\ndir = \".\"\n[regions.here]\nlocation = [0, 0]\n{more}{control}")
}

/// This number of endpoints, each in the next of these regions.
fn policy(regions: usize, endpoints: usize, monitor: &str) -> String {
    let endpoint = |nth: usize| {
        let region = nth % regions;
        format!("[endpoint.e{nth}]\naddresses = [\"192.0.2.{nth}\"]\nregion = \"r{region}\"\n{monitor}\n")
    };
    let all: String = (0..endpoints).map(endpoint).collect();
    let names: Vec<String> = (0..endpoints).map(|nth| format!("\"e{nth}\"")).collect();
    let names = names.join(", ");
    let monitors = "[monitor.web]\ntype = \"tcp\"\nport = 80\n";
    let monitors = if monitor.is_empty() { "" } else { monitors };
    format!("zone = \"svc.example.\"\n{monitors}{all}[pool.web]\nmembers = [{names}]\n[name.www]\npool = \"web\"\n")
}

const ZONE: &str = "$TTL 60\n@ IN SOA ns1 host 1 3600 600 86400 60\n@ IN NS ns1\n@ IN NS ns2\nns1 IN A 192.0.2.1\nns2 IN A 192.0.2.2\n";

fn checked(dir: &Path, settings: &str, policy: &str) -> (String, String) {
    std::fs::write(dir.join("portolan.toml"), settings).expect("written");
    std::fs::write(dir.join("svc.example.policy.toml"), policy).expect("written");
    std::fs::write(dir.join("svc.example.zone"), ZONE).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_portolan"))
        .args(["check", "--config", "portolan.toml"])
        .current_dir(dir)
        .output()
        .expect("it runs");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn control_targets_are_proposed_if_a_node_can_not_recognize_a_failure_of_its_own_link() {
    let dir = tempfile::tempdir().expect("a directory");
    let monitor = "monitor = \"web\"";
    for (regions, endpoints, monitor, control, says) in [
        (
            1,
            6,
            monitor,
            "",
            Some("6 hosts are probed, in one region: when this node's own link is cut, all of them count as down"),
        ),
        (3, 3, monitor, "", Some("3 hosts are probed, in 3 regions: when this node's own link is cut")),
        (
            2,
            4,
            monitor,
            "",
            Some("4 hosts are probed, in 2 regions: when most of these regions fall silent for one reason"),
        ),
        (3, 6, monitor, "", Some("6 hosts are probed, in 3 regions: when most of these regions")),
        (3, 6, monitor, "[vantage]\ncontrol = [\"192.0.2.200:443\"]\n", None),
        (4, 8, monitor, "", None),
        (1, 2, monitor, "", None),
        (2, 6, "", "", None),
        (2, 6, "", "[vantage]\ncontrol = [\"192.0.2.200:443\"]\n", Some("`control` of [vantage] has no effect")),
    ] {
        let (out, err) = checked(dir.path(), &settings(regions, control), &policy(regions, endpoints, monitor));
        match says {
            Some(says) => {
                assert!(out.starts_with("portolan.toml:1:1: note: ") && out.contains(says), "{out}");
                assert!(control.is_empty() == out.contains("`[vantage]`, `control = ["), "{out}");
                assert!(err.ends_with("; no problems, 1 note\n"), "{err}");
            }
            None => assert!(out.is_empty() && err.ends_with("; no problems\n"), "{regions} {endpoints}: {out}{err}"),
        }
    }
}
