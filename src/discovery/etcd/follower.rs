//! Follows a range of keys on a list of servers: lists it, watches it from there, goes on from the last change on
//! another connection or another server when one is lost, and lists again only where that is not possible.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::clock;
use crate::discovery::Trouble;
use crate::discovery::etcd::message::{
    KeyRange, KeyValue, RangeReply, WatchObject, newest_request, page_request, watch_request,
};
use crate::discovery::etcd::progress::{KeyChange, KeyProgress, OUT_OF_RANGE, Page, WatchStep};
use crate::discovery::etcd::server::{CallError, EtcdServer, trouble_of};
use crate::discovery::http_client::{Backoff, BaseUrl, HttpReply, JsonObjects, ObjectForm};
use crate::model::EtcdSource;

/// Most keys of the first page. Judgment: some hundred KiB, which take milliseconds.
const PAGE: usize = 1000;

/// Longest message of a watch in octets. etcd cuts its messages to its limit of a request, 1.5 MiB; in base64 they have
/// a third more, and the limit can be set higher.
const MAX_MESSAGE: usize = 16 << 20;

/// The time to the first comparison of a watch with the server, and between two. Judgment: a watch that misses changes
/// without an error is a fault that is rare, and a comparison costs etcd a look at all keys of the range.
const FIRST_COMPARISON: Duration = Duration::from_secs(2);
const COMPARISON_EVERY: Duration = Duration::from_secs(10);

/// From one list of too many keys to the next (judgment: somebody has to remove keys first).
const TOO_MANY_EVERY: Duration = Duration::from_secs(5);

/// What has happened, in this order: `ListBegins`, pages, `Listed`, changes, and anything anew.
#[derive(Debug)]
pub(super) enum KeyNews {
    /// All keys follow.
    ListBegins,
    /// Keys of a list.
    Page(Vec<KeyValue>),
    /// The list is complete.
    Listed,
    /// There are so many keys, which is too many.
    TooMany(u64),
    /// Keys have changed.
    Changed(Vec<KeyChange>),
    /// No server can be read. What is known stays.
    Failed(Trouble),
    /// A server is read again.
    Back,
}

/// See the comment of this file.
pub(super) struct Follower {
    source: Arc<EtcdSource>,
    servers: Vec<BaseUrl>,
    /// The index of the server in use.
    at: usize,
    server: Option<EtcdServer>,
    progress: KeyProgress,
    page: usize,
    watch: Option<OpenWatch>,
    news: VecDeque<KeyNews>,
    pause: Duration,
    /// Servers that have failed in a row.
    failures: usize,
    is_away: bool,
    backoff: Backoff,
    /// For lists that have to be made again and again.
    lists: Backoff,
}

/// A watch, and the comparisons of it with the server.
struct OpenWatch {
    reply: HttpReply,
    objects: JsonObjects,
    comparisons: mpsc::Receiver<Result<RangeReply, CallError>>,
    task: AbortHandle,
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Follower {
    /// Follows at most `most` keys of `range`. There is at least one server.
    pub(super) fn new(source: Arc<EtcdSource>, servers: Vec<BaseUrl>, range: KeyRange, most: usize) -> Follower {
        Follower {
            source,
            servers,
            at: 0,
            server: None,
            progress: KeyProgress::new(range, most),
            page: PAGE,
            watch: None,
            news: VecDeque::new(),
            pause: Duration::ZERO,
            failures: 0,
            is_away: false,
            backoff: Backoff::default(),
            lists: Backoff::default(),
        }
    }

    /// Has the keys listed again. To be called also when [`Follower::next`] was dropped before it had a result.
    pub(super) fn begin_anew(&mut self) {
        self.progress.begin_anew();
        (self.watch, self.server) = (None, None);
        self.news.clear();
    }

    /// The next news.
    pub(super) async fn next(&mut self) -> KeyNews {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            if !self.pause.is_zero() {
                tokio::time::sleep(std::mem::take(&mut self.pause)).await;
            }
            let step = match (self.progress.is_listed(), self.watch.is_some()) {
                (false, _) => self.list().await,
                (true, false) => self.open_watch().await,
                (true, true) => self.read_watch().await,
            };
            match step {
                Ok(()) => {}
                Err(CallError::Trouble(trouble)) => self.failed(trouble),
                Err(CallError::Compacted) => self.list_again("the revision is compacted"),
                Err(CallError::LoggedOut) => self.failed(Trouble::bad("etcd does not accept the login any more")),
                Err(CallError::TooLong) => self.failed(Trouble::bad("a reply is too long: its values are too large")),
            }
        }
    }

    fn server(&mut self) -> &mut EtcdServer {
        let (base, source) = (&self.servers[self.at % self.servers.len()], &self.source);
        self.server.get_or_insert_with(|| EtcdServer::new(base.clone(), source.clone()))
    }

