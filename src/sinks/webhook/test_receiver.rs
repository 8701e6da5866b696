//! A receiver of webhooks in this process, for tests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::config::WebhookSettings;

/// The secret of all tests, as its file has it.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedHook {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The number of its connection, from 1.
    pub(crate) connection: usize,
}

/// What is replied: the status and the headers; after a reply with `close` the connection is closed.
pub(crate) type HookReply = (u16, Vec<(&'static str, String)>);

/// A running receiver.
pub(crate) struct TestReceiver {
    pub(crate) address: SocketAddr,
    received: watch::Receiver<Vec<ReceivedHook>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for TestReceiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TestReceiver {
    /// Listens on loopback. `reply` gets each request with its number, from 0.
    pub(crate) async fn start(
        tls: Option<TlsAcceptor>,
        reply: impl Fn(usize, &ReceivedHook) -> HookReply + Send + Sync + 'static,
    ) -> TestReceiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = watch::channel(Vec::new());
        let shared = Arc::new((sender, reply));
        let accepting = tokio::spawn(async move {
            for connection in 1.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (shared, tls) = (shared.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let shared = shared.clone();
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.unwrap().to_bytes();
                            let path = head.uri.to_string();
                            let hook = ReceivedHook { path, headers: head.headers, body, connection };
                            let (sender, reply) = &*shared;
                            let number = sender.borrow().len();
                            let (status, headers) = reply(number, &hook);
                            sender.send_modify(|all| all.push(hook));
                            let mut response = Response::builder().status(status);
                            for (name, value) in headers {
                                response = response.header(name, value);
                            }
                            Ok::<_, Infallible>(
                                response.body(Full::new(Bytes::from_static(b"no such\nthing"))).unwrap(),
                            )
                        }
                    });
                    let builder = hyper::server::conn::http1::Builder::new();
                    // An error is a client that left.
                    match tls {
                        None => _ = builder.serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            _ = builder.serve_connection(TokioIo::new(stream), service).await;
                        }
                    }
                });
            }
        });
        TestReceiver { address, received, accepting }
    }

    /// Everything that arrived so far.
    pub(crate) fn received(&self) -> Vec<ReceivedHook> {
        self.received.borrow().clone()
    }

    /// Waits until so many requests have arrived, a minute at most.
    pub(crate) async fn wait(&self, count: usize) -> Vec<ReceivedHook> {
        let mut received = self.received.clone();
        let waiting = received.wait_for(|all| all.len() >= count);
        let all = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        all.unwrap_or_else(|_| panic!("{} of {count} arrived", self.received().len())).unwrap().clone()
    }
}

/// The settings of a sink that sends to `url`; its secret is in `dir`.
pub(crate) fn webhook_to(url: &str, dir: &Path) -> WebhookSettings {
    let secret_file = dir.join("webhook.secret");
    std::fs::write(&secret_file, SECRET).unwrap();
    WebhookSettings { url: Url::parse(url).unwrap(), secret_file, ca: None }
}
