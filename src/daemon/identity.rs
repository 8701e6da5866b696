//! What a node says of itself, from its settings and from what this process has of its own.

use std::io;

use crate::clock;
use crate::config::Settings;
use crate::snapshot::Identity;
use crate::wire::cookie::CookieSecrets;

/// Makes a node's [`Identity`], at the start and after each reload.
pub(crate) struct Identities {
    /// For cookies where the settings name no secret: the same as long as this process lives.
    own: CookieSecrets,
}

impl Identities {
    /// Draws this process's own secret; an error is the system's.
    pub(crate) fn new() -> io::Result<Identities> {
        Ok(Identities { own: CookieSecrets { current: clock::secret()?, other: None } })
    }

    /// What these settings make of it.
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
