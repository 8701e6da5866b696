//! A node's identity in DNS, from its settings and from a secret of this process.

use std::io;

use crate::clock;
use crate::config::Settings;
use crate::snapshot::Identity;
use crate::wire::cookie::{CookieSecrets, SECRET_LEN};

/// Makes a node's [`Identity`], at the start and after each reload.
pub(crate) struct Identities {
    /// For cookies where the settings have no secret: it stays the same as long as this process lives.
    own: CookieSecrets,
}

impl Identities {
    /// Draws this process's own secret, or takes that of the process before it; an error is the system's.
    pub(crate) fn new(taken: Option<[u8; SECRET_LEN]>) -> io::Result<Identities> {
        let current = match taken {
            Some(secret) => secret,
            None => clock::secret()?,
        };
        Ok(Identities { own: CookieSecrets { current, other: None } })
    }

    /// The secret for cookies where the settings have none.
    pub(crate) fn own_secret(&self) -> [u8; SECRET_LEN] {
        self.own.current
    }

    /// The identity for these settings.
    pub(crate) fn of(&self, settings: &Settings) -> Identity {
        let guard = &settings.guard;
        Identity {
            nsid: settings.node.clone().into_bytes(),
            cookies: Some(guard.cookies.unwrap_or(self.own)),
            version: guard.version.clone(),
            id: guard.id.clone(),
            rate_limit: guard.rate_limit.clone(),
        }
    }
}
