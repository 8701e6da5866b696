//! Kubeconfigs: where the API of a Kubernetes cluster is, and who this server is there. A kubeconfig is a file of YAML
//! or JSON that `kubectl` and others write; see "Organizing Cluster Access Using kubeconfig Files" of the documentation
//! of Kubernetes, and its reference "kubeconfig (v1)".
//!
//! It is no file of a zone: who follows the source reads it again and again, as it does a file with a token. So that
//! whoever writes it can't have other files sent to a server, its paths lead to files next to it or below. For the same
//! reason the server runs no program that it names.

mod written;

use std::collections::BTreeSet;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;
use serde_saphyr::Location;
use url::Url;
use zeroize::Zeroizing;

use crate::model::{KubernetesAccess, Model, Pem, SourceSpec, SourceTls};
use crate::printable::{cut, escaped};
use crate::source::{ManualSection, Place, Problem, Problems, SourceFile, files, reason};
use written::{Cluster, User, WrittenConfig, WrittenSecret, WrittenText, non_empty};

/// Largest kubeconfig in octets (judgment: one of a hundred clusters with their certificates has 500 KB).
const MAX_KUBECONFIG: u64 = 1 << 20;
/// Longest part of an error of the YAML reader that is shown, in octets (judgment: a line).
const MAX_SHOWN: usize = 200;

/// What to write in place of paths and of what is not possible here.
const FLATTEN: &str = "`kubectl config view --raw --flatten --minify` writes a kubeconfig with the certificates in it";
/// What to use in place of programs and passwords.
const TOKEN: &str = "give the server a service account of its own, and write `token` or `tokenFile`";

/// What one context of a kubeconfig says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterAccess {
    /// The API: `https://HOST:PORT`, or `http`; a path before `/apis` is possible.
    pub server: String,
    /// For `https`.
    pub tls: SourceTls,
    /// Who this server is; `None`: a certificate of `tls` says it, or nothing.
    pub token: Option<BearerToken>,
    /// The namespace.
    pub namespace: Option<String>,
    /// What is accepted, and probably a mistake.
    pub warnings: Vec<KubeconfigProblem>,
}

/// A bearer token.
#[derive(Clone, PartialEq, Eq)]
pub enum BearerToken {
    /// The token itself.
    Text(Zeroizing<String>),
    /// A file with it; to be read again with each request.
    File(PathBuf),
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BearerToken::Text(_) => f.write_str("Text"),
            BearerToken::File(file) => file.fmt(f),
        }
    }
}

/// What is wrong with a kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeconfigProblem {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl KubeconfigProblem {
    fn at(location: Location, message: impl Into<String>, hint: impl Into<String>) -> KubeconfigProblem {
        let place = |at: u64| u32::try_from(at).unwrap_or(u32::MAX).max(1);
        let (line, column) = (place(location.line()), place(location.column()));
        KubeconfigProblem { line, column, message: message.into(), hint: hint.into() }
    }

    /// A problem of the file as a whole.
    fn of_file(message: impl Into<String>, hint: impl Into<String>) -> KubeconfigProblem {
        KubeconfigProblem { line: 1, column: 1, message: message.into(), hint: hint.into() }
    }

    /// In one line, with the file.
    pub fn shown(&self, file: &Path) -> String {
        let KubeconfigProblem { line, column, message, hint } = self;
        format!("{}:{line}:{column}: {message}: {hint}", file.display())
    }
}

/// Reads a kubeconfig: what `context` says, or the current context of the file.
pub fn read(file: &Path, context: Option<&str>) -> Result<ClusterAccess, KubeconfigProblem> {
    let text = files::read(file, MAX_KUBECONFIG).map(Zeroizing::new).map_err(|error| {
        let message = format!("can't be read: {}", reason(&error));
        KubeconfigProblem::of_file(message, "name a file that exists and that this user may read")
    })?;
    parse(&text, file, context)
}

/// What is wrong with the kubeconfigs of sources, for `check`. It is no error: a kubeconfig may be replaced while the
/// server runs, and one that can't be used must not keep a zone from being served.
pub fn problems(model: &Model) -> Vec<Problem> {
    let mut problems = Problems::default();
    problems.about(ManualSection::Discover, |problems| {
        let mut done = BTreeSet::new();
        for source in &model.sources {
            let SourceSpec::Kubernetes(kubernetes) = &source.source else { continue };
            let KubernetesAccess::Kubeconfig { file, context } = &kubernetes.access else { continue };
            if done.insert((file, context)) {
                check(file, context.as_deref(), problems);
            }
        }
    });
    problems.into_sorted()
}

