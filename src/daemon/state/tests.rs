//! Files, the task that writes them, and the lock.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::*;

const A: StateFile<Content> = StateFile::new(FileInfo {
    name: "a.json",
    version: 3,
    content: "words of a test",
    durability: Durability::Machine,
    is_counted: true,
});
const B: StateFile<Content> = StateFile::new(FileInfo { name: "b.json", ..A.info });
const SOON: Duration = Duration::from_millis(20);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    text: String,
}

fn content(text: &str) -> Content {
    Content { version: A.info.version, text: text.into() }
}

fn open(dir: &Path) -> StateDir {
    let state = StateDir::open_with(Some(dir.into()), SOON).unwrap();
    state.begin();
    state
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_content_is_read_back_and_the_last_write_counts() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let state = open(&dir);
    assert_eq!(state.load(&A).unwrap(), None);
    assert_eq!(names(&dir), ["lock"], "no file is made before there is something to save");
    let first = state.put(&A, &content("one"));
    assert_eq!(first.await.unwrap(), Ok(()));
    let second = state.put(&A, &content("two"));
    let third = state.put(&A, &content("three"));
    assert_eq!((second.await.unwrap(), third.await.unwrap()), (Ok(()), Ok(())));
    assert_eq!(state.load(&A).unwrap(), Some(content("three")));
    assert!((2..=3).contains(&state.writes().counts()[0]), "a content that is replaced need not be written");
    let late = state.put(&B, &content("four"));
    state.close().await.unwrap();
    assert_eq!(late.await.unwrap(), Ok(()), "closing writes what is due");
    assert_eq!(names(&dir), ["a.json", "b.json", "lock"], "no temporary file is left");
}

#[tokio::test]
async fn an_unreadable_file_is_reported_with_its_content_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    for (text, why) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{\"version\":3,", "EOF while parsing a value at line 1 column 13"),
        ("{\"version\":3,\"text\":\"a\",\"why\":1}", "unknown field `why`"),
        ("{\"version\":7,\"words\":[]}", "this is version 7 of the file, and this program knows 3"),
        ("\u{fffd}", "expected value at line 1 column 1"),
    ] {
        fs::write(dir.path().join("a.json"), text).unwrap();
        let refused = state.load_or_refuse(&A).unwrap_err().to_string();
        let begins = format!("{}: {why}", dir.path().join("a.json").display());
        assert!(refused.starts_with(&begins), "{text:?}: {refused}");
        let ends = ". This file has words of a test: correct it, or move it away to start without";
        assert!(refused.ends_with(ends), "{refused}");
        assert_eq!(names(dir.path()), ["a.json", "lock"], "it stays as it is");
    }
}

#[tokio::test]
async fn an_unreadable_file_that_the_server_can_do_without_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    fs::write(dir.path().join("a.json"), "{").unwrap();
    let mut warnings = Vec::new();
    assert_eq!(state.load_or_set_aside(&A, "nothing is known", &mut warnings), None);
    assert_eq!(state.put(&A, &content("one")).await.unwrap(), Ok(()));
    assert_eq!(names(dir.path()), ["a.json", "a.json.unreadable", "lock"]);
    assert_eq!(fs::read_to_string(dir.path().join("a.json.unreadable")).unwrap(), "{");
    let [warning] = &warnings[..] else { panic!("one: {warnings:?}") };
    let warning = warning.to_string();
    assert!(warning.contains("EOF") && warning.contains("a.json.unreadable, and nothing is known"), "{warning}");
    assert_eq!(state.load_or_set_aside(&A, "nothing is known", &mut warnings), Some(content("one")));
    assert_eq!(warnings.len(), 1);
}

