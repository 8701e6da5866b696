//! The streams whose events this server follows: a task for each, on a thread of their own. See
//! [`crate::control::follow`].

mod effects;
mod follow_task;
#[cfg(feature = "kafka")]
mod kafka_place;
#[cfg(feature = "kafka")]
mod kafka_task;
mod place;
mod positions;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{FollowFrom, FollowSettings, Settings};
use crate::control::command::Command;
use crate::control::follow::{FollowBoard, FollowReport, FollowRules, who_of};
use crate::daemon::runtimes::{OwnRuntime, follow_threads};
use crate::daemon::sinks::connection_of;
use crate::daemon::state::StateDir;
use crate::fleet::nats::NatsUse;
use crate::model::Override;
use crate::source::{Problem, Severity, listed};

use effects::{FollowEffects, RefusedEventLog};
use follow_task::FollowTask;
use positions::FollowPositions;
pub(crate) use positions::{FollowsFile, load};

/// A warning for each stream that is not followed any more and whose overrides are still in force. `file` is the
/// settings file.
pub(crate) fn overrides_left(all: &[Arc<Override>], follows: &[FollowSettings], file: &Path) -> Vec<Problem> {
    let mut left: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in all {
        let name = entry.who.strip_prefix("follow.").and_then(|rest| Some(rest.rsplit_once(" (")?.0));
        if let Some(name) = name.filter(|name| follows.iter().all(|follow| follow.name != *name)) {
            left.entry(name).or_default().push(&entry.target);
        }
    }
    let warning = |(name, targets): (&str, Vec<&str>)| {
        let named = match targets.len().saturating_sub(MOST_NAMED) {
            0 => listed(&targets),
            more => {
                let named: Vec<String> = targets.iter().take(MOST_NAMED).map(|target| format!("`{target}`")).collect();
                format!("{} and {more} more", named.join(", "))
            }
        };
        let message = format!("there is no [follow.{name}] any more, and its overrides stay in force: {named}");
        let mut warning = Problem::of_file(file.to_owned(), Severity::Warning, message);
        warning.hint("end them with `portolan clear TARGET`, or follow the stream again");
        warning
    };
    left.into_iter().map(warning).collect()
}

/// Most targets of a stream that are named (judgment: a line of the log).
const MOST_NAMED: usize = 8;

/// The task of a stream.
type FollowRun = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The streams that are followed.
pub(crate) struct Follows {
    board: Arc<FollowBoard>,
    prepared: Vec<FollowRun>,
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    /// Dropped last: the tasks run on its threads.
    threads: OwnRuntime,
}

impl Follows {
    /// Starts the threads. Nothing is read before [`Follows::begin`]. An error is the system's.
    pub(crate) fn prepare(
        settings: &Settings,
        commands: &mpsc::Sender<Command>,
        state: &StateDir,
        loaded: FollowsFile,
    ) -> io::Result<Option<Follows>> {
        if settings.follows.is_empty() {
            return Ok(None);
        }
        let threads = OwnRuntime::start(follow_threads(settings.follows.len()))?;
        let names: Vec<&str> = settings.follows.iter().map(|follow| follow.name.as_str()).collect();
        let positions = FollowPositions::of(state.clone(), loaded, &names);
        let board = Arc::new(FollowBoard::of(settings.follows.iter().map(|follow| report_of(follow, settings))));
        let stop = CancellationToken::new();
        let task = |(at, follow): (usize, &FollowSettings)| {
            let effects = FollowEffects {
                at,
                name: follow.name.clone(),
                rules: FollowRules {
                    node: settings.node.clone(),
                    zones: follow.zones.clone(),
                    targets: follow.targets.clone(),
                },
                who: who_of(&follow.name, word(&follow.from)),
                commands: commands.clone(),
                positions: positions.clone(),
                board: board.clone(),
                refusals: RefusedEventLog::default(),
            };
            run_of(follow, effects, settings, stop.clone())
        };
        let prepared = settings.follows.iter().enumerate().map(task).collect();
        Ok(Some(Follows { board, prepared, tasks: Vec::new(), stop, threads }))
    }

