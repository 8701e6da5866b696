//! Why a probe failed, in words that a person reads in `status`, logs and `explain`.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::health::blindness::Found;
use crate::model::{Moment, ProbeTarget};

/// The connections that were granted to a probe which then ran into its time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// When the last one was.
    pub last: Moment,
    /// Whether the answer to an earlier question was overdue by then, so that it isn't the path that is to blame.
    pub is_late: bool,
}

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nothing, or not all, came in time.
    TimedOut {
        /// The monitor's time-out.
        after: Duration,
    },
    /// The same, but the way there lost some of the probe itself: it may be that which is to blame.
    Lossy {
        /// The monitor's time-out.
        after: Duration,
        /// Connections that got no answer, while others did.
        lost: usize,
        /// Of how many.
        of: usize,
    },
    /// The same, within this host, where no packet gets lost: the server accepts no more connections.
    Backlog {
        /// The monitor's time-out.
        after: Duration,
        /// Connections that were not granted, while others were.
        lost: usize,
        /// Of how many.
        of: usize,
    },
    /// The other side refused the connection: nothing listens there.
    Refused,
    /// The other side, or someone on the way, ended the connection.
    Reset,
    /// The other side ended the connection in order, but before it had said all.
    Closed,
    /// This host, or someone on the way, said that there is no way; what they said.
    Unreachable(String),
    /// The other side itself said by ICMP that it takes no such packets; what it said.
    Rejected(String),
    /// The TLS handshake failed; why.
    Tls(String),
    /// The status is not one that counts as success.
    Status {
        /// What came.
        got: u16,
        /// What would have counted.
        expected: Vec<u16>,
        /// Where a redirect leads that wasn't to be followed.
        to: Option<String>,
    },
    /// The redirects that were to be followed lead out of what is probed, or on and on; where to.
    Redirected(String),
    /// The text that was expected is not in the part of the body that is looked at.
    Body {
        /// What was expected.
        lacks: String,
    },
    /// It was asked how it is, and said that it isn't well; its words.
    Unwell(String),
    /// The program that judges it ended with another exit code than 0, or by a signal; which, and what it printed.
    Program(String),
    /// What came is not the protocol's; what is wrong with it.
    Garbage(String),
    /// This vantage could not probe at all (no sockets left, no right to, a source address that it lacks): nothing is
    /// known of the other side, and nothing is held against it.
    Vantage(String),
}

impl Failure {
    /// Whether this says something of the other side. When not, the detector must not hear of it.
    pub fn is_evidence(&self) -> bool {
        match self {
            Failure::Vantage(_) => false,
            Failure::TimedOut { .. }
            | Failure::Lossy { .. }
            | Failure::Backlog { .. }
            | Failure::Refused
            | Failure::Reset
            | Failure::Closed
            | Failure::Unreachable(_)
            | Failure::Rejected(_)
            | Failure::Tls(_)
            | Failure::Status { .. }
            | Failure::Redirected(_)
            | Failure::Body { .. }
            | Failure::Unwell(_)
            | Failure::Program(_)
            | Failure::Garbage(_) => true,
        }
    }

    /// What it says of the path to the other side, given what that granted before a time-out. See `blindness` for the
    /// rule.
    pub fn found(&self, granted: Option<Granted>) -> Found {
        match self {
            Failure::TimedOut { .. } | Failure::Lossy { .. } | Failure::Backlog { .. } => match granted {
                Some(Granted { last, is_late: true }) => Found::Hang { answered: last },
                granted => Found::Silence { answered: granted.map(|granted| granted.last) },
            },
            Failure::Unreachable(_) => Found::Silence { answered: None },
            Failure::Program(_) | Failure::Vantage(_) => Found::Inconclusive,
            Failure::Refused
            | Failure::Reset
            | Failure::Closed
            | Failure::Rejected(_)
            | Failure::Tls(_)
            | Failure::Status { .. }
            | Failure::Redirected(_)
            | Failure::Body { .. }
            | Failure::Unwell(_)
            | Failure::Garbage(_) => Found::Answer,
        }
    }

    /// Whether the path is as likely the reason as the other side, so that another probe must decide.
    pub fn is_doubtful(&self) -> bool {
        matches!(self, Failure::Lossy { .. })
    }

    /// The same of a probe of `target`: on loopback no packet gets lost, so that only a full accept queue (listen(2),
    /// `backlog`) makes connections fail while others were granted.
    pub(super) fn within(self, target: ProbeTarget) -> Failure {
        match self {
            Failure::Lossy { after, lost, of } if target.ip().is_some_and(|ip| ip.is_loopback()) => {
                Failure::Backlog { after, lost, of }
            }
            other => other,
        }
    }

