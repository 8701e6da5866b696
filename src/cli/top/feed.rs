//! Reads the API for `portolan top`: the status and the names every two seconds and after each event, the history every
//! ten, the log of events once, and the stream of events, which is opened again when it breaks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::state::{MAX_EVENTS, Readout, ServerNews};
use crate::cli::client::{ApiServer, Call, EventReader, StreamMessage, encoded};
use crate::cli::{Failure, text};
use crate::clock;
use crate::control::JournalEvent;
use crate::control::history::HistoryReport;
use crate::control::names::NameReport;
use crate::control::status::Status;

/// Round-trip times, ages and counters change without an event.
const REFRESH: Duration = Duration::from_secs(2);

/// The least time between two reads, so that a storm of events does not keep the server busy.
const LEAST_PAUSE: Duration = Duration::from_millis(200);

/// The history has a value for each ten seconds.
const HISTORY: Duration = Duration::from_secs(10);

/// Names that are read: of those with problems, and of the others. Judgment: nobody scrolls through more, and the
/// filter finds the others.
const NAMES: usize = 150;

/// Series of the history: 20 regions that measure each other have as many.
const SERIES: usize = 400;

/// The first time until a broken stream is opened again; it doubles with each attempt.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// The longest one (judgment: a server that restarts is back within seconds).
const MAX_DELAY: Duration = Duration::from_secs(3);

/// What the tasks share.
#[derive(Clone)]
pub(super) struct ApiFeed {
    pub(super) server: ApiServer,
    pub(super) news: mpsc::Sender<ServerNews>,
    /// Makes the next read happen at once.
    pub(super) wake: Arc<Notify>,
    /// The filter of the names.
    pub(super) filter: watch::Receiver<String>,
}

/// How an attempt to follow events ended.
enum StreamEnd {
    /// They were followed until the stream broke.
    Broken,
    /// The server does not have these events, or not yet.
    Refused,
    /// The server does not answer.
    Away,
}

impl ApiFeed {
    /// Reads the status and the names until the loop has ended.
    pub(super) async fn refresh(self) {
        while !self.news.is_closed() {
            let began = clock::now();
            let read = self.read().await;
            let news = match read {
                Ok(readout) => ServerNews::Answer(Box::new(readout)),
                Err(Failure(why)) => ServerNews::Away(why),
            };
            if self.news.send(news).await.is_err() {
                return;
            }
            // A server that needs long is not asked at once again.
            sleep(LEAST_PAUSE.max(clock::now().since(began).min(REFRESH))).await;
            let _ = timeout(REFRESH, self.wake.notified()).await;
        }
    }

    async fn read(&self) -> Result<Readout, Failure> {
        let status: Status = self.get("/v1/status").await?;
        let filter = self.filter.borrow().trim().to_owned();
        let all: Vec<NameReport> = self.get(&format!("/v1/names?preferred=false&limit={NAMES}")).await?;
        let search = if filter.is_empty() { String::new() } else { format!("&search={}", encoded(&filter)) };
        let mut names = match filter.is_empty() {
            true => all.clone(),
            false => self.get(&format!("/v1/names?preferred=false&limit={NAMES}{search}")).await?,
        };
        let good: Vec<NameReport> = self.get(&format!("/v1/names?preferred=true&limit={NAMES}{search}")).await?;
        // A name may have changed between the calls.
        let is_same = |one: &NameReport, other: &NameReport| (&one.zone, &one.name) == (&other.zone, &other.name);
        let more: Vec<NameReport> =
            good.into_iter().filter(|name| !names.iter().any(|known| is_same(known, name))).collect();
        names.extend(more);
        Ok(Readout { status, names, away: all })
    }

    /// Reads the history until the loop has ended. A failure is reported by [`ApiFeed::refresh`].
    pub(super) async fn history(self) {
        while !self.news.is_closed() {
            let read: Result<HistoryReport, Failure> = self.get(&format!("/v1/history?by=region&limit={SERIES}")).await;
            if let Ok(history) = read
                && self.news.send(ServerNews::History(Box::new(history))).await.is_err()
            {
                return;
            }
            sleep(HISTORY).await;
        }
    }

