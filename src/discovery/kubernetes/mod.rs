//! The driver of `type = "kubernetes"`: follows the EndpointSlices of one Service, or Ingresses or Gateways, by a list
//! and then a watch.
//!
//! It speaks to the API over the HTTP client of all sources. The crate `kube` would add 59 crates, and two minutes of
//! compiling on one core, for one list and one watch; and it reads an object of any size. So this is in every build,
//! without a feature.
//!
//! A watch lasts [`WATCH_SECS`], after which the server ends it and the next one begins at the last version that was
//! seen (a bookmark moves it on where nothing changes). A connection that is dead is noticed [`WATCH_GRACE`] later.
//! After 410 Gone the objects are listed again.

mod access;
mod addresses;
mod book;
mod slices;
mod watch;

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::AUTHORIZATION;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::discovery::http_client::{
    Backoff, BaseUrl, HttpConnection, HttpReply, HttpRequest, JsonObjects, ObjectForm, encoded,
};
use crate::discovery::{InstanceList, Trouble, Update, UpdateSender};
use crate::model::{KubernetesAccess, KubernetesResource, KubernetesSource, Mappings};
use crate::printable::escaped;
use access::KubernetesApi;
use book::ObjectBook;
use watch::{ObjectPage, WatchNews, watch_news};

/// How long a watch lasts, in seconds (judgment: without changes that is five requests a minute, and a connection that
/// is dead is noticed within a quarter of a minute).
const WATCH_SECS: u64 = 12;
/// How much later than that a watch may end.
const WATCH_GRACE: Duration = Duration::from_secs(3);
/// Most objects in a page of the list (judgment: 20 slices of 100 endpoints have 1 MB).
const PAGE: usize = 20;
/// Longest page, in octets (judgment: 20 slices of 1,000 endpoints, the most that the API allows).
const MAX_PAGE: usize = 16 << 20;
/// Longest event of a watch, in octets: etcd stores at most 1.5 MiB.
const MAX_EVENT: usize = 4 << 20;
/// Most pages of a list (judgment: 400,000 endpoints). Without a bound a server could send pages without end.
const MAX_PAGES: usize = 200;
/// So many watches in a row that begin with 410 are reported: each of them costs the API a list (judgment: one is usual
/// after a pause, two come with a server that has just started).
const MANY_GONE: u32 = 3;

/// Why a watch can't go on.
enum WatchEnd {
    /// Its version is too old.
    Gone,
    /// The API has a problem: what it says.
    Refused(String),
    /// An event can't be used: why.
    Unusable(String),
}

/// Why reading was interrupted.
enum Interrupted {
    /// The version is too old: the objects are listed again.
    Gone,
    /// Something is wrong.
    Trouble(Trouble),
}

impl From<Trouble> for Interrupted {
    fn from(trouble: Trouble) -> Interrupted {
        Interrupted::Trouble(trouble)
    }
}

/// Follows the objects until `stop`. `max`: the most instances that are wanted.
pub async fn run(
    source: KubernetesSource,
    mappings: Mappings,
    max: usize,
    updates: UpdateSender,
    stop: CancellationToken,
) {
    let mut reader = ObjectReader {
        source,
        mappings,
        max,
        api: None,
        listed: None,
        updates,
        book: ObjectBook::default(),
        version: None,
        known: None,
        is_away: false,
        gone: 0,
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = reader.follow() => {}
    }
}

/// Reads the objects of one source.
struct ObjectReader {
    source: KubernetesSource,
    mappings: Mappings,
    max: usize,
    /// The API as it was when it was last asked, with the connection to it.
    api: Option<(KubernetesApi, HttpConnection)>,
    /// The server and the namespace that `version` is of.
    listed: Option<(BaseUrl, String)>,
    updates: UpdateSender,
    book: ObjectBook,
    /// The version up to which all changes were seen; `None`: the objects must be listed.
    version: Option<String>,
    /// The last list that was sent.
    known: Option<InstanceList>,
    is_away: bool,
    /// Watches in a row that began with 410.
    gone: u32,
}

