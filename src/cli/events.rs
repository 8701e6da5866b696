//! `portolan events`: the numbered log of events of a server, or of all servers of its fleet.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use crate::cli::args::ServerArg;
use crate::cli::client::{ApiServer, EventReader, StreamMessage, encoded};
use crate::cli::{Failure, Format, text};
use crate::control::JournalEvent;
use crate::daemon::{command_runtime, stop_signal};
use crate::fleet::events::{EventCursor, rfc3339};
use crate::printable::escaped_json;

/// The first time from the end of a stream to the next attempt; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest one (judgment: a server that restarts is back within seconds).
const MAX_DELAY: Duration = Duration::from_secs(2);

/// Print the numbered log of events: transitions, overrides, failbacks, promotions and reloads
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  portolan events\n  portolan events --since 4711 --format json
  portolan events --follow\n  portolan events --fleet --since ns1/4711,ns2/80 --follow

An event has the id NODE/NUMBER; the numbers of a node rise by one. With --format json each line is a
CloudEvent 1.0. --follow goes on with later events until Ctrl-C, also over restarts of the server.

Exit code 1: events after --since are no longer in the log, numbers are missing between those that
it has, or it never had that number; what there is was printed, and standard error says which
numbers are missing.")]
pub(super) struct EventsArgs {
    #[command(flatten)]
    server: ServerArg,
    /// Only the events after this one: its number, or NODE/NUMBER; with --fleet NODE/NUMBER for each node, with commas
    /// [default: all events that the server has]
    #[arg(long, value_name = "N")]
    since: Option<String>,
    /// Wait for later events too
    #[arg(long)]
    follow: bool,
    /// The events of all servers of the fleet, as the server has them from the fleet's stream
    #[arg(long)]
    fleet: bool,
    /// The output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A `lagged` message: which events are lost.
#[derive(Debug, Default, Deserialize)]
struct Lagged {
    #[serde(default)]
    first: Option<u64>,
    #[serde(default)]
    last: Option<u64>,
    /// By node, for the events of the fleet.
    #[serde(default)]
    nodes: BTreeMap<String, LostRange>,
}

#[derive(Debug, Deserialize)]
struct LostRange {
    first: u64,
    last: u64,
}

/// An `unknown` message: the number of the last event of the log; of a fleet, that of each node that has no such event.
#[derive(Debug, Deserialize)]
struct Unknown {
    last: u64,
    #[serde(default)]
    nodes: BTreeMap<String, u64>,
}

/// An `away` message: why the server can't read the stream of the fleet now.
#[derive(Debug, Deserialize)]
struct Away {
    why: String,
}

pub(super) fn run(args: &EventsArgs) -> Result<ExitCode, Failure> {
    let since = args.since.as_deref().map_or("oldest", str::trim);
    if !is_position(since, args.fleet) {
        let expected = if args.fleet { "NODE/NUMBER,NODE/NUMBER and so on" } else { "a number or NODE/NUMBER" };
        text::complain(&format!("portolan: --since is {expected}; found `{since}`"));
        return Ok(ExitCode::from(super::WRONG_USAGE));
    }
    let fleet = if args.fleet { "&fleet=true" } else { "" };
    let path = format!("/v1/events?since={}&follow={}{fleet}", encoded(since), args.follow);
    let mut printer = Printer { format: args.format, last: None, is_incomplete: false };
    let (runtime, server) = (command_runtime()?, args.server.server());
    runtime.block_on(async {
        tokio::select! {
            done = follow(&server, &path, args.follow, &mut printer) => done?,
            () = stop_signal(), if args.follow => {}
        }
        Ok(printer.code())
    })
}

/// Whether the server can read it.
fn is_position(since: &str, is_of_fleet: bool) -> bool {
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u64>().is_ok();
    match since {
        "oldest" => true,
        since if is_of_fleet => EventCursor::parse(since).is_some(),
        since => is_number(since.rsplit_once('/').map_or(since, |(_, number)| number)),
    }
}

/// Prints the stream, and opens it again when it breaks.
async fn follow(server: &ApiServer, path: &str, follows: bool, printer: &mut Printer) -> Result<(), Failure> {
    let mut reader = match server.open_events(path, None).await? {
        Ok(reader) => reader,
        Err(refused) => return Err(Failure::refused(&refused)),
    };
    loop {
        match printer.print_all(&mut reader).await {
            Ended::Nobody => return Ok(()),
            Ended::Whole if !follows => return Ok(()),
            Ended::Broken(why) if !follows => return Err(Failure(format!("the reply of {server} broke off: {why}"))),
            Ended::Whole => {}
            Ended::Unreadable(why) => {
                let later = "if the server has a later release, use the portolan of that release";
                return Err(Failure(format!("{server} sent an event that can't be read: {why}; {later}")));
            }
            Ended::Broken(why) => text::complain(&format!("portolan: the stream of {server} broke off: {why}")),
        }
        reader = again(server, path, printer.last.as_deref(), reader.retry.unwrap_or(FIRST_DELAY)).await?;
    }
}

/// Opens the stream again after the last event, for the first time after `first`. Ends when that works, or when the
/// server will always refuse.
async fn again(server: &ApiServer, path: &str, last: Option<&str>, first: Duration) -> Result<EventReader, Failure> {
    let mut delay = first;
    let mut is_shown = false;
    loop {
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(MAX_DELAY.max(first));
        let why = match server.open_events(path, last).await {
            Ok(Ok(reader)) => {
                if is_shown {
                    text::complain(&format!("portolan: connected to {server} again"));
                }
                return Ok(reader);
            }
            // Too many clients, or the server is stopping.
            Ok(Err(refused)) if matches!(refused.status, 429 | 500..) => Failure::refused(&refused).0,
            Ok(Err(refused)) => return Err(Failure::refused(&refused)),
            Err(Failure(why)) => why,
        };
        if !std::mem::replace(&mut is_shown, true) {
            text::complain(&format!("portolan: {why}; trying again"));
        }
    }
}

/// Why printing ended.
enum Ended {
    /// The stream is at its end.
    Whole,
    /// The stream broke.
    Broken(String),
    /// An event can't be read. It would come again.
    Unreadable(String),
    /// Nobody reads the output any more.
    Nobody,
}

struct Printer {
    format: Format,
    /// The id of the last event.
    last: Option<String>,
    /// Whether events are missing.
    is_incomplete: bool,
}

impl Printer {
    fn code(&self) -> ExitCode {
        if self.is_incomplete { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    async fn print_all(&mut self, reader: &mut EventReader) -> Ended {
        loop {
            let message = match reader.next().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ended::Whole,
                Err(why) => return Ended::Broken(why),
            };
            let line = match self.line(&message) {
                Ok(line) => line,
                Err(why) => return Ended::Unreadable(why),
            };
            let mut out = std::io::stdout().lock();
            if let Some(line) = line
                && out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err()
            {
                return Ended::Nobody;
            }
            if !message.id.is_empty() {
                self.last = Some(message.id);
            }
        }
    }

    /// What is printed for a message; what is missing goes to standard error.
    fn line(&mut self, message: &StreamMessage) -> Result<Option<String>, String> {
        let wrong = |error: serde_json::Error| error.to_string();
        match message.event.as_str() {
            "" | "message" => {}
            "lagged" => {
                let lagged: Lagged = serde_json::from_str(&message.data).map_err(wrong)?;
                self.report_lost(&lagged);
                return Ok(None);
            }
            "unknown" => {
                let Unknown { last, nodes } = serde_json::from_str(&message.data).map_err(wrong)?;
                self.is_incomplete = true;
                if nodes.is_empty() {
                    text::complain(&format!(
                        "portolan: the log of the server has no such event, its last one is {last}: all of it follows"
                    ));
                }
                for (node, last) in &nodes {
                    text::complain(&format!(
                        "portolan: the fleet has no such event of {node}, its last one is {node}/{last}: all of {node} \
                         follows"
                    ));
                }
                return Ok(None);
            }
            "away" => {
                let Away { why } = text::parsed(&message.data).map_err(wrong)?;
                text::complain(&format!(
                    "portolan: the newest events may be missing, the server can't read them: {why}"
                ));
                return Ok(None);
            }
            // One of a later release.
            _ => return Ok(None),
        }
        Ok(Some(match self.format {
            Format::Human => human(&text::parsed(&message.data).map_err(wrong)?),
            Format::Json => {
                let event: JournalEvent = serde_json::from_str(&message.data).map_err(wrong)?;
                let event = event.to_cloud_event().ok_or_else(|| "it has no id".to_owned())?;
                let json = serde_json::to_string(&event).map_err(wrong)?;
                format!("{}\n", escaped_json(&json))
            }
        }))
    }

    /// Without numbers, the events come when the stream is opened again.
    fn report_lost(&mut self, lagged: &Lagged) {
        let own = lagged.first.zip(lagged.last).map(|(first, last)| (String::new(), first, last));
        let of_nodes = lagged.nodes.iter().map(|(node, lost)| (format!("{node}/"), lost.first, lost.last));
        for (node, first, last) in own.into_iter().chain(of_nodes) {
            self.is_incomplete = true;
            text::complain(&format!("portolan: the events {node}{first} to {node}{last} are no longer in the log"));
        }
    }
}

/// One line for people.
fn human(event: &JournalEvent) -> String {
    let JournalEvent { id, at, kind, zone, endpoint, from, to, why, monitor, .. } = event;
    let kind = kind.as_str();
    let by = monitor.as_ref().map_or(String::new(), |monitor| format!(" (monitor {monitor})"));
    let what = match (endpoint.as_str(), zone.as_str()) {
        ("", _) => String::new(),
        (endpoint, "") => format!(" {endpoint}"),
        (endpoint, zone) => format!(" {endpoint}{by} in {zone}"),
    };
    format!("{}  {id}  {kind}{what}: {from} -> {to}, {why}\n", rfc3339(*at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::events::EventKind;

    fn event() -> JournalEvent {
        JournalEvent {
            id: "ns1/7".into(),
            at: 90.5,
            kind: EventKind::Override,
            zone: "svc.example.".into(),
            endpoint: "fra1".into(),
            from: "up".into(),
            to: "drained".into(),
            why: "rack\u{1b}[2J move (alice)".into(),
            who: Some("alice".into()),
            generation: 3,
            ..JournalEvent::default()
        }
    }

    fn message(event: &str, data: &str) -> StreamMessage {
        StreamMessage { event: event.into(), id: String::new(), data: data.into() }
    }

    #[test]
    fn an_event_is_a_line_for_people_or_a_cloud_event() {
        let data = serde_json::to_string(&event()).unwrap();
        let mut printer = Printer { format: Format::Human, last: None, is_incomplete: false };
        assert_eq!(
            printer.line(&message("", &data)).unwrap().unwrap(),
            "1970-01-01T00:01:30.500Z  ns1/7  override fra1 in svc.example.: up -> drained, \
             rack\\u{1b}[2J move (alice)\n"
        );
        printer.format = Format::Json;
        let line = printer.line(&message("", &data)).unwrap().unwrap();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&json["id"], &json["type"]), (&"ns1/7".into(), &"portolan.override".into()));
        assert_eq!(line.lines().count(), 1);
        assert_eq!(json["data"]["who"], "alice");
        assert!(!line.contains('\u{1b}') && !printer.is_incomplete);
        assert!(printer.line(&message("", "{}")).is_err());
        assert_eq!(printer.line(&message("later", "x")), Ok(None));
    }

    #[test]
    fn missing_events_make_the_command_fail_unless_they_come_again() {
        for (event, data, is_incomplete) in [
            ("lagged", r#"{"missed":5}"#, false),
            ("lagged", r#"{"missed":2,"first":1,"last":2}"#, true),
            ("lagged", r#"{"missed":2,"nodes":{"ns2":{"first":1,"last":2}}}"#, true),
            ("unknown", r#"{"last":2}"#, true),
        ] {
            let mut printer = Printer { format: Format::Human, last: None, is_incomplete: false };
            assert_eq!(printer.line(&message(event, data)), Ok(None));
            assert_eq!(printer.is_incomplete, is_incomplete, "{event} {data}");
        }
    }

    #[test]
    fn a_position_is_a_number_or_an_id_and_with_fleet_one_for_each_node() {
        for (since, is_of_fleet, expected) in [
            ("7", false, true),
            ("ns1/7", false, true),
            ("", false, false),
            ("ns1/", false, false),
            ("-3", false, false),
            ("99999999999999999999", false, false),
            ("7", true, false),
            ("ns1/7,ns.2/8", true, true),
        ] {
            assert_eq!(is_position(since, is_of_fleet), expected, "{since}");
        }
    }
}