    /// Reads a page.
    async fn list(&mut self) -> Result<(), CallError> {
        self.watch = None;
        let (range, revision) = self.progress.next_page();
        let (is_first, limit) = (revision.is_none(), self.page);
        let reply = match self.server().range(&page_request(&range, limit, revision)).await {
            // Values are long: fewer of them at a time.
            Err(CallError::TooLong) if self.page > 1 => {
                self.page = (self.page / 4).max(1);
                return Ok(());
            }
            reply => reply?,
        };
        let page = self.progress.page(reply);
        if is_first && !matches!(page, Page::TooMany(_)) {
            self.news.push_back(KeyNews::ListBegins);
        }
        match page {
            Page::More(keys) => self.news.push_back(KeyNews::Page(keys)),
            Page::Last(keys) => {
                self.succeeded();
                self.news.extend([KeyNews::Page(keys), KeyNews::Listed]);
            }
            Page::TooMany(count) => {
                self.succeeded();
                self.news.push_back(KeyNews::TooMany(count));
                self.pause = TOO_MANY_EVERY;
            }
        }
        Ok(())
    }

    async fn open_watch(&mut self) -> Result<(), CallError> {
        let request = watch_request(self.progress.range(), self.progress.resume_at());
        let reply = self.server().watch(&request).await?;
        let base = self.server().base().clone();
        let (sender, comparisons) = mpsc::channel(1);
        // On a connection of its own, so that a slow reply holds up no change.
        let compared = EtcdServer::new(base, self.source.clone());
        let task = tokio::spawn(compare(compared, newest_request(self.progress.range()), sender)).abort_handle();
        let objects = JsonObjects::new(ObjectForm::Stream, MAX_MESSAGE);
        self.watch = Some(OpenWatch { reply, objects, comparisons, task });
        Ok(())
    }

    /// Waits for the next part of the watch, or for a comparison.
    async fn read_watch(&mut self) -> Result<(), CallError> {
        let Some(OpenWatch { reply, objects, comparisons, task: _ }) = &mut self.watch else { return Ok(()) };
        let part = tokio::select! {
            part = reply.next_part() => part?,
            Some(newest) = comparisons.recv() => {
                match self.progress.compare(&newest?) {
                    Some(why) => self.list_again(&why),
                    // This watch is good: the next list has a fault of its own.
                    None => self.lists.succeeded(),
                }
                return Ok(());
            }
        };
        let Some(part) = part else {
            return Err(CallError::Trouble(Trouble::away("it has ended the watch")));
        };
        let mut messages = Vec::new();
        let cut = objects.feed(&part, |object| messages.push(serde_json::from_slice::<WatchObject>(object)));
        cut.map_err(|why| CallError::Trouble(Trouble::bad(format!("not a watch of etcd's API: {why}"))))?;
        for message in messages {
            let message = message
                .map_err(|why| CallError::Trouble(Trouble::bad(format!("not a message of etcd's API: {why}"))))?;
            match message {
                WatchObject::Error(error) if error.code == OUT_OF_RANGE => return Err(CallError::Compacted),
                WatchObject::Error(error) => return Err(CallError::Trouble(trouble_of(&error))),
                WatchObject::Result(reply) => match self.progress.watched(reply) {
                    WatchStep::Changes(changes) => {
                        self.succeeded();
                        if !changes.is_empty() {
                            self.news.push_back(KeyNews::Changed(changes));
                        }
                    }
                    WatchStep::ListAgain(why) => {
                        self.list_again(&why);
                        return Ok(());
                    }
                    WatchStep::Refused(why) => return Err(CallError::Trouble(Trouble::bad(why))),
                },
            }
        }
        Ok(())
    }

    /// The keys have to be listed again, not at once where that happens often.
    fn list_again(&mut self, why: &str) {
        tracing::info!(why, server = %self.servers[self.at % self.servers.len()], "the keys of etcd are listed again");
        self.progress.begin_anew();
        self.watch = None;
        self.pause = self.lists.failed(clock::entropy());
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        self.backoff.succeeded();
        if std::mem::take(&mut self.is_away) {
            self.news.push_back(KeyNews::Back);
        }
    }

    /// The server in use has failed: the next one is tried at once; after all have failed, after a pause.
    fn failed(&mut self, trouble: Trouble) {
        (self.watch, self.server) = (None, None);
        let server = &self.servers[self.at % self.servers.len()];
        let trouble = trouble.at(&server.to_string());
        self.at = (self.at + 1) % self.servers.len();
        self.failures += 1;
        if self.failures >= self.servers.len() {
            self.is_away = true;
            self.pause = self.backoff.failed(clock::entropy());
            self.news.push_back(KeyNews::Failed(trouble));
        }
    }
}

/// Reads the number of keys and the newest change from time to time.
async fn compare(mut server: EtcdServer, request: Vec<u8>, news: mpsc::Sender<Result<RangeReply, CallError>>) {
    let mut pause = FIRST_COMPARISON;
    loop {
        tokio::time::sleep(pause).await;
        if news.send(server.range(&request).await).await.is_err() {
            return;
        }
        pause = COMPARISON_EVERY;
    }
}