impl ObjectReader {
    async fn follow(&mut self) {
        let mut backoff = Backoff::default();
        loop {
            let (updates, is_watch) = (self.updates.clone(), self.version.is_some());
            let done = tokio::select! {
                () = updates.relist_wanted() => {
                    (self.version, self.known) = (None, None);
                    continue;
                }
                done = self.read() => done,
            };
            match done {
                Ok(()) if is_watch => {
                    self.gone = 0;
                    backoff.succeeded();
                }
                // The watch after it shows whether all is well.
                Ok(()) => {}
                Err(interrupted) => {
                    if let Some((_, connection)) = &mut self.api {
                        connection.close();
                    }
                    match interrupted {
                        Interrupted::Gone => {
                            self.version = None;
                            self.gone = self.gone.saturating_add(1);
                            if self.gone >= MANY_GONE && !self.is_away {
                                self.is_away = true;
                                let why = "each watch is refused with 410 (its version is too old): what is \
                                           listed is read again and again, less and less often";
                                self.updates.send(Update::Away(Trouble::bad(why))).await;
                            }
                        }
                        Interrupted::Trouble(trouble) => {
                            self.is_away = true;
                            let trouble = match &self.api {
                                Some((access, _)) => trouble.at(&access.base.to_string()),
                                None => trouble,
                            };
                            self.updates.send(Update::Away(trouble)).await;
                        }
                    }
                    // Also after 410, so that a server that always sends it is not asked without a pause.
                    tokio::time::sleep(backoff.failed(clock::entropy())).await;
                }
            }
        }
    }

    /// One list, or one watch.
    async fn read(&mut self) -> Result<(), Interrupted> {
        self.look_up_access().await?;
        match self.version.clone() {
            None => self.list().await,
            Some(version) => self.watch(version).await,
        }
    }

