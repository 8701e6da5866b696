//! Messages with descriptors over a Unix socket. A wait ends after its time; a peer of another user is refused.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv,
    recvmsg, sendmsg,
};
use rustix::process::geteuid;

use super::message::{HEAD, MAX_DESCRIPTORS, TakeoverMessage, shortened};
use crate::clock;
use crate::model::Moment;

/// Room for the descriptors of one message.
const CONTROL_ROOM: usize = rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS));

/// Longest text of an error in characters: it comes from the other process, and goes into the log.
const MAX_ERROR: usize = 500;

/// How a wait for a message ended without one.
#[derive(Debug)]
pub(super) enum ChannelError {
    /// The other process has ended, or closed the connection.
    Ended,
    /// It sent nothing for this long.
    Silent(Duration),
    /// It sent something else, or the system refused; in words.
    Wrong(String),
}

impl ChannelError {
    fn of(error: &io::Error, within: Duration) -> ChannelError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ChannelError::Silent(within),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => ChannelError::Ended,
            _ => ChannelError::Wrong(error.to_string()),
        }
    }

    /// A message came that does not belong here.
    pub(super) fn unexpected(message: &TakeoverMessage, wanted: &str) -> ChannelError {
        match message {
            TakeoverMessage::Refused { why } => ChannelError::Wrong(why.clone()),
            other => ChannelError::Wrong(format!("it sent `{}` in place of `{wanted}`", other.name())),
        }
    }
}

impl std::fmt::Display for ChannelError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ChannelError::Ended => f.write_str("it ended the connection"),
            ChannelError::Silent(within) => write!(f, "it has not answered for {} seconds", within.as_secs()),
            ChannelError::Wrong(why) => f.write_str(&shortened(why, MAX_ERROR)),
        }
    }
}

/// A connection between the two processes. Every call blocks, within a time.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> io::Result<Channel> {
        stream.set_nonblocking(false)?;
        Ok(Channel { stream })
    }

    /// The user and the process at the other end; 0 for a process of another namespace.
    pub(super) fn peer(&self) -> io::Result<(u32, u32)> {
        let peer = getsockopt(&self.stream, PeerCredentials)?;
        Ok((peer.uid(), peer.pid() as u32))
    }

    /// Whether the other end is root, this user, or `also`.
    pub(super) fn is_trusted(&self, also: Option<u32>) -> io::Result<bool> {
        let (user, _) = self.peer()?;
        Ok(user == 0 || user == geteuid().as_raw() || also == Some(user))
    }

    /// Sends a message with descriptors.
    pub(super) fn send(
        &self,
        message: &TakeoverMessage,
        descriptors: &[BorrowedFd<'_>],
        within: Duration,
    ) -> Result<(), ChannelError> {
        let octets = message.encode();
        let send = || {
            let mut room = [MaybeUninit::uninit(); CONTROL_ROOM];
            let mut control = SendAncillaryBuffer::new(&mut room);
            if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(io::Error::other("too many descriptors for one message"));
            }
            let sent = uninterrupted(within, |left| {
                self.stream.set_write_timeout(Some(left))?;
                Ok(sendmsg(&self.stream, &[IoSlice::new(&octets)], &mut control, SendFlags::NOSIGNAL)?)
            })?;
            io::Write::write_all(&mut &self.stream, &octets[sent..])
        };
        send().map_err(|error| ChannelError::of(&error, within))
    }

    /// Receives a message with its descriptors. The whole of it must come within the time.
    pub(super) fn receive(&self, within: Duration) -> Result<(TakeoverMessage, Vec<OwnedFd>), ChannelError> {
        let until = clock::now() + within;
        let mut descriptors = Vec::new();
        let mut head = [0; HEAD];
        let mut receive = || {
            let mut have = 0;
            while have < HEAD {
                let mut room = [MaybeUninit::uninit(); CONTROL_ROOM];
                let mut control = RecvAncillaryBuffer::new(&mut room);
                let mut rest = [IoSliceMut::new(&mut head[have..])];
                let got = uninterrupted(until.since(clock::now()), |left| {
                    self.stream.set_read_timeout(Some(left))?;
                    Ok(recvmsg(&self.stream, &mut rest, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes)
                })?;
                for ancillary in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(received) = ancillary {
                        descriptors.extend(received);
                    }
                }
                if got == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                have += got;
            }
            Ok(())
        };
        receive().map_err(|error| ChannelError::of(&error, within))?;
        let mut body = vec![0; TakeoverMessage::length(head).map_err(ChannelError::Wrong)?];
        self.read_body(&mut body, until).map_err(|error| ChannelError::of(&error, within))?;
        Ok((TakeoverMessage::decode(&body).map_err(ChannelError::Wrong)?, descriptors))
    }

    fn read_body(&self, body: &mut [u8], until: Moment) -> io::Result<()> {
        let mut have = 0;
        while have < body.len() {
            let got = uninterrupted(until.since(clock::now()), |left| {
                self.stream.set_read_timeout(Some(left))?;
                (&self.stream).read(&mut body[have..])
            })?;
            match got {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                got => have += got,
            }
        }
        Ok(())
    }

    /// Waits for the beginning of a message, or the end of the connection, at most this long; a signal ends the wait.
    pub(super) fn has_more(&self, within: Duration) -> bool {
        let peek = || {
            self.stream.set_read_timeout(Some(within))?;
            Ok(recv(&self.stream, &mut [0_u8; 1], RecvFlags::PEEK)?)
        };
        let looked: io::Result<_> = peek();
        // What else is wrong shows when the message is received.
        looked.err().is_none_or(|error| {
            !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
        })
    }

    /// Receives this message; anything else is an error.
    pub(super) fn expect(&self, wanted: &TakeoverMessage, within: Duration) -> Result<(), ChannelError> {
        match self.receive(within)? {
            (message, _) if message == *wanted => Ok(()),
            (other, _) => Err(ChannelError::unexpected(&other, wanted.name())),
        }
    }
}

/// Repeats a call that a signal has interrupted, such as that of a child that ended: the system does not repeat calls
/// with a time-out itself (signal(7)). The call gets the time that is left of `within`.
fn uninterrupted<T>(within: Duration, mut call: impl FnMut(Duration) -> io::Result<T>) -> io::Result<T> {
    let until = clock::now() + within;
    loop {
        let left = until.since(clock::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        match call(left) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_no_wait_and_signals_without_end_do_not_prolong_it() {
        let mut calls = 0;
        let done = uninterrupted(Duration::from_secs(60), |left| {
            calls += 1;
            assert!(left <= Duration::from_secs(60));
            if calls < 5 { Err(ErrorKind::Interrupted.into()) } else { Ok(calls) }
        });
        assert_eq!(done.unwrap(), 5);
        let late: io::Result<()> = uninterrupted(Duration::from_millis(20), |_| Err(ErrorKind::Interrupted.into()));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
