//! Users: how one is looked up, and how the process becomes it.

use std::ffi::CString;
use std::fmt;
use std::io;

use nix::unistd::{Gid, Uid, User, getegid, geteuid, getgrouplist, getgroups, setgroups, setresgid, setresuid};
use rustix::process::{Signal, parent_process_death_signal, set_parent_process_death_signal};
use rustix::thread::set_keep_capabilities;

/// The ids of nobody where the system doesn't list it.
const NOBODY: u32 = 65_534;

/// A user of this machine.
#[derive(Debug, PartialEq)]
pub(super) struct SystemUser {
    name: Option<String>,
    uid: Uid,
    gid: Gid,
}

impl SystemUser {
    /// The user with this name or number. The error says what to do.
    pub(super) fn of(name: &str) -> Result<SystemUser, String> {
        match name.parse() {
            Ok(number) => Ok(SystemUser::of_ids(number, number)),
            Err(_) => match User::from_name(name) {
                Ok(Some(user)) => Ok(SystemUser::listed(user)),
                Ok(None) => Err(format!("[run] user: this machine has no user `{name}`: `getent passwd` lists them")),
                Err(error) => Err(format!("[run] user: can't look up the user `{name}`: {error}")),
            },
        }
    }

    /// The user with this number. If the system doesn't list it, its group is `gid`.
    pub(super) fn of_ids(uid: u32, gid: u32) -> SystemUser {
        let unlisted = SystemUser { name: None, uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) };
        User::from_uid(unlisted.uid).ok().flatten().map_or(unlisted, SystemUser::listed)
    }

    fn listed(User { name, uid, gid, .. }: User) -> SystemUser {
        SystemUser { name: Some(name), uid, gid }
    }

    pub(super) fn nobody() -> SystemUser {
        SystemUser { name: None, uid: Uid::from_raw(NOBODY), gid: Gid::from_raw(NOBODY) }
    }

    pub(super) fn root() -> SystemUser {
        SystemUser { name: Some("root".to_owned()), uid: Uid::from_raw(0), gid: Gid::from_raw(0) }
    }

    pub(super) fn is_root(&self) -> bool {
        self.uid.is_root()
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    pub(super) fn gid(&self) -> u32 {
        self.gid.as_raw()
    }

    /// Its name, or else its number.
    pub(super) fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }

    /// All its groups.
    fn groups(&self) -> Vec<Gid> {
        let listed = self.name.as_deref().and_then(|name| CString::new(name).ok());
        listed.and_then(|name| getgrouplist(&name, self.gid).ok()).unwrap_or_else(|| vec![self.gid])
    }
}

impl fmt::Display for SystemUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (uid {})", self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

/// Whether this process runs as root.
pub(super) fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether the user with this name or number runs this process.
pub(super) fn is_current(name: &str) -> bool {
    SystemUser::of(name).is_ok_and(|account| account.uid == geteuid())
}

/// The name of the user that runs this process, or else its number.
pub(super) fn current_name() -> String {
    SystemUser::of_ids(geteuid().as_raw(), getegid().as_raw()).to_string()
}

/// The change from root to another user: begun, it can be undone, and is, unless it is completed. While it is begun,
/// `access(2)` replies as for that user, and everything else is root's.
pub(super) struct Switch<'a> {
    account: &'a SystemUser,
    before: Option<(Vec<Gid>, Gid)>,
    /// What this process receives when its parent ends: the kernel forgets it with each change.
    parent_signal: Option<Signal>,
}

impl Switch<'_> {
    pub(super) fn begin(account: &SystemUser) -> io::Result<Switch<'_>> {
        let before = (getgroups()?, getegid());
        let root = Uid::from_raw(0);
        // From here on an error undoes what was done.
        let parent_signal = parent_process_death_signal().ok().flatten();
        let switch = Switch { account, before: Some(before), parent_signal };
        setgroups(&account.groups())?;
        setresgid(account.gid, account.gid, Gid::from_raw(0))?;
        setresuid(account.uid, root, root)?;
        Ok(switch)
    }

    /// The process is that user from now on, and can't be root again. The capabilities stay.
    pub(super) fn complete(mut self) -> io::Result<()> {
        let SystemUser { uid, gid, .. } = *self.account;
        set_keep_capabilities(true)?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        self.before = None;
        self.restore_signal();
        Ok(())
    }

    fn restore_signal(&self) {
        if self.parent_signal.is_some() {
            let _ = set_parent_process_death_signal(self.parent_signal);
        }
    }
}

impl Drop for Switch<'_> {
    fn drop(&mut self) {
        let Some((groups, gid)) = self.before.take() else { return };
        let root = Uid::from_raw(0);
        let undone =
            setresuid(root, root, root).and_then(|()| setresgid(gid, gid, gid)).and_then(|()| setgroups(&groups));
        self.restore_signal();
        if let Err(error) = undone {
            tracing::warn!(%error, "the system does not restore the groups of root");
        }
    }
}
