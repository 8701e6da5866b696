//! Why a request to a source has no reply, with what to do about it.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::discovery::Trouble;

/// See the comment of this file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HttpFailure {
    /// The host has no address: why.
    NoAddress(String),
    /// Nothing listens there.
    Refused,
    /// Another error of the connection.
    Connect(String),
    /// No connection within this time.
    NoConnection(Duration),
    /// No connection by TLS, or the files for it can't be used.
    Tls(String),
    /// The connection was closed before the reply.
    Closed,
    /// No head of a reply within this time.
    NoReply(Duration),
    /// A reply began, and nothing more came within this time.
    Stalled(Duration),
    /// A reply began, and had not ended after this time.
    TooSlow(Duration),
    /// The reply is over so many octets.
    TooLong(usize),
    /// The reply is no valid one: its chunks, its length, its status.
    Broken(String),
    /// The body of the reply has this content coding (RFC 9110, 8.4), which no request asks for.
    Encoded(String),
    /// The peer does not speak HTTP/1.1.
    NotHttp(String),
    /// The request can't be made: an error of the settings.
    Request(String),
}

impl HttpFailure {
    /// The failure of an exchange over an open connection.
    pub(super) fn of_hyper(error: &hyper::Error) -> HttpFailure {
        let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let is_end = |error: &io::Error| {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        };
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() || io.is_some_and(is_end) {
            return HttpFailure::Closed;
        }
        let is_broken = |error: &io::Error| {
            use io::ErrorKind::{InvalidData, InvalidInput};
            // An alert of TLS is of the connection.
            let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            matches!(error.kind(), InvalidData | InvalidInput) && !is_tls
        };
        if error.is_parse_too_large() {
            return HttpFailure::Broken("its head, or its Content-Length, is too large".to_owned());
        }
        match io {
            Some(io) if is_broken(io) => HttpFailure::Broken(io.to_string()),
            None if error.is_parse_status() => HttpFailure::Broken(error.to_string()),
            Some(io) => HttpFailure::Connect(io.to_string()),
            None => HttpFailure::NotHttp(error.to_string()),
        }
    }

    /// The trouble of a source with this failure; `of` names the server.
    pub(crate) fn trouble(&self, of: &str) -> Trouble {
        let problem = format!("{of}{self}");
        match self {
            HttpFailure::Broken(_) | HttpFailure::TooLong(_) | HttpFailure::Encoded(_) => Trouble::bad(problem),
            HttpFailure::NoAddress(_)
            | HttpFailure::Refused
            | HttpFailure::Connect(_)
            | HttpFailure::NoConnection(_)
            | HttpFailure::Tls(_)
            | HttpFailure::Closed
            | HttpFailure::NoReply(_)
            | HttpFailure::Stalled(_)
            | HttpFailure::TooSlow(_)
            | HttpFailure::NotHttp(_)
            | HttpFailure::Request(_) => Trouble::away(problem),
        }
    }

    /// Whether it can come from a connection that the server had closed already.
    pub(super) fn is_of_closed_connection(&self) -> bool {
        *self == HttpFailure::Closed
    }
}

impl fmt::Display for HttpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpFailure::NoAddress(why) => {
                write!(f, "its host has no address ({why}): check the name, and the resolver of this machine")
            }
            HttpFailure::Refused => {
                f.write_str("connection refused: check that it runs, and that it listens on this port")
            }
            HttpFailure::Connect(why) => write!(f, "no connection: {why}"),
            HttpFailure::NoConnection(within) => write!(
                f,
                "no connection within {} s: check that it runs, and that no firewall drops packets",
                within.as_secs()
            ),
            HttpFailure::Tls(why) => write!(f, "no TLS connection: {why}"),
            HttpFailure::Closed => f.write_str("it closed the connection before it had replied"),
            HttpFailure::NoReply(within) => write!(f, "no reply within {} s", within.as_secs()),
            HttpFailure::Stalled(within) => write!(f, "its reply stopped for {} s", within.as_secs()),
            HttpFailure::TooSlow(within) => write!(f, "its reply had not ended after {} s", within.as_secs()),
            HttpFailure::TooLong(most) => write!(f, "its reply is over {most} octets, the most that are read"),
            HttpFailure::Broken(why) => {
                write!(f, "its reply is broken ({why}): see that server, and what is before it")
            }
            HttpFailure::Encoded(coding) => write!(
                f,
                "its reply is compressed (`Content-Encoding: {coding}`) although no compression was asked for: \
                 configure that server, or what is before it, to send it as it is"
            ),
            HttpFailure::NotHttp(why) => write!(f, "it does not speak HTTP/1.1 ({why}): check the port and the scheme"),
            HttpFailure::Request(why) => write!(f, "the request can't be made: {why}"),
        }
    }
}
