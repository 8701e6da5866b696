//! The running server: lets a new process take its place. A thread receives who comes in; the rest is done by
//! [`RunningNode::hand_over`](crate::daemon::RunningNode).

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::sync::{mpsc, oneshot};

use super::channel::{Channel, ChannelError};
use super::message::{MAX_DESCRIPTORS, ProgramVersions, TakeoverMessage};
use super::take::LOCK_USE;
use super::{ANSWER_WAIT, FROZEN_MOST, HELLO_WAIT, SOCKET, STOP_MOST};
use crate::clock;
use crate::server::PassedSocket;
use crate::wire::cookie::SECRET_LEN;

/// Only root and the user of the server may connect.
const MODE: u32 = 0o600;
/// Most visitors whose hello has not come yet. Judgment: one is usual; each has a thread, for a few seconds at most.
pub(super) const MAX_VISITORS: usize = 8;
/// How often a wait for the visitor looks whether this server is to stop (judgment: nobody notices 100 ms).
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Pause after a failed accept, such as one without a free descriptor, so that the loop does not use a whole core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Asks the steering task to pause.
#[derive(Debug)]
pub(crate) struct PauseRequest {
    /// Is sent when it pauses, or with the reason why it does not.
    pub(crate) paused: oneshot::Sender<Result<(), String>>,
    /// It goes on when this ends.
    pub(crate) end: oneshot::Receiver<()>,
}

/// Whether SIGTERM or SIGINT came. A takeover blocks the thread that waits for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// From now on.
    pub(crate) fn watch() -> StopSignal {
        let noted = StopSignal::default();
        for signal in [SIGTERM, SIGINT] {
            // Without it a takeover that is under way ends in its usual time.
            if let Err(error) = signal_hook::flag::register(signal, noted.0.clone()) {
                tracing::warn!(%error, signal, "a takeover that is under way would hold up this signal");
            }
        }
        noted
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a server that is to stop refuses a process.
pub(crate) const STOPPED: &str = "this server was stopped meanwhile, and ends";

/// How an attempt of another process to take over ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HandOver {
    /// It serves: this process ends.
    Done,
    /// This process goes on.
    Stayed,
}

/// The socket at which new processes come in.
#[derive(Debug)]
pub(crate) struct Door {
    visitors: mpsc::Receiver<Visitor>,
    path: PathBuf,
}

/// A process that wants to take over.
#[derive(Debug)]
pub(crate) struct Visitor {
    channel: Channel,
    versions: ProgramVersions,
    process: u32,
}

impl Door {
    /// Opens the socket in the state directory, which this process has locked. It replaces that of a process before it.
    pub(crate) fn open(state_dir: &Path) -> io::Result<Door> {
        let dir = File::open(state_dir)?;
        let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string());
        let temporary = path.join(format!(".{SOCKET}.new"));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&temporary)?;
        fs::set_permissions(&temporary, Permissions::from_mode(MODE))?;
        fs::rename(&temporary, path.join(SOCKET))?;
        let (sender, visitors) = mpsc::channel(MAX_VISITORS);
        thread::Builder::new().name("takeover".into()).spawn(move || receive_all(&listener, &sender))?;
        Ok(Door { visitors, path: state_dir.join(SOCKET) })
    }

    /// The next process that wants to take over. Nothing is lost when this is dropped and called again.
    pub(crate) async fn next(&mut self) -> Visitor {
        match self.visitors.recv().await {
            Some(visitor) => visitor,
            None => std::future::pending().await,
        }
    }

    /// Removes the socket at an orderly end.
    pub(crate) fn close(self) {
        // The next process replaces one that is left.
        let _ = fs::remove_file(&self.path);
    }
}

/// Receives visitors until the process ends. Each has a thread until its hello has come, so that one that sends nothing
/// does not hold up the others; there are at most [`MAX_VISITORS`] of these threads.
fn receive_all(listener: &UnixListener, sender: &mpsc::Sender<Visitor>) {
    let (leave, left) = std::sync::mpsc::channel();
    let mut here = 0;
    loop {
        while left.try_recv().is_ok() {
            here -= 1;
        }
        if here == MAX_VISITORS {
            // It comes within the time that a visitor has.
            here -= usize::from(left.recv().is_ok());
        }
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        let (sender, leave) = (sender.clone(), leave.clone());
        let receive = move || {
            let visitor = Channel::new(stream).map_err(|error| error.to_string()).and_then(introduced);
            // The receiver lasts as long as the process.
            let _ = leave.send(());
            match visitor {
                // It fails if the process ends.
                Ok(visitor) => drop(sender.try_send(visitor).map_err(refuse_busy)),
                Err(why) => tracing::warn!(why, "a process that wanted to take over was refused"),
            }
        };
        match thread::Builder::new().name("visitor".into()).spawn(receive) {
            Ok(_) => here += 1,
            Err(error) => tracing::warn!(%error, "a process that wanted to take over was refused"),
        }
    }
}