#[tokio::test]
async fn a_configuration_that_is_moved_away_finds_its_place_empty() {
    let parent = tempfile::tempdir().unwrap();
    let (conf, away) = (parent.path().join("conf"), parent.path().join("away"));
    let state = open(&conf.join("state"));
    assert_eq!(state.put(&A, &content("one")).await.unwrap(), Ok(()));
    fs::rename(&conf, &away).unwrap();
    let failed = state.put(&A, &content("two")).await.unwrap().unwrap_err();
    assert!(failed.contains("No such file or directory") && !conf.exists(), "{failed}");
    fs::rename(&away, &conf).unwrap();
    assert_eq!(state.put(&A, &content("three")).await.unwrap(), Ok(()));
    fs::remove_dir_all(conf.join("state")).unwrap();
    assert_eq!(state.put(&A, &content("four")).await.unwrap(), Ok(()), "the directory alone is made again");
}

#[tokio::test]
async fn a_failed_write_is_reported_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let state = StateDir::begun(Some(dir.path().join("file/state"))).unwrap();
    let failed = state.put(&A, &content("one")).await.unwrap().unwrap_err();
    assert!(failed.starts_with("not yet on disk: ") && failed.contains("file/state/a.json"), "{failed}");
    assert_eq!(state.writes().counts(), [0, 1]);
    let failed = StateDir::begun(None).unwrap().put(&A, &content("one")).await.unwrap().unwrap_err();
    assert!(failed.contains("without a settings file"), "{failed}");
}

/// Puts a directory where the temporary file of `name` goes.
fn obstruct(dir: &Path, name: &str) -> std::path::PathBuf {
    let obstacle = dir.join(format!(".{name}.new"));
    fs::create_dir(&obstacle).unwrap();
    obstacle
}

#[tokio::test]
async fn a_failed_write_is_tried_again_although_other_files_are_written_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    let obstacle = obstruct(dir.path(), "a.json");
    state.put(&A, &content("one")).await.unwrap().unwrap_err();
    fs::remove_dir(obstacle).unwrap();
    let search = async {
        while state.load(&A).unwrap() != Some(content("one")) {
            assert_eq!(state.put(&B, &content("other")).await.unwrap(), Ok(()));
            tokio::time::sleep(SOON / 10).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), search).await.expect("it is tried again");
}

#[tokio::test]
async fn a_failed_write_is_tried_once_more_at_the_end_with_its_newest_content() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::begun(Some(dir.path().into())).unwrap();
    let obstacle = obstruct(dir.path(), "a.json");
    state.put(&A, &content("one")).await.unwrap().unwrap_err();
    state.put(&A, &content("two")).await.unwrap().unwrap_err();
    fs::remove_dir(obstacle).unwrap();
    state.close().await.unwrap();
    assert_eq!(open(dir.path()).load(&A).unwrap(), Some(content("two")));
}

#[tokio::test]
async fn a_temporary_file_is_never_another_file_and_not_for_everyone() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, dir.path().join(".a.json.new")).unwrap();
    let state = open(dir.path());
    assert_eq!(state.put(&A, &content("one")).await.unwrap(), Ok(()));
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
    let metadata = fs::symlink_metadata(dir.path().join("a.json")).unwrap();
    assert!(metadata.is_file() && metadata.permissions().mode() & 0o027 == 0, "{metadata:?}");
}

#[tokio::test]
async fn a_directory_is_for_one_server_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let refused = StateDir::begun(Some(dir.path().into())).unwrap_err().to_string();
    let named = format!("{}: another server (process {}) uses", dir.path().display(), std::process::id());
    assert!(refused.starts_with(&named) && refused.contains("`state.dir`"), "{refused}");
    first.close().await.unwrap();
    // The next process id may be shorter.
    fs::write(dir.path().join(lock::NAME), "4294967295\nleft over\n").unwrap();
    let second = open(dir.path());
    let content = fs::read_to_string(dir.path().join(lock::NAME)).unwrap();
    assert_eq!(content, format!("{}\n", std::process::id()), "a file that a crash left is no lock");
    drop(second);
    open(dir.path());
}
