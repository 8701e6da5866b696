//! The streams whose events this server follows: a task for each, on a thread of their own. See
//! [`crate::control::follow`].

mod follow_task;
mod place;
mod positions;

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{FollowSettings, Settings};
use crate::control::command::Command;
use crate::control::follow::{FollowBoard, FollowReport, FollowRules, who_of};
use crate::daemon::runtimes::{OwnRuntime, follow_threads};
use crate::daemon::sinks::connection_of;
use crate::daemon::state::StateDir;
use crate::fleet::nats::NatsUse;

use follow_task::FollowTask;
use positions::FollowPositions;
pub(crate) use positions::{FollowsFile, load};

/// The type in reports and in the names of who makes overrides.
const NATS: &str = "nats";

/// The streams that are followed.
pub(crate) struct Follows {
    board: Arc<FollowBoard>,
    prepared: Vec<FollowTask>,
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
        let task = |(at, follow): (usize, &FollowSettings)| {
            let (servers, inbox) = connection_of(follow.servers.as_ref(), settings);
            FollowTask {
                at,
                settings: follow.clone(),
                rules: FollowRules {
                    node: settings.node.clone(),
                    zones: follow.zones.clone(),
                    targets: follow.targets.clone(),
                },
                who: who_of(&follow.name, NATS),
                servers,
                link: (format!("{} {}", NatsUse::Follow.name(&settings.node), follow.name), inbox),
                commands: commands.clone(),
                positions: positions.clone(),
                board: board.clone(),
            }
        };
        let prepared = settings.follows.iter().enumerate().map(task).collect();
        Ok(Some(Follows { board, prepared, tasks: Vec::new(), stop: CancellationToken::new(), threads }))
    }

    /// Starts the tasks.
    pub(crate) fn begin(&mut self) {
        for task in std::mem::take(&mut self.prepared) {
            self.tasks.push(self.threads.spawn(task.run(self.stop.clone())));
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

fn report_of(follow: &FollowSettings, settings: &Settings) -> FollowReport {
    let (servers, _) = connection_of(follow.servers.as_ref(), settings);
    let from = format!("{} on {}", follow.subject, servers.shown());
    FollowReport { name: follow.name.clone(), kind: NATS.to_owned(), from, ..FollowReport::default() }
}
