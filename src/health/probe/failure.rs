//! Why a probe failed. Operators read the text in `status`, in logs and in `explain`.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::health::blindness::PathEvidence;
use crate::model::{Moment, ProbeTarget};
use crate::printable::is_unprintable;

/// The connections that were granted to a probe that then timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantedConnections {
    /// When the last one was granted.
    pub last: Moment,
    /// Whether one was granted when the answer to an earlier request was overdue already. Then the path works.
    pub after_overdue_answer: bool,
}

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No complete answer came in time.
    TimedOut {
        /// The monitor's time-out.
        after: Duration,
    },
    /// As `TimedOut`, but the path lost some connections of this probe. So the path may be the reason.
    Lossy {
        /// The monitor's time-out.
        after: Duration,
        /// The connections that were not granted, while others were.
        lost: usize,
        /// The number of connections that were tried.
        of: usize,
    },
    /// As `Lossy`, but within this host, where no packet is lost. So the server accepts no more connections.
    Backlog {
        /// The monitor's time-out.
        after: Duration,
        /// The connections that were not granted, while others were.
        lost: usize,
        /// The number of connections that were tried.
        of: usize,
    },
    /// The other side refused the connection: nothing listens there.
    Refused,
    /// The other side, or something on the path, reset the connection.
    Reset,
    /// The other side closed the connection before its response was complete.
    Closed,
    /// This host, or something on the path, reported that there is no route. The text is the report.
    Unreachable(String),
    /// The other side itself rejected the packet by an ICMP error. The text is that error.
    Rejected(String),
    /// The TLS handshake failed. The text is the reason.
    Tls(String),
    /// The status is not one that counts as success.
    Status {
        /// The status that was received.
        got: u16,
        /// The statuses that count as success.
        expected: Vec<u16>,
        /// The location of a redirect that the monitor does not follow.
        to: Option<String>,
    },
    /// The redirects lead away from the probed endpoint, or there are too many of them. The text names the last one.
    Redirected(String),
    /// The part of the body that is searched does not contain the expected text.
    Body {
        /// The expected text.
        lacks: String,
    },
    /// The endpoint answered that it is not healthy. The text is its answer.
    Unhealthy(String),
    /// The program of an exec monitor ended with an exit code other than 0, or by a signal. The text contains its
    /// output.
    Program(String),
    /// The answer violates the protocol. The text says how.
    Garbage(String),
    /// This vantage could not probe: it lacks a socket, a right or the source address. That says nothing about the
    /// other side.
    Vantage(String),
}

impl Failure {
    /// Whether the failure says something about the other side. If not, the detector must not count it.
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
            | Failure::Unhealthy(_)
            | Failure::Program(_)
            | Failure::Garbage(_) => true,
        }
    }

    /// What the failure says about the path to the other side. `granted`: the connections that were granted before a
    /// time-out. The rule is in `blindness`.
    pub fn path_evidence(&self, granted: Option<GrantedConnections>) -> PathEvidence {
        match self {
            Failure::TimedOut { .. } | Failure::Lossy { .. } | Failure::Backlog { .. } => match granted {
                Some(GrantedConnections { last, after_overdue_answer: true }) => PathEvidence::Hang { answered: last },
                granted => PathEvidence::Silence { answered: granted.map(|granted| granted.last) },
            },
            Failure::Unreachable(_) => PathEvidence::Silence { answered: None },
            Failure::Program(_) | Failure::Vantage(_) => PathEvidence::Inconclusive,
            Failure::Refused
            | Failure::Reset
            | Failure::Closed
            | Failure::Rejected(_)
            | Failure::Tls(_)
            | Failure::Status { .. }
            | Failure::Redirected(_)
            | Failure::Body { .. }
            | Failure::Unhealthy(_)
            | Failure::Garbage(_) => PathEvidence::Answer,
        }
    }

    /// Whether the path may be the reason as well as the other side, so that another probe must decide.
    pub fn is_doubtful(&self) -> bool {
        matches!(self, Failure::Lossy { .. })
    }

    /// The failure of a probe of `target`. On loopback no packet is lost. There, only a full accept queue (listen(2),
    /// `backlog`) makes connections fail while others are granted.
    pub(super) fn at_target(self, target: ProbeTarget) -> Failure {
        match self {
            Failure::Lossy { after, lost, of } if target.ip().is_some_and(|ip| ip.is_loopback()) => {
                Failure::Backlog { after, lost, of }
            }
            other => other,
        }
    }

    /// The failure that an error of a socket means.
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
            // The time-out of the kernel is shorter than that of the monitor only if somebody configured it so.
            io::ErrorKind::TimedOut => Failure::Unreachable("the connection timed out in the kernel".to_owned()),
            // All others are about this host: it lacks descriptors, ports, memory, rights or the source address.
            _ => Failure::Vantage(format!("cannot probe from here: {error}")),
        }
    }
}

