//! Which files the process may change, as rules of Landlock (landlock(7)), which the kernel enforces whatever user the
//! process runs as. They are like `ProtectSystem=strict` of systemd: it writes only below the state directory, the
//! directory of the query log, those for temporary files, and `/dev`.
//!
//! Everything is read as before: a reload may name any file, and a directory or a link may be replaced by another one,
//! which rules that were made before do not know. Threads and programs that are started later have the same rules, and
//! nothing takes them back. So there are none where a program is configured at the start: a check or a hook may write
//! anywhere. A socket that is open, or that somebody else listens on, needs no rule.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus,
};

use crate::daemon::privileges::needs::{Needs, Want};
use crate::daemon::state::file_rules_are_in_force;

/// The rights that the rules are about: all changes of files and directories (Linux 6.2). An older kernel enforces
/// those that it knows.
const RIGHTS: ABI = ABI::V3;

/// For temporary files and devices: a program that a reload adds writes there.
const ALWAYS_WRITTEN: [&str; 3] = ["/tmp", "/var/tmp", "/dev"];

/// The rules as a value. Paths that do not exist are left out when they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileRules {
    /// Below these, files are changed, made and removed.
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
    /// The rules for these needs.
    pub(super) fn of(needs: &Needs) -> Result<FileRules, NoRules> {
        if !needs.has_file_rules {
            return Err(NoRules::Off);
        }
        if needs.files.iter().any(|need| need.want == Want::Run) {
            return Err(NoRules::Program);
        }
        let mut rules = FileRules::default();
        rules.written.extend(ALWAYS_WRITTEN.map(PathBuf::from));
        rules.written.extend(needs.state.clone());
        rules.written.extend(needs.query_log.as_deref().and_then(Path::parent).map(Path::to_path_buf));
        Ok(rules)
    }
}

/// Restricts this thread, and all threads and programs that it starts. One line of the log says what is in force.
pub(super) fn restrict(needs: &Needs) {
    let rules = match FileRules::of(needs) {
        Ok(rules) => rules,
        Err(NoRules::Off) => return tracing::debug!("there are no file rules: [run] file_rules is false"),
        Err(NoRules::Program) => {
            let why = "a check or a hook is a program, which they would be for too";
            return tracing::info!("there are no file rules (Landlock): {why}");
        }
    };
    let written = || rules.written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let applied = apply(&rules);
    if matches!(applied, Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced)) {
        file_rules_are_in_force();
    }
    match applied {
        Ok(RulesetStatus::FullyEnforced) => tracing::debug!("files are written only below {}", written()),
        Ok(RulesetStatus::PartiallyEnforced) => {
            tracing::info!("files are written only below {}, as far as this kernel can tell (Landlock)", written());
        }
        Ok(RulesetStatus::NotEnforced) => tracing::info!("there are no file rules: the kernel has no Landlock"),
        Err(error) => tracing::warn!(%error, "the system does not let this process restrict its files (Landlock)"),
    }
}

fn apply(rules: &FileRules) -> Result<RulesetStatus, RulesetError> {
    let changes = AccessFs::from_write(RIGHTS);
    // A directory that can't be opened can't be used either.
    let open = rules.written.iter().filter_map(|path| PathFd::new(path).ok());
    let rules = open.map(|path| Ok::<_, RulesetError>(PathBeneath::new(path, changes)));
    let created = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(changes)?.create()?;
    Ok(created.add_rules(rules)?.restrict_self()?.ruleset)
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

    #[test]
    fn files_are_written_in_the_state_directory_and_where_the_query_log_is() {
        let mut needs = needs(&[]);
        needs.query_log = Some("/srv/log/queries.dnstap".into());
        let rules = FileRules::of(&needs).unwrap();
        for (path, is_written) in [("/var/lib/portolan", true), ("/srv/log", true), ("/tmp", true), ("/etc", false)] {
            assert_eq!(rules.written.contains(Path::new(path)), is_written, "{path}");
        }
        needs.state = None;
        assert!(!FileRules::of(&needs).unwrap().written.contains(Path::new("/var/lib/portolan")));
    }

    #[test]
    fn there_are_none_for_programs_and_where_they_are_off() {
        let program = needs(&[("/usr/local/bin/check", Want::Run)]);
        assert_eq!(FileRules::of(&program), Err(NoRules::Program));
        assert_eq!(FileRules::of(&Needs { has_file_rules: false, ..program }), Err(NoRules::Off));
    }
}
