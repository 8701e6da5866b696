//! An upgrade without a gap: a new process takes the place of the server that runs, with its sockets and its state.
//! They talk over a Unix socket in the state directory ([`SOCKET`]), which only root and the user of the server may
//! use.
//!
//! ```text
//!  new process                                             running server
//!  Hello      its version, the state files it reads   ──>
//!                                                     <──  Welcome    the same, the secret of its cookies
//!                                                     <──  Sockets    descriptors, and the lock of the state directory
//!  Freeze                                             ──>  steering pauses, all state is written
//!                                                     <──  Frozen     from here on it writes nothing
//!  loads the state, compiles, answers: both answer now
//!  Serving                                            ──>  answers what it has received, closes its connections
//!                                                     <──  Done       and it ends
//!  steers, writes state, prints its ready line
//! ```
//!
//! Both read the same UDP sockets and accept from the same listeners, so nothing that the kernel has received is lost.
//! Until `Done` the new process writes nothing. Until then the running server goes on if the connection ends: it reads
//! its sockets again, and steers. If it dies itself, the new process goes on. A `Refused` of either side ends the new
//! process, never the running server. Every message has a bound in octets, and every wait one in time.

mod channel;
mod give;
mod message;
mod take;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::daemon::state::FileInfo;
use crate::daemon::{event_number, exclusive, health_file, last_good, overrides, retained};

pub(crate) use give::{Door, HandOver, PauseRequest, STOPPED, StopSignal, Visitor};
pub(crate) use take::Taken;

/// The name of the socket in the state directory.
pub(crate) const SOCKET: &str = "takeover.sock";

/// The version of the messages.
const PROTOCOL: u32 = 1;

/// How long each side waits for the next message where the other has nothing to do. Judgment: a process that is not
/// stopped answers at once, also on a busy machine.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long a visitor has for its hello. Judgment: it is sent at once, and visitors that send nothing take the places
/// of others for so long.
const HELLO_WAIT: Duration = Duration::from_secs(2);
/// How long the new process waits for the state to be written, and for the other to have answered what it received:
/// more than that has for it.
const WORK_WAIT: Duration = Duration::from_secs(20);
/// How long the running server pauses steering for the new process. Judgment: loading state and compiling the largest
/// policies takes seconds, and no failover happens meanwhile.
const FROZEN_MOST: Duration = Duration::from_secs(30);
/// How long a server that is to stop still waits for the new process. Judgment: one that works answers within a
/// second, and the stop has time until systemd ends the process, 90 s.
const STOP_MOST: Duration = Duration::from_secs(5);

/// The files of the state directory that both processes must know.
fn state_files() -> [FileInfo; 7] {
    [
        overrides::FILE.info,
        health_file::FILE.info,
        retained::STANDINGS.info,
        retained::RAMPS.info,
        last_good::FILE.info,
        event_number::FILE.info,
        exclusive::LEASES.info,
    ]
}