/// A time-out in whole milliseconds: an adaptive one is a product of measured times.
fn shown(after: Duration) -> impl fmt::Display {
    let millis = (after.as_secs_f64() * 1000.0).round().max(1.0);
    humantime::format_duration(Duration::from_millis(millis as u64))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::TimedOut { after } => write!(f, "timed out after {}", shown(*after)),
            Failure::Lossy { after, lost, of } => {
                let after = shown(*after);
                write!(
                    f,
                    "timed out after {after} on a path that loses packets, or the server's accept queue is full \
                     ({lost} of {of} connections were not granted)"
                )
            }
            Failure::Backlog { after, lost, of } => {
                let after = shown(*after);
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
            | Failure::Unhealthy(why)
            | Failure::Garbage(why)
            | Failure::Redirected(why)
            | Failure::Vantage(why) => f.write_str(why),
        }
    }
}

/// The beginning of what the other side sent, without control characters, for logs.
pub(super) fn printable(octets: &[u8]) -> String {
    /// Judgment: enough to recognize a protocol.
    const MAX_CHARS: usize = 60;
    let text = String::from_utf8_lossy(octets);
    text.chars().take(MAX_CHARS).map(|c| if is_unprintable(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_a_readable_text() {
        let text = |failure: Failure| failure.to_string();
        for (nanos, expected) in
            [(500_000_000, "500ms"), (201_038_774, "201ms"), (1_402_577_548, "1s 403ms"), (9, "1ms")]
        {
            let after = Duration::from_nanos(nanos);
            assert_eq!(text(Failure::TimedOut { after }), format!("timed out after {expected}"));
        }
        let lossy = Failure::Lossy { after: Duration::from_secs(1), lost: 2, of: 7 };
        assert_eq!(
            text(lossy),
            "timed out after 1s on a path that loses packets, or the server's accept queue is full \
             (2 of 7 connections were not granted)"
        );
        let backlog = Failure::Backlog { after: Duration::from_secs(1), lost: 2, of: 7 };
        assert_eq!(
            text(backlog),
            "timed out after 1s, the server's accept queue is full: it takes no more connections \
             (2 of 7 were not granted)"
        );
        assert_eq!(text(Failure::from_io(&io::ErrorKind::ConnectionRefused.into())), "connection refused");
        assert_eq!(text(Failure::from_io(&io::ErrorKind::HostUnreachable.into())), "host unreachable");
        assert_eq!(text(Failure::from_io(&io::ErrorKind::ConnectionReset.into())), "connection reset");
        let early = text(Failure::from_io(&io::ErrorKind::UnexpectedEof.into()));
        assert_eq!(early, "connection closed before the response was complete");
        assert_eq!(text(Failure::Status { got: 503, expected: vec![200], to: None }), "status 503, expected 200");
        let moved = Failure::Status { got: 302, expected: vec![200], to: Some("/login".to_owned()) };
        assert_eq!(text(moved), "status 302 to /login, expected 200");
        assert_eq!(
            text(Failure::Status { got: 404, expected: vec![200, 204], to: None }),
            "status 404, expected 200, 204"
        );
        assert_eq!(text(Failure::Body { lacks: "ok".to_owned() }), "body lacks \"ok\"");
    }

    #[test]
    fn only_silence_is_silence() {
        let after = Duration::from_secs(1);
        let silent = PathEvidence::Silence { answered: None };
        let text = || "any text".to_owned();
        for (failure, evidence) in [
            (Failure::TimedOut { after }, silent),
            (Failure::Lossy { after, lost: 1, of: 2 }, silent),
            (Failure::from_io(&io::ErrorKind::HostUnreachable.into()), silent),
            (Failure::from_io(&io::ErrorKind::NetworkUnreachable.into()), silent),
            (Failure::from_io(&io::ErrorKind::TimedOut.into()), silent),
            (Failure::from_io(&io::ErrorKind::ConnectionRefused.into()), PathEvidence::Answer),
            (Failure::from_io(&io::ErrorKind::ConnectionReset.into()), PathEvidence::Answer),
            (Failure::from_io(&io::ErrorKind::UnexpectedEof.into()), PathEvidence::Answer),
            (Failure::Rejected(text()), PathEvidence::Answer),
            (Failure::Tls(text()), PathEvidence::Answer),
            (Failure::Status { got: 503, expected: vec![200], to: None }, PathEvidence::Answer),
            (Failure::Redirected(text()), PathEvidence::Answer),
            (Failure::Body { lacks: text() }, PathEvidence::Answer),
            (Failure::Unhealthy(text()), PathEvidence::Answer),
            (Failure::Garbage(text()), PathEvidence::Answer),
            (Failure::Program(text()), PathEvidence::Inconclusive),
        ] {
            assert_eq!(failure.path_evidence(None), evidence, "{failure:?}");
        }
        let granted = |after_overdue_answer| Some(GrantedConnections { last: Moment::START, after_overdue_answer });
        let timed_out = Failure::TimedOut { after };
        assert_eq!(timed_out.path_evidence(granted(false)), PathEvidence::Silence { answered: Some(Moment::START) });
        assert_eq!(timed_out.path_evidence(granted(true)), PathEvidence::Hang { answered: Moment::START });
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
