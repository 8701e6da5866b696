//! The thread that writes the query log. It alone waits for the reader or the disk.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use super::QueryLogState;
use super::frames;
use super::output::{self, LogOutput, PATIENCE};
use super::queue::{LogChunk, LogQueue};
use crate::clock;
use crate::config::Dnstap;
use crate::model::Moment;

/// Pause between attempts to open the output.
const RETRY: Duration = Duration::from_secs(1);

/// How often a file's path is checked, so that a renamed file is replaced soon.
const CHECK: Duration = Duration::from_secs(1);

/// When stopping, how long the reader has to take what waits.
const DRAIN: Duration = Duration::from_secs(1);

/// Chunks are joined up to about this many octets, so that short messages of streams take few system calls.
const JOINED: usize = 64 << 10;

/// Writes until `stop` is set and what was queued before is written, or [`DRAIN`] is over.
pub(super) struct LogWriter {
    pub(super) dnstap: Dnstap,
    pub(super) queue: LogQueue,
    pub(super) state: Arc<QueryLogState>,
    pub(super) stop: Arc<AtomicBool>,
    /// What could not be written whole: it is written first when the output works again.
    pub(super) held: Option<LogChunk>,
}

/// Why an output is no longer written.
enum LogEnd {
    /// The server stops.
    Stopped,
    /// The file was renamed.
    Renamed,
    /// An error, which is logged.
    Lost,
}

impl LogWriter {
    pub(super) fn run(mut self) {
        let mut is_reported = false;
        loop {
            match output::open(&self.dnstap) {
                Ok(output) => {
                    is_reported = false;
                    tracing::info!(output = %self.dnstap, "the query log is written");
                    self.state.set_open(true);
                    let ended = self.write_to(output);
                    self.state.set_open(false);
                    match ended {
                        LogEnd::Stopped => break,
                        LogEnd::Renamed => continue,
                        LogEnd::Lost => {}
                    }
                }
                Err(error) if !is_reported => {
                    is_reported = true;
                    let retry = RETRY.as_secs();
                    tracing::warn!(
                        output = %self.dnstap, %error,
                        "the query log can't be written; retried every {retry} s, and what has no room is dropped"
                    );
                }
                Err(_) => {}
            }
            if self.is_stopped_within(RETRY) {
                break;
            }
        }
        if let Some(held) = self.held.take() {
            self.queue.shared.dropped(held.frames);
        }
        for chunk in self.queue.receiver.try_iter() {
            self.queue.shared.taken(&chunk);
            self.queue.shared.dropped(chunk.frames);
        }
    }

    fn write_to(&mut self, mut output: LogOutput) -> LogEnd {
        let mut checked = clock::now();
        let (mut until, mut is_reported) = (None, false);
        loop {
            if self.is_stopped() && until.is_none() {
                until = Some(clock::now() + DRAIN);
            }
            let now = clock::now();
            if now.since(checked) >= CHECK {
                checked = now;
                if !output.is_current() {
                    output.finish();
                    return LogEnd::Renamed;
                }
            }
            let patience = if until.is_some() { Duration::ZERO } else { PATIENCE };
            let next =
                self.held.take().map_or_else(|| self.queue.receiver.recv_timeout(patience).map(|of| self.join(of)), Ok);
            let chunk = match next {
                Ok(chunk) => chunk,
                Err(RecvTimeoutError::Timeout) if until.is_none() => continue,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    output.finish();
                    return LogEnd::Stopped;
                }
            };
            let Err(error) = self.write_chunk(&mut output, chunk, &mut until) else {
                is_reported = false;
                continue;
            };
            if !std::mem::replace(&mut is_reported, true) {
                tracing::warn!(output = %self.dnstap, error, "the query log is interrupted");
            }
            match output.rewind() {
                _ if until.is_some() => {
                    output.finish_whole();
                    return LogEnd::Stopped;
                }
                // The disk may have room later. A new file each time would only make more files.
                true => {
                    self.is_stopped_within(RETRY);
                }
                false => return LogEnd::Lost,
            }
        }
    }

    /// The chunk and those behind it, up to [`JOINED`] octets.
    fn join(&self, mut chunk: LogChunk) -> LogChunk {
        self.queue.shared.taken(&chunk);
        while chunk.octets.len() < JOINED {
            let Ok(next) = self.queue.receiver.try_recv() else { break };
            self.queue.shared.taken(&next);
            chunk.octets.extend_from_slice(&next.octets);
            chunk.frames += next.frames;
        }
        chunk
    }

    /// Writes the chunk, and counts the frames that are written whole. The others are held after an error.
    fn write_chunk(
        &mut self,
        output: &mut LogOutput,
        mut chunk: LogChunk,
        until: &mut Option<Moment>,
    ) -> Result<(), String> {
        let mut written = 0;
        let failed = loop {
            let Some(rest) = chunk.octets.get(written..).filter(|rest| !rest.is_empty()) else { break None };
            match output.write(rest) {
                Ok(0) => break Some(ErrorKind::WriteZero.to_string()),
                Ok(count) => written += count,
                Err(error) if output::is_wait(&error) => {}
                Err(error) => break Some(error.to_string()),
            }
            if self.is_stopped() {
                let until = *until.get_or_insert_with(|| clock::now() + DRAIN);
                if clock::now() >= until && written < chunk.octets.len() {
                    break Some("the reader takes nothing, and the server stops".into());
                }
            }
        };
        let (lost, whole) = frames::unfinished(&chunk.octets, written);
        output.add_whole(whole);
        self.state.add_written(chunk.frames - lost);
        match failed {
            None => Ok(()),
            Some(error) => {
                chunk.octets.drain(..whole);
                self.held = Some(LogChunk { frames: lost, ..chunk });
                Err(error)
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn is_stopped_within(&self, time: Duration) -> bool {
        let until = clock::now() + time;
        while !self.is_stopped() && clock::now() < until {
            thread::park_timeout(until.since(clock::now()));
        }
        self.is_stopped()
    }
}
