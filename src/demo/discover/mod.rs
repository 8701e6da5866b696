//! `portolan demo --discover`: endpoints that come and go. The demo serves a list of instances, and the instances; the
//! server follows the list as a source of type `http`. Each step changes something, and ends when the answers show it.
//! The server is that of `serve`, and the answers are read from the wire.

mod servers;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::config::Flags;
use crate::control::JournalEvent;
use crate::daemon::{NodeSpec, RunningNode, StartError, stop_signal};
use crate::demo::files::DemoFiles;
use crate::demo::output::DemoOutput;
use crate::demo::region::REGIONS;
use crate::demo::watch::{AnswerLog, watch};
use crate::demo::{DemoOptions, LOOK_EVERY, ports, vantage_of, with_control_target};
use crate::fleet::events::EventKind;
use crate::model::Moment;
use crate::timer;
use servers::{DemoServers, INSTANCES, address_of};

/// The name that the demo asks for.
const NAME: &str = "www.demo.example.";

/// The position in [`REGIONS`] of the only vantage.
const VANTAGE: usize = 1;

/// The time between two steps, in which a person reads (judgment).
const PAUSE: Duration = Duration::from_secs(1);

/// A step that has shown no effect after this time has failed. Judgment: on a machine that is very busy, requests,
/// probes and loads take seconds each.
const MOST: Duration = Duration::from_secs(60);

/// The master file.
const ZONE: &str = "$TTL 300\n@ IN SOA ns1 hostmaster 1 3600 600 604800 30\n@ IN NS ns1\nns1 IN A 127.0.0.1\n";

/// One step.
struct Step {
    /// What happens.
    what: &'static str,
    /// The instances that start, and those that are listed from now on.
    starts: &'static [usize],
    listed: &'static [usize],
    /// What is waited for.
    until: Until,
}