fn check(file: &Path, context: Option<&str>, problems: &mut Problems) {
    let shown = Arc::new(SourceFile { shown: file.to_path_buf(), is_secret: true });
    let is_missing = files::open(file).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let found = read(file, context);
    let wrong = found.as_ref().err().into_iter().chain(found.iter().flat_map(|access| &access.warnings));
    for KubeconfigProblem { line, column, message, hint } in wrong {
        let place = Place { file: shown.clone(), line: *line, column: *column, end: None };
        // It may be on the machine of the server only.
        let problem = match is_missing {
            true => problems.note(&place, message.clone()),
            false => problems.warning(&place, message.clone()),
        };
        problem.hint(hint.clone());
    }
}

/// Parses a kubeconfig. Paths in it are relative to the directory of `file`.
fn parse(text: &[u8], file: &Path, context: Option<&str>) -> Result<ClusterAccess, KubeconfigProblem> {
    let config = WrittenConfig::parse(text).map_err(|error| {
        let location = error.location().unwrap_or(Location::UNKNOWN);
        let why = error.without_snippet().to_string();
        let message = format!("not a kubeconfig: {}", escaped(cut(why.trim(), MAX_SHOWN)));
        KubeconfigProblem::at(location, message, "`kubectl config view --raw` prints one")
    })?;
    config.check_kind()?;
    let context = config.context(context)?;
    let cluster = config.cluster(&context.cluster)?;
    let user = context.user.as_ref().map(|name| config.user(name)).transpose()?;
    let reader = AccessReader { file, dir: file.parent().unwrap_or(Path::new("")) };
    let mut warnings = Vec::new();
    let mut tls = reader.tls_of(cluster, &mut warnings)?;
    let token = match user {
        Some(user) => {
            refuse_unusable(user)?;
            (tls.cert, tls.key) = reader.certificate(user)?;
            reader.token(user)?
        }
        None => None,
    };
    let namespace = non_empty(&context.namespace).map(|at| at.value.clone());
    Ok(ClusterAccess { server: server(cluster)?, tls, token, namespace, warnings })
}

/// The text of `server`, which must be a URL.
fn server(cluster: &Cluster) -> Result<String, KubeconfigProblem> {
    let hint = "write `server: https://HOST:6443`";
    let Some(written) = non_empty(&cluster.server) else {
        return Err(KubeconfigProblem::at(cluster.at, "the cluster has no `server`", hint));
    };
    let at = |message: String| KubeconfigProblem::at(written.referenced, message, hint);
    let url = Url::parse(&written.value).map_err(|error| at(format!("`server` is no URL: {error}")))?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(at(format!("`server` is no URL of HTTP: \"{}\"", escaped(cut(&written.value, MAX_SHOWN)))));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(at("`server` has more than a host, a port and a path".to_owned()));
    }
    Ok(written.value.trim_end_matches('/').to_owned())
}

/// Users that this server can't be.
fn refuse_unusable(user: &User) -> Result<(), KubeconfigProblem> {
    if let Some(of) = &user.exec {
        let message = "the user needs a program (`exec`), and this server runs none that a kubeconfig names";
        return Err(KubeconfigProblem::at(of.referenced, message, TOKEN));
    }
    if let Some(of) = &user.auth_provider {
        let message = "the user needs `auth-provider`, which this server and Kubernetes since 1.26 do not have";
        return Err(KubeconfigProblem::at(of.referenced, message, TOKEN));
    }
    for (key, of) in [("username", &user.username), ("password", &user.password)] {
        if let Some(of) = of.as_ref().filter(|of| of.some().is_some()) {
            let message = format!("`{key}`: the API accepts no passwords since Kubernetes 1.19");
            return Err(KubeconfigProblem::at(of.at, message, TOKEN));
        }
    }
    for (key, of) in [
        ("as", &user.impersonated),
        ("as-uid", &user.impersonated_uid),
        ("as-groups", &user.impersonated_groups),
        ("as-user-extra", &user.impersonated_extra),
    ] {
        if let Some(of) = of {
            let message = format!("`{key}`: this server does not act as somebody else");
            return Err(KubeconfigProblem::at(of.referenced, message, TOKEN));
        }
    }
    Ok(())
}

