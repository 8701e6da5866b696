//! What the process may do once it has its sockets. Started as root, it becomes another user. Whoever started it, it
//! drops all capabilities but two, and can't get new ones (`no_new_privs`). It is called in the only thread: rights
//! belong to a thread, and threads and programs that are started later inherit them. The programs of exec monitors
//! inherit no capability.
//!
//! The state directory passes to the new user before ([`takeover`]). Other files are never changed. A user that the
//! settings name must be able to use all of them: otherwise the start is refused. Without such a setting the first of
//! these that can use all files counts, because a reload that can't read its files changes nothing any more:
//!
//! 1. the default user: the owner of the state directory if that isn't root, otherwise nobody;
//! 2. the owner of the zones directory, if the state directory is new or root's;
//! 3. root, without the right to use files of others.
//!
//! If none can, it is the default user, and loads that need the files fail. In all cases but the first a warning says
//! why.

mod capabilities;
mod file_rules;
mod hindrance;
mod needs;
mod takeover;
#[cfg(test)]
mod tests;
mod user;

use crate::daemon::StartError;
use hindrance::{Refused, denied_text};
use takeover::NewUser;
use user::{Switch, SystemUser};

pub(crate) use needs::{FileNeed, Needs, Want, is_unused};

/// The user where neither the settings nor the state directory name one.
const DEFAULT_USER: &str = "nobody";

/// Drops the rights that the server no longer needs. `chosen` is `[run] user`. One line of the log says what is left,
/// and another one which file rules there are.
pub(crate) fn reduce(chosen: Option<&str>, needs: &Needs) -> Result<(), StartError> {
    reduce_user(chosen, needs)?;
    // After all that the rules could forbid.
    file_rules::restrict(needs);
    Ok(())
}

fn reduce_user(chosen: Option<&str>, needs: &Needs) -> Result<(), StartError> {
    if !user::is_root() {
        if let Some(name) = chosen.filter(|name| !user::is_current(name)) {
            tracing::warn!(user = name, "[run] user has no effect: only root can become another user");
        }
        let left = capabilities::reduce();
        tracing::debug!("runs as {}, with {left}", user::current_name());
        return Ok(());
    }
    let Some(name) = chosen else {
        reduce_by_default(needs);
        return Ok(());
    };
    let account = SystemUser::of(name).map_err(StartError::Rights)?;
    if account.is_root() {
        stay_root(needs, None);
        return Ok(());
    }
    become_user(&account, needs, Hindrances::Refuse).map_err(|why| StartError::Rights(why.text(&account)))?;
    let left = capabilities::reduce();
    tracing::info!("runs as {account}, with {left}");
    Ok(())
}

/// Becomes the first user that can use all files.
fn reduce_by_default(needs: &Needs) {
    let default = default_account(needs);
    let why = match become_user(&default, needs, Hindrances::Refuse) {
        Ok(()) => {
            let left = capabilities::reduce();
            tracing::info!("runs as {default}, with {left}");
            return;
        }
        Err(why) => why.text(&default),
    };
    if let Some(owner) = zones_account(needs).filter(|owner| *owner != default)
        && become_user(&owner, needs, Hindrances::Refuse).is_ok()
    {
        let left = capabilities::reduce();
        tracing::warn!(
            "runs as {owner}, the owner of the zones, with {left}: {why}, or set [run] user = \"{}\"",
            owner.name()
        );
        return;
    }
    // Where it is not known, root stays: it can use them with the rights that it could not drop.
    let is_denied_to_root = capabilities::without_others(|| needs.denied()).is_ok_and(|denied| !denied.is_empty());
    if is_denied_to_root && become_user(&default, needs, Hindrances::Accept).is_ok() {
        let left = capabilities::reduce();
        tracing::warn!("runs as {default}, with {left}, so that loads of these files will fail: {why}");
        return;
    }
    stay_root(needs, Some(&why));
}

/// Goes on as root; `why` says why nobody else would do.
fn stay_root(needs: &Needs, why: Option<&str>) {
    if let Err(error) = needs.hand_over(NewUser::Root) {
        tracing::warn!(%error, "the system does not let root write a state directory of another user");
    }
    let denied = capabilities::without_others(|| needs.denied()).unwrap_or_else(|error| {
        tracing::warn!(
            %error,
            "whether root can use all files is not known: the system does not let this process drop capabilities for \
             a check"
        );
        Vec::new()
    });
    let left = capabilities::reduce();
    let or = "or set [run] user = \"root\"";
    match (why, denied.is_empty()) {
        (None, true) => tracing::info!("runs as root, with {left}"),
        (Some(why), true) => tracing::warn!("runs as root, with {left}: {why}, {or}"),
        (None, false) => {
            let denied = denied_text(&denied, &SystemUser::root());
            tracing::warn!("runs as root, with {left}, so that loads of these files will fail: {denied}");
        }
        (Some(why), false) => {
            let denied = denied_text(&denied, &SystemUser::root());
            tracing::warn!("runs as root, with {left}, so that loads of some files will fail: {why}; {denied}");
        }
    }
}

/// The owner of the state directory if it isn't root, otherwise nobody.
fn default_account(needs: &Needs) -> SystemUser {
    let owner = needs.state_owner().filter(|(uid, _)| *uid != 0);
    match owner {
        Some((uid, gid)) => SystemUser::of_ids(uid, gid),
        None => SystemUser::of(DEFAULT_USER).unwrap_or_else(|_| SystemUser::nobody()),
    }
}

/// The owner of the zones directory, where nobody chose a user by the state directory.
fn zones_account(needs: &Needs) -> Option<SystemUser> {
    let is_chosen = needs.state_owner().is_some_and(|(uid, _)| uid != 0);
    let (uid, gid) = needs.zones_owner().filter(|(uid, _)| *uid != 0 && !is_chosen)?;
    Some(SystemUser::of_ids(uid, gid))
}

/// What files mean that the new user can't use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hindrances {
    Refuse,
    Accept,
}

/// Becomes this user, who gets the state directory. On an error the user has not changed.
fn become_user(account: &SystemUser, needs: &Needs, hindrances: Hindrances) -> Result<(), Refused> {
    let switch = Switch::begin(account).map_err(Refused::System)?;
    let denied = needs.denied();
    if !denied.is_empty() && hindrances == Hindrances::Refuse {
        return Err(Refused::Denied(denied));
    }
    needs.hand_over(NewUser::Account(account.uid(), account.gid())).map_err(Refused::System)?;
    switch.complete().map_err(Refused::System)
}
