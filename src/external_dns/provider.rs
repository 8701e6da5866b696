//! What the requests do: the records in memory, and the files that follow them. A change is checked as `portolan check`
//! would check its files, then the records are written, then the policy files. If the process ends in between, the next
//! start writes the policy files from the records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::{self, Flags, PolicyTexts, Settings};
use crate::external_dns::adjust::adjusted;
use crate::external_dns::book::{RecordBook, RecordKey, listed};
use crate::external_dns::files::{ProviderDir, RECORDS, policy_file};
use crate::external_dns::policy::{ZonePolicy, zone_policy};
use crate::external_dns::record::{DnsRecord, RecordChanges};
use crate::source::{Problem, Severity};
use crate::wire::Name;

/// Rounds in which single records are left out; after them all changes of the cluster are. Each round checks the
/// policies again (judgment: a problem may hide another one).
const ROUNDS: usize = 4;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProviderError {
    /// The request is wrong: it would be refused again.
    Refused(String),
    /// The files are wrong or can't be written, whatever is requested: it may be repeated later.
    Unavailable(String),
}

/// All records, and where they are written.
#[derive(Debug)]
pub(super) struct Provider {
    settings_file: PathBuf,
    settings: Settings,
    zones: Vec<Name>,
    /// The regions of clusters whose records state none.
    regions: BTreeMap<String, String>,
    dir: ProviderDir,
    book: RecordBook,
    /// Why the policy files are not those of the records.
    unwritten: Option<String>,
    /// What adjusting left out last, by cluster, so that each is logged once.
    left_out: BTreeMap<String, BTreeSet<String>>,
}

/// How a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProviderHealth {
    /// How many records there are.
    pub(super) records: usize,
    /// Why the policy files are not those of the records.
    pub(super) unwritten: Option<String>,
    /// What adjusting left out last.
    pub(super) left_out: Vec<String>,
}

/// The policies of zones.
type Policies = BTreeMap<Name, ZonePolicy>;

impl Provider {
    /// Reads the records and writes the policy files that are not up to date. An error says what to do.
    pub(super) fn open(
        settings_file: &Path,
        zones: Vec<Name>,
        regions: BTreeMap<String, String>,
    ) -> Result<Provider, String> {
        let loaded = config::settings_alone(Some(settings_file), &Flags::default());
        let (settings, _) = loaded.map_err(|problems| first_errors(&problems, |_| true))?;
        let dir = ProviderDir::open(&settings.zones_dir)?;
        let book = dir.read()?;
        let provider = Provider {
            settings_file: settings_file.to_path_buf(),
            settings,
            zones,
            regions,
            dir,
            book,
            unwritten: None,
            left_out: BTreeMap::new(),
        };
        let policies = provider.policies(&provider.book);
        provider.check(&policies).map_err(|problems| first_errors(&problems, |_| true))?;
        provider.write_policies(&policies)?;
        Ok(provider)
    }

    /// The zones.
    pub(super) fn zones(&self) -> &[Name] {
        &self.zones
    }

    /// The records of a cluster.
    pub(super) fn records(&self, cluster: &str) -> Vec<DnsRecord> {
        self.book.of_cluster(cluster)
    }

    /// How it is.
    pub(super) fn health(&self) -> ProviderHealth {
        let left_out = self.left_out.values().flatten().cloned().collect();
        ProviderHealth { records: self.book.len(), unwritten: self.unwritten.clone(), left_out }
    }

    /// The records as they will be stored. One that can't be stored is replaced by the record that is stored, or left
    /// out: one wrong annotation must not hold up all others. The log and [`Provider::health`] say which these are.
    pub(super) fn adjust(&mut self, cluster: &str, records: &[DnsRecord]) -> Result<Vec<DnsRecord>, ProviderError> {
        self.read_settings();
        if self.unwritten.is_some() {
            self.unwritten = self.write_policies(&self.policies(&self.book)).err();
        }
        let mut wanted: BTreeMap<RecordKey, DnsRecord> = BTreeMap::new();
        let mut wrong: BTreeMap<RecordKey, String> = BTreeMap::new();
        for record in records {
            let key = RecordKey::of(record);
            match adjusted(record, &self.zones) {
                Ok(_) if wanted.contains_key(&key) => {
                    wrong.insert(key, "another record has the same name, type and set identifier".to_owned());
                }
                Ok(record) => drop(wanted.insert(key, record)),
                Err(why) => {
                    if let Some(stored) = self.book.get(cluster, &key) {
                        wanted.insert(key.clone(), stored.clone());
                    }
                    wrong.insert(key, why);
                }
            }
        }
        self.settle(cluster, &mut wanted, &mut wrong)?;
        let shown = |(key, why): (RecordKey, String)| match key.set.as_str() {
            "" => format!("{} {}: {why}", key.name, key.rtype),
            set => format!("{} {} ({set}): {why}", key.name, key.rtype),
        };
        self.log_left_out(cluster, wrong.into_iter().map(shown).collect());
        Ok(wanted.into_values().collect())
    }

