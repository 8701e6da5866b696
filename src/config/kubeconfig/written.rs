//! A kubeconfig as it is written. Keys that say nothing about the access to the API are not read.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Error, Location, Spanned};
use zeroize::Zeroizing;

use crate::config::kubeconfig::KubeconfigProblem;
use crate::printable::{cut, escaped};
use crate::source::without_mark;

/// Most events of the YAML reader (judgment: a file of [`super::MAX_KUBECONFIG`] octets with a value in each line).
const MAX_EVENTS: usize = 100_000;
/// Most aliases, and most events that they stand for (judgment: nothing writes aliases into kubeconfigs).
const MAX_ALIASES: usize = 1000;
/// How deep values may be in each other (judgment: the deepest, an extension, has ten levels).
const MAX_DEPTH: usize = 32;
/// Longest name that a message shows, in octets.
const MAX_NAME: usize = 100;

/// A text with its place.
pub(super) type WrittenText = Spanned<String>;

/// A text, unless it is empty.
pub(super) fn non_empty(written: &Option<WrittenText>) -> Option<&WrittenText> {
    written.as_ref().filter(|at| !at.value.is_empty())
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct WrittenConfig {
    kind: Option<WrittenText>,
    clusters: Option<Vec<NamedCluster>>,
    users: Option<Vec<NamedUser>>,
    contexts: Option<Vec<NamedContext>>,
    current_context: Option<WrittenText>,
}

#[derive(Debug, Deserialize)]
struct NamedCluster {
    name: WrittenText,
    cluster: Spanned<Cluster>,
}

#[derive(Debug, Deserialize)]
struct NamedUser {
    name: WrittenText,
    user: Spanned<User>,
}

#[derive(Debug, Deserialize)]
struct NamedContext {
    name: WrittenText,
    context: Spanned<Context>,
}

/// A cluster.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Cluster {
    #[serde(skip, default = "unknown")]
    pub(super) at: Location,
    pub(super) server: Option<WrittenText>,
    #[serde(rename = "certificate-authority")]
    pub(super) authority: Option<WrittenText>,
    #[serde(rename = "certificate-authority-data")]
    pub(super) authority_data: Option<WrittenSecret>,
    #[serde(rename = "insecure-skip-tls-verify")]
    pub(super) skips_verification: Option<Spanned<bool>>,
    #[serde(rename = "tls-server-name")]
    pub(super) server_name: Option<WrittenText>,
    pub(super) proxy_url: Option<WrittenText>,
}

/// A user.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct User {
    #[serde(skip, default = "unknown")]
    pub(super) at: Location,
    pub(super) token: Option<WrittenSecret>,
    #[serde(rename = "tokenFile")]
    pub(super) token_file: Option<WrittenText>,
    #[serde(rename = "client-certificate")]
    pub(super) certificate: Option<WrittenText>,
    #[serde(rename = "client-certificate-data")]
    pub(super) certificate_data: Option<WrittenSecret>,
    #[serde(rename = "client-key")]
    pub(super) key: Option<WrittenText>,
    #[serde(rename = "client-key-data")]
    pub(super) key_data: Option<WrittenSecret>,
    pub(super) username: Option<WrittenSecret>,
    pub(super) password: Option<WrittenSecret>,
    pub(super) exec: Option<Spanned<IgnoredAny>>,
    pub(super) auth_provider: Option<Spanned<IgnoredAny>>,
    #[serde(rename = "as")]
    pub(super) impersonated: Option<Spanned<IgnoredAny>>,
    #[serde(rename = "as-uid")]
    pub(super) impersonated_uid: Option<Spanned<IgnoredAny>>,
    #[serde(rename = "as-groups")]
    pub(super) impersonated_groups: Option<Spanned<IgnoredAny>>,
    #[serde(rename = "as-user-extra")]
    pub(super) impersonated_extra: Option<Spanned<IgnoredAny>>,
}

/// A context.
#[derive(Debug, Deserialize)]
pub(super) struct Context {
    pub(super) cluster: WrittenText,
    pub(super) user: Option<WrittenText>,
    pub(super) namespace: Option<WrittenText>,
}

fn unknown() -> Location {
    Location::UNKNOWN
}

/// A text that no message shows, with its place. It is wiped when it is dropped.
pub(super) struct WrittenSecret {
    text: Zeroizing<String>,
    pub(super) at: Location,
}