    /// Reads again what says where the API is: tokens of service accounts end after an hour, and a kubeconfig may name
    /// another cluster.
    async fn look_up_access(&mut self) -> Result<(), Interrupted> {
        let mut access = KubernetesApi::read(&self.source.access).await.map_err(|why| {
            // The trouble is not one of the server.
            self.api = None;
            Trouble::bad(why)
        })?;
        if let Some(namespace) = &self.source.namespace {
            access.namespace.clone_from(namespace);
        }
        // Versions of other objects mean nothing.
        let place = (access.base.clone(), access.namespace.clone());
        if self.listed.as_ref() != Some(&place) {
            (self.version, self.listed) = (None, Some(place));
        }
        match &mut self.api {
            Some((before, _)) if (&before.base, &before.tls) == (&access.base, &access.tls) => *before = access,
            api => {
                let connection = HttpConnection::new(access.base.clone(), access.tls.clone());
                *api = Some((access, connection));
            }
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<(), Interrupted> {
        let mut book = ObjectBook::default();
        let (_, api) = who_and_where(&self.source.access);
        let mut at = String::new();
        for _ in 0..MAX_PAGES {
            let more = if at.is_empty() { String::new() } else { format!("&continue={}", encoded(&at)) };
            let reply = self.send(&format!("limit={PAGE}{more}")).await?;
            let text = reply.whole(MAX_PAGE).await.map_err(|failure| failure.trouble(""))?;
            let page = ObjectPage::parse(&text, self.source.resource, api).map_err(Trouble::bad)?;
            page.items.into_iter().try_for_each(|object| book.set(object)).map_err(Trouble::bad)?;
            at = page.next;
            if at.is_empty() {
                (self.book, self.version) = (book, Some(page.version));
                self.report().await;
                return Ok(());
            }
        }
        let plural = self.source.resource.as_str();
        Err(Trouble::bad(format!("the list has over {MAX_PAGES} pages of {PAGE} {plural}")).into())
    }

    async fn watch(&mut self, version: String) -> Result<(), Interrupted> {
        let options = format!(
            "watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={WATCH_SECS}",
            encoded(&version)
        );
        let mut reply = self.send(&options).await?;
        // After several that began with 410 it has to come to its end.
        if self.is_away && self.gone < MANY_GONE {
            self.is_away = false;
            self.updates.send(Update::Back).await;
        }
        let mut objects = JsonObjects::new(ObjectForm::Stream, MAX_EVENT);
        let last_moment = tokio::time::sleep(Duration::from_secs(WATCH_SECS) + WATCH_GRACE);
        tokio::pin!(last_moment);
        loop {
            let part = tokio::select! {
                () = &mut last_moment => {
                    let why = format!("a watch of {WATCH_SECS} s has not ended: the connection is dead");
                    return Err(Trouble::away(why).into());
                }
                part = reply.next_part() => part.map_err(|failure| failure.trouble(""))?,
            };
            let Some(part) = part else { return Ok(()) };
            let mut news = Vec::new();
            let resource = self.source.resource;
            let cut = objects.feed(&part, |event| news.push(watch_news(event, resource)));
            let cut = cut.map_err(|why| format!("not a watch of the Kubernetes API: {why}"));
            let end = self.take(news).and_then(|()| cut.map_err(WatchEnd::Unusable));
            // The version is that of the last event that could be used: what came before the end counts.
            self.report().await;
            match end {
                Ok(()) => {}
                Err(WatchEnd::Gone) => return Err(Interrupted::Gone),
                Err(WatchEnd::Refused(why)) => return Err(Trouble::away(why).into()),
                Err(WatchEnd::Unusable(why)) => {
                    // The next watch would begin before the same event.
                    self.version = None;
                    return Err(Trouble::bad(why).into());
                }
            }
        }
    }

    /// Takes events in, up to one that ends the watch.
    fn take(&mut self, news: Vec<Result<WatchNews, String>>) -> Result<(), WatchEnd> {
        for of in news {
            match of.map_err(WatchEnd::Unusable)? {
                WatchNews::Changed(object, version) => {
                    self.book.set(object).map_err(WatchEnd::Unusable)?;
                    self.version = Some(version);
                }
                WatchNews::Removed(name, version) => {
                    self.book.remove(&name);
                    self.version = Some(version);
                }
                WatchNews::Bookmark(version) => self.version = Some(version),
                WatchNews::Gone => return Err(WatchEnd::Gone),
                WatchNews::Refused(why) => return Err(WatchEnd::Refused(why)),
            }
        }
        Ok(())
    }

    /// Sends the list, if it is another one.
    async fn report(&mut self) {
        let list = self.book.list(&self.source, &self.mappings, self.max);
        if self.known.as_ref() != Some(&list) {
            self.known = Some(list.clone());
            self.is_away = false;
            self.updates.send(Update::Whole(list)).await;
        }
    }

    async fn send(&mut self, options: &str) -> Result<HttpReply, Interrupted> {
        let Some((access, connection)) = &mut self.api else {
            return Err(Trouble::away("where the API is was not read yet").into());
        };
        let KubernetesSource { resource, selected, .. } = &self.source;
        let selector = match (resource, selected) {
            (KubernetesResource::EndpointSlices, Some(service)) => {
                format!("labelSelector={}&", encoded(&format!("kubernetes.io/service-name={service}")))
            }
            (KubernetesResource::Ingresses | KubernetesResource::Gateways, Some(name)) => {
                format!("fieldSelector={}&", encoded(&format!("metadata.name={name}")))
            }
            (_, None) => String::new(),
        };
        let (group, plural, namespace) = (resource.group(), resource.as_str(), encoded(&access.namespace));
        let path = format!("/apis/{group}/v1/namespaces/{namespace}/{plural}?{selector}{options}");
        let mut request = HttpRequest::get(path);
        if let Some(value) = &access.authorization {
            request = request.with(AUTHORIZATION, value.clone());
        }
        let reply = connection.send(&request).await.map_err(|failure| failure.trouble(""))?;
        match reply.status {
            StatusCode::OK => Ok(reply),
            StatusCode::GONE => Err(Interrupted::Gone),
            _ => {
                let namespace = access.namespace.clone();
                Err(self.refused(reply, &namespace).await.into())
            }
        }
    }

    async fn refused(&self, reply: HttpReply, namespace: &str) -> Trouble {
        let status = reply.status;
        let message = watch::message(reply.message().await.as_bytes());
        let shown = format!("{status}: {}", escaped(&message).chars().take(200).collect::<String>());
        let (who, at) = who_and_where(&self.source.access);
        let (group, plural) = (self.source.resource.group(), self.source.resource.as_str());
        match status {
            StatusCode::UNAUTHORIZED => {
                Trouble::bad(format!("the API does not know who this is ({shown}): check {who}"))
            }
            StatusCode::FORBIDDEN => Trouble::bad(format!(
                "{shown}: give the account get, list and watch of {plural}.{group} in the namespace {namespace}"
            )),
            StatusCode::NOT_FOUND => Trouble::bad(format!("there is no API {group}/v1 ({shown}): check {at}")),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Trouble::away(format!("the API replies {shown}"))
            }
            _ => Trouble::bad(format!("the API replies {shown}")),
        }
    }
}

/// What says who this server is for the API, and where the API is: for messages.
fn who_and_where(access: &KubernetesAccess) -> (&'static str, &'static str) {
    match access {
        KubernetesAccess::Address { .. } => ("token_file, or cert and key of tls", "`address`"),
        KubernetesAccess::Kubeconfig { .. } => ("the user of the kubeconfig", "`server` of the kubeconfig"),
        KubernetesAccess::Pod => ("the service account of the pod", "the cluster"),
    }
}

#[cfg(test)]
mod tests;
