//! The directory after loads, crashes and failures.

use std::slice::from_ref;

use super::disk::*;
use super::*;

fn version(zone: &str, since: f64, text: &str) -> ZoneState {
    let apex = Name::parse(zone).unwrap();
    let texts = [("a.policy.toml", text), ("inc/b.inc", "b"), ("../up", "c"), (".hidden", "d")];
    let texts = texts.map(|(path, text)| (PathBuf::from(path), Arc::from(text.as_bytes())));
    let main = "a.policy.toml".to_owned();
    let version = Version { apex: apex.clone(), main, steered: 3, since, texts: texts.into_iter().collect() };
    ZoneState { apex, status: VersionStatus::Current, version: Some(Arc::new(version)) }
}

fn state_dir(state: &tempfile::TempDir) -> StateDir {
    StateDir::open(Some(state.path().into())).unwrap()
}

fn folder(state: &tempfile::TempDir) -> VersionFolder {
    VersionFolder::of(&state_dir(state)).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

#[tokio::test]
async fn versions_outlive_a_restart_and_go_with_their_zones() {
    let state = tempfile::tempdir().unwrap();
    let (svc, root) = (version("svc.example.", 1700.5, "one"), version(".", 1701.0, "root"));
    let versions = Versions::write(&state_dir(&state), [svc.clone(), root.clone()].into());
    versions.close().await;
    let dir = state.path().join(LAST_GOOD_DIR);
    assert_eq!(names(&dir), ["%root.json", "%root@1701000", "svc.example.json", "svc.example@1700500"]);
    assert_eq!(fs::read_to_string(dir.join("svc.example@1700500/a.policy.toml")).unwrap(), "one");
    let loaded = load(Some(state.path()));
    let read = |zone: &ZoneState| zone.version.as_deref().cloned();
    assert_eq!(loaded.iter().map(read).collect::<Vec<_>>(), [read(&root), read(&svc)]);

    let newer = version("svc.example.", 1800.0, "two");
    let versions = Versions::write(&state_dir(&state), loaded.into());
    versions.turn_to([newer.clone()].into());
    versions.close().await;
    assert_eq!(names(&dir), ["svc.example.json", "svc.example@1800000"]);
    assert_eq!(load(Some(state.path())).iter().map(read).collect::<Vec<_>>(), [read(&newer)]);
}

#[tokio::test]
async fn what_cannot_be_read_is_left_out() {
    let state = tempfile::tempdir().unwrap();
    Versions::write(&state_dir(&state), [version("svc.example.", 1.0, "one")].into()).close().await;
    let dir = state.path().join(LAST_GOOD_DIR);
    fs::write(dir.join("broken.json"), "{").unwrap();
    let outside = fs::read_to_string(dir.join("svc.example.json")).unwrap().replace("file-1", "../../secret");
    fs::write(dir.join("outside.json"), outside.replace("svc.", "other.")).unwrap();
    assert_eq!(load(Some(state.path())).len(), 1);
    fs::remove_file(dir.join("svc.example@1000/a.policy.toml")).unwrap();
    assert_eq!(load(Some(state.path())).len(), 0);
    assert_eq!(load(None).len(), 0);
}

#[test]
fn every_zone_has_a_file_name_of_its_own() {
    let long = |last: &str| Name::parse(&format!("{}{last}.", format!("{}.", "a".repeat(60)).repeat(3))).unwrap();
    assert_ne!(stem(&long("b")), stem(&long("c")));
    assert!(stem(&long("b")).len() <= MAX_STEM);
    assert_eq!(stem(&Name::parse("a/b.example.").unwrap()), "a%2Fb.example");
}

#[test]
fn a_version_outlives_the_process_as_soon_as_it_is_written() {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().join(LAST_GOOD_DIR);
    let of = |zone: ZoneState| zone.version.unwrap();
    let [one, two] = [(1.0, "one"), (2.0, "two")].map(|(since, text)| of(version("svc.example.", since, text)));
    let loaded = || load(Some(state.path())).into_iter().map(of).collect::<Vec<_>>();
    disk::write(&dir, &one).unwrap();
    assert_eq!(&loaded()[..], from_ref(&one), "the disk need not have it");
    assert_eq!(progress(&dir, &one), WriteProgress::Written);
    settle(&dir, &one).unwrap();
    disk::write(&dir, &two).unwrap();
    assert_eq!(&loaded()[..], from_ref(&two), "the next one counts");
    // The machine stopped before the disk had all of it.
    let lost = dir.join("svc.example@2000/a.policy.toml");
    for left in ["", "tw", "\0\0\0"] {
        fs::write(&lost, left).unwrap();
        assert_eq!(&loaded()[..], from_ref(&one), "{left:?}");
    }
    fs::write(&lost, "two").unwrap();
    let mut folder = folder(&state);
    let zones = load(Some(state.path()));
    assert!(folder.follow(&zones));
    assert_eq!(names(&dir), ["svc.example.json", "svc.example@2000"]);
    assert_eq!(loaded(), [two]);
}

#[test]
fn the_version_before_stays_while_the_next_one_cannot_be_written() {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().join(LAST_GOOD_DIR);
    let (one, two) = (version("svc.example.", 1.0, "one"), version("svc.example.", 2.0, "two"));
    let mut folder = folder(&state);
    assert!(folder.follow(from_ref(&one)));
    // Nothing can be written into what is no directory.
    fs::write(dir.join("svc.example@2000"), "").unwrap();
    assert!(!folder.follow(from_ref(&two)));
    assert_eq!(load(Some(state.path()))[0].version, one.version);
    assert_eq!(folder.writes.counts(), [1, 1]);
    fs::remove_file(dir.join("svc.example@2000")).unwrap();
    assert!(folder.follow(from_ref(&two)), "it is tried again");
    assert_eq!(folder.writes.counts(), [2, 1]);
    assert_eq!(names(&dir), ["svc.example.json", "svc.example@2000"]);
    assert_eq!(load(Some(state.path()))[0].version, two.version);
}

#[tokio::test]
async fn a_version_that_could_not_be_written_is_tried_once_more_at_the_end() {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().join(LAST_GOOD_DIR);
    fs::create_dir(&dir).unwrap();
    // Nothing can be written into what is no directory.
    fs::write(dir.join("svc.example@1000"), "").unwrap();
    let opened = state_dir(&state);
    let (writes, disk) = (opened.writes(), opened.disk());
    let zones = [version("svc.example.", 1.0, "one")];
    let versions = Versions::write(&opened, zones.into());
    while writes.counts() != [0, 1] {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let unsaved = disk.all_due();
    assert_eq!((unsaved.len(), &*unsaved[0].file), (1, LAST_GOOD_DIR));
    assert!(unsaved[0].why().starts_with("svc.example.: "), "{}", unsaved[0].why());
    fs::remove_file(dir.join("svc.example@1000")).unwrap();
    versions.close().await;
    assert_eq!(names(&dir), ["svc.example.json", "svc.example@1000"]);
    assert_eq!(writes.counts(), [1, 1]);
    assert_eq!(disk.all_due(), [], "it is written");
}

#[test]
fn a_content_that_changed_by_itself_is_left_out() {
    let state = tempfile::tempdir().unwrap();
    let mut folder = folder(&state);
    assert!(folder.follow(&[version("svc.example.", 1.0, "one")]));
    fs::write(state.path().join(LAST_GOOD_DIR).join("svc.example@1000/a.policy.toml"), "eno").unwrap();
    assert!(load(Some(state.path())).is_empty());
}
