//! New settings held against those in force: what of them is bad goes on as it was, what differs, and which keys take a
//! restart. Values only.

use std::path::PathBuf;

use crate::config::certificate::Tls;
use crate::config::guard::Guard;
use crate::config::problem::{Part, Problems};
use crate::config::settings::{Listen, Settings};

impl Settings {
    /// The same, with what `before` had in place of the parts that are bad.
    pub(super) fn with_parts_of(mut self, before: Option<&Settings>, problems: &Problems) -> Settings {
        let Some(before) = before else { return self };
        if problems.is_bad(Part::Tokens) {
            self.operators.tokens = before.operators.tokens.clone();
        }
        if problems.is_bad(Part::CookieSecrets) {
            self.guard.cookies = before.guard.cookies;
        }
        // The certificate that is shown is replaced by whoever watches its files.
        self
    }

    /// Whether anything differs that a running process takes up, but for databases.
    pub(super) fn differs(&self, other: &Settings) -> bool {
        let Guard { cookies, secret_file: _, rate_limit, version, id } = &self.guard;
        let (theirs, placing) = (&other.guard, &other.placing);
        let tokens = |settings: &Settings| settings.operators.tokens.as_deref().cloned();
        self.node != other.node
            || self.removal_delay != other.removal_delay
            || *cookies != theirs.cookies
            || *rate_limit != theirs.rate_limit
            || (version, id) != (&theirs.version, &theirs.id)
            || tokens(self) != tokens(other)
            || self.regions != other.regions
            || self.placing.claims != placing.claims
            || self.placing.default != placing.default
            || self.placing.databases != placing.databases
    }

    /// The keys in which `other` differs and which a running process can't change.
    pub fn needs_restart(&self, other: &Settings) -> Vec<&'static str> {
        let Listen { dns, http, tls, https, quic, workers } = &self.listen;
        let theirs = &other.listen;
        let files = |settings: &Settings| settings.tls.as_ref().map(Tls::files);
        let all = [
            ("region", self.region != other.region),
            ("listen.dns", *dns != theirs.dns),
            ("listen.http", *http != theirs.http),
            ("listen.tls", *tls != theirs.tls),
            ("listen.https", *https != theirs.https),
            ("listen.quic", *quic != theirs.quic),
            ("listen.workers", *workers != theirs.workers),
            ("vantage.control", self.control != other.control),
            ("tls", files(self) != files(other)),
            ("state.dir", self.operators.state_dir != other.operators.state_dir),
        ];
        all.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }

    /// Files that the settings name and that are read again on a reload, but for those of tokens and of clients.
    pub(super) fn side_files(&self) -> impl Iterator<Item = PathBuf> {
        let tls = self.tls.as_ref().map(Tls::files).into_iter().flatten();
        self.guard.secret_file.iter().cloned().chain(tls)
    }
}
