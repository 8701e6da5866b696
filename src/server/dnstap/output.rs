//! Where the query log is written to: the socket of a reader, or a file. Both are opened anew after an error. A call
//! waits at most [`PATIENCE`] for the reader; the greeting and the end take several.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::frames::{self, ControlFrame, MAX_CONTROL};
use crate::clock;
use crate::config::Dnstap;

/// How long one call waits for the reader.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// How long a reader has for its part of the greeting, in calls of [`PATIENCE`]: 5 s. It sits on this machine.
const GREETING_CALLS: usize = 25;

/// How long it has to confirm the end, in the same calls: 1 s, as for what waits at a stop.
const FINISH_CALLS: usize = 5;

/// Names that are tried for a file of a former run.
const MOST_ASIDE: usize = 100;

/// An opened output.
#[derive(Debug)]
pub(super) enum LogOutput {
    Socket(UnixStream),
    File(LogFile),
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    path: PathBuf,
    /// The end of the last whole frame.
    whole: u64,
}

/// Opens the output. An error is that of the system, or says what the path is in place of a reader or a file.
pub(super) fn open(dnstap: &Dnstap) -> io::Result<LogOutput> {
    match dnstap {
        Dnstap::Socket(path) => connect(path),
        Dnstap::File(path) => create(path),
    }
}

/// Opens the socket of a reader and greets it.
fn connect(path: &Path) -> io::Result<LogOutput> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A reader that accepts nothing would block the call.
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(false)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = UnixStream::from(std::os::fd::OwnedFd::from(socket));
    stream.write_all(&frames::control(ControlFrame::Ready))?;
    match receive_control(&mut stream, GREETING_CALLS)? {
        Some(ControlFrame::Accept) => {}
        _ => return Err(io::Error::new(ErrorKind::InvalidData, "it is no reader of dnstap (Frame Streams)")),
    }
    stream.write_all(&frames::control(ControlFrame::Start))?;
    Ok(LogOutput::Socket(stream))
}

/// Creates the file. One of a former run is renamed, because a second log behind its end could not be read.
fn create(path: &Path) -> io::Result<LogOutput> {
    move_aside(path)?;
    // What is created is a regular file: nothing is opened that exists, such as a pipe.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?;
    let start = frames::control(ControlFrame::Start);
    file.write_all(&start)?;
    Ok(LogOutput::File(LogFile { file, path: path.to_path_buf(), whole: start.len() as u64 }))
}

fn move_aside(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.len() > 0 => {}
        Ok(found) if found.is_file() => return fs::remove_file(path),
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "it exists and is not a regular file")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let now = clock::unix_seconds() as u64;
    let named = |at: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(if at == 0 { format!(".{now}") } else { format!(".{now}-{at}") });
        PathBuf::from(name)
    };
    let free = (0..MOST_ASIDE).map(named).find(|name| fs::symlink_metadata(name).is_err());
    let Some(free) = free else {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there are too many older files of this name"));
    };
    fs::rename(path, free)
}