    /// What an error of a socket means for a probe.
    pub(super) fn from_io(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Failure::Reset,
            io::ErrorKind::UnexpectedEof => Failure::Closed,
            io::ErrorKind::HostUnreachable => Failure::Unreachable("host unreachable".to_owned()),
            io::ErrorKind::NetworkUnreachable => Failure::Unreachable("network unreachable".to_owned()),
            // The kernel's own time-out is shorter than the monitor's only where someone tuned it so.
            io::ErrorKind::TimedOut => Failure::Unreachable("the connection timed out in the kernel".to_owned()),
            // The rest is about this host: no descriptors, ports, memory or rights, a source address it lacks.
            _ => Failure::Vantage(format!("cannot probe from here: {error}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::TimedOut { after } => write!(f, "timed out after {}", humantime::format_duration(*after)),
            Failure::Lossy { after, lost, of } => {
                let after = humantime::format_duration(*after);
                write!(
                    f,
                    "timed out after {after} on a path that loses packets, or the server's accept queue is full \
                     ({lost} of {of} connections were not granted)"
                )
            }
            Failure::Backlog { after, lost, of } => {
                let after = humantime::format_duration(*after);
                write!(
                    f,
                    "timed out after {after}, the server's accept queue is full: it takes no more connections \
                     ({lost} of {of} were not granted)"
                )
            }
            Failure::Refused => f.write_str("connection refused"),
            Failure::Reset => f.write_str("connection reset"),
            Failure::Closed => f.write_str("connection closed before the response was complete"),
            Failure::Tls(why) => f.write_str(why),
            Failure::Status { got, expected, to } => {
                let to = to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
                write!(f, "status {got}{to}, expected ")?;
                for (nth, status) in expected.iter().enumerate() {
                    let comma = if nth == 0 { "" } else { ", " };
                    write!(f, "{comma}{status}")?;
                }
                Ok(())
            }
            Failure::Body { lacks } => write!(f, "body lacks {lacks:?}"),
            Failure::Unreachable(why)
            | Failure::Rejected(why)
            | Failure::Program(why)
            | Failure::Unwell(why)
            | Failure::Garbage(why)
            | Failure::Redirected(why)
            | Failure::Vantage(why) => f.write_str(why),
        }
    }
}

/// Octets of the other side as they may stand in logs: the beginning, without what a terminal would obey.
pub(super) fn shown(octets: &[u8]) -> String {
    /// Judgment: enough to know a protocol by.
    const MOST: usize = 60;
    let text = String::from_utf8_lossy(octets);
    text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_as_a_person_would_say_them() {
        let said = |failure: Failure| failure.to_string();
        assert_eq!(said(Failure::TimedOut { after: Duration::from_millis(500) }), "timed out after 500ms");
        let lossy = Failure::Lossy { after: Duration::from_secs(1), lost: 2, of: 7 };
        assert_eq!(
            said(lossy),
            "timed out after 1s on a path that loses packets, or the server's accept queue is full \
             (2 of 7 connections were not granted)"
        );
        let backlog = Failure::Backlog { after: Duration::from_secs(1), lost: 2, of: 7 };
        assert_eq!(
            said(backlog),
            "timed out after 1s, the server's accept queue is full: it takes no more connections \
             (2 of 7 were not granted)"
        );
        assert_eq!(said(Failure::from_io(&io::ErrorKind::ConnectionRefused.into())), "connection refused");
        assert_eq!(said(Failure::from_io(&io::ErrorKind::HostUnreachable.into())), "host unreachable");
        assert_eq!(said(Failure::from_io(&io::ErrorKind::ConnectionReset.into())), "connection reset");
        let early = said(Failure::from_io(&io::ErrorKind::UnexpectedEof.into()));
        assert_eq!(early, "connection closed before the response was complete");
        assert_eq!(said(Failure::Status { got: 503, expected: vec![200], to: None }), "status 503, expected 200");
        let moved = Failure::Status { got: 302, expected: vec![200], to: Some("/login".to_owned()) };
        assert_eq!(said(moved), "status 302 to /login, expected 200");
        assert_eq!(
            said(Failure::Status { got: 404, expected: vec![200, 204], to: None }),
            "status 404, expected 200, 204"
        );
        assert_eq!(said(Failure::Body { lacks: "ok".to_owned() }), "body lacks \"ok\"");
    }

    #[test]
    fn only_silence_is_silence() {
        let after = Duration::from_secs(1);
        let silent = Found::Silence { answered: None };
        let words = || "as it said".to_owned();
        for (failure, found) in [
            (Failure::TimedOut { after }, silent),
            (Failure::Lossy { after, lost: 1, of: 2 }, silent),
            (Failure::from_io(&io::ErrorKind::HostUnreachable.into()), silent),
            (Failure::from_io(&io::ErrorKind::NetworkUnreachable.into()), silent),
            (Failure::from_io(&io::ErrorKind::TimedOut.into()), silent),
            (Failure::from_io(&io::ErrorKind::ConnectionRefused.into()), Found::Answer),
            (Failure::from_io(&io::ErrorKind::ConnectionReset.into()), Found::Answer),
            (Failure::from_io(&io::ErrorKind::UnexpectedEof.into()), Found::Answer),
            (Failure::Rejected(words()), Found::Answer),
            (Failure::Tls(words()), Found::Answer),
            (Failure::Status { got: 503, expected: vec![200], to: None }, Found::Answer),
            (Failure::Redirected(words()), Found::Answer),
            (Failure::Body { lacks: words() }, Found::Answer),
            (Failure::Unwell(words()), Found::Answer),
            (Failure::Garbage(words()), Found::Answer),
            (Failure::Program(words()), Found::Inconclusive),
        ] {
            assert_eq!(failure.found(None), found, "{failure:?}");
        }
        let granted = |is_late| Some(Granted { last: Moment::START, is_late });
        let timed_out = Failure::TimedOut { after };
        assert_eq!(timed_out.found(granted(false)), Found::Silence { answered: Some(Moment::START) });
        assert_eq!(timed_out.found(granted(true)), Found::Hang { answered: Moment::START });
    }

    #[test]
    fn a_vantage_without_sockets_is_no_evidence_against_the_endpoint() {
        const EMFILE: i32 = 24;
        assert!(!Failure::from_io(&io::Error::from_raw_os_error(EMFILE)).is_evidence());
        assert!(!Failure::from_io(&io::ErrorKind::AddrNotAvailable.into()).is_evidence());
        assert!(Failure::from_io(&io::ErrorKind::ConnectionRefused.into()).is_evidence());
        assert!(Failure::from_io(&io::ErrorKind::NetworkUnreachable.into()).is_evidence());
    }
}
