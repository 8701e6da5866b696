//! Reads the instances of a service in one datacenter, by one blocking query after the other.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderName;
use tokio::sync::mpsc;

use crate::clock;
use crate::discovery::consul::News;
use crate::discovery::consul::blocking::{BlockingQuery, REPLY_WITHIN, ReplySummary, WAIT};
use crate::discovery::consul::service::ServiceEntry;
use crate::discovery::http_client::{
    Backoff, BaseUrl, HttpConnection, HttpReply, HttpRequest, JsonObjects, ObjectForm, encoded, secret_value,
};
use crate::discovery::{Instance, InstanceList, Trouble};
use crate::model::{ConsulSource, Mappings};
use crate::printable::escaped;

/// Longest entry in octets (judgment: an entry has 1 to 3 KiB; the outputs of its checks 4 KiB each).
const MAX_ENTRY: usize = 1 << 20;

/// Most octets of a reply for each instance that is wanted, and for all that. Above, the service lists too much
/// (judgment: ten times what an entry has).
const OCTETS_AN_INSTANCE: usize = 32 << 10;
const LEAST_OCTETS: usize = 16 << 20;

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
const INDEX: &str = "x-consul-index";
/// Consul 1.11 and newer set it where the token's rights hide entries.
const FILTERED: &str = "x-consul-results-filtered-by-acls";

/// What the readers of all datacenters have in common.
pub(super) struct WantedService {
    pub(super) base: BaseUrl,
    pub(super) source: ConsulSource,
    pub(super) mappings: Mappings,
    pub(super) max: usize,
}

/// Reads one datacenter.
pub(super) struct DatacenterReader {
    wanted: Arc<WantedService>,
    /// `None`: that of the agent.
    name: Option<String>,
    connection: HttpConnection,
    query: BlockingQuery,
    /// The last list.
    known: Option<InstanceList>,
}

impl DatacenterReader {
    pub(super) fn new(wanted: Arc<WantedService>, name: Option<String>) -> DatacenterReader {
        let connection = HttpConnection::new(wanted.base.clone(), wanted.source.tls.clone());
        DatacenterReader { wanted, name, connection, query: BlockingQuery::default(), known: None }
    }

