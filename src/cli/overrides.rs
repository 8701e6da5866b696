//! `portolan drain`, `force-up`, `force-down`, `clear` and `overrides`: the operator's word over measured health.

use std::fmt::Write;
use std::time::Duration;

use crate::cli::ask::ServerArg;
use crate::cli::client::{Call, encoded};
use crate::cli::{Failure, Format, text};
use crate::clock;
use crate::control::command::{Changed, PutOverride};
use crate::control::moved::Moved;
use crate::control::overrides::{Said, check_why, duration_of, utc};
use crate::model::OverrideState;

/// Say that something is so, over what is measured.
#[derive(Debug, clap::Args)]
pub(super) struct SayArgs {
    /// An endpoint, or region:NAME for all endpoints of a region
    #[arg(value_name = "TARGET")]
    target: String,
    /// Why: one line, for whoever is called next
    #[arg(long, value_name = "TEXT", value_parser = why)]
    why: String,
    /// For how long, such as 30m or 2h; without, until it is cleared
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    duration: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

/// What was said of a target is over.
#[derive(Debug, clap::Args)]
pub(super) struct ClearArgs {
    /// An endpoint, or region:NAME, as it was said
    #[arg(value_name = "TARGET")]
    target: String,
    #[command(flatten)]
    asked: Asked,
}

/// What all of them take.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    #[command(flatten)]
    server: ServerArg,
    /// How to print it; json is what the API answers
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn why(text: &str) -> Result<String, String> {
    check_why(text).map(|()| text.to_owned())
}

fn time(text: &str) -> Result<String, String> {
    duration_of(text).map(|_| text.to_owned())
}

/// Says it, and prints what moved.
pub(super) fn say(args: &SayArgs, state: OverrideState) -> Result<(), Failure> {
    let put = PutOverride { state: state.as_str().to_owned(), duration: args.duration.clone(), why: args.why.clone() };
    let path = format!("/v1/overrides/{}", encoded(&args.target));
    let body = serde_json::to_string(&put)?;
    changed(&args.asked, args.asked.server.server.call(&Call::put(&path, body).with_token()?)?, &args.target)
}

/// Takes it back, and prints what moved.
pub(super) fn clear(args: &ClearArgs) -> Result<(), Failure> {
    let path = format!("/v1/overrides/{}", encoded(&args.target));
    changed(&args.asked, args.asked.server.server.call(&Call::delete(&path).with_token()?)?, &args.target)
}

/// Prints what holds.
pub(super) fn list(args: &Asked) -> Result<(), Failure> {
    let body = args.server.server.call(&Call::get("/v1/overrides").with_token()?)?;
    match args.format {
        Format::Json => text::print(&format!("{body}\n")),
        Format::Human => text::print(&table(&serde_json::from_str::<Vec<Said>>(&body)?, clock::unix_seconds())),
    }
    Ok(())
}

fn changed(args: &Asked, body: String, target: &str) -> Result<(), Failure> {
    let changed: Changed = serde_json::from_str(&body)?;
    match args.format {
        Format::Json => text::print(&format!("{body}\n")),
        Format::Human => text::print(&sentence(&changed, target)),
    }
    if let Some(warning) = &changed.warning {
        text::complain(&format!("portolan: {warning}"));
    }
    Ok(())
}

/// `fra1 drained until 2026-11-23 04:15:00 UTC; 33.3 % of answers moved: ams1 +20.1, nyc +13.2`
fn sentence(changed: &Changed, target: &str) -> String {
    let what = match &changed.now {
        Some(said) => {
            let until = said.until.map_or("until it is cleared".to_owned(), |until| format!("until {}", utc(until)));
            format!("{} {until}", word(&said.state))
        }
        None => "cleared".to_owned(),
    };
    format!("{target} {what}; {}\n", moved(&changed.moved))
}

fn moved(moved: &Moved) -> String {
    let percent = moved.share * 100.0;
    let mut text = match percent {
        0.0 => return "no answer moved".to_owned(),
        percent => format!("{percent:.1} % of answers moved:"),
    };
    let mut changes: Vec<(&str, f64)> =
        moved.endpoints.iter().map(|share| (&*share.endpoint, (share.after - share.before) * 100.0)).collect();
    changes.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(b.0)));
    for (at, (endpoint, change)) in changes.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(text, "{comma} {endpoint} {change:+.1}");
    }
    text
}

/// What an override makes of an endpoint, in a word.
pub(super) fn word(state: &str) -> &str {
    match state {
        "drain" => "drained",
        "up" => "forced up",
        "down" => "forced down",
        other => other,
    }
}

/// Every override under its heading, at `now` in Unix seconds.
pub(super) fn table(all: &[Said], now: f64) -> String {
    if all.is_empty() {
        return "no overrides\n".to_owned();
    }
    let row = |said: &Said| {
        let until = said.until.map_or("cleared".to_owned(), |until| {
            let left = Duration::try_from_secs_f64(until - now).unwrap_or_default();
            format!("{} (in {})", utc(until), text::span(left))
        });
        vec![said.target.clone(), word(&said.state).to_owned(), until, said.who.clone(), said.why.clone()]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    text::table(&["TARGET", "OVERRIDE", "UNTIL", "WHO", "WHY"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::moved::Share;

    fn said(until: Option<f64>) -> Said {
        Said { target: "fra1".into(), state: "drain".into(), why: "rack move".into(), who: "alice".into(), until }
    }

    #[test]
    fn a_change_is_told_in_a_sentence() {
        let share = |endpoint: &str, before, after| Share { endpoint: endpoint.into(), before, after };
        let endpoints = vec![share("ams1", 0.3, 0.501), share("fra1", 0.333, 0.0), share("nyc", 0.367, 0.499)];
        let drained = Changed {
            now: Some(said(Some(1_795_407_300.0))),
            before: None,
            moved: Moved { share: 0.333, endpoints },
            warning: None,
        };
        assert_eq!(
            sentence(&drained, "fra1"),
            "fra1 drained until 2026-11-23 04:15:00 UTC; 33.3 % of answers moved: fra1 -33.3, ams1 +20.1, nyc +13.2\n"
        );
        let cleared = Changed { now: None, before: Some(said(None)), moved: Moved::default(), warning: None };
        assert_eq!(sentence(&cleared, "fra1"), "fra1 cleared; no answer moved\n");
    }

    #[test]
    fn what_holds_is_a_table() {
        assert_eq!(table(&[], 0.0), "no overrides\n");
        assert_eq!(
            table(&[said(Some(7500.0)), Said { target: "region:eu".into(), ..said(None) }], 300.0),
            "TARGET     OVERRIDE  UNTIL                             WHO    WHY\n\
             fra1       drained   1970-01-01 02:05:00 UTC (in 2 h)  alice  rack move\n\
             region:eu  drained   cleared                           alice  rack move\n"
        );
    }

    #[test]
    fn what_is_wrong_with_the_arguments_is_told_before_anybody_is_asked() {
        assert!(why(" ").is_err() && why("a\nb").is_err() && why("rack move").is_ok());
        assert!(time("2").is_err() && time("2h").is_ok());
    }
}
