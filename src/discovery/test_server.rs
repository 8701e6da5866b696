//! An HTTP server for tests of drivers: it records requests and sends what the test decides.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A request as the server received it.
#[derive(Debug, Clone)]
pub(crate) struct TestRequest {
    /// With the query.
    pub(crate) path: String,
    pub(crate) body: String,
    pub(crate) headers: HeaderMap,
}

/// What the server sends.
pub(crate) enum TestReply {
    /// A status, header fields and a body.
    Whole(u16, Vec<(&'static str, String)>, String),
    /// 200, and a body that goes on as long as the sender exists.
    Parts(mpsc::UnboundedReceiver<String>),
    /// Nothing, for ever.
    Silence,
    /// It closes the connection.
    Close,
}

impl TestReply {
    /// 200 with this body.
    pub(crate) fn ok(body: &str) -> TestReply {
        TestReply::Whole(200, Vec::new(), body.to_owned())
    }
}

type Decide = dyn Fn(&TestRequest) -> TestReply + Send + Sync;
type TestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// See the comment of this file. It ends with this value.
pub(crate) struct TestServer {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<TestRequest>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestServer {
    /// A server at a free port.
    pub(crate) async fn start(decide: impl Fn(&TestRequest) -> TestReply + Send + Sync + 'static) -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (requests, connections): (Arc<Mutex<Vec<TestRequest>>>, Arc<AtomicUsize>) = Default::default();
        let (decide, seen, opened): (Arc<Decide>, _, _) = (Arc::new(decide), requests.clone(), connections.clone());
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                let (decide, seen) = (decide.clone(), seen.clone());
                let service = service_fn(move |request| answer(request, decide.clone(), seen.clone()));
                open.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        TestServer { url, requests, connections, task }
    }

    /// All requests until now.
    pub(crate) fn requests(&self) -> Vec<TestRequest> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn answer(
    request: Request<Incoming>,
    decide: Arc<Decide>,
    seen: Arc<Mutex<Vec<TestRequest>>>,
) -> Result<Response<TestBody>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    let request = TestRequest { path: head.uri.to_string(), body, headers: head.headers };
    seen.lock().unwrap().push(request.clone());
    match decide(&request) {
        TestReply::Whole(status, fields, body) => {
            let head = fields
                .into_iter()
                .fold(Response::builder().status(status), |head, (name, value)| head.header(name, value));
            Ok(head.body(Full::from(body).boxed_unsync()).unwrap())
        }
        TestReply::Parts(parts) => {
            let next = |mut parts: mpsc::UnboundedReceiver<String>| async move {
                parts.recv().await.map(|part| (Ok(Frame::data(Bytes::from(part))), parts))
            };
            let stream: Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>> =
                Box::pin(futures_util::stream::unfold(parts, next));
            Ok(Response::new(StreamBody::new(stream).boxed_unsync()))
        }
        TestReply::Silence => std::future::pending().await,
        TestReply::Close => Err(std::io::Error::other("closed")),
    }
}
