//! Compares new settings with those in force: what differs, and which keys need a restart. Also keeps the previous
//! content of files that have errors now. Values only.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::config::certificate::Tls;
use crate::config::guard::Guard;
use crate::config::operators::Operators;
use crate::config::secret_file::NamedFile;
use crate::config::settings::{Listen, Settings, WrittenDifference};
use crate::config::sinks::SinkSettings;
use crate::model::Region;
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
        self.removal_delay != other.removal_delay
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

    /// These settings as a running server uses them, with the values of `running` where only a restart can change them.
    /// Each change that is left out is an error. `None`: the region of the running server is no longer declared, so
    /// nothing of these settings can be used; that is an error too.
    pub(super) fn with_values_of_start(self, running: &Settings, problems: &mut Problems) -> Option<Settings> {
        problems.about(ManualSection::Settings, |problems| {
            self.report_changes_for_restart(running, problems);
            let regions = self.regions_of_running(&running.region, problems)?;
            Some(Settings {
                region: running.region.clone(),
                node: running.node.clone(),
                listen: running.listen.clone(),
                control: running.control.clone(),
                exec: running.exec.clone(),
                fleet: running.fleet.clone(),
                is_in_fleet: running.is_in_fleet,
                tls: running.tls.clone(),
                operators: Operators { state_dir: running.operators.state_dir.clone(), ..self.operators },
                limits: running.limits,
                dnstap: running.dnstap.clone(),
                sinks: running.sinks.clone(),
                follows: running.follows.clone(),
                user: running.user.clone(),
                has_file_rules: running.has_file_rules,
                regions,
                written: running.written.clone(),
                ..self
            })
        })
    }

    /// The declared regions; without `[regions]` only that of the running server. `None`, with an error, if they lack
    /// it.
    fn regions_of_running(&self, running: &str, problems: &mut Problems) -> Option<Vec<Region>> {
        if self.written.place_of("regions").is_none() {
            return Some(vec![Region { name: running.to_owned(), location: None }]);
        }
        if self.regions.iter().any(|region| region.name == running) {
            return Some(self.regions.clone());
        }
        let message = format!(
            "the running server is in region `{running}`, which these settings don't declare, so the previous \
             settings stay in force"
        );
        let hint = format!("keep [regions.{running}] until the server is restarted, or restart it now");
        problems.error(self.written.place_near("regions"), message).hint(hint);
        None
    }

    /// An error for each key that differs from `running` and that only a restart can change.
    fn report_changes_for_restart(&self, running: &Settings, problems: &mut Problems) {
        let changed = self.changed_for_restart(running);
        let mut changed: Vec<WrittenDifference> =
            changed.iter().flat_map(|path| self.written.differences(&running.written, path)).collect();
        changed.sort_by(|a, b| (a.place.line, &a.path).cmp(&(b.place.line, &b.path)));
        changed.dedup();
        for WrittenDifference { path, place, is_gone } in changed {
            let (what, back) = match is_gone {
                true => ("is no longer written", "write it again"),
                false => ("has changed", "write the former value again"),
            };
            let message = format!("`{path}` {what}: that takes a restart, until then the server goes on as it started");
            problems.error(&place, message).hint(format!("restart the server, or {back}"));
        }
    }

    /// The keys and tables in which `other` differs and which only a restart can change: dotted paths.
    fn changed_for_restart(&self, other: &Settings) -> Vec<String> {
        let Listen { dns, http, tls, https, quic, workers } = &self.listen;
        let theirs = &other.listen;
        let files = |settings: &Settings| settings.tls.as_ref().map(Tls::files);
        // A node that the settings don't name keeps its name although the host gets another one.
        let is_node_written = [self, other].iter().any(|settings| settings.written.place_of("node").is_some());
        let all = [
            ("region", self.region != other.region),
            ("node", is_node_written && self.node != other.node),
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
            ("run.user", self.user != other.user),
            ("run.file_rules", self.has_file_rules != other.has_file_rules),
            ("state.dir", self.operators.state_dir != other.operators.state_dir),
        ];
        let keys = all.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key.to_owned());
        let sinks = different(&self.sinks, &other.sinks, |sink| &sink.name);
        let sinks = sinks.into_iter().map(|name| format!("sink.{name}"));
        let follows = different(&self.follows, &other.follows, |follow| &follow.name);
        let follows = follows.into_iter().map(|name| format!("follow.{name}"));
        keys.chain(sinks).chain(follows).collect()
    }

    /// Files that the settings name and that a reload reads again, without those of tokens and of clients.
    pub(super) fn side_files(&self) -> impl Iterator<Item = PathBuf> {
        let tls = self.tls.as_ref().map(Tls::files).into_iter().flatten();
        let of_sinks = self.sinks.iter().flat_map(SinkSettings::files);
        self.guard.secret_file.iter().cloned().chain(tls).chain(of_sinks)
    }
}

/// The names of the items that only one of the lists has, or that differ.
fn different<'a, T: PartialEq>(new: &'a [T], old: &'a [T], name: impl Fn(&'a T) -> &'a String) -> BTreeSet<&'a String> {
    let only_new = new.iter().filter(|item| !old.contains(item));
    let only_old = old.iter().filter(|item| !new.contains(item));
    only_new.chain(only_old).map(name).collect()
}
