//! The command line as a program: exit codes, the output on each stream, and messages.

use std::process::{Command, Output};

fn portolan(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(args).env_remove("PORTOLAN_LOG").env_remove("NO_COLOR").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = stdout(&portolan(&["--help"]));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let words = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    words.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn every_command_has_help_with_an_example() {
    let commands = commands();
    for expected in COMMANDS {
        assert!(commands.iter().any(|command| command == expected), "{expected} is not in {commands:?}");
    }
    assert!(!commands.iter().any(|command| command == "demo-region"), "{commands:?}");
    for command in &commands {
        let output = portolan(&[command, "--help"]);
        let help = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{command}");
        let example = help.lines().skip_while(|line| !line.starts_with("Example")).nth(1).unwrap_or_default();
        assert!(example.trim_start().starts_with(&format!("portolan {command}")), "{command}: {help}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_so_on_stderr() {
    for args in [
        &[][..],
        &["sail"],
        &["serve"],
        &["demo", "--for", "soon"],
        &["status", "--server", "127.0.0.1:8053"],
        &["status", "--format", "xml"],
        &["explain"],
        &["explain", "www.svc.example", "--client", "here"],
        &["explain", "www.svc.example", "--client", "192.0.2.1", "--region", "eu-west"],
        &["check", "--nonsense"],
    ] {
        let output = portolan(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(stdout(&output), "", "{args:?}");
        assert!(
            stderr(&output).contains("Usage:") || stderr(&output).contains("--help"),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_missing_server_is_one_line_that_says_what_to_do() {
    // A port that was free a moment ago, without a listener.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = portolan(&["status", "--server", &format!("http://{free}")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    assert_eq!(
        stderr(&output),
        format!(
            "portolan: no server at http://{free}: connection refused; is `portolan serve` running? Name another server with --server\n"
        )
    );
}

#[test]
fn a_server_of_another_program_is_recognized() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let other = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").unwrap();
    });
    let output = portolan(&["status", "--server", &format!("http://{address}")]);
    other.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        format!("portolan: http://{address} responds with 403 Forbidden; is it a Portolan server?\n")
    );
}

#[test]
fn check_prints_problems_on_stdout_and_a_summary_on_stderr() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portolan.toml");
    std::fs::write(&file, "regoin = \"x\"\n[listen]\nhttp = \"nowhere\"\n").unwrap();
    let (file, dir) = (file.to_str().unwrap(), dir.path().to_str().unwrap());
    let output = portolan(&["check", "--config", file]);
    assert_eq!(output.status.code(), Some(1));
    let output_text = stdout(&output);
    let places: Vec<&str> = output_text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert!(places.len() >= 2 && places.iter().all(|line| line.starts_with(dir)), "{output_text}");
    assert!(output_text.contains(&format!("{file}:1:")) && output_text.contains("region"), "{output_text}");
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));

    let output = portolan(&["check", "--config", file, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((output.status.code(), &json["ok"]), (Some(1), &serde_json::json!(false)));
    assert_eq!(json["problems"].as_array().unwrap().len(), places.len());
    let expected =
        ["column", "end_column", "end_line", "file", "hint", "labels", "line", "message", "section", "severity"];
    assert!(json["problems"].as_array().unwrap().iter().all(|problem| problem["labels"].is_array()), "{json:#}");
    let whole =
        json["problems"].as_array().unwrap().iter().find(|problem| problem["message"] == "unknown key `regoin`");
    let whole = whole.unwrap_or_else(|| panic!("{json:#}"));
    assert_eq!(whole.as_object().unwrap().keys().collect::<Vec<_>>(), expected);
    assert_eq!((&whole["end_line"], &whole["end_column"]), (&serde_json::json!(1), &serde_json::json!(7)));
    assert_eq!(whole["section"], "zones/README.md#settings-portolantoml");
}

#[test]
fn schema_prints_the_schema_of_policies_or_of_settings() {
    for (args, key, other) in [
        (&["schema"][..], "endpoint", "listen"),
        (&["schema", "policy"], "endpoint", "listen"),
        (&["schema", "settings"], "listen", "endpoint"),
    ] {
        let output = portolan(args);
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{args:?}");
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(json["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(json["additionalProperties"], false);
        let keys = json["properties"].as_object().unwrap();
        assert!(keys.contains_key(key) && !keys.contains_key(other), "{args:?}: {:?}", keys.keys());
    }
    assert_eq!(portolan(&["schema", "zone"]).status.code(), Some(2));
}

#[test]
fn serve_does_not_start_with_wrong_files_and_prints_why_on_stderr() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portolan.toml");
    std::fs::write(&file, "regoin = \"x\"\n").unwrap();
    let output = portolan(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    let output_text = stderr(&output);
    assert!(output_text.starts_with(&format!("{}:1:1: ", file.display())), "{output_text}");
    assert!(output_text.trim_end().lines().last().unwrap().starts_with("portolan: "), "{output_text}");
}

#[test]
fn check_of_good_files_counts_zones_and_endpoints() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("zones")).unwrap();
    let file = dir.path().join("portolan.toml");
    std::fs::write(&file, "region = \"eu-west\"\n[regions.eu-west]\n").unwrap();
    std::fs::write(dir.path().join("zones/svc.example.zone"), ZONE).unwrap();
    std::fs::write(dir.path().join("zones/svc.example.policy.toml"), POLICY).unwrap();
    let file = file.to_str().unwrap();
    let output = portolan(&["check", "--config", file]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""), "{}", stderr(&output));
    assert_eq!(stderr(&output), format!("{file}: 1 zone, 1 endpoint; no problems\n"));
}

const ZONE: &str = "$TTL 60
@ IN SOA ns1 host 1 3600 600 86400 60
@ IN NS ns1
@ IN NS ns2
ns1 IN A 192.0.2.1
ns2 IN A 192.0.2.2
";

const POLICY: &str = r#"
zone = "svc.example."

[endpoint.one]
addresses = ["192.0.2.10"]

[name.www]
pool = "one"
"#;

const COMMANDS: [&str; 20] = [
    "external-dns",
    "serve",
    "probe",
    "demo",
    "check",
    "explain",
    "status",
    "simulate",
    "drain",
    "force-up",
    "force-down",
    "clear",
    "overrides",
    "failback",
    "reload",
    "schema",
    "openapi",
    "drill",
    "completions",
    "man",
];
