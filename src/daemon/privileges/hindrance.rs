//! Why a process could not become another user, in words.

use std::path::Path;

use crate::daemon::privileges::needs::{Denied, Want};
use crate::daemon::privileges::user::SystemUser;
use crate::printable::escaped;

/// Most files that a message names of each kind (judgment: one line of a log).
const NAMED: usize = 8;

/// Why the process could not become another user.
#[derive(Debug)]
pub(super) enum Refused {
    /// This user can't use these files.
    Denied(Vec<Denied>),
    /// The system refused the change itself.
    System(std::io::Error),
}

impl Refused {
    /// What is wrong and what to do, without a full stop.
    pub(super) fn text(&self, account: &SystemUser) -> String {
        match self {
            Refused::Denied(denied) => denied_text(denied, account),
            Refused::System(error) => {
                format!("the system does not let this process become {account} ({error}): start it as that user")
            }
        }
    }
}

/// All that the user can't do, each kind with what to do about it, without a full stop.
pub(super) fn denied_text(denied: &[Denied], account: &SystemUser) -> String {
    let user = account.name();
    let mut parts: Vec<String> = Vec::new();
    let mut closed: Vec<&Path> = denied.iter().filter_map(|denied| denied.closed.as_deref()).collect();
    closed.sort_unstable();
    closed.dedup();
    for dir in closed {
        let below: Vec<&Denied> = denied.iter().filter(|denied| denied.closed.as_deref() == Some(dir)).collect();
        let (verbs, dir) = (verbs(&below), shown(dir));
        parts.push(format!("can't {verbs} {}, because it can't enter {dir}: `chmod a+x {dir}`", listed(&below, ", ")));
    }
    for want in [Want::Read, Want::ReadAuthorities, Want::Run, Want::Write] {
        let of_kind = denied.iter().filter(|denied| denied.closed.is_none() && denied.need.want == want);
        let (dirs, files): (Vec<&Denied>, Vec<&Denied>) = of_kind.partition(|denied| denied.need.path.is_dir());
        for (some, flag) in [(dirs, "-R "), (files, "")] {
            if some.is_empty() {
                continue;
            }
            let (verb, files, paths) = (verb(want), listed(&some, ", "), listed(&some, " "));
            parts.push(match want {
                Want::Read | Want::Write => format!("can't {verb} {files}: `chown {flag}{user} {paths}`"),
                Want::ReadAuthorities => {
                    format!(
                        "can't {verb} the certificate authorities {files}: SSL_CERT_FILE and SSL_CERT_DIR name them"
                    )
                }
                Want::Run => format!("can't {verb} {files}: `chmod a+rx {paths}`"),
            });
        }
    }
    format!("the user {user} {}", parts.join("; it "))
}

fn verb(want: Want) -> &'static str {
    match want {
        Want::Read | Want::ReadAuthorities => "read",
        Want::Run => "run",
        Want::Write => "write",
    }
}

fn verbs(some: &[&Denied]) -> &'static str {
    match some {
        [first, rest @ ..] if rest.iter().all(|one| verb(one.need.want) == verb(first.need.want)) => {
            verb(first.need.want)
        }
        _ => "use",
    }
}

fn listed(some: &[&Denied], between: &str) -> String {
    let mut paths: Vec<String> = some.iter().take(NAMED).map(|denied| shown(&denied.need.path)).collect();
    if some.len() > NAMED {
        paths.push(match between {
            " " => "...".to_owned(),
            _ => format!("and {} more", some.len() - NAMED),
        });
    }
    paths.join(between)
}

fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy()).into_owned()
}