    /// Reads until the receiver has gone. `at` is the index of this datacenter.
    pub(super) async fn run(mut self, at: usize, news: mpsc::Sender<(usize, News)>) {
        let mut backoff = Backoff::default();
        let mut is_away = false;
        loop {
            let pause = match self.read().await {
                Ok((list, pause)) => {
                    backoff.succeeded();
                    let report = list.map(News::Listed).or_else(|| is_away.then_some(News::Back));
                    is_away = false;
                    if let Some(report) = report
                        && news.send((at, report)).await.is_err()
                    {
                        return;
                    }
                    pause
                }
                Err(trouble) => {
                    self.connection.close();
                    self.query.failed();
                    is_away = true;
                    if news.send((at, News::Failed(self.named(trouble)))).await.is_err() {
                        return;
                    }
                    backoff.failed(clock::entropy())
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One query. Returns the list, if it is another one than before, and how long to wait before the next query.
    async fn read(&mut self) -> Result<(Option<InstanceList>, Duration), Trouble> {
        let request = self.request().await?;
        let sent = clock::now();
        let reply = self.connection.send(&request).await.map_err(|failure| failure.trouble(""))?;
        let begun = clock::now();
        let index = reply.field(INDEX).and_then(|index| index.trim().parse().ok());
        let list = self.list(reply).await?;
        let is_change = self.known.as_ref() != Some(&list);
        let work = clock::now().since(begun);
        let has_waited = begun.since(sent) >= WAIT;
        let pause = self.query.replied(ReplySummary { index, is_change, work, has_waited });
        if !is_change {
            return Ok((None, pause));
        }
        self.known = Some(list.clone());
        Ok((Some(list), pause))
    }

    async fn request(&self) -> Result<HttpRequest, Trouble> {
        let ConsulSource { service, tag, token_file, .. } = &self.wanted.source;
        let option = |name: &str, value: &Option<String>| {
            value.as_ref().map_or(String::new(), |value| format!("&{name}={}", encoded(value)))
        };
        let (dc, tag) = (option("dc", &self.name), option("tag", tag));
        // `stale`: any server may reply, also while there is no leader.
        let path = format!("/v1/health/service/{}?stale{dc}{tag}{}", encoded(service), self.query.parameters());
        let request = HttpRequest::get(path).within(REPLY_WITHIN);
        let Some(file) = token_file else { return Ok(request) };
        let value = secret_value("", file).await.map_err(|why| Trouble::bad(format!("token_file: {why}")))?;
        Ok(request.with(TOKEN, value))
    }

    /// The instances of a reply, in the order of their keys.
    async fn list(&self, mut reply: HttpReply) -> Result<InstanceList, Trouble> {
        if reply.status != StatusCode::OK {
            return Err(self.refused(reply).await);
        }
        let WantedService { mappings, max, .. } = &*self.wanted;
        let is_filtered = reply.field(FILTERED) == Some("true");
        let (mut list, mut found) = (InstanceList::new(*max), Vec::new());
        let mut objects = JsonObjects::new(ObjectForm::Array, MAX_ENTRY);
        let most = LEAST_OCTETS.max(max.saturating_mul(OCTETS_AN_INSTANCE));
        let (mut octets, mut total) = (0, 0_usize);
        while let Some(part) = reply.part().await.map_err(|failure| failure.trouble(""))? {
            octets += part.len();
            if octets > most {
                if total > *max {
                    break;
                }
                return Err(Trouble::bad(format!("its reply is over {} MiB, the most that are read", most >> 20)));
            }
            let mut take = |entry: &[u8]| {
                total += 1;
                // Those over the limit are only counted.
                if total > *max {
                    return;
                }
                match ServiceEntry::parse(entry) {
                    Ok(entry) => found.push(entry.instance(mappings, self.name.as_deref())),
                    Err(why) => list.refusals.add(&format!("entry {total}"), &why),
                }
            };
            let bad = |why| Trouble::bad(format!("not a list of Consul's API ({why}): check `address`"));
            objects.feed(&part, &mut take).map_err(bad)?;
        }
        if octets <= most {
            objects.finish().map_err(|why| Trouble::bad(format!("not a list of Consul's API ({why})")))?;
        }
        if total == 0 && is_filtered {
            return Err(Trouble::bad(
                "the ACL token hides all instances: give it service:read for this service, and node:read",
            ));
        }
        found.sort_by(|a: &Instance, b| a.key.cmp(&b.key));
        let stored = found.len();
        found.into_iter().for_each(|instance| list.push(instance));
        // Not stored, because the list is full, or because the entry can't be read and is refused.
        if total > *max {
            (stored..total).for_each(|_| list.push(Instance::default()));
        }
        Ok(list)
    }

    async fn refused(&self, reply: HttpReply) -> Trouble {
        let status = reply.status;
        let location = reply.field("location").map(|to| escaped(to).into_owned());
        let message = escaped(&reply.message().await).chars().take(200).collect::<String>();
        let shown = format!("{status}: {message}");
        match (status, location) {
            (StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED, _) => Trouble::bad(format!(
                "Consul refuses the ACL token ({shown}): give it service:read for `{}` and node:read, or name another \
                 with token_file",
                self.wanted.source.service
            )),
            (_, Some(to)) => Trouble::bad(format!("it redirects to {to}: write that address")),
            (StatusCode::NOT_FOUND, None) => {
                Trouble::bad(format!("there is no Consul API ({shown}): check `address` and its path"))
            }
            (status, None) if message.contains("No path to datacenter") => Trouble::away(format!(
                "{shown} ({}): check the name in `datacenters`, and the WAN connection of the Consul servers",
                status.as_u16()
            )),
            (status, None) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Trouble::away(format!("Consul replies {shown}"))
            }
            (_, None) => Trouble::bad(format!("Consul replies {shown}")),
        }
    }

    /// The trouble with the server and the datacenter that has it.
    fn named(&self, trouble: Trouble) -> Trouble {
        let of = self.name.as_ref().map_or(String::new(), |name| format!(", datacenter {name}"));
        trouble.at(&format!("{}{of}", self.wanted.base))
    }
}
