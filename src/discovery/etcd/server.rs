//! Calls of one etcd server by its JSON gateway, with a login where there is a user.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;

use crate::discovery::Trouble;
use crate::discovery::etcd::message::{GatewayError, LoginReply, RangeReply, login_request};
use crate::discovery::etcd::progress::OUT_OF_RANGE;
use crate::discovery::http_client::{BaseUrl, HttpConnection, HttpFailure, HttpReply, HttpRequest, secret_text};
use crate::model::EtcdSource;
use crate::printable::escaped;

/// Longest reply to a request for keys, in octets. A page that is longer is requested in smaller pages.
const MAX_REPLY: usize = 16 << 20;

/// Longest error message in octets.
const MAX_ERROR: usize = 64 << 10;

/// How long a reply may take. Judgment: etcd replies in milliseconds; while an election runs it does not reply for one
/// to two seconds.
const REPLY_WITHIN: Duration = Duration::from_secs(4);

/// Has the gateway refuse a call of a server that has no leader, also while a watch goes on.
const REQUIRE_LEADER: HeaderName = HeaderName::from_static("grpc-metadata-hasleader");

/// Codes of gRPC.
const INVALID_ARGUMENT: i64 = 3;
const PERMISSION_DENIED: i64 = 7;
const FAILED_PRECONDITION: i64 = 9;
const UNAVAILABLE: i64 = 14;
const UNAUTHENTICATED: i64 = 16;

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum CallError {
    /// The server is away, or refuses.
    Trouble(Trouble),
    /// The revision is compacted.
    Compacted,
    /// The reply is too long.
    TooLong,
    /// The login counts no more.
    LoggedOut,
}

impl From<HttpFailure> for CallError {
    fn from(failure: HttpFailure) -> CallError {
        match failure {
            HttpFailure::TooLong(_) => CallError::TooLong,
            other => CallError::Trouble(other.trouble("")),
        }
    }
}

/// A server with a connection.
#[derive(Debug)]
pub(super) struct EtcdServer {
    source: Arc<EtcdSource>,
    connection: HttpConnection,
    token: Option<HeaderValue>,
}

impl EtcdServer {
    pub(super) fn new(base: BaseUrl, source: Arc<EtcdSource>) -> EtcdServer {
        let connection = HttpConnection::new(base, source.tls.clone());
        EtcdServer { source, connection, token: None }
    }

    /// Its URL.
    pub(super) fn base(&self) -> &BaseUrl {
        self.connection.base()
    }

    /// Keys of a range, by the body of a request.
    pub(super) async fn range(&mut self, body: &[u8]) -> Result<RangeReply, CallError> {
        let reply = self.call("/v3/kv/range", body).await?;
        parsed(&reply.whole(MAX_REPLY).await?)
    }

    /// A watch. The body of the reply is a stream of objects.
    pub(super) async fn watch(&mut self, body: &[u8]) -> Result<HttpReply, CallError> {
        self.call("/v3/watch", body).await
    }

    /// A call, after a login where one is needed; it is repeated once if the login counts no more.
    async fn call(&mut self, path: &str, body: &[u8]) -> Result<HttpReply, CallError> {
        for _ in 0..2 {
            self.log_in().await?;
            let request = HttpRequest::post(path, body.to_vec())
                .with(REQUIRE_LEADER, HeaderValue::from_static("true"))
                .within(REPLY_WITHIN);
            let request = match &self.token {
                Some(token) => request.with(AUTHORIZATION, token.clone()),
                None => request,
            };
            let reply = self.connection.send(&request).await?;
            if reply.status == StatusCode::OK {
                return Ok(reply);
            }
            match refused(reply).await {
                CallError::LoggedOut => self.token = None,
                error => return Err(error),
            }
        }
        Err(CallError::Trouble(Trouble::bad("etcd does not accept the login that it has just given")))
    }

    async fn log_in(&mut self) -> Result<(), CallError> {
        let (Some(user), None) = (&self.source.user, &self.token) else { return Ok(()) };
        let password = match &self.source.password_file {
            Some(file) => secret_text(file).await,
            None => Err("expected the file with the user's password".to_owned()),
        };
        let password = password.map_err(|why| CallError::Trouble(Trouble::bad(format!("password_file: {why}"))))?;
        let request = HttpRequest::post("/v3/auth/authenticate", login_request(user, &password)).within(REPLY_WITHIN);
        let reply = self.connection.send(&request).await?;
        if reply.status != StatusCode::OK {
            let error = error_of(reply).await;
            // Without authentication everybody may read, whatever the user is.
            if error.code == FAILED_PRECONDITION && error.text().contains("not enabled") {
                return Ok(());
            }
            return Err(CallError::Trouble(match error.code {
                INVALID_ARGUMENT => Trouble::bad(format!(
                    "etcd refuses the login of user `{user}` ({}): check `user` and the password in password_file",
                    error.text()
                )),
                _ => trouble_of(&error),
            }));
        }
        let LoginReply { token } = parsed(&reply.whole(MAX_ERROR).await?)?;
        let value = HeaderValue::from_str(&token).ok();
        let mut value = value.ok_or_else(|| CallError::Trouble(Trouble::bad("etcd's token is no text")))?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(())
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|error| {
        CallError::Trouble(Trouble::bad(format!("not a reply of etcd's API ({error}): check the URL in `endpoints`")))
    })
}

/// A status that is no success.
async fn refused(reply: HttpReply) -> CallError {
    let status = reply.status;
    if let Some(to) = reply.field("location") {
        let to = escaped(to);
        return CallError::Trouble(Trouble::bad(format!("it redirects to {to}: write that URL into `endpoints`")));
    }
    let error = error_of(reply).await;
    match error.code {
        OUT_OF_RANGE => CallError::Compacted,
        UNAUTHENTICATED => CallError::LoggedOut,
        INVALID_ARGUMENT if error.text().contains("revision of auth store is old") => CallError::LoggedOut,
        0 if status == StatusCode::NOT_FOUND => CallError::Trouble(Trouble::bad(
            "there is no `/v3` (404 Not Found): etcd 3.4 or newer is needed, with its JSON gateway \
             (enable-grpc-gateway)",
        )),
        0 => CallError::Trouble(Trouble::bad(format!("etcd replies {status}"))),
        _ => CallError::Trouble(trouble_of(&error)),
    }
}

async fn error_of(reply: HttpReply) -> GatewayError {
    let body = reply.whole(MAX_ERROR).await.unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_default()
}

/// The trouble that an error of the gateway is.
pub(super) fn trouble_of(error: &GatewayError) -> Trouble {
    let text: String = escaped(error.text()).chars().take(200).collect();
    match error.code {
        PERMISSION_DENIED => Trouble::bad(format!("{text}: give the user a role that may read these keys")),
        INVALID_ARGUMENT if text.contains("user name is empty") => {
            Trouble::bad(format!("{text}: etcd wants a login; set `user` and `password_file`"))
        }
        UNAVAILABLE => Trouble::away(format!("{text}: etcd has no leader, or is starting")),
        _ if text.contains("no leader") || text.contains("timed out") => {
            Trouble::away(format!("{text}: check that most of the etcd servers run"))
        }
        code => Trouble::bad(format!("etcd replies: {text} (code {code})")),
    }
}
