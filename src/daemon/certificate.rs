//! Keeps the certificate for clients up to date: polls its files every few seconds, because a renewal may replace a
//! link somewhere above them, and reads them when they changed. A pair that can't be used is logged once, and the one
//! before stays in use.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{Certificate, CertificateError, Tls};
use crate::daemon::stamp::Stamp;
use crate::server::Certificates;

/// How often the files are polled: soon enough for a person who waits, and two `stat`s cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The stamps of the two files.
type Stamps = [Option<Stamp>; 2];

/// Until `stop`: swaps `certificates` when the files of `tls` change.
pub(crate) async fn keep(tls: Tls, certificates: Arc<Certificates>, stop: CancellationToken) {
    let mut keeper = Keeper { last_read: None, served: tls.certificate.clone(), tls, certificates };
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = stop.cancelled() => return,
        }
        // Files on a dead mount are waited for, but not by a server that stops.
        let looked = tokio::select! {
            looked = tokio::task::spawn_blocking(move || keeper.look()) => looked,
            () = stop.cancelled() => return,
        };
        keeper = match looked {
            Ok(keeper) => keeper,
            // The process is ending, or it panicked, which has been printed; what is served stays.
            Err(_) => return,
        };
    }
}

struct Keeper {
    tls: Tls,
    certificates: Arc<Certificates>,
    /// The certificate in use.
    served: Option<Certificate>,
    /// The stamps of the last reading; `None` before the first one.
    last_read: Option<Stamps>,
}

impl Keeper {
    fn look(mut self) -> Keeper {
        let stamp = [&self.tls.cert, &self.tls.key].map(|file| Stamp::of(file));
        if self.last_read != Some(stamp) {
            self.last_read = Some(stamp);
            let read = self.tls.read();
            self.take(read);
        }
        self
    }

    fn take(&mut self, read: Result<Certificate, CertificateError>) {
        let next = match read {
            Ok(next) if self.served.as_ref().is_some_and(|served| served.certified.cert == next.certified.cert) => {
                return;
            }
            Ok(next) => next,
            Err(error) if self.served.is_some() => {
                return tracing::error!(%error, "the new certificate can't be used; the old one stays in use");
            }
            Err(error) => return tracing::error!(%error, "the certificate can't be used: DoT, DoH and DoQ are off"),
        };
        let file = self.tls.cert.display();
        if next.is_expired(clock::unix_seconds()) {
            tracing::warn!(%file, "a new certificate is used, but it has expired");
        } else {
            tracing::info!(%file, not_after = next.not_after, "a new certificate is used");
        }
        self.certificates.swap(next.certified.clone());
        self.served = Some(next);
    }
}
