//! `overrides.json`: the overrides as they outlive a restart.
//!
//! The end of an override is written in three forms, because the wall clock of the next start may be wrong: as a Unix
//! time, as the time that was left when the file was written, and on the boot clock, which nobody can set. A start
//! of the same boot uses the boot clock. After a reboot the Unix time counts, but no more time is left than there was.
//!
//! A server of a fleet also writes the changes that it shares, with those that the fleet does not have yet, and those
//! that have ended. Then a start restores the overrides from these.

use serde::{Deserialize, Serialize};

use crate::clock::BootTime;
use crate::control::overrides::{Book, OverrideReport, state_of, zones_of};
use crate::daemon::clocks::{JUMP, Now};
use crate::daemon::state::{Durability, FileInfo, StateFile};
use crate::fleet::overrides::SavedMerge;
use crate::model::Override;

pub(crate) const FILE: StateFile<OverridesFile> = StateFile::new(FileInfo {
    name: "overrides.json",
    version: 1,
    content: "the operators' overrides",
    durability: Durability::Machine,
    is_counted: true,
});

/// The content of the file. The oldest override is first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OverridesFile {
    version: u32,
    overrides: Vec<OverrideRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fleet: Option<FleetRows>,
}

/// The changes that a fleet shares.
#[derive(Debug, Serialize, Deserialize)]
struct FleetRows {
    /// When this was written, Unix seconds, and on the boot clock: the rows have ages.
    written: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written_boot: Option<BootTime>,
    #[serde(flatten)]
    merge: SavedMerge,
}

/// An override. Versions before this one ignore the fields that they do not know.
#[derive(Debug, Serialize, Deserialize)]
struct OverrideRow {
    #[serde(flatten)]
    report: OverrideReport,
    /// Seconds that were left when the file was written; only with `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<f64>,
    /// Its end on the boot clock; only with `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<BootTime>,
}

/// The file of `book`, whose ends are of the wall clock `now`.
pub(super) fn file_of(book: &Book, fleet: Option<SavedMerge>, now: &Now, boot: Option<&BootTime>) -> OverridesFile {
    let row = |entry: &Override| {
        let left = entry.until.map(|until| round(until - now.unix));
        let end = left.zip(boot).map(|(left, boot)| BootTime { secs: round(boot.secs + left), ..boot.clone() });
        OverrideRow { report: OverrideReport::from(entry), left, end }
    };
    let fleet = fleet.map(|merge| FleetRows { written: now.unix, written_boot: boot.cloned(), merge });
    OverridesFile {
        version: FILE.info.version,
        overrides: book.entries().iter().map(|entry| row(entry)).collect(),
        fleet,
    }
}

/// To the millisecond.
fn round(secs: f64) -> f64 {
    (secs * 1e3).round() / 1e3
}

impl OverridesFile {
    /// Takes out the changes that a fleet shares, with how many milliseconds ago they were written.
    pub(super) fn take_fleet(&mut self, now: &Now, boot: Option<&BootTime>) -> Option<(SavedMerge, i64)> {
        let FleetRows { written, written_boot, merge } = self.fleet.take()?;
        let by_boot = written_boot.zip(boot).filter(|(then, boot)| then.id == boot.id && then.secs <= boot.secs);
        let since = by_boot.map_or(now.unix - written, |(then, boot)| boot.secs - then.secs);
        Some((merge, (since.max(0.0) * 1e3).round() as i64))
    }

    /// The book, with ends of the wall clock `now`.
    pub(super) fn into_book(self, now: &Now, boot: Option<&BootTime>) -> Result<Book, String> {
        let each = self.overrides.into_iter().map(|row| row.into_override(now, boot));
        Book::of(each.collect::<Result<_, _>>()?)
    }
}

impl OverrideRow {
    fn into_override(self, now: &Now, boot: Option<&BootTime>) -> Result<Override, String> {
        let OverrideRow { report, left, end } = self;
        let zones = zones_of(&report)?;
        let OverrideReport { target, state, why, who, until, zones: _, on_disk: _, fleet: _ } = report;
        let until = until.map(|until| {
            let left = left.unwrap_or(f64::INFINITY);
            let by_boot = end.zip(boot).filter(|(end, boot)| end.id == boot.id);
            let remaining = match by_boot.map(|(end, boot)| end.secs - boot.secs) {
                Some(by_boot) if by_boot <= left + JUMP => by_boot,
                // Without a boot clock, or with one that was set back, as in another time namespace.
                Some(_) | None => (until - now.unix).min(left),
            };
            // The same end is not written in another way, because people compare it.
            let end = now.unix + remaining;
            if (end - until).abs() < JUMP { until } else { round(end) }
        });
        Ok(Override { target, state: state_of(&state)?, why, who, until, zones })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Moment, OverrideState};

