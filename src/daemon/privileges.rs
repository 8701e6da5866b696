//! What the process may do once it has its sockets. Started as root, it becomes another user. Whoever started it, it
//! drops all capabilities but two, and can't get new ones (`no_new_privs`). It is called in the only thread: rights
//! belong to a thread, and threads and programs that are started later inherit them. The programs of exec monitors
//! inherit no capability.
//!
//! A server that can't read its files after a reload is worse than one that runs as root. So the default user is taken
//! only if it can read everything that a reload reads, and write the state directory. Otherwise the process stays root,
//! and a warning says why. Root that needs files of other users keeps a third capability, `cap_dac_override`. A user
//! that the settings name must be able to use all files: otherwise the start is refused.

mod capabilities;
mod needs;
#[cfg(test)]
mod tests;
mod user;

use crate::daemon::StartError;
use user::{Switch, SystemUser};

pub(crate) use needs::{Denied, FileNeed, Needs, Want, is_unused};

/// The user where neither the settings nor the state directory name one.
const DEFAULT_USER: &str = "nobody";

/// How the process goes on as root.
enum Stay {
    /// The settings say so.
    Chosen,
    /// The default user can't use a file, or the system does not let root become it; says why.
    Warned(String),
}

/// Drops the rights that the server no longer needs. `chosen` is `[run] user`. One line of the log says what is left.
pub(crate) fn reduce(chosen: Option<&str>, needs: &Needs) -> Result<(), StartError> {
    if !user::is_root() {
        if let Some(name) = chosen.filter(|name| !user::is_current(name)) {
            tracing::warn!(user = name, "[run] user has no effect: only root can become another user");
        }
        let left = capabilities::reduce(false);
        tracing::debug!("runs as {}, with {left}", user::current_name());
        return Ok(());
    }
    let account = match chosen {
        Some(name) => SystemUser::of(name).map_err(StartError::Rights)?,
        None => default_account(needs),
    };
    let stay = match account.is_root() {
        true => Stay::Chosen,
        false => match become_user(&account, needs) {
            Ok(()) => {
                let left = capabilities::reduce(false);
                tracing::info!("runs as {account}, with {left}");
                return Ok(());
            }
            Err(why) if chosen.is_some() => return Err(StartError::Rights(why.text(&account))),
            Err(why) => Stay::Warned(why.text(&account)),
        },
    };
    // Root without this capability is refused files of other users, such as those that a server wrote that had become
    // another user.
    let is_override_needed = capabilities::without_override(|| needs.first_denied().is_some());
    let left = capabilities::reduce(is_override_needed);
    match stay {
        Stay::Chosen => tracing::info!("runs as root, with {left}"),
        Stay::Warned(why) => tracing::warn!("runs as root, with {left}: {why}, or set [run] user = \"root\""),
    }
    Ok(())
}

/// The owner of the state directory if it isn't root, otherwise nobody.
fn default_account(needs: &Needs) -> SystemUser {
    let owner = needs.state_owner().filter(|(uid, _)| *uid != 0);
    match owner {
        Some((uid, gid)) => SystemUser::of_ids(uid, gid),
        None => SystemUser::of(DEFAULT_USER).unwrap_or_else(|_| SystemUser::nobody()),
    }
}

/// Why the process could not become another user.
enum Refused {
    /// This user can't use a file.
    Denied(Denied),
    /// The system refused the change itself.
    System(std::io::Error),
}

impl Refused {
    /// What is wrong and what to do, without a full stop.
    fn text(&self, account: &SystemUser) -> String {
        match self {
            Refused::Denied(denied) => denied.text(account.name()),
            Refused::System(error) => {
                format!("the system does not let this process become {account} ({error}): start it as that user")
            }
        }
    }
}

/// Becomes this user if it can use all files. A new state directory becomes its own. On an error nothing has changed.
fn become_user(account: &SystemUser, needs: &Needs) -> Result<(), Refused> {
    let switch = Switch::begin(account).map_err(Refused::System)?;
    if let Some(denied) = needs.first_denied() {
        return Err(Refused::Denied(denied));
    }
    needs.hand_over(account.uid(), account.gid()).map_err(Refused::System)?;
    switch.complete().map_err(Refused::System)
}