    /// Replaces the records that make a policy invalid by those that are stored, or leaves them out.
    fn settle(
        &self,
        cluster: &str,
        wanted: &mut BTreeMap<RecordKey, DnsRecord>,
        wrong: &mut BTreeMap<RecordKey, String>,
    ) -> Result<(), ProviderError> {
        for round in 0..=ROUNDS {
            let policies = self.policies(&self.book.with_steered(cluster, wanted.values().cloned()));
            let Err(problems) = self.check(&policies) else { break };
            let mut blamed = self.blamed(cluster, &policies, &problems);
            blamed.retain(|key, _| wanted.get(key) != self.book.get(cluster, key));
            if blamed.is_empty() || round == ROUNDS {
                // Without the changes of this cluster the files are as they are, and must be good.
                self.check(&self.policies(&self.book)).map_err(|problems| unavailable(&problems))?;
                let why = first_errors(&problems, |problem| is_in(problem, &policies));
                let changed = wanted.iter().filter(|(key, record)| self.book.get(cluster, key) != Some(record));
                blamed = changed.map(|(key, _)| (key.clone(), why.clone())).collect();
            }
            for (key, why) in blamed {
                match self.book.get(cluster, &key) {
                    Some(stored) => drop(wanted.insert(key.clone(), stored.clone())),
                    None => drop(wanted.remove(&key)),
                }
                wrong.insert(key, why);
            }
        }
        Ok(())
    }

    /// Applies changes and writes the files, all or nothing.
    pub(super) fn apply(&mut self, cluster: &str, changes: &RecordChanges) -> Result<(), ProviderError> {
        self.read_settings();
        let book = self.book.changed(cluster, changes, &self.zones).map_err(ProviderError::Refused)?;
        let policies = self.policies(&book);
        if let Err(problems) = self.check(&policies) {
            self.check(&self.policies(&self.book)).map_err(|problems| unavailable(&problems))?;
            return Err(ProviderError::Refused(first_errors(&problems, |problem| is_in(problem, &policies))));
        }
        for zone in &self.zones {
            self.dir.policy(zone).map_err(ProviderError::Unavailable)?;
        }
        if book != self.book {
            self.dir.replace(RECORDS, book.to_json().as_bytes(), true).map_err(ProviderError::Unavailable)?;
            tracing::info!(
                cluster,
                created = changes.create.len(),
                updated = changes.update_new.len(),
                deleted = changes.delete.len(),
                "changes of external-dns are stored"
            );
            self.book = book;
        }
        let written = self.write_policies(&policies);
        self.unwritten = written.as_ref().err().cloned();
        written.map_err(ProviderError::Unavailable)
    }

    /// The settings may have other regions now. Those that can't be read stay as they are.
    fn read_settings(&mut self) {
        if let Ok((settings, _)) = config::settings_alone(Some(&self.settings_file), &Flags::default())
            && settings.zones_dir == self.settings.zones_dir
        {
            self.settings = settings;
        }
    }

    fn policies(&self, book: &RecordBook) -> Policies {
        let policy = |zone: &Name| (zone.clone(), zone_policy(zone, &self.zones, book, &self.regions));
        self.zones.iter().map(policy).collect()
    }

    /// Checks policies as `portolan check` would; an error has the problems.
    fn check(&self, policies: &Policies) -> Result<(), Vec<Problem>> {
        let text = |(zone, policy): (&Name, &ZonePolicy)| (policy_file(zone), policy.text.as_bytes().into());
        let texts: PolicyTexts = policies.iter().map(text).collect();
        config::try_policies(&self.settings, &texts)
    }

    /// The records of the cluster to which errors point, and the errors.
    fn blamed(&self, cluster: &str, policies: &Policies, problems: &[Problem]) -> BTreeMap<RecordKey, String> {
        let mut blamed = BTreeMap::new();
        for problem in problems.iter().filter(|problem| problem.severity == Severity::Error) {
            let labels = problem.labels.iter().map(|label| (&label.file, label.line));
            for (file, line) in [(&problem.file, problem.line)].into_iter().chain(labels) {
                let of_file = |(zone, _): &(&Name, &ZonePolicy)| file.ends_with(policy_file(zone));
                let Some((_, policy)) = policies.iter().find(of_file) else { continue };
                for (of, key) in policy.records_at(line) {
                    if of == cluster {
                        blamed.entry(key.clone()).or_insert_with(|| described(problem));
                    }
                }
            }
        }
        blamed
    }

    /// Writes the policy files that differ from these.
    fn write_policies(&self, policies: &Policies) -> Result<(), String> {
        let mut changed = Vec::new();
        for (zone, policy) in policies {
            if self.dir.policy(zone)?.as_deref() != Some(policy.text.as_bytes()) {
                changed.push((policy_file(zone), policy));
            }
        }
        for (name, policy) in changed {
            self.dir.replace(&name, policy.text.as_bytes(), false)?;
        }
        Ok(())
    }

    /// Logs what was not left out before.
    fn log_left_out(&mut self, cluster: &str, now: BTreeSet<String>) {
        let before = self.left_out.insert(cluster.to_owned(), now.clone()).unwrap_or_default();
        for record in now.difference(&before) {
            tracing::warn!(cluster, "left as it was: {record}");
        }
    }
}

fn unavailable(problems: &[Problem]) -> ProviderError {
    let why = first_errors(problems, |_| true);
    ProviderError::Unavailable(format!("the files in the zones directory have errors of their own: {why}"))
}

/// Whether a problem is one of these policy files.
fn is_in(problem: &Problem, policies: &Policies) -> bool {
    policies.keys().any(|zone| problem.file.ends_with(policy_file(zone)))
}

/// The errors as one text: those that are wanted, or all if none is.
fn first_errors(problems: &[Problem], is_wanted: impl Fn(&Problem) -> bool) -> String {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let (wanted, others): (Vec<&Problem>, Vec<&Problem>) = errors.partition(|problem| is_wanted(problem));
    let named = if wanted.is_empty() { others } else { wanted };
    listed(&named.into_iter().map(|problem| problem.to_string()).collect::<Vec<_>>())
}

fn described(problem: &Problem) -> String {
    match &problem.hint {
        Some(hint) => format!("{} (hint: {hint})", problem.message),
        None => problem.message.clone(),
    }
}
