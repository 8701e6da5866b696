//! The files of the log over restarts, crashes and disks that fail.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::control::test_world::transition;
use crate::control::{Journal, JournalEvent, JournalStart, MAX_EVENTS};
use crate::daemon::event_log::{LOG, LoadedEvents, OLD_LOG, load, write_events};
use crate::daemon::state::StateDir;

/// A journal that is written to a directory.
struct Run {
    journal: Arc<Journal>,
    state: StateDir,
    stop: CancellationToken,
    writing: tokio::task::JoinHandle<()>,
}

impl Run {
    /// Goes on after what the directory has; the warnings are those of the load.
    fn start(dir: &Path, node: &str) -> (Run, Vec<String>) {
        let state = StateDir::begun(Some(dir.into())).unwrap();
        let mut warnings = Vec::new();
        let mut loaded = load(&state, node, &mut warnings);
        let events = std::mem::take(&mut loaded.events);
        let start = JournalStart { last: loaded.last, events, is_written: true, is_held: false };
        let journal = Arc::new(Journal::from(node, 4, start));
        let stop = CancellationToken::new();
        let writing = tokio::spawn(write_events(journal.clone(), state.clone(), loaded, stop.clone()));
        let warnings = warnings.into_iter().map(|warning| warning.message).collect();
        (Run { journal, state, stop, writing }, warnings)
    }

    fn append(&self, count: usize) {
        (0..count).for_each(|_| self.journal.append(JournalEvent::from(&transition())));
    }

    /// Waits until so many events are visible in all.
    async fn shown(&self, last: u64) {
        let mut shown = self.journal.shown();
        while self.journal.range(0.0).last < last {
            shown.changed().await.unwrap();
        }
    }

    fn visible(&self) -> Vec<u64> {
        self.journal.visible(0, usize::MAX).iter().map(|event| event.number()).collect()
    }

    async fn stop(self) -> Result<(), String> {
        self.stop.cancel();
        self.writing.await.unwrap();
        self.state.close().await.map_err(|unsaved| unsaved.to_string())
    }
}

fn lines(dir: &Path, name: &str) -> usize {
    fs::read_to_string(dir.join(name)).map_or(0, |text| text.lines().filter(|line| !line.is_empty()).count())
}

#[tokio::test]
async fn events_are_there_after_a_restart_and_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (run, _) = Run::start(dir.path(), "ns1");
    run.append(3);
    run.shown(3).await;
    // What is visible is in the file, so a crash now loses nothing that anybody has seen.
    assert_eq!(lines(dir.path(), LOG), 3);
    run.append(1);
    run.stop().await.unwrap();
    let (run, warnings) = Run::start(dir.path(), "ns1");
    assert_eq!((run.visible(), warnings.len()), (vec![1, 2, 3, 4], 0));
    run.append(1);
    run.shown(5).await;
    assert_eq!(run.journal.visible(4, 1)[0].id, "ns1/5");
    run.stop().await.unwrap();
    // A node that was renamed does not begin at 1 again, and has no events of the other name.
    let (run, _) = Run::start(dir.path(), "other");
    run.append(1);
    run.shown(6).await;
    assert_eq!(run.visible(), [6]);
    run.stop().await.unwrap();
}

#[tokio::test]
async fn a_line_that_a_crash_has_torn_costs_no_other_line() {
    let dir = tempfile::tempdir().unwrap();
    let (run, _) = Run::start(dir.path(), "ns1");
    run.append(2);
    run.shown(2).await;
    run.stop().await.unwrap();
    let path = dir.path().join(LOG);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{{}}\n{text}{{\"id\":\"ns1/3\",\"at\"")).unwrap();
    let (run, warnings) = Run::start(dir.path(), "ns1");
    assert_eq!(run.visible(), [1, 2]);
    assert!(warnings.len() == 1 && warnings[0].starts_with("1 of its lines can't be read"), "{warnings:?}");
    run.append(1);
    run.shown(3).await;
    run.stop().await.unwrap();
    let (run, _) = Run::start(dir.path(), "ns1");
    assert_eq!(run.visible(), [1, 2, 3]);
    run.stop().await.unwrap();
}

#[tokio::test]
async fn a_full_file_becomes_the_old_one_and_the_last_events_are_loaded_from_both() {
    let dir = tempfile::tempdir().unwrap();
    let (run, _) = Run::start(dir.path(), "ns1");
    for part in [MAX_EVENTS, 10, MAX_EVENTS, 5] {
        let last = run.journal.last() + part as u64;
        run.append(part);
        run.shown(last).await;
    }
    let last = run.journal.last();
    run.stop().await.unwrap();
    assert_eq!([lines(dir.path(), OLD_LOG), lines(dir.path(), LOG)], [MAX_EVENTS + 10, 5]);
    let (run, _) = Run::start(dir.path(), "ns1");
    assert_eq!(run.visible(), (last + 1 - MAX_EVENTS as u64..=last).collect::<Vec<_>>());
    run.stop().await.unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_written_holds_no_event_up_and_is_written_at_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(LOG)).unwrap();
    let (run, _) = Run::start(dir.path(), "ns1");
    run.append(2);
    run.shown(2).await;
    run.append(1);
    run.shown(3).await;
    let unsaved = run.state.disk().all_due();
    assert!(unsaved.len() == 1 && unsaved[0].file == LOG && unsaved[0].error.is_some(), "{unsaved:?}");
    fs::remove_dir(dir.path().join(LOG)).unwrap();
    run.stop().await.unwrap();
    assert_eq!(lines(dir.path(), LOG), 3);
    fs::remove_file(dir.path().join(LOG)).unwrap();
    fs::create_dir(dir.path().join(LOG)).unwrap();
    let (run, warnings) = Run::start(dir.path(), "ns1");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    run.append(1);
    let unsaved = run.stop().await.unwrap_err();
    assert!(unsaved.contains("the log of events"), "{unsaved}");
}

#[test]
fn any_content_of_the_file_is_read_without_a_panic() {
    let mut loaded = LoadedEvents::default();
    let event = |id: &str| {
        let event = JournalEvent { id: id.into(), ..JournalEvent::from(&transition()) };
        serde_json::to_string(&event).unwrap() + "\n"
    };
    let text = ["ns1/5", "ns1/4", "ns1/5", "ns2/9", "ns1/18446744073709551615", "ns1/7"].map(event).concat();
    assert_eq!(loaded.add(format!("\n\n{text}\u{0}\n[]\nnull\n").as_bytes(), "ns1"), 4);
    assert_eq!(loaded.events.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [5, 7]);
    assert_eq!(loaded.last, 9);
    assert_eq!(loaded.add(&[0xff, 0xfe, b'\n', b'{'], "ns1"), 1);
}
