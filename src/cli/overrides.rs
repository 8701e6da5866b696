//! `portolan drain`, `force-up`, `force-down`, `clear` and `overrides`: an operator's overrides of measured health.

use std::fmt::Write;
use std::time::Duration;

use crate::cli::args::ServerArg;
use crate::cli::client::{Call, encoded};
use crate::cli::{Failure, Format, text};
use crate::clock;
use crate::control::command::{OverrideResponse, OverridesResponse, PutOverride, TargetOverride};
use crate::control::moved::{ExpectedPromotion, MovedAnswers, StillAnswered};
use crate::control::overrides::{OverrideReport, check_why, duration_of, utc};
use crate::control::target::FORMS;
use crate::control::unanswered::percent;
use crate::model::OverrideState;

/// The most endpoints in a line. The JSON has all.
const SHOWN: usize = 12;

/// The smallest change of a share that is shown, in percent. A smaller one would be shown as 0.0.
const LEAST: f64 = 0.05;

/// The arguments of `drain`, `force-up` and `force-down`.
#[derive(Debug, clap::Args)]
pub(super) struct OverrideArgs {
    /// An endpoint, ZONE/ENDPOINT, a glob of endpoints ('fra*'), pool:NAME, region:NAME or zone:NAME; several targets
    /// are changed together or not at all
    #[arg(value_name = "TARGET", required = true, value_parser = target)]
    targets: Vec<String>,
    /// The reason, one line: status, log and events show it
    #[arg(long, value_name = "TEXT", value_parser = why)]
    why: String,
    /// End the override after this time, such as 30m or 2h; without it the override lasts until `portolan clear`
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    duration: Option<String>,
    /// Make the override even if some clients then get no answer
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// The arguments of `clear`.
#[derive(Debug, clap::Args)]
pub(super) struct ClearArgs {
    /// A TARGET as `portolan overrides` lists it; several targets are cleared together or not at all
    #[arg(value_name = "TARGET", required = true, value_parser = target)]
    targets: Vec<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// The arguments that all of these commands have.
#[derive(Debug, clap::Args)]
pub(super) struct ApiArgs {
    #[command(flatten)]
    server: ServerArg,
    /// The output format; json is the answer of the API
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn target(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err(format!("a TARGET is {FORMS}")),
        target => Ok(target.to_owned()),
    }
}

fn why(text: &str) -> Result<String, String> {
    check_why(text).map(|()| text.to_owned())
}

fn time(text: &str) -> Result<String, String> {
    duration_of(text).map(|_| text.to_owned())
}

/// Makes an override of each target, and prints what moved.
pub(super) fn set(args: &OverrideArgs, state: OverrideState) -> Result<(), Failure> {
    let OverrideArgs { targets, why, duration, yes, api } = args;
    let put =
        PutOverride { state: state.as_str().to_owned(), duration: duration.clone(), why: why.clone(), confirm: *yes };
    let body = serde_json::to_string(&put)?;
    change(api, targets, &Call::put(&path(targets), body).with_token()?)
}

/// Ends the override of each target, and prints what moved.
pub(super) fn clear(args: &ClearArgs) -> Result<(), Failure> {
    change(&args.api, &args.targets, &Call::delete(&path(&args.targets)).with_token()?)
}

/// Prints the overrides.
pub(super) fn list(args: &ApiArgs) -> Result<(), Failure> {
    let body = args.server.server().call(&Call::get("/v1/overrides").with_token()?)?;
    match args.format {
        Format::Json => text::print_json(&body),
        Format::Human => text::print(&table(&text::parsed::<Vec<OverrideReport>>(&body)?, clock::unix_seconds())),
    }
    Ok(())
}

/// The path of one target, or of several together.
fn path(targets: &[String]) -> String {
    match targets {
        [target] => format!("/v1/overrides/{}", encoded(target)),
        targets => {
            let each: Vec<String> = targets.iter().map(|target| format!("target={}", encoded(target))).collect();
            format!("/v1/overrides?{}", each.join("&"))
        }
    }
}

fn change(args: &ApiArgs, targets: &[String], call: &Call) -> Result<(), Failure> {
    let body = match args.server.server().exchange(call)? {
        Ok(body) => body,
        Err(refused) => {
            if args.format == Format::Json {
                text::print_json(&serde_json::to_string(&refused)?);
            }
            return Err(Failure::refused(&refused));
        }
    };
    let changed = match targets {
        [target] => {
            let OverrideResponse { now, before, moved, on_disk, warning, shared, not_shared } = text::parsed(&body)?;
            let overrides = vec![TargetOverride { target: target.clone(), now, before }];
            OverridesResponse { overrides, moved, on_disk, warning, shared, not_shared }
        }
        _ => text::parsed(&body)?,
    };
    match args.format {
        Format::Json => text::print_json(&body),
        Format::Human => text::print(&human(&changed)),
    }
    for warning in changed.warning.iter().chain(&changed.not_shared) {
        text::complain(&format!("portolan: {warning}"));
    }
    Ok(())
}

/// `fra1 drained until 2026-11-23 04:15:00 UTC; 33.3 % of answers moved: ams1 +20.1, nyc +13.2`. With several targets
/// each has its own line. Queries that get no answer have a line, too.
fn human(changed: &OverridesResponse) -> String {
    let each = |TargetOverride { target, now, .. }: &TargetOverride| {
        let what = match now {
            Some(made) => {
                let until =
                    made.until.map_or("until it is cleared".to_owned(), |until| format!("until {}", utc(until)));
                format!("{} {until}", effect(&made.state))
            }
            None => "cleared".to_owned(),
        };
        format!("{target} {what}")
    };
    let targets: Vec<String> = changed.overrides.iter().map(each).collect();
    let between = if targets.len() == 1 { "; " } else { "\n" };
    let mut text = format!("{}{between}{}\n", targets.join("\n"), moved(&changed.moved));
    let MovedAnswers { still, down, promotions, .. } = &changed.moved;
    if !promotions.is_empty() {
        let each = |of: &ExpectedPromotion| format!("{} to {}", of.name, of.to);
        let _ = writeln!(text, "expected promotions: {}", listed(promotions.iter().map(each).collect()));
    }
    for (what, all) in
        [("still answered, because no other endpoint may be given", still), ("answered although down", down)]
    {
        let each = |of: &StillAnswered| format!("{} ({} % of answers)", of.endpoint, percent(of.share));
        if !all.is_empty() {
            let _ = writeln!(text, "{what}: {}", listed(all.iter().map(each).collect()));
        }
    }
    if let Some(unanswered) = &changed.moved.unanswered {
        let _ = writeln!(text, "{}", unanswered.sentence("now get"));
    }
    if changed.shared == Some(true) {
        text.push_str("shared with the fleet\n");
    }
    text
}

pub(super) fn moved(moved: &MovedAnswers) -> String {
    if moved.share == 0.0 {
        return "no answer moved".to_owned();
    }
    let mut text = format!("{} % of answers moved", percent(moved.share));
    let of_files = moved.fixed.map(|fixed| ("the zone file", (fixed.after - fixed.before) * 100.0));
    let of_endpoints =
        moved.endpoints.iter().map(|share| (share.endpoint.as_str(), (share.after - share.before) * 100.0));
    let mut changes: Vec<(&str, f64)> = of_endpoints.chain(of_files).collect();
    changes.retain(|(_, change)| change.abs() >= LEAST);
    changes.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(b.0)));
    if !changes.is_empty() {
        let changes = changes.into_iter().map(|(endpoint, change)| format!("{endpoint} {change:+.1}"));
        let _ = write!(text, ": {}", listed(changes.collect()));
    }
    text
}

