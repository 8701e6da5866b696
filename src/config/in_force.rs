//! Compares new settings with those in force: what differs, and which keys need a restart. Also keeps the previous
//! content of files that have errors now. Values only.

use std::path::PathBuf;

use crate::config::certificate::Tls;
use crate::config::guard::Guard;
use crate::config::secret_file::NamedFile;
use crate::config::settings::{Listen, Settings};
use crate::config::sinks::SinkSettings;
use crate::source::{ManualSection, Problems, SideFile};

impl Settings {
    /// These settings with the tokens and cookie secrets that their files have now; without them where a file has
    /// errors.
    pub(super) fn with_side_files(self, problems: &mut Problems) -> Settings {
        let operators = problems.about(ManualSection::Operators, |problems| self.operators.with_tokens(problems));
        let guard = problems.about(ManualSection::Settings, |problems| self.guard.with_cookie_secrets(problems));
        Settings { operators, guard, ..self }
    }

    /// These settings, which stay in force while those of the file have errors. The files that they name are read
    /// again: each is a part of its own.
    pub(super) fn with_side_files_again(&self, problems: &mut Problems) -> Settings {
        let mut settings = self.clone();
        for file in [&mut settings.operators.tokens_from, &mut settings.guard.secrets_from] {
            *file = file.take().map(NamedFile::without_line);
        }
        settings.with_side_files(problems).with_good_side_files_of(self, problems)
    }

    /// These settings with the tokens and cookie secrets of `before` where their files have errors now.
    pub(super) fn with_good_side_files_of(mut self, before: &Settings, problems: &Problems) -> Settings {
        if problems.is_bad(SideFile::Tokens) {
            self.operators.tokens = before.operators.tokens.clone();
            self.operators.scopes = before.operators.scopes.clone();
        }
        if problems.is_bad(SideFile::CookieSecrets) {
            self.guard.cookies = before.guard.cookies;
        }
        // `daemon` watches the files of the certificate and replaces it only by a valid one.
        self
    }

    /// Whether anything differs that a running process can change. Databases are compared elsewhere.
    pub(super) fn differs(&self, other: &Settings) -> bool {
        let Guard { cookies, secret_file: _, rate_limit, version, id, secrets_from: _ } = &self.guard;
        let (theirs, placing) = (&other.guard, &other.placing);
        let tokens = |settings: &Settings| settings.operators.tokens.as_deref().cloned();
        self.node != other.node
            || self.removal_delay != other.removal_delay
            || *cookies != theirs.cookies
            || *rate_limit != theirs.rate_limit
            || (version, id) != (&theirs.version, &theirs.id)
            || tokens(self) != tokens(other)
            || self.operators.hosts != other.operators.hosts
            || self.regions != other.regions
            || self.placing.claims != placing.claims
            || self.placing.default != placing.default
            || self.placing.databases != placing.databases
    }

    /// The keys in which `other` differs and which only a restart can change.
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
            ("vantage.exec", self.exec != other.exec),
            ("fleet", self.fleet != other.fleet),
            ("tls", files(self) != files(other)),
            ("limits", self.limits != other.limits),
            ("dnstap", self.dnstap != other.dnstap),
            ("sink", self.sinks != other.sinks),
            ("follow", self.follows != other.follows),
            ("run.user", self.user != other.user),
            ("run.file_rules", self.has_file_rules != other.has_file_rules),
            ("state.dir", self.operators.state_dir != other.operators.state_dir),
        ];
        all.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }

    /// Files that the settings name and that a reload reads again, without those of tokens and of clients.
    pub(super) fn side_files(&self) -> impl Iterator<Item = PathBuf> {
        let tls = self.tls.as_ref().map(Tls::files).into_iter().flatten();
        let of_sinks = self.sinks.iter().flat_map(SinkSettings::files);
        self.guard.secret_file.iter().cloned().chain(tls).chain(of_sinks)
    }
}