impl LogOutput {
    /// Writes some octets; returns how many. An error of kind `WouldBlock` means that the reader takes nothing now.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            LogOutput::Socket(stream) => stream.write(octets),
            LogOutput::File(file) => file.file.write(octets),
        }
    }

    /// Whole frames of `octets` octets were written.
    pub(super) fn add_whole(&mut self, octets: usize) {
        match self {
            LogOutput::Socket(_) => {}
            LogOutput::File(file) => file.whole += octets as u64,
        }
    }

    /// Whether the output still is what its path names. A file that was renamed, for example by logrotate, is not.
    pub(super) fn is_current(&self) -> bool {
        match self {
            LogOutput::Socket(_) => true,
            LogOutput::File(LogFile { file, path, .. }) => match (file.metadata(), fs::symlink_metadata(path)) {
                (Ok(ours), Ok(named)) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
                (Ok(_), Err(_)) | (Err(_), _) => false,
            },
        }
    }

    /// Ends the log after a whole frame, so that a reader knows that it is complete. A failure changes nothing: all
    /// frames were written.
    pub(super) fn finish(mut self) {
        let is_sent = self.write(&frames::control(ControlFrame::Stop)).is_ok();
        if let (true, LogOutput::Socket(stream)) = (is_sent, &mut self) {
            // The reader has everything when it answers.
            let _ = receive_control(stream, FINISH_CALLS);
        }
    }

    /// After an error: a file ends with its last whole frame, and more can be written behind it. False for a reader's
    /// socket: half a frame can't be taken back.
    pub(super) fn rewind(&mut self) -> bool {
        match self {
            LogOutput::Socket(_) => false,
            LogOutput::File(LogFile { file, whole, .. }) => {
                file.set_len(*whole).is_ok() && file.seek(SeekFrom::Start(*whole)).is_ok()
            }
        }
    }

    /// Ends the log after [`LogOutput::rewind`]. A socket is only closed.
    pub(super) fn finish_whole(self) {
        match self {
            LogOutput::Socket(_) => {}
            LogOutput::File(_) => self.finish(),
        }
    }
}

/// A control frame of the reader; `None` for anything else.
fn receive_control(stream: &mut UnixStream, most_calls: usize) -> io::Result<Option<ControlFrame>> {
    let mut head = [0; 8];
    read_exact(stream, &mut head, most_calls)?;
    let [zero, len] = [&head[..4], &head[4..]].map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
    if zero != 0 || len as usize > MAX_CONTROL {
        return Ok(None);
    }
    let mut body = vec![0; len as usize];
    read_exact(stream, &mut body, most_calls)?;
    Ok(frames::received(&body))
}

fn read_exact(stream: &mut UnixStream, mut room: &mut [u8], most_calls: usize) -> io::Result<()> {
    let mut calls = 0;
    while !room.is_empty() {
        match stream.read(room) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => room = &mut room[count..],
            Err(error) if is_wait(&error) => {}
            Err(error) => return Err(error),
        }
        calls += 1;
        if calls > most_calls {
            return Err(io::Error::new(ErrorKind::TimedOut, "the reader does not answer"));
        }
    }
    Ok(())
}

/// Whether a call that failed may be repeated.
pub(super) fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &Path) -> Vec<u8> {
        fs::read(path).unwrap()
    }

    #[test]
    fn a_file_of_a_former_run_is_renamed_and_a_pipe_is_never_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queries.dnstap");
        fs::write(&path, b"").unwrap();
        create(&path).unwrap().finish();
        let first = written(&path);
        assert!(
            first.starts_with(&frames::control(ControlFrame::Start))
                && first.ends_with(&frames::control(ControlFrame::Stop))
        );
        for _ in 0..2 {
            create(&path).unwrap().finish();
        }
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert_eq!(create(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_log_goes_on_after_its_last_whole_frame() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queries.dnstap");
        let mut output = create(&path).unwrap();
        output.write(b"\0\0\0\x03one").unwrap();
        output.add_whole(7);
        output.write(b"\0\0\0\x05th").unwrap();
        assert!(output.rewind());
        output.write(b"\0\0\0\x03two").unwrap();
        output.finish_whole();
        let expected = [
            &frames::control(ControlFrame::Start)[..],
            b"\0\0\0\x03one\0\0\0\x03two",
            &frames::control(ControlFrame::Stop),
        ]
        .concat();
        assert_eq!(written(&path), expected);
    }

    #[test]
    fn a_file_that_was_renamed_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queries.dnstap");
        let output = create(&path).unwrap();
        assert!(output.is_current());
        fs::rename(&path, dir.path().join("rotated")).unwrap();
        assert!(!output.is_current());
        fs::write(&path, b"another").unwrap();
        assert!(!output.is_current());
    }
}
