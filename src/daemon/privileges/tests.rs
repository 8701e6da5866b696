//! What doesn't need root. The changes themselves are tested with the real program (`tests/e2e/test_privileges.py`).

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::Path;

use super::hindrance::denied_text;
use super::needs::{Denied, FileNeed, Needs, Want, is_unused};
use super::takeover::{NewUser, may_give};
use super::user::{Switch, SystemUser};

/// The user of a file, or of a link itself.
fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}

#[test]
fn a_user_is_known_by_name_and_by_number() {
    let root = SystemUser::of("root").unwrap();
    assert!(root.is_root() && root == SystemUser::of("0").unwrap());
    assert_eq!(root.to_string(), "root (uid 0)");
    let unlisted = SystemUser::of("4200000000").unwrap();
    assert_eq!(
        (unlisted.uid(), unlisted.gid(), unlisted.to_string().as_str()),
        (4_200_000_000, 4_200_000_000, "uid 4200000000")
    );
    assert_eq!(SystemUser::of_ids(4_200_000_000, 7).gid(), 7);
    for wrong in ["no such user", "-1", "4294967296", "a\0b", ""] {
        assert!(SystemUser::of(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_state_directory_with_content_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    assert!(is_unused(&dir.path().join("none")) && is_unused(dir.path()));
    fs::write(dir.path().join("lock"), "1").unwrap();
    assert!(is_unused(dir.path()), "a start that failed leaves its lock");
    fs::write(dir.path().join("overrides.json"), "{}").unwrap();
    assert!(!is_unused(dir.path()));
    assert!(!is_unused(&dir.path().join("lock")), "it is no directory");
}

#[test]
fn files_that_are_missing_are_no_reason_to_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let files = ["", "none", "none/below"].map(|name| FileNeed { path: dir.path().join(name), want: Want::Read });
    let needs = Needs { files: files.into(), state: Some(dir.path().join("state")), ..Needs::default() };
    assert_eq!(needs.denied(), []);
    assert_eq!((needs.state_owner(), needs.zones_owner()), (None, None));
    assert!(needs.hand_over(NewUser::Account(0, 0)).is_ok(), "there is nothing to hand over");
}

#[test]
fn without_the_right_to_it_a_change_of_the_user_changes_nothing() {
    if super::user::is_root() {
        return;
    }
    let before = fs::read_to_string("/proc/self/status").unwrap();
    let ids = |status: &str| status.lines().filter(|line| line.contains("id:")).map(str::to_owned).collect::<Vec<_>>();
    assert!(Switch::begin(&SystemUser::nobody()).is_err());
    assert_eq!(ids(&before), ids(&fs::read_to_string("/proc/self/status").unwrap()));
    assert!(Path::new("/proc/self").exists());
}

#[test]
fn the_owner_of_the_state_directory_cannot_have_other_files_handed_over() {
    if !super::user::is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (state, other) = (dir.path().join("state"), dir.path().join("other"));
    let lock = state.join("lock");
    fs::create_dir(&state).unwrap();
    fs::write(&other, "root's").unwrap();
    let needs = Needs { state: Some(state.clone()), ..Needs::default() };
    let nobody = SystemUser::nobody();
    let hand_over = || needs.hand_over(NewUser::Account(nobody.uid(), nobody.gid())).unwrap();
    chown(&state, Some(nobody.uid()), Some(nobody.gid())).unwrap();
    symlink(&other, &lock).unwrap();
    hand_over();
    assert_eq!((owner(&lock), owner(&other)), (0, 0), "a link");
    fs::remove_file(&lock).unwrap();
    fs::hard_link(&other, &lock).unwrap();
    hand_over();
    assert_eq!(owner(&other), 0, "another name of the file");
    fs::remove_file(&lock).unwrap();
    fs::write(&lock, "1").unwrap();
    hand_over();
    assert_eq!(owner(&lock), nobody.uid());
}

#[test]
fn a_state_directory_of_root_is_given_with_all_that_a_server_put_there() {
    if !super::user::is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let folder = state.join("zones/svc.example@1700");
    fs::create_dir_all(&folder).unwrap();
    let own = [
        "lock",
        "overrides.json",
        "leases.json",
        ".health.json.new",
        "events.json.unreadable",
        "events.log",
        "events.old.log",
        "zones/svc.example.json",
    ];
    for name in own {
        fs::write(state.join(name), "{}").unwrap();
    }
    // A killed server leaves it.
    drop(std::os::unix::net::UnixListener::bind(state.join("takeover.sock")).unwrap());
    fs::write(folder.join("svc.example.zone"), "").unwrap();
    let needs = Needs { state: Some(state.clone()), ..Needs::default() };
    let nobody = SystemUser::nobody();
    let hand_over = || needs.hand_over(NewUser::Account(nobody.uid(), nobody.gid())).unwrap();

    fs::write(state.join("other"), "root's").unwrap();
    assert!(!may_give(&state, false));
    hand_over();
    assert_eq!([owner(&state), owner(&folder), owner(&state.join("lock"))], [0, 0, 0], "it is also for other things");

    fs::remove_file(state.join("other")).unwrap();
    assert!(may_give(&state, false));
    hand_over();
    let all = own.map(|name| owner(&state.join(name)));
    assert_eq!(all, [nobody.uid(); 8]);
    let dirs = [&state, &state.join("zones"), &folder, &folder.join("svc.example.zone")].map(|path| owner(path));
    assert_eq!(dirs, [nobody.uid(); 4]);

    // Root without capabilities can write it again, and it stays the user's.
    needs.hand_over(NewUser::Root).unwrap();
    let found = fs::metadata(&folder).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o070), (nobody.uid(), 0, 0o070));
}

