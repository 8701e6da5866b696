//! The response to `POST /v1/drill`: a stream of server-sent events. The first has the plan, the others the status of
//! the drill at each change. The drill ends when the client goes: then nothing reads the stream any more.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};

use crate::control::command::Command;
use crate::control::drill::board::Announced;
use crate::control::drill::{DrillOrder, MAX_STATUSES};
use crate::control::json;
use crate::control::state::{ApiState, Readiness};
use crate::drill::{DrillPlan, LostSet};

/// The time from the plan to the loss. Meanwhile the client begins to measure: it knows the answers from before.
const BEFORE_LOSS: Duration = Duration::from_secs(1);
/// From one comment on the stream to the next: a connection whose other end has gone is noticed by writing to it.
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// A drill that a client wants.
pub(super) struct Session {
    pub(super) state: ApiState,
    pub(super) announced: Announced,
    pub(super) plan: Arc<DrillPlan>,
    pub(super) lost: LostSet,
    pub(super) lasting: Duration,
    pub(super) who: Arc<str>,
}

/// Runs a drill as long as its client reads the response.
pub(super) fn run(session: Session) -> Response {
    let (events, outgoing) = mpsc::channel(MAX_STATUSES);
    tokio::spawn(session.run(events));
    let stream = stream::unfold(outgoing, async |mut outgoing: mpsc::Receiver<sse::Event>| {
        let event = outgoing.recv().await?;
        Some((Ok::<_, Infallible>(event), outgoing))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

impl Session {
    async fn run(self, events: mpsc::Sender<sse::Event>) {
        let Session { state, announced, plan, lost, lasting, who } = self;
        let mut readiness = state.readiness.clone();
        let coming = announced.drill.clone();
        let stopped = || {
            let who = coming.stopper().unwrap_or_default();
            format!("{who} ended it before the loss began")
        };
        if events.send(event("plan", &*plan)).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(BEFORE_LOSS) => {}
            () = coming.ended.cancelled() => return refuse(&events, &stopped()).await,
            () = events.closed() => return,
        }
        // The steering task looks at it before the loss begins. Afterwards it ends the loss at once.
        let client = coming.ended.child_token();
        // Also where this task ends early.
        let _gone = client.clone().drop_guard();
        let (statuses, mut changed) = mpsc::channel(MAX_STATUSES);
        let (reply, begun) = oneshot::channel();
        let order = DrillOrder { plan, lost, lasting, who, client, statuses, reply };
        if let Err(not_sent) = state.send(Command::Drill(Box::new(order))).await {
            return refuse(&events, not_sent.text()).await;
        }
        let begun = tokio::select! {
            begun = begun => begun,
            () = events.closed() => return,
        };
        drop(announced);
        match begun {
            Ok(Err(_)) if coming.ended.is_cancelled() => return refuse(&events, &stopped()).await,
            Ok(Ok(status)) => drop(events.send(event("drill", &status)).await),
            Ok(Err(why)) => return refuse(&events, &why).await,
            Err(_) => return refuse(&events, "the server is stopping").await,
        }
        loop {
            let status = tokio::select! {
                status = changed.recv() => status,
                () = events.closed() => return,
                _ = readiness.wait_for(|readiness| *readiness == Readiness::Stopping) => return,
            };
            let Some(status) = status else { return };
            let is_over = status.is_over();
            if events.send(event("drill", &status)).await.is_err() || is_over {
                return;
            }
        }
    }
}

async fn refuse(events: &mpsc::Sender<sse::Event>, why: &str) {
    // It fails if the client has gone.
    let _ = events.send(event("refused", &serde_json::json!({ "why": why }))).await;
}

fn event(what: &str, data: &impl serde::Serialize) -> sse::Event {
    sse::Event::default().event(what).data(json::line(data))
}
