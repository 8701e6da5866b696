//! The driver of `type = "http"`: requests a list in the form of Prometheus's `http_sd` at intervals. A server that
//! sends an ETag and knows `If-None-Match` (RFC 9110, 13.1.2) sends the list only when it has changed.

mod list;

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderValue, IF_NONE_MATCH};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock;
use crate::discovery::http_client::{
    Backoff, BaseUrl, HttpConnection, HttpReply, HttpRequest, JsonObjects, ObjectForm, secret_value,
};
use crate::discovery::instance::bounded;
use crate::discovery::{InstanceList, Trouble, Update, UpdateSender};
use crate::model::{DiscoveredPool, HttpSource, SourceSpec};
use crate::printable::escaped;
use list::add_group;

/// Longest group of targets in octets (judgment: a thousand targets with their labels have 100 KiB).
const MAX_GROUP: usize = 1 << 20;
/// Longest list in octets (judgment: a thousand targets, each in a group with a hundred labels, have 10 MiB).
const MAX_LIST: usize = 32 << 20;

/// Follows the list until `stop`.
pub async fn run(spec: Arc<DiscoveredPool>, updates: UpdateSender, stop: CancellationToken) {
    let SourceSpec::Http(source) = &spec.source else { return stop.cancelled().await };
    let (base, path) = match target_of(&source.url) {
        Ok(parts) => parts,
        // `check` refuses it before.
        Err(problem) => {
            updates.send(Update::Away(Trouble::bad(problem))).await;
            return stop.cancelled().await;
        }
    };
    let connection = HttpConnection::new(base, source.tls.clone());
    let mut reader = ListReader { spec: spec.clone(), path, connection, etag: None };
    let mut backoff = Backoff::default();
    loop {
        let read = tokio::select! {
            read = reader.read(source) => read,
            () = stop.cancelled() => return,
        };
        let (update, pause) = match read {
            Ok(update) => {
                backoff.succeeded();
                (update, source.every)
            }
            Err(trouble) => {
                reader.connection.close();
                reader.etag = None;
                (Update::Away(trouble), backoff.failed(clock::entropy()).min(source.every.max(LEAST_RETRY)))
            }
        };
        tokio::select! {
            () = updates.send(update) => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = updates.relist_wanted() => reader.etag = None,
            () = stop.cancelled() => return,
        }
    }
}

/// The longest pause after a failure where the interval is shorter (judgment: a second, as the shortest interval).
const LEAST_RETRY: Duration = Duration::from_secs(1);

struct ListReader {
    spec: Arc<DiscoveredPool>,
    /// With the query.
    path: String,
    connection: HttpConnection,
    /// Of the list that was read last.
    etag: Option<HeaderValue>,
}

impl ListReader {
    async fn read(&mut self, source: &HttpSource) -> Result<Update, Trouble> {
        let mut request = HttpRequest::get(self.path.clone());
        if let Some(file) = &source.token_file {
            let token = secret_value("Bearer ", file).await;
            request = request.with(AUTHORIZATION, token.map_err(|why| Trouble::bad(format!("token_file: {why}")))?);
        }
        if let Some(etag) = &self.etag {
            request = request.with(IF_NONE_MATCH, etag.clone());
        }
        let base = self.connection.base().to_string();
        let reply = self.connection.send(&request).await.map_err(|why| why.trouble(&format!("{base}: ")))?;
        match reply.status {
            StatusCode::OK => {
                let etag = reply.headers.get(hyper::header::ETAG).cloned();
                let list = self.list(reply, &base).await?;
                self.etag = etag;
                Ok(Update::Whole(list))
            }
            StatusCode::NOT_MODIFIED if self.etag.is_some() => Ok(Update::Back),
            status => {
                let message = escaped(&bounded(&reply.message().await)).to_string();
                Err(Trouble::bad(refusal(&base, status, &message)))
            }
        }
    }

    async fn list(&self, mut reply: HttpReply, base: &str) -> Result<InstanceList, Trouble> {
        let bad = |why: String| {
            Trouble::bad(format!(
                "{base}: {why}; a list of groups is expected: [{{\"targets\": [\"192.0.2.1:80\"], \"labels\": {{}}}}]"
            ))
        };
        let mut objects = JsonObjects::new(ObjectForm::Array, MAX_GROUP);
        let (mut list, mut problem, mut octets) = (InstanceList::new(self.spec.max), None, 0);
        while let Some(part) = reply.part().await.map_err(|why| why.trouble(&format!("{base}: ")))? {
            octets += part.len();
            if octets > MAX_LIST {
                return Err(bad(format!("the list is over {MAX_LIST} octets")));
            }
            let take = |text: &[u8]| {
                if let Err(why) = add_group(&mut list, &self.spec.mappings, text) {
                    problem.get_or_insert(why);
                }
            };
            objects.feed(&part, take).map_err(|why| bad(why.to_string()))?;
        }
        objects.finish().map_err(|why| bad(why.to_string()))?;
        problem.map_or(Ok(list), |why| Err(bad(why)))
    }
}

/// What a status other than 200 means, and what to do.
fn refusal(base: &str, status: StatusCode, message: &str) -> String {
    let what = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "check the token in `token_file`, and its rights",
        StatusCode::NOT_FOUND | StatusCode::GONE => "check the path of `url`",
        StatusCode::NOT_MODIFIED => {
            "that is no reply to a request without If-None-Match: check that server, and caches"
        }
        status if status.is_redirection() => "redirects are not followed: write the URL that it leads to",
        status if status.is_server_error() => "see the log of that server",
        _ => "check `url`",
    };
    let message = if message.is_empty() { String::new() } else { format!(" ({message})") };
    format!("{base} replies {status}{message}: {what}")
}

/// The server, and the path with the query.
fn target_of(url: &str) -> Result<(BaseUrl, String), String> {
    let url = Url::parse(url).map_err(|error| format!("url: {error}"))?;
    let mut server = url.clone();
    server.set_path("");
    server.set_query(None);
    server.set_fragment(None);
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    let base = server.as_str().parse().map_err(|why| format!("url: {why}"))?;
    Ok((base, format!("{}{query}", url.path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_304_without_a_request_for_it_is_no_redirect() {
        let what = refusal("http://a.example:80", StatusCode::NOT_MODIFIED, "");
        assert!(what.contains("304") && what.contains("If-None-Match") && !what.contains("redirect"), "{what}");
        assert!(refusal("http://a.example:80", StatusCode::FOUND, "").contains("redirects are not followed"));
    }

    #[test]
    fn a_url_is_a_server_and_a_path() {
        for (url, base, path) in [
            ("http://a.example/x/y?z=1", "http://a.example:80", "/x/y?z=1"),
            ("https://[::1]:8443", "https://[::1]:8443", "/"),
        ] {
            let (found, rest) = target_of(url).unwrap();
            assert_eq!((found.to_string().as_str(), rest.as_str()), (base, path));
        }
        assert!(target_of("ftp://a.example").is_err());
    }
}
