//! The connection to the OpenTelemetry collector: the HTTP client that the exporter uses.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use hyper::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::sync::Mutex;

use crate::discovery::http_client::{BaseUrl, HttpConnection, HttpRequest};
use crate::model::SourceTls;

/// Most octets of a reply that are read (judgment: a collector replies with some 20).
const MAX_REPLY: usize = 64 << 10;

/// A connection that stays open between batches. It trusts the system's authorities.
#[derive(Default)]
pub(super) struct OtlpConnection(Mutex<Option<HttpConnection>>);

impl fmt::Debug for OtlpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OtlpConnection")
    }
}

impl OtlpConnection {
    async fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = head.uri.authority().map_or("", |authority| authority.as_str());
        let base: BaseUrl = format!("{}://{authority}", head.uri.scheme_str().unwrap_or("http")).parse()?;
        let mut post = HttpRequest::post_bytes(path, body);
        // The client has its own of these.
        for (name, value) in head.headers.iter().filter(|(name, _)| ![HOST, USER_AGENT, CONTENT_LENGTH].contains(*name))
        {
            post = post.with(name.clone(), value.clone());
        }
        let mut connection = self.0.lock().await;
        let connection = connection.get_or_insert_with(|| HttpConnection::new(base, SourceTls::default()));
        let reply = connection.send(&post).await.map_err(|failure| failure.to_string())?;
        let status = reply.status;
        let body = reply.whole(MAX_REPLY).await.map_err(|failure| failure.to_string())?;
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        Ok(response)
    }
}

impl HttpClient for OtlpConnection {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.post(request))
    }
}