impl WrittenSecret {
    /// The text, unless it is empty.
    pub(super) fn some(&self) -> Option<&Zeroizing<String>> {
        Some(&self.text).filter(|text| !text.trim().is_empty())
    }
}

impl std::fmt::Debug for WrittenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WrittenSecret")
    }
}

impl<'de> Deserialize<'de> for WrittenSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WrittenSecret, D::Error> {
        let Spanned { value, referenced, .. } = WrittenText::deserialize(deserializer)?;
        Ok(WrittenSecret { text: Zeroizing::new(value), at: referenced })
    }
}

impl WrittenConfig {
    /// Parses YAML, which JSON is too.
    pub(super) fn parse(text: &[u8]) -> Result<WrittenConfig, Error> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_events: MAX_EVENTS,
                max_nodes: MAX_EVENTS,
                max_aliases: MAX_ALIASES,
                max_anchors: MAX_ALIASES,
                max_depth: MAX_DEPTH,
                flow_nesting_limit: MAX_DEPTH,
                max_documents: 1,
            },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_ALIASES },
            // As kubectl has it: a file with two `users` is a mistake of its writer.
            duplicate_keys: DuplicateKeyPolicy::Error,
            // A name such as `1` or `null` is a text.
            null_as_string: false,
        };
        let mut config: WrittenConfig = serde_saphyr::from_slice_with_options(without_mark(text), options)?;
        for NamedCluster { cluster, .. } in config.clusters.iter_mut().flatten() {
            cluster.value.at = cluster.referenced;
        }
        for NamedUser { user, .. } in config.users.iter_mut().flatten() {
            user.value.at = user.referenced;
        }
        Ok(config)
    }

    /// Refuses other files of Kubernetes.
    pub(super) fn check_kind(&self) -> Result<(), KubeconfigProblem> {
        match self.kind.as_ref().filter(|kind| kind.value != "Config") {
            None => Ok(()),
            Some(kind) => {
                let message = format!("its kind is {}: not a kubeconfig", shown(&kind.value));
                Err(KubeconfigProblem::at(kind.referenced, message, "`kubectl config view --raw` prints one"))
            }
        }
    }

    /// The context of this name, or the current one.
    pub(super) fn context(&self, wanted: Option<&str>) -> Result<&Context, KubeconfigProblem> {
        let current = non_empty(&self.current_context);
        let (name, location) = match (wanted, current) {
            (Some(name), _) => (name, None),
            (None, Some(current)) => (current.value.as_str(), Some(current.referenced)),
            (None, None) => {
                let hint = "write `context = \"NAME\"` in the policy, or `current-context: NAME` here";
                return Err(KubeconfigProblem::of_file("there is no `current-context`", hint));
            }
        };
        let all = || self.contexts.iter().flatten();
        let found = all().find(|of| of.name.value == name);
        found
            .map(|of| &of.context.value)
            .ok_or_else(|| missing("context", name, location, all().map(|of| of.name.value.as_str())))
    }

    /// The cluster of this name.
    pub(super) fn cluster(&self, name: &WrittenText) -> Result<&Cluster, KubeconfigProblem> {
        let all = || self.clusters.iter().flatten();
        let found = all().find(|of| of.name.value == name.value);
        found.map(|of| &of.cluster.value).ok_or_else(|| {
            missing("cluster", &name.value, Some(name.referenced), all().map(|of| of.name.value.as_str()))
        })
    }

    /// The user of this name.
    pub(super) fn user(&self, name: &WrittenText) -> Result<&User, KubeconfigProblem> {
        let all = || self.users.iter().flatten();
        let found = all().find(|of| of.name.value == name.value);
        found
            .map(|of| &of.user.value)
            .ok_or_else(|| missing("user", &name.value, Some(name.referenced), all().map(|of| of.name.value.as_str())))
    }
}

fn missing<'a>(
    what: &str,
    name: &str,
    location: Option<Location>,
    known: impl Iterator<Item = &'a str>,
) -> KubeconfigProblem {
    /// Most names that are listed.
    const LISTED: usize = 8;
    let message = format!("there is no {what} `{}`", shown(name));
    let hint = match known.take(LISTED).map(shown).collect::<Vec<_>>().join(", ") {
        names if names.is_empty() => format!("the file has no {what}s"),
        names => format!("it has {names}"),
    };
    match location {
        Some(location) => KubeconfigProblem::at(location, message, hint),
        None => KubeconfigProblem::of_file(message, hint),
    }
}

fn shown(name: &str) -> String {
    escaped(cut(name, MAX_NAME)).into_owned()
}