    /// Follows the events until the loop has ended: those of the fleet, where the server has them.
    pub(super) async fn events(self) {
        let mut delay = FIRST_DELAY;
        // A fleet numbers its events otherwise than a server does.
        let (mut last_of_fleet, mut last_of_server) = (None, None);
        while !self.news.is_closed() {
            let mut end = self.follow("/v1/events?fleet=true&", &mut last_of_fleet).await;
            // A server alone, or one that has not read the stream of the fleet yet, has its own events.
            if matches!(end, Ok(StreamEnd::Refused)) {
                end = self.follow("/v1/events?", &mut last_of_server).await;
            }
            match end {
                Ok(StreamEnd::Broken) => delay = FIRST_DELAY,
                Ok(StreamEnd::Refused | StreamEnd::Away) => {}
                Err(()) => return,
            }
            sleep(delay).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
    }

    /// Passes the events after `last` on until the stream breaks; without one, the log of the server first. An error:
    /// the loop has ended.
    async fn follow(&self, path: &str, last: &mut Option<String>) -> Result<StreamEnd, ()> {
        if last.is_none() {
            match self.server.open_events(&format!("{path}since=oldest&follow=false"), None).await {
                Ok(Ok(log)) => self.pass_log(log, last).await?,
                Ok(Err(_)) => return Ok(StreamEnd::Refused),
                Err(_) => return Ok(StreamEnd::Away),
            }
        }
        // The last event goes before `since`, which is for an empty log.
        let mut reader = match self.server.open_events(&format!("{path}since=oldest"), last.as_deref()).await {
            Ok(Ok(reader)) => reader,
            Ok(Err(_)) => return Ok(StreamEnd::Refused),
            Err(_) => return Ok(StreamEnd::Away),
        };
        self.send(ServerNews::Stream(true)).await?;
        self.wake.notify_one();
        while let Ok(Some(message)) = reader.next().await {
            match message.event.as_str() {
                "" | "message" => {
                    if let Some(event) = event_of(&message) {
                        self.send(ServerNews::Events(vec![event])).await?;
                    }
                    self.wake.notify_one();
                }
                "lagged" => self.send(ServerNews::Gap("some events were missed".to_owned())).await?,
                "unknown" => {
                    let why = "the server has started anew: it does not know earlier events";
                    self.send(ServerNews::Restart(why.to_owned())).await?;
                }
                // That events of the fleet can't be read now is in the status; others are of a later release.
                _ => {}
            }
            note_id(message, last);
        }
        self.send(ServerNews::Stream(false)).await?;
        Ok(StreamEnd::Broken)
    }

    /// Passes the newest events of the log on, all at once: each alone would make a picture.
    async fn pass_log(&self, mut log: EventReader, last: &mut Option<String>) -> Result<(), ()> {
        let mut newest = VecDeque::with_capacity(MAX_EVENTS);
        // The stream goes on where this breaks.
        while let Ok(Some(message)) = log.next().await {
            if newest.len() == MAX_EVENTS {
                newest.pop_front();
            }
            newest.extend(event_of(&message));
            note_id(message, last);
        }
        self.send(ServerNews::Events(newest.into())).await
    }

    async fn send(&self, news: ServerNews) -> Result<(), ()> {
        self.news.send(news).await.map_err(drop)
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let body = self.server.call_within_runtime(&Call::get(path)).await?;
        let wrong = |error| Failure(format!("{} sent something that can't be read: {error}", self.server));
        text::parsed(&body).map_err(wrong)
    }
}

/// The event of a message; `None` for messages of another type.
fn event_of(message: &StreamMessage) -> Option<JournalEvent> {
    let is_event = matches!(message.event.as_str(), "" | "message");
    is_event.then(|| text::parsed(&message.data).ok()).flatten()
}

fn note_id(message: StreamMessage, last: &mut Option<String>) {
    if !message.id.is_empty() {
        *last = Some(message.id);
    }
}