/// Reads what refers to files.
struct AccessReader<'a> {
    file: &'a Path,
    dir: &'a Path,
}

impl AccessReader<'_> {
    fn tls_of(&self, cluster: &Cluster, warnings: &mut Vec<KubeconfigProblem>) -> Result<SourceTls, KubeconfigProblem> {
        if let Some(of) = non_empty(&cluster.proxy_url) {
            let message = "`proxy-url`: this server connects to the API without a proxy";
            return Err(KubeconfigProblem::at(of.referenced, message, "name an address that it reaches"));
        }
        let ca = self.pem(
            ("certificate-authority-data", &cluster.authority_data),
            ("certificate-authority", &cluster.authority),
        )?;
        let skips = cluster.skips_verification.as_ref().filter(|at| at.value);
        if let Some(of) = skips {
            if ca.is_some() {
                let message = "`insecure-skip-tls-verify` and an authority exclude each other";
                return Err(KubeconfigProblem::at(of.referenced, message, "leave out `insecure-skip-tls-verify`"));
            }
            let message = "the certificate of the API is not checked: who is between can read the token";
            let hint = "write `certificate-authority-data` instead of `insecure-skip-tls-verify`";
            warnings.push(KubeconfigProblem::at(of.referenced, message, hint));
        }
        let server_name = non_empty(&cluster.server_name).map(|at| at.value.clone());
        Ok(SourceTls { ca, cert: None, key: None, verify: skips.is_none(), server_name })
    }

    fn certificate(&self, user: &User) -> Result<(Option<Pem>, Option<Pem>), KubeconfigProblem> {
        let cert =
            self.pem(("client-certificate-data", &user.certificate_data), ("client-certificate", &user.certificate))?;
        let key = self.pem(("client-key-data", &user.key_data), ("client-key", &user.key))?;
        if cert.is_some() != key.is_some() {
            let message = "the user has a certificate without a key, or a key without a certificate";
            return Err(KubeconfigProblem::at(user.at, message, FLATTEN));
        }
        Ok((cert, key))
    }

    fn token(&self, user: &User) -> Result<Option<BearerToken>, KubeconfigProblem> {
        if let Some(of) = non_empty(&user.token_file) {
            return Ok(Some(BearerToken::File(self.path("tokenFile", of)?)));
        }
        let written = user.token.as_ref().and_then(|written| Some((written.at, written.some()?)));
        let Some((at, text)) = written else { return Ok(None) };
        if !text.bytes().all(|octet| octet.is_ascii_graphic()) {
            let message = "`token` has characters that no token has, such as a space or the end of a line";
            return Err(KubeconfigProblem::at(at, message, TOKEN));
        }
        Ok(Some(BearerToken::Text(text.clone())))
    }

    /// What is in the kubeconfig goes before a file.
    fn pem(
        &self,
        (data_key, data): (&str, &Option<WrittenSecret>),
        (key, path): (&str, &Option<WrittenText>),
    ) -> Result<Option<Pem>, KubeconfigProblem> {
        if let Some(data) = data
            && let Some(text) = data.some()
        {
            // YAML may have broken it into lines.
            let packed = Zeroizing::new(text.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect::<Vec<u8>>());
            let pem = BASE64
                .decode(&packed)
                .map_err(|_| KubeconfigProblem::at(data.at, format!("`{data_key}` is no base64"), FLATTEN))?;
            let place: Arc<str> = format!("{data_key} of {}", self.file.display()).into();
            return Ok(Some(Pem::Text(Arc::new(Zeroizing::new(pem)), place)));
        }
        non_empty(path).map(|at| self.path(key, at).map(Pem::File)).transpose()
    }

    fn path(&self, key: &str, written: &WrittenText) -> Result<PathBuf, KubeconfigProblem> {
        let is_below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(&written.value).components().all(is_below) {
            let shown = escaped(cut(&written.value, MAX_SHOWN)).into_owned();
            let message = format!("`{key}`: \"{shown}\" is not in the directory of this file");
            let hint = match key {
                "tokenFile" => "put the file, or a link to it, next to this file, and write its name",
                _ => FLATTEN,
            };
            return Err(KubeconfigProblem::at(written.referenced, message, hint));
        }
        Ok(self.dir.join(&written.value))
    }
}

#[cfg(test)]
mod tests;