fn refuse_busy(not_sent: mpsc::error::TrySendError<Visitor>) {
    if let mpsc::error::TrySendError::Full(visitor) = not_sent {
        tracing::warn!(by = %visitor.shown(), "a process that wanted to take over was refused: others want it too");
        visitor.refuse("other processes want to take over at the same time: try again later");
    }
}

/// The visitor, after its first message.
fn introduced(channel: Channel) -> Result<Visitor, String> {
    let (user, process) = channel.peer().map_err(|error| error.to_string())?;
    if !channel.is_trusted(None).map_err(|error| error.to_string())? {
        return Err(format!("it is process {process} of user {user}, and only root and the user of the server may"));
    }
    match channel.receive(HELLO_WAIT) {
        Ok((TakeoverMessage::Hello(versions), _)) => Ok(Visitor { channel, versions, process }),
        Ok((other, _)) => Err(ChannelError::unexpected(&other, "hello").to_string()),
        Err(broken) => Err(broken.to_string()),
    }
}

impl Visitor {
    /// The program for people.
    pub(crate) fn shown(&self) -> String {
        self.versions.shown()
    }

    /// Its process id; 0 if it runs in another namespace.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// Passes sockets and the lock on, and waits until the visitor is about to load the state. It blocks. An error says
    /// why that does not happen.
    pub(crate) fn welcome(
        &self,
        sockets: &[PassedSocket],
        lock: Option<&OwnedFd>,
        cookies: &[u8; SECRET_LEN],
    ) -> Result<(), String> {
        let named = sockets.iter().map(|socket| (socket.what.as_str(), socket.as_fd()));
        let all: Vec<(&str, BorrowedFd<'_>)> = named.chain(lock.map(|lock| (LOCK_USE, lock.as_fd()))).collect();
        let welcome = TakeoverMessage::Welcome {
            versions: ProgramVersions::own(),
            sockets: all.len(),
            cookies: data_encoding::HEXLOWER.encode(cookies),
        };
        let passed = || {
            self.channel.send(&welcome, &[], ANSWER_WAIT)?;
            for some in all.chunks(MAX_DESCRIPTORS) {
                let uses = some.iter().map(|(name, _)| (*name).to_owned()).collect();
                let descriptors: Vec<BorrowedFd<'_>> = some.iter().map(|(_, socket)| *socket).collect();
                self.channel.send(&TakeoverMessage::Sockets { uses }, &descriptors, ANSWER_WAIT)?;
            }
            self.channel.expect(&TakeoverMessage::Freeze, ANSWER_WAIT)
        };
        passed().map_err(|broken: ChannelError| broken.to_string())
    }

    /// The state is written: waits until the visitor answers, or for a short time only once this server is to stop.
    /// It blocks.
    pub(crate) fn let_serve(&self, signal: &StopSignal) -> Result<(), String> {
        let shown = |broken: ChannelError| broken.to_string();
        self.channel.send(&TakeoverMessage::Frozen, &[], ANSWER_WAIT).map_err(shown)?;
        let (mut until, mut is_there) = (clock::now() + FROZEN_MOST, false);
        while !self.channel.has_more(LOOK_EVERY) {
            let now = clock::now();
            if !is_there && signal.is_there() {
                (until, is_there) = (until.min(now + STOP_MOST), true);
            }
            if now >= until {
                return Err(if is_there { STOPPED.to_owned() } else { shown(ChannelError::Silent(FROZEN_MOST)) });
            }
        }
        self.channel.expect(&TakeoverMessage::Serving, ANSWER_WAIT).map_err(shown)
    }

    /// This server ends. An error: the visitor has ended.
    pub(crate) fn confirm(&self) -> Result<(), String> {
        self.channel.send(&TakeoverMessage::Done, &[], ANSWER_WAIT).map_err(|broken| broken.to_string())
    }

    /// Nothing is taken over.
    pub(crate) fn refuse(&self, why: &str) {
        // It may have ended.
        let _ = self.channel.send(&TakeoverMessage::refused(why), &[], ANSWER_WAIT);
    }
}