#[test]
fn links_and_files_of_root_in_the_directory_of_a_user_stay_roots() {
    if !super::user::is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (state, other) = (dir.path().join("state"), dir.path().join("other"));
    fs::create_dir_all(&state).unwrap();
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("a.json"), "").unwrap();
    fs::write(state.join("overrides.json"), "a secret that was moved here").unwrap();
    symlink(&other, state.join("zones")).unwrap();
    let nobody = SystemUser::nobody();
    chown(&state, Some(nobody.uid()), Some(nobody.gid())).unwrap();
    let to = NewUser::Account(nobody.uid(), nobody.gid());
    let hand_over = |state: &Path| Needs { state: Some(state.into()), ..Needs::default() }.hand_over(to).unwrap();
    hand_over(&state);
    assert_eq!([owner(&other), owner(&other.join("a.json")), owner(&state.join("overrides.json"))], [0; 3]);

    // The state directory itself is a link of the user.
    fs::remove_file(other.join("a.json")).unwrap();
    let link = dir.path().join("link");
    symlink(&other, &link).unwrap();
    lchown(&link, Some(nobody.uid()), Some(nobody.gid())).unwrap();
    assert!(!may_give(&link, true));
    hand_over(&link);
    assert_eq!(owner(&other), 0);
    // And one of root.
    lchown(&link, Some(0), Some(0)).unwrap();
    assert!(may_give(&link, true));
}

#[test]
fn a_message_names_every_kind_of_file_that_hinders() {
    let denied = |path: &str, want, closed: Option<&str>| Denied {
        need: FileNeed { path: path.into(), want },
        closed: closed.map(Into::into),
    };
    let some = [
        denied("/none/tokens", Want::Read, None),
        denied("/none/key.pem", Want::Read, None),
        denied("/none/ca.pem", Want::ReadAuthorities, None),
        denied("/none/check", Want::Run, None),
        denied("/none/a/zones", Want::Read, Some("/none/a")),
    ];
    assert_eq!(
        denied_text(&some, &SystemUser::nobody()),
        "the user 65534 can't read /none/a/zones, because it can't enter /none/a: `chmod a+x /none/a`; it can't read \
         /none/tokens, /none/key.pem: `chown 65534 /none/tokens /none/key.pem`; it can't read the certificate \
         authorities /none/ca.pem: SSL_CERT_FILE and SSL_CERT_DIR name them; it can't run /none/check: `chmod a+rx \
         /none/check`"
    );
    let many: Vec<Denied> = (0..20).map(|nth| denied(&format!("/none/{nth}"), Want::Read, None)).collect();
    let text = denied_text(&many, &SystemUser::nobody());
    assert!(text.contains("/none/7, and 12 more: `chown 65534 /none/0 ") && text.ends_with("/none/7 ...`"), "{text}");
}
