//! systemd, where it started this process: it learns when the server is ready and that it lives (sd_notify(3)), and has
//! the sockets for the next process of the service (`FileDescriptorStoreMax=`). Under another supervisor, and without
//! one, nothing is sent.

use std::env;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio_util::sync::CancellationToken;

use crate::server::{InheritedSockets, PassedSocket, SocketUse, inherited_descriptor};

/// The number of the first descriptor that systemd passes (sd_listen_fds(3)).
const FIRST_DESCRIPTOR: i32 = 3;
/// Most descriptors that are taken: those of [`super::takeover`].
const MOST_DESCRIPTORS: i32 = 1024;
/// Shortest time of a watchdog within which the steering task has surely gone round: it does so once a second.
const SHORTEST_WATCH: Duration = Duration::from_secs(6);

/// The socket of systemd; without one all calls do nothing.
#[derive(Debug, Default)]
pub(crate) struct Systemd {
    socket: Option<UnixDatagram>,
}

/// The rounds of the steering task, by which the watchdog sees that it lives.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    rounds: AtomicU64,
    is_paused: AtomicBool,
}

impl Pulse {
    /// It has gone round.
    pub(crate) fn beat(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// It goes round no more until this is called again: another process takes over.
    pub(crate) fn pause(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
    }
}

impl Systemd {
    /// The one that the environment names.
    pub(crate) fn of_environment() -> Systemd {
        let connect = |name: &str| {
            let address = match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(name)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            // It must never wait for systemd.
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Systemd::default() };
        match name.to_str().map(connect) {
            Some(Ok(socket)) => Systemd { socket: Some(socket) },
            Some(Err(error)) => {
                tracing::warn!(%error, "NOTIFY_SOCKET can't be used: systemd does not learn that this server is ready");
                Systemd::default()
            }
            None => Systemd::default(),
        }
    }

    /// The server is ready.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}\n", status.replace('\n', " ")), &[]);
    }

    /// The server stops.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\n", &[]);
    }

    /// Another process is the server from now on.
    pub(crate) fn main_process(&self, process: u32) {
        if process != 0 {
            self.send(&format!("MAINPID={process}\n"), &[]);
        }
    }

    /// Has systemd retain these sockets for the next process. It has each socket once.
    pub(crate) fn retain(&self, sockets: &[PassedSocket]) {
        for socket in sockets {
            self.send(&format!("FDSTORE=1\nFDNAME={}\n", store_name(socket)), &[socket.as_fd()]);
        }
    }

    /// Has systemd close sockets that this process did not take.
    pub(crate) fn discard(&self, sockets: &InheritedSockets) {
        for socket in sockets.rest() {
            self.send(&format!("FDSTOREREMOVE=1\nFDNAME={}\n", store_name(socket)), &[]);
        }
    }

    /// Reports twice within the time that systemd wants that this process lives, as long as the steering task goes
    /// round. Runs until `stop`.
    pub(crate) async fn watch(self: Arc<Systemd>, pulse: Arc<Pulse>, stop: CancellationToken) {
        let Some(within) = watchdog_time().filter(|_| self.socket.is_some()) else { return };
        let mut last = None;
        loop {
            let rounds = pulse.rounds.load(Ordering::Relaxed);
            let is_alive = last != Some(rounds) || within < SHORTEST_WATCH || pulse.is_paused.load(Ordering::Relaxed);
            match is_alive {
                true => self.send("WATCHDOG=1\n", &[]),
                false => tracing::error!("the steering task hangs: the watchdog of systemd is not served"),
            }
            last = Some(rounds);
            tokio::select! {
                () = tokio::time::sleep(within / 2) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn send(&self, text: &str, descriptors: &[BorrowedFd<'_>]) {
        let Some(socket) = &self.socket else { return };
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        if let Err(error) = sendmsg(socket, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL) {
            tracing::debug!(%error, "systemd was not reached");
        }
    }
}

/// The sockets that systemd has from an earlier process of this service. It is called once, before this process opens
/// anything.
pub(crate) fn inherited() -> InheritedSockets {
    let number = |name: &str| env::var(name).ok()?.parse::<i32>().ok();
    let is_ours = number("LISTEN_PID").is_some_and(|process| process as u32 == std::process::id());
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, MOST_DESCRIPTORS);
    if !is_ours || count == 0 {
        return InheritedSockets::default();
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut sockets = Vec::new();
    for (at, name) in (0..count).zip(names.split(':')) {
        let Some(descriptor) = inherited_descriptor(FIRST_DESCRIPTOR + at) else { continue };
        let what = name.split('.').next().and_then(SocketUse::of);
        match what.map(|what| PassedSocket::of(what, descriptor)) {
            Some(Ok(socket)) => sockets.push(socket),
            Some(Err(error)) => tracing::warn!(name, %error, "a socket of systemd is not used"),
            None => tracing::warn!(name, "a socket of systemd is not used: its name is no use of a socket"),
        }
    }
    InheritedSockets::new(sockets)
}

/// The name of a socket in the store: its use, then its address, without colons.
fn store_name(socket: &PassedSocket) -> String {
    format!("{}.{}", socket.what.as_str(), socket.address).replace(':', "_")
}

/// Within which time systemd wants to learn that this process lives; `None`: it does not want to.
fn watchdog_time() -> Option<Duration> {
    let is_ours = match env::var("WATCHDOG_PID") {
        Ok(process) => process.parse() == Ok(std::process::id()),
        Err(_) => true,
    };
    let micros = env::var("WATCHDOG_USEC").ok()?.parse::<u64>().ok().filter(|micros| *micros > 0 && is_ours)?;
    Some(Duration::from_micros(micros))
}
