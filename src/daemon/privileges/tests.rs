//! What doesn't need root. The changes themselves are tested with the real program (`tests/e2e/test_privileges.py`).

use std::fs;
use std::path::Path;

use super::needs::{FileNeed, Needs, Want, is_unused};
use super::user::{Switch, SystemUser};

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
    let needs = Needs { files: files.into(), state: Some(dir.path().join("state")), is_state_new: false };
    assert_eq!(needs.first_denied(), None);
    assert_eq!(needs.state_owner(), None);
    assert!(needs.hand_over(0, 0).is_ok(), "there is nothing to hand over");
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
    let owner = |path: &Path| std::os::unix::fs::MetadataExt::uid(&fs::symlink_metadata(path).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (state, other) = (dir.path().join("state"), dir.path().join("other"));
    let lock = state.join("lock");
    fs::create_dir(&state).unwrap();
    fs::write(&other, "root's").unwrap();
    let needs = Needs { files: Vec::new(), state: Some(state), is_state_new: false };
    let nobody = SystemUser::nobody();
    let hand_over = || needs.hand_over(nobody.uid(), nobody.gid()).unwrap();
    std::os::unix::fs::symlink(&other, &lock).unwrap();
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