    /// Starts the tasks.
    pub(crate) fn begin(&mut self) {
        for task in std::mem::take(&mut self.prepared) {
            self.tasks.push(self.threads.spawn(task));
        }
    }

    /// What is known of each.
    pub(crate) fn board(&self) -> Arc<FollowBoard> {
        self.board.clone()
    }

    /// Ends the tasks.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // An error is a panic, which has been printed.
            let _ = task.await;
        }
        self.threads.stop().await;
    }
}

/// The type in reports and in the names of who makes overrides.
fn word(from: &FollowFrom) -> &'static str {
    match from {
        FollowFrom::Nats(_) => "nats",
        FollowFrom::Kafka(_) => "kafka",
    }
}

fn run_of(follow: &FollowSettings, effects: FollowEffects, settings: &Settings, stop: CancellationToken) -> FollowRun {
    match follow.from.clone() {
        FollowFrom::Nats(from) => {
            let (servers, inbox) = connection_of(from.servers.as_ref(), settings);
            let link = (format!("{} {}", NatsUse::Follow.name(&settings.node), follow.name), inbox);
            Box::pin(FollowTask { effects, from, start: follow.start, servers, link }.run(stop))
        }
        #[cfg(feature = "kafka")]
        FollowFrom::Kafka(from) => Box::pin(kafka_task::run(effects, from, follow.start, stop)),
        // The settings are refused then.
        #[cfg(not(feature = "kafka"))]
        FollowFrom::Kafka(_) => {
            drop(effects);
            Box::pin(stop.cancelled_owned())
        }
    }
}

fn report_of(follow: &FollowSettings, settings: &Settings) -> FollowReport {
    let from = match &follow.from {
        FollowFrom::Nats(nats) => {
            let (servers, _) = connection_of(nats.servers.as_ref(), settings);
            format!("{} on {}", nats.subject, servers.shown())
        }
        FollowFrom::Kafka(kafka) => format!("{} on {}", kafka.topic, kafka.cluster.shown()),
    };
    FollowReport { name: follow.name.clone(), kind: word(&follow.from).to_owned(), from, ..FollowReport::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::model::OverrideState;

    #[test]
    fn overrides_of_a_stream_that_is_followed_no_more_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("zones")).unwrap();
        let file = dir.path().join("portolan.toml");
        let follow = "[follow.b]\ntype = \"nats\"\nservers = [\"nats://127.0.0.1:9\"]\nsubject = \"x\"\n";
        std::fs::write(&file, format!("region = \"r\"\n{follow}")).unwrap();
        let settings = config::settings_alone(Some(&file), &Default::default()).unwrap().0;
        let entry = |target: &str, who: &str| {
            let (target, why, who) = (target.to_owned(), "why".to_owned(), who.to_owned());
            Arc::new(Override { target, state: OverrideState::Drain, why, who, until: None, zones: None })
        };
        let all = [
            entry("fra1", "follow.a (nats)"),
            entry("fra2", "follow.b (nats)"),
            entry("fra3", "alice"),
            entry("fra4", "follow.a (nats)"),
        ];
        let warnings = overrides_left(&all, &settings.follows, &file);
        let shown: Vec<&str> = warnings.iter().map(|warning| warning.message.as_str()).collect();
        assert_eq!(shown, ["there is no [follow.a] any more, and its overrides stay in force: `fra1` and `fra4`"]);
        let many: Vec<_> = (0..MOST_NAMED + 2).map(|at| entry(&format!("e{at}"), "follow.a (nats)")).collect();
        let shown = overrides_left(&many, &settings.follows, &file)[0].message.clone();
        assert!(shown.ends_with("in force: `e0`, `e1`, `e2`, `e3`, `e4`, `e5`, `e6`, `e7` and 2 more"), "{shown}");
    }
}
