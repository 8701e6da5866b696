//! Keeps the certificate that clients are shown what the files say: looks at them every few seconds, since whoever
//! renews a certificate may swap a link somewhere above it, and reads them when they changed. A pair that can't be used
//! is told in the log once, and the one before goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{Certificate, CertificateError, Tls};
use crate::server::Certificates;

/// How often the files are looked at: soon enough for a person who waits, and two `stat`s cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is looked at to see a change: when, and how long the two files are.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// Until `stop`: swaps `certificates` when the files of `tls` change.
pub(crate) async fn keep(tls: Tls, certificates: Arc<Certificates>, stop: CancellationToken) {
    let mut keeper = Keeper { seen: None, served: tls.certificate.clone(), tls, certificates };
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = stop.cancelled() => return,
        }
        keeper = match tokio::task::spawn_blocking(move || keeper.look()).await {
            Ok(keeper) => keeper,
            // The process is ending, or it panicked, which has been printed; what is served stays.
            Err(_) => return,
        };
    }
}

struct Keeper {
    tls: Tls,
    certificates: Arc<Certificates>,
    /// What is being shown.
    served: Certificate,
    /// The files as they were when they were read last; none were since the start.
    seen: Option<Stamp>,
}

impl Keeper {
    fn look(mut self) -> Keeper {
        let stamp = [&self.tls.cert, &self.tls.key].map(|file| stamp(file));
        if self.seen != Some(stamp) {
            self.seen = Some(stamp);
            let read = self.tls.read();
            self.take(read);
        }
        self
    }

    fn take(&mut self, read: Result<Certificate, CertificateError>) {
        let next = match read {
            Ok(next) if next.certified.cert == self.served.certified.cert => return,
            Ok(next) => next,
            Err(error) => return tracing::error!(%error, "the new certificate can't be used; the one before goes on"),
        };
        let file = self.tls.cert.display();
        if next.is_expired(clock::unix_seconds()) {
            tracing::warn!(%file, "a new certificate is shown, and it has expired");
        } else {
            tracing::info!(%file, not_after = next.not_after, "a new certificate is shown");
        }
        self.certificates.swap(next.certified.clone());
        self.served = next;
    }
}

fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