/// The first of a list; the rest is counted.
fn listed(all: Vec<String>) -> String {
    let shown = all.len().min(SHOWN);
    let more = if all.len() > shown { format!(" and {} more", all.len() - shown) } else { String::new() };
    format!("{}{more}", all[..shown].join(", "))
}

/// The state of an endpoint with an override.
pub(super) fn effect(state: &str) -> &str {
    match state {
        "drain" => "drained",
        "up" => "forced up",
        "down" => "forced down",
        other => other,
    }
}

/// A table of the overrides. `now` is in Unix seconds.
pub(super) fn table(all: &[OverrideReport], now: f64) -> String {
    let rows: Vec<_> = all.iter().map(|row| (row.clone(), String::new())).collect();
    marked_table(&rows, now)
}

/// The same with a text after the state of each.
pub(super) fn marked_table(all: &[(OverrideReport, String)], now: f64) -> String {
    /// Positions of columns that are left out where they say nothing.
    const SERVERS: usize = 4;
    const ZONES: usize = 5;
    if all.is_empty() {
        return "no overrides\n".to_owned();
    }
    let row = |(row, mark): &(OverrideReport, String)| {
        let until = row.until.map_or("it is cleared".to_owned(), |until| {
            let left = Duration::try_from_secs_f64(until - now).unwrap_or_default();
            format!("{} (in {})", utc(until), text::span(left))
        });
        let zones = row.zones.as_ref().map_or("all".to_owned(), |zones| zones.join(", "));
        let servers = row.fleet.as_ref().map_or(String::new(), |spread| listed(spread.taken.clone()));
        let override_of = format!("{}{mark}", effect(&row.state));
        vec![row.target.clone(), override_of, until, row.who.clone(), servers, zones, row.why.clone()]
    };
    let mut rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let all: Vec<&OverrideReport> = all.iter().map(|(row, _)| row).collect();
    let mut head = vec!["TARGET", "OVERRIDE", "UNTIL", "WHO", "SERVERS", "ZONES", "WHY"];
    let mut remove = |column: usize| {
        head.remove(column);
        rows.iter_mut().for_each(|row| drop(row.remove(column)));
    };
    // From the right, so that positions stay valid.
    if all.iter().all(|row| row.zones.is_none()) {
        remove(ZONES);
    }
    if all.iter().all(|row| row.fleet.is_none()) {
        remove(SERVERS);
    }
    let mut shown = text::table(&head, &rows);
    for (row, why) in all.iter().filter_map(|row| Some((row, row.fleet.as_ref()?.problem()?))) {
        let _ = writeln!(shown, "{} is {why}", row.target);
    }
    let unsaved: Vec<String> =
        all.iter().filter(|row| row.on_disk == Some(false)).map(|row| row.target.clone()).collect();
    if !unsaved.is_empty() {
        let _ = writeln!(shown, "not yet on disk, so a restart would lose: {}", listed(unsaved));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::moved::EndpointShare;
    use crate::control::overrides::OverrideSpread;
    use crate::control::simulate::ShareChange;
    use crate::control::unanswered::UnansweredQuestions;

    fn drain_of_fra1(until: Option<f64>) -> OverrideReport {
        OverrideReport {
            target: "fra1".into(),
            state: "drain".into(),
            why: "rack move".into(),
            who: "alice".into(),
            until,
            zones: None,
            on_disk: None,
            fleet: None,
        }
    }

    #[test]
    fn a_change_is_a_sentence() {
        let share = |endpoint: &str, before, after| EndpointShare { endpoint: endpoint.into(), before, after };
        let endpoints = vec![share("ams1", 0.3, 0.501), share("fra1", 0.333, 0.0), share("nyc", 0.367, 0.499)];
        let of = |target: &str, now| TargetOverride { target: target.into(), now, before: None };
        let mut drained = OverridesResponse {
            overrides: vec![of("fra1", Some(drain_of_fra1(Some(1_795_407_300.0))))],
            moved: MovedAnswers { share: 0.333, endpoints, ..MovedAnswers::default() },
            on_disk: true,
            warning: None,
            shared: None,
            not_shared: None,
        };
        assert_eq!(
            human(&drained),
            "fra1 drained until 2026-11-23 04:15:00 UTC; 33.3 % of answers moved: fra1 -33.3, ams1 +20.1, nyc +13.2\n"
        );
        drained.overrides.push(of("region:us", Some(drain_of_fra1(None))));
        drained.moved = MovedAnswers {
            unanswered: Some(UnansweredQuestions { share: 0.5, ..UnansweredQuestions::default() }),
            ..MovedAnswers::default()
        };
        assert_eq!(
            human(&drained),
            "fra1 drained until 2026-11-23 04:15:00 UTC\nregion:us drained until it is cleared\nno answer moved\n\
             50.0 % of questions now get no answer: \n"
        );
        drained.overrides.pop();
        let down = vec![StillAnswered { endpoint: "nyc".into(), share: 0.25 }];
        let endpoints = vec![share("fra1", 0.3, 0.2999), share("nyc", 0.0, 0.25)];
        let fixed = Some(ShareChange { before: 0.0, after: 0.05 });
        drained.moved = MovedAnswers { share: 0.3, endpoints, fixed, down, ..MovedAnswers::default() };
        assert_eq!(
            human(&drained),
            "fra1 drained until 2026-11-23 04:15:00 UTC; 30.0 % of answers moved: nyc +25.0, the zone file +5.0\n\
             answered although down: nyc (25.0 % of answers)\n"
        );
        drained.moved =
            MovedAnswers { share: 0.0001, endpoints: vec![share("fra1", 0.3, 0.2999)], ..MovedAnswers::default() };
        assert_eq!(
            human(&drained),
            "fra1 drained until 2026-11-23 04:15:00 UTC; under 0.1 % of answers moved\n",
            "no +0.0"
        );
        let (overrides, moved) = (vec![of("fra1", None)], MovedAnswers::default());
        let mut cleared =
            OverridesResponse { overrides, moved, on_disk: true, warning: None, shared: None, not_shared: None };
        assert_eq!(human(&cleared), "fra1 cleared; no answer moved\n");
        cleared.shared = Some(true);
        assert_eq!(human(&cleared), "fra1 cleared; no answer moved\nshared with the fleet\n");
    }

    #[test]
    fn one_target_is_in_the_path_and_several_in_the_query() {
        let path = |targets: &[&str]| path(&targets.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        assert_eq!(path(&["region:eu"]), "/v1/overrides/region%3Aeu");
        assert_eq!(path(&["fra*", "a/b"]), "/v1/overrides?target=fra%2A&target=a%2Fb");
    }

    #[test]
    fn overrides_are_a_table() {
        assert_eq!(table(&[], 0.0), "no overrides\n");
        assert_eq!(
            table(
                &[drain_of_fra1(Some(7500.0)), OverrideReport { target: "region:eu".into(), ..drain_of_fra1(None) }],
                300.0
            ),
            "TARGET     OVERRIDE  UNTIL                             WHO    WHY\n\
             fra1       drained   1970-01-01 02:05:00 UTC (in 2 h)  alice  rack move\n\
             region:eu  drained   it is cleared                     alice  rack move\n"
        );
        let of_carol = OverrideReport { zones: Some(vec!["svc.example.".into()]), ..drain_of_fra1(None) };
        assert_eq!(
            table(&[drain_of_fra1(None), of_carol], 300.0),
            "TARGET  OVERRIDE  UNTIL          WHO    ZONES         WHY\n\
             fra1    drained   it is cleared  alice  all           rack move\n\
             fra1    drained   it is cleared  alice  svc.example.  rack move\n"
        );
        let spread = |shared, taken: &[&str], missing: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Some(OverrideSpread { node: "ns1".into(), shared, taken: names(taken), missing: names(missing) })
        };
        let of_fleet = [
            OverrideReport { fleet: spread(true, &["ns1", "ns2"], &["ns3"]), ..drain_of_fra1(None) },
            OverrideReport { target: "nyc".into(), fleet: spread(false, &["ns1"], &["ns2"]), ..drain_of_fra1(None) },
        ];
        assert_eq!(
            table(&of_fleet, 300.0),
            "TARGET  OVERRIDE  UNTIL          WHO    SERVERS   WHY\n\
             fra1    drained   it is cleared  alice  ns1, ns2  rack move\n\
             nyc     drained   it is cleared  alice  ns1       rack move\n\
             fra1 is not in force yet at ns3\n\
             nyc is not yet shared with the fleet\n"
        );
        let on_disk = |target: &str, on_disk| OverrideReport {
            target: target.into(),
            on_disk: Some(on_disk),
            ..drain_of_fra1(None)
        };
        assert_eq!(
            table(&[on_disk("fra1", true), on_disk("fra2", false), on_disk("nyc", false)], 300.0),
            "TARGET  OVERRIDE  UNTIL          WHO    WHY\n\
             fra1    drained   it is cleared  alice  rack move\n\
             fra2    drained   it is cleared  alice  rack move\n\
             nyc     drained   it is cleared  alice  rack move\n\
             not yet on disk, so a restart would lose: fra2, nyc\n"
        );
    }

    #[test]
    fn wrong_arguments_are_refused_without_a_call() {
        assert!(why(" ").is_err() && why("a\nb").is_err() && why("rack move").is_ok());
        assert!(time("2").is_err() && time("2h").is_ok());
    }
}
