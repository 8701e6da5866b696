//! The new process: takes sockets and state from the running server.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::channel::{Channel, ChannelError};
use super::message::{MAX_SOCKETS, ProgramVersions, TakeoverMessage};
use super::{ANSWER_WAIT, SOCKET, WORK_WAIT};
use crate::daemon::StartError;
use crate::server::{InheritedSockets, PassedSocket, SocketUse};
use crate::wire::cookie::SECRET_LEN;

/// In the list of sockets: the lock of the state directory.
pub(super) const LOCK_USE: &str = "lock";

/// What the running server has passed on.
#[derive(Debug)]
pub(crate) struct Taken {
    /// `None`: it ended before its state was written, and this process starts as usual, but with its sockets.
    channel: Option<Channel>,
    running: String,
    cookies: Option<[u8; SECRET_LEN]>,
    sockets: Vec<PassedSocket>,
    lock: Option<OwnedFd>,
}

impl Taken {
    /// Takes over from the server that uses this state directory; `None`: none runs. It blocks. After this the running
    /// server has written its state, answers, and does nothing else. An error says why nothing was taken over; then the
    /// server goes on.
    pub(crate) fn begin(state_dir: &Path) -> Result<Option<Taken>, StartError> {
        let refused = |why: String| {
            let dir = state_dir.display();
            StartError::State(format!(
                "{dir}: the running server can't be taken over: {why}. Nothing has changed, and it goes on"
            ))
        };
        let stream = match connect(&state_dir.join(SOCKET)) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                tracing::info!(dir = %state_dir.display(), "no server to take over from: this one starts as usual");
                return Ok(None);
            }
            Err(error) => return Err(refused(error.to_string())),
        };
        let channel = Channel::new(stream).map_err(|error| refused(error.to_string()))?;
        let owner = fs::metadata(state_dir).ok().map(|found| found.uid());
        if !channel.is_trusted(owner).map_err(|error| refused(error.to_string()))? {
            return Err(refused(format!("{SOCKET} belongs to another user")));
        }
        let mut taken = Taken { channel: None, running: String::new(), cookies: None, sockets: Vec::new(), lock: None };
        match taken.receive(&channel) {
            Ok(()) => taken.channel = Some(channel),
            Err(ChannelError::Ended) => {
                tracing::warn!("the running server ended while it was taken over: this one starts as usual");
                // Its lock may be shared with a process that is still ending.
                taken.lock = None;
            }
            Err(broken @ (ChannelError::Silent(_) | ChannelError::Wrong(_))) => {
                return Err(refused(broken.to_string()));
            }
        }
        Ok(Some(taken))
    }

    fn receive(&mut self, channel: &Channel) -> Result<(), ChannelError> {
        let own = ProgramVersions::own();
        channel.send(&TakeoverMessage::Hello(own.clone()), &[], ANSWER_WAIT)?;
        let (versions, mut left, cookies) = match channel.receive(ANSWER_WAIT)?.0 {
            TakeoverMessage::Welcome { versions, sockets, cookies } => (versions, sockets, cookies),
            other => return Err(ChannelError::unexpected(&other, "welcome")),
        };
        let reject = |why: String| {
            // The other side goes on in any case.
            let _ = channel.send(&TakeoverMessage::refused(why.clone()), &[], ANSWER_WAIT);
            Err(ChannelError::Wrong(why))
        };
        self.running = versions.shown();
        if let Err(why) = own.check(&versions) {
            return reject(format!("{why} ({})", self.running));
        }
        if left > MAX_SOCKETS {
            return reject(format!("it has {left} sockets, and {MAX_SOCKETS} can be taken over"));
        }
        self.cookies = secret(&cookies);
        while left > 0 {
            let (uses, descriptors) = match channel.receive(ANSWER_WAIT)? {
                (TakeoverMessage::Sockets { uses }, descriptors) => (uses, descriptors),
                (other, _) => return Err(ChannelError::unexpected(&other, "sockets")),
            };
            if uses.len() != descriptors.len() || uses.is_empty() || uses.len() > left {
                return reject(format!("{} sockets came with {} names", descriptors.len(), uses.len()));
            }
            left -= uses.len();
            for (name, descriptor) in uses.iter().zip(descriptors) {
                self.add(name, descriptor).map_err(|error| ChannelError::Wrong(error.to_string()))?;
            }
        }
        channel.send(&TakeoverMessage::Freeze, &[], ANSWER_WAIT)?;
        channel.expect(&TakeoverMessage::Frozen, WORK_WAIT)
    }

    fn add(&mut self, name: &str, descriptor: OwnedFd) -> io::Result<()> {
        match SocketUse::of(name) {
            Some(what) => self.sockets.push(PassedSocket::of(what, descriptor)?),
            None if name == LOCK_USE => self.lock = Some(descriptor),
            // A use of a later version.
            None => drop(descriptor),
        }
        Ok(())
    }

    /// Whether the running server has written its state and waits for this process.
    pub(crate) fn is_frozen(&self) -> bool {
        self.channel.is_some()
    }

    /// The sockets.
    pub(crate) fn sockets(&mut self) -> InheritedSockets {
        InheritedSockets::new(std::mem::take(&mut self.sockets))
    }

    /// The lock of the state directory, if the running server has one.
    pub(crate) fn lock(&mut self) -> Option<OwnedFd> {
        self.lock.take()
    }

    /// The secret of the running server's cookies, so that its clients' cookies stay valid.
    pub(crate) fn cookies(&self) -> Option<[u8; SECRET_LEN]> {
        self.cookies
    }

    /// This process answers: waits until the other one has answered what it received. It blocks. An error: the other
    /// one does not end, so this one must.
    pub(crate) fn complete(&self) -> Result<(), StartError> {
        let Some(channel) = &self.channel else { return Ok(()) };
        // Without this message the other one goes on.
        let done = channel.send(&TakeoverMessage::Serving, &[], ANSWER_WAIT).and_then(|()| {
            match channel.receive(WORK_WAIT) {
                Ok((TakeoverMessage::Refused { why }, _)) => Err(ChannelError::Wrong(why)),
                Ok((TakeoverMessage::Done, _)) => Ok(()),
                Err(broken @ (ChannelError::Ended | ChannelError::Silent(_))) => Err(broken),
                // It may have ended already, so this one must not: two that serve are better than none.
                Ok((other, _)) => {
                    tracing::warn!(reply = other.name(), "the server that was taken over sent something unknown");
                    Ok(())
                }
                Err(ChannelError::Wrong(why)) => {
                    tracing::warn!(why, "the reply of the server that was taken over can't be read");
                    Ok(())
                }
            }
        });
        let running = &self.running;
        match done {
            Ok(()) => {
                tracing::info!(from = %running, "took over: the sockets, overrides and health are those of before")
            }
            Err(ChannelError::Ended) => {
                tracing::warn!(from = %running, "took over from a server that ended meanwhile");
            }
            // It does nothing until it goes on, and then finds that this process serves.
            Err(ChannelError::Silent(_)) => {
                tracing::warn!(from = %running, "took over from a server that does not answer: it may be stopped");
            }
            Err(ChannelError::Wrong(why)) => {
                let why = crate::printable::escaped(&why).into_owned();
                return Err(StartError::State(format!("the running server goes on ({running}): {why}")));
            }
        }
        Ok(())
    }
}

/// Connects to a socket. Its path may be longer than the 107 octets that an address has room for.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::NotFound.into());
    };
    let dir = fs::File::open(dir)?;
    UnixStream::connect(Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name))
}

/// A secret in hexadecimal.
fn secret(text: &str) -> Option<[u8; SECRET_LEN]> {
    let octets = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
    octets.try_into().ok()
}