    const YEAR: f64 = 366.0 * 86_400.0;

    fn at(unix: f64) -> Now {
        Now { moment: Moment::from_start(std::time::Duration::from_secs(90_000)), unix }
    }

    fn boot(id: &str, secs: f64) -> BootTime {
        BootTime { id: id.into(), secs }
    }

    fn book(until: Option<f64>) -> Book {
        let (target, why, who) = ("fra1".into(), "rack move".into(), "alice".into());
        Book::of(vec![Override { target, state: OverrideState::Drain, why, who, until, zones: None }]).unwrap()
    }

    /// The seconds that are left of two hours at a start with this clock and boot clock.
    fn left(start: f64, boot_at_start: Option<&BootTime>) -> Option<f64> {
        let text =
            serde_json::to_string(&file_of(&book(Some(8200.0)), None, &at(1000.0), Some(&boot("a", 50.0)))).unwrap();
        let again: OverridesFile = serde_json::from_str(&text).unwrap();
        let again = again.into_book(&at(start), boot_at_start).unwrap();
        again.entries()[0].until.map(|until| until - start)
    }

    #[test]
    fn a_start_of_the_same_boot_counts_by_the_boot_clock_whatever_the_wall_clock_is() {
        for start in [1060.0, 1000.0 + YEAR, 1000.0 - YEAR, 0.0] {
            assert_eq!(left(start, Some(&boot("a", 110.0))), Some(7140.0), "at {start}");
        }
        assert_eq!(left(1060.0, Some(&boot("a", 50.0 + 7300.0))), Some(-100.0), "it is over");
        assert_eq!(left(1060.0, Some(&boot("a", -100_000.0))), Some(7140.0), "the boot clock was set back");
    }

    #[test]
    fn after_a_reboot_the_wall_clock_counts_and_no_more_is_left_than_there_was() {
        assert_eq!(left(1060.0, Some(&boot("b", 5.0))), Some(7140.0));
        assert_eq!(left(1060.0, None), Some(7140.0));
        assert_eq!(left(1000.0 - YEAR, Some(&boot("b", 5.0))), Some(7200.0), "the clock was set back");
        assert_eq!(left(9000.0, Some(&boot("b", 5.0))), Some(-800.0));
    }

    #[test]
    fn an_end_is_written_as_before_and_none_stays_none() {
        let until = |of: &Book| of.entries()[0].until;
        let (now, boot) = (at(1000.0), boot("a", 50.0));
        let restored = file_of(&book(Some(1_700.125)), None, &now, Some(&boot)).into_book(&at(1001.2), Some(&boot));
        assert_eq!(until(&restored.unwrap()), Some(1_700.125));
        let restored = file_of(&book(None), None, &now, Some(&boot)).into_book(&at(0.0), None).unwrap();
        assert_eq!(restored, book(None));
    }

    #[test]
    fn the_age_of_what_a_fleet_shares_is_counted_by_the_boot_clock_or_else_by_the_wall_clock() {
        let since = |start: f64, boot_at_start: Option<&BootTime>| {
            let merge = Some(SavedMerge::default());
            let mut file = file_of(&book(None), merge, &at(1000.0), Some(&boot("a", 50.0)));
            file.take_fleet(&at(start), boot_at_start).map(|(_, since)| since)
        };
        assert_eq!(since(1000.0 - YEAR, Some(&boot("a", 110.0))), Some(60_000));
        assert_eq!(since(1090.0, Some(&boot("b", 5.0))), Some(90_000));
        assert_eq!(since(1000.0 - YEAR, Some(&boot("b", 5.0))), Some(0), "the clock was set back");
        assert_eq!(since(1090.0, None), Some(90_000));
        assert!(file_of(&book(None), None, &at(0.0), None).take_fleet(&at(0.0), None).is_none());
    }

    #[test]
    fn a_wrong_file_is_refused() {
        let text = serde_json::to_string(&file_of(&book(None), None, &at(0.0), None)).unwrap();
        let wrong =
            |text: &str| FILE.parse(text.as_bytes()).and_then(|file| file.into_book(&at(0.0), None)).unwrap_err();
        assert!(wrong(&text.replace("drain", "drian")).contains("did you mean `drain`?"));
        assert!(wrong(&text.replace("\"why\"", "\"because\"")).contains("missing field `why`"));
    }
}
