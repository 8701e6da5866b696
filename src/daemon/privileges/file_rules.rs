//! Which files the process may use, as rules of Landlock (landlock(7)), which the kernel enforces whatever user the
//! process runs as. They are like `ProtectSystem=strict` and `ProtectHome=yes` of systemd:
//!
//! - it writes only below the state directory, the directory of the query log, those for temporary files, and `/dev`;
//! - below the homes it reads only the directories of files that the settings name.
//!
//! Everything else is read as before, because a reload may name any file. Threads and programs that are started later
//! have the same rules, and nothing takes them back. So there are none where a program is configured at the start: a
//! check or a hook may write anywhere. A socket that is open, or that somebody else listens on, needs no rule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus,
};

use crate::daemon::privileges::needs::{Needs, Want};

/// The rights that the rules are about: reading, running, and all changes of files and directories (Linux 6.2). An
/// older kernel enforces those that it knows.
const RIGHTS: ABI = ABI::V3;

/// Where everybody has private files.
const HOMES: [&str; 2] = ["home", "root"];

/// For temporary files and devices: a program that a reload adds writes there.
const ALWAYS_WRITTEN: [&str; 3] = ["/tmp", "/var/tmp", "/dev"];

/// The rules as a value. Paths that do not exist are left out when they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileRules {
    /// Below these, files are read and run.
    pub(super) read: BTreeSet<PathBuf>,
    /// Below these, they are also changed, made and removed.
    pub(super) written: BTreeSet<PathBuf>,
}

/// Why there are no rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRules {
    /// The settings turn them off.
    Off,
    /// A program is configured.
    Program,
}

impl FileRules {
    /// The rules for these needs; `top` has the names in the root directory.
    pub(super) fn of(needs: &Needs, top: impl Iterator<Item = String>) -> Result<FileRules, NoRules> {
        if !needs.has_file_rules {
            return Err(NoRules::Off);
        }
        if needs.files.iter().any(|need| need.want == Want::Run) {
            return Err(NoRules::Program);
        }
        let mut rules = FileRules::default();
        rules.read.extend(top.filter(|name| !HOMES.contains(&name.as_str())).map(|name| Path::new("/").join(name)));
        // A file is replaced by another one: so the directory.
        let files = needs.files.iter().flat_map(|need| [Some(&*need.path), need.path.parent()]).flatten();
        let named = files.chain([&*needs.zones]).filter(|path| path.is_absolute() && path.parent().is_some());
        rules.read.extend(named.map(Path::to_path_buf));
        rules.written.extend(ALWAYS_WRITTEN.map(PathBuf::from));
        rules.written.extend(needs.state.clone());
        rules.written.extend(needs.query_log.as_deref().and_then(Path::parent).map(Path::to_path_buf));
        Ok(rules)
    }
}

/// The names in the root directory.
fn top() -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir("/").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Restricts this thread, and all threads and programs that it starts. One line of the log says what is in force.
pub(super) fn restrict(needs: &Needs) {
    let rules = match FileRules::of(needs, top()) {
        Ok(rules) => rules,
        Err(NoRules::Off) => return tracing::debug!("there are no file rules: [run] file_rules is false"),
        Err(NoRules::Program) => {
            let why = "a check or a hook is a program, which they would be for too";
            return tracing::info!("there are no file rules (Landlock): {why}");
        }
    };
    let written = || rules.written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    match apply(&rules) {
        Ok(RulesetStatus::FullyEnforced) => tracing::debug!("files are written only below {}", written()),
        Ok(RulesetStatus::PartiallyEnforced) => {
            tracing::info!("files are written only below {}, as far as this kernel can tell (Landlock)", written());
        }
        Ok(RulesetStatus::NotEnforced) => tracing::info!("there are no file rules: the kernel has no Landlock"),
        Err(error) => tracing::warn!(%error, "the system does not let this process restrict its files (Landlock)"),
    }
}

fn apply(rules: &FileRules) -> Result<RulesetStatus, RulesetError> {
    let (read, all) = (AccessFs::from_read(RIGHTS), AccessFs::from_all(RIGHTS));
    let of = |paths: &BTreeSet<PathBuf>, rights| {
        // A path that can't be opened can't be used either.
        let open = paths.iter().filter_map(|path| Some((PathFd::new(path).ok()?, path.is_dir()))).collect::<Vec<_>>();
        open.into_iter().map(move |(path, is_dir)| {
            let rights = if is_dir { rights } else { rights & AccessFs::from_file(RIGHTS) };
            Ok::<_, RulesetError>(PathBeneath::new(path, rights))
        })
    };
    let created = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all)?.create()?;
    let created = created.add_rules(of(&rules.read, read))?.add_rules(of(&rules.written, all))?;
    Ok(created.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::privileges::needs::FileNeed;

    fn needs(files: &[(&str, Want)]) -> Needs {
        Needs {
            files: files.iter().map(|(path, want)| FileNeed { path: path.into(), want: *want }).collect(),
            zones: "/etc/portolan/zones".into(),
            state: Some("/var/lib/portolan".into()),
            has_file_rules: true,
            ..Needs::default()
        }
    }

    fn rules(needs: &Needs) -> Result<FileRules, NoRules> {
        FileRules::of(needs, ["etc", "usr", "home", "root", "var"].map(str::to_owned).into_iter())
    }

    #[test]
    fn homes_are_read_where_the_settings_name_a_file() {
        let rules = rules(&needs(&[("/home/dns/conf/portolan.toml", Want::Read), ("/x.pem", Want::Read)])).unwrap();
        let read: Vec<&str> = rules.read.iter().filter_map(|path| path.to_str()).collect();
        let named = ["/etc", "/etc/portolan/zones", "/home/dns/conf", "/home/dns/conf/portolan.toml"];
        assert_eq!(read, [&named[..], &["/usr", "/var", "/x.pem"]].concat(), "not the root directory itself");
    }

    #[test]
    fn files_are_written_in_the_state_directory_and_where_the_query_log_is() {
        let mut needs = needs(&[]);
        needs.query_log = Some("/srv/log/queries.dnstap".into());
        let rules = rules(&needs).unwrap();
        for (path, is_written) in [("/var/lib/portolan", true), ("/srv/log", true), ("/tmp", true), ("/etc", false)] {
            assert_eq!(rules.written.contains(Path::new(path)), is_written, "{path}");
        }
        needs.state = None;
        assert!(
            !super::FileRules::of(&needs, std::iter::empty()).unwrap().written.contains(Path::new("/var/lib/portolan"))
        );
    }

    #[test]
    fn there_are_none_for_programs_and_where_they_are_off() {
        let program = needs(&[("/usr/local/bin/check", Want::Run)]);
        assert_eq!(rules(&program), Err(NoRules::Program));
        assert_eq!(rules(&Needs { has_file_rules: false, ..program }), Err(NoRules::Off));
    }
}