/// What shows the effect of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// These instances are endpoints.
    Listed(&'static [usize]),
    /// Each reply has these instances and no others.
    Answered(&'static [usize]),
    /// The source has this state.
    State(&'static str),
}

const STEPS: [Step; 6] = [
    Step {
        what: "web-a registers, and its program does not run yet: it is not answered before its first successful probe",
        starts: &[],
        listed: &[0],
        until: Until::Listed(&[0]),
    },
    Step { what: "the program of web-a starts", starts: &[0], listed: &[0], until: Until::Answered(&[0]) },
    Step {
        what: "web-b and web-c register, and run",
        starts: &[1, 2],
        listed: &[0, 1, 2],
        until: Until::Answered(&[0, 1, 2]),
    },
    Step { what: "web-b deregisters", starts: &[], listed: &[0, 2], until: Until::Answered(&[0, 2]) },
    Step {
        what: "the list is wiped: `min_keep` holds what was listed",
        starts: &[],
        listed: &[],
        until: Until::State("kept"),
    },
    Step { what: "the list is as before", starts: &[], listed: &[0, 2], until: Until::State("ok") },
];

/// Runs the demo: it ends after the last step, or after its duration, or with a signal.
pub(super) async fn run(options: &DemoOptions) -> Result<(), StartError> {
    let stop = stop_signal();
    tokio::pin!(stop);
    let addresses: Vec<_> = (0..INSTANCES.len()).map(|instance| address_of(instance, 0)).collect();
    let no_port = || StartError::Demo("no port is free on 127.1.0.20, 127.2.0.20 and 127.3.0.20".to_owned());
    let port = ports::another(&addresses).ok_or_else(no_port)?;
    let mut servers = DemoServers::start(port).await.map_err(StartError::System)?;
    let policy = policy(&servers.url());
    let texts = [
        ("portolan.toml", settings()),
        ("demo.example.zone", ZONE.to_owned()),
        ("demo.example.policy.toml", policy.clone()),
    ];
    let files = DemoFiles::of(&texts)?;
    let flags =
        Flags::default().with("listen.dns", &options.dns.to_string()).with("listen.http", &options.http.to_string());
    let flags = with_control_target(files.with_own_files(flags), options.http);
    let loaded = crate::config::load(Some(&files.settings()), &flags).map_err(StartError::Problems)?;
    let (region, octet) = REGIONS[VANTAGE];
    let vantages = vec![vantage_of(region, octet)];
    let spec = NodeSpec { loaded, settings_file: Some(files.settings()), flags, vantages };
    let node = tokio::select! {
        biased;
        () = &mut stop => return Ok(()),
        started = RunningNode::start(spec) => started?,
    };
    let mut output = DemoOutput::of_steps(&node, &introduction(&policy, &node));
    let log = AnswerLog::default();
    let server = node.dns().first().copied().unwrap_or(options.dns);
    let watcher = tokio::spawn(watch(server, vec![NAME.to_owned()], NAME.to_owned(), log.clone()));
    let outcome = play(options.duration, &node, &mut servers, (&mut output, &log), stop).await;
    watcher.abort();
    // What it can't save is removed with the demo.
    let _ = node.stop().await;
    eprintln!("the demo has ended");
    outcome
}

/// Plays all steps, and shows what happens meanwhile.
async fn play(
    duration: Option<Duration>,
    node: &RunningNode,
    servers: &mut DemoServers,
    (output, log): (&mut DemoOutput, &AnswerLog),
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), StartError> {
    let mut events = node.events();
    let mut state = String::from("ok");
    let end = timer::after(duration);
    tokio::pin!(end);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    for Step { what, starts, listed, until } in &STEPS {
        output.report(&format!("# {what}"));
        for instance in *starts {
            servers.start_instance(*instance).await.map_err(StartError::System)?;
        }
        servers.list(listed);
        let late = tokio::time::sleep(MOST);
        tokio::pin!(late);
        // After its effect a step has a pause.
        let mut ends_at: Option<Moment> = None;
        loop {
            tokio::select! {
                // In this order, so that an event is printed before the effect that comes after it.
                biased;
                _ = &mut stop => return Ok(()),
                _ = &mut end => return Ok(()),
                () = timer::until(ends_at) => break,
                () = &mut late, if ends_at.is_none() => {
                    let why = format!("this step had no effect within {} s: {what}", MOST.as_secs());
                    return Err(StartError::Demo(why));
                }
                Ok(event) = events.recv() => note(&event, output, &mut state),
                _ = look.tick() => {
                    output.answers(&node.snapshot());
                    if ends_at.is_none() && is_there(*until, node, log, &state) {
                        output.report(&format!("= {}", shown(log)));
                        ends_at = Some(clock::now() + PAUSE);
                    }
                }
            }
        }
    }
    output.print("");
    output.print("That was all. `--for 5m` lets the demo run on; docs/discovery.md has all sources.");
    if duration.is_some() {
        tokio::select! {
            () = stop => {}
            () = end => {}
        }
    }
    Ok(())
}

/// Prints an event, and remembers the state of the source.
fn note(event: &Arc<JournalEvent>, output: &mut DemoOutput, state: &mut String) {
    if event.kind == EventKind::Source {
        state.clone_from(&event.to);
    }
    output.event(event);
}

/// Whether the effect of a step is there.
fn is_there(until: Until, node: &RunningNode, log: &AnswerLog, state: &str) -> bool {
    match until {
        Until::State(wanted) => state == wanted,
        Until::Listed(instances) => {
            let snapshot = node.snapshot();
            let has = |name: &str| snapshot.model.endpoints.iter().any(|endpoint| endpoint.name == name);
            instances.iter().all(|at| has(INSTANCES[*at]))
        }
        Until::Answered(instances) => {
            let wanted: BTreeSet<IpAddr> = instances.iter().map(|at| address_of(*at, 0).ip()).collect();
            (0..REGIONS.len()).all(|client| {
                log.reply(client).is_some_and(|reply| reply.addresses.into_iter().collect::<BTreeSet<_>>() == wanted)
            })
        }
    }
}

/// What a client got last.
fn shown(log: &AnswerLog) -> String {
    let addresses = log.reply(VANTAGE).map(|reply| reply.addresses).unwrap_or_default();
    let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    format!("{NAME} {}", if addresses.is_empty() { "nothing".to_owned() } else { addresses.join(", ") })
}

fn settings() -> String {
    let region = |(name, octet): &(&str, u8)| format!("[regions.{name}]\nnets = [\"127.{octet}.0.0/16\"]\n");
    let regions: String = REGIONS.iter().map(region).collect();
    format!("region = \"{}\"\nnode = \"demo\"\n[zones]\ndir = \".\"\n{regions}", REGIONS[VANTAGE].0)
}

/// The policy, with the list at `url`.
fn policy(url: &str) -> String {
    format!(
        r#"zone = "demo.example."

[defaults]
ttl = {{ max = "5s", min = "1s" }}

[monitor.web]
type     = "http"
path     = "/healthz"
interval = "500ms"

[pool.web]
steer = "all"

[discover.web]
type     = "http"
url      = "{url}"
every    = "1s"
pool     = "web"
monitor  = "web"
region   = {{ label = "region" }}
min_keep = 0.5

[name.www]
pool     = "web"
answers  = 3
on_empty = "nodata"
"#
    )
}

/// What is printed first: the policy, and commands for another terminal.
fn introduction(policy: &str, node: &RunningNode) -> Vec<String> {
    let mut lines = vec!["The policy of this demo:".to_owned(), String::new()];
    lines.extend(policy.lines().map(|line| format!("  {line}")));
    lines.push(String::new());
    if let Some(dns) = node.dns().first() {
        lines.push(format!("dig @{} -p {} www.demo.example +short", dns.ip(), dns.port()));
    }
    lines.push(format!("API, metrics and a status page: http://{}", node.http()));
    lines.push(String::new());
    lines
}
