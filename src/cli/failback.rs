//! `portolan failback`: hands a name with manual failback back to its first member that is up.

use std::fmt::Write;
use std::time::Duration;

use crate::cli::args::ServerArg;
use crate::cli::client::{Call, encoded};
use crate::cli::{Failure, Format, overrides, text};
use crate::control::failback::{FailbackResponse, PoolMove, PoolStay};

/// An exclusive name moves when its hook has ended, which may take ten minutes (`hook_timeout`).
const TIMEOUT: Duration = Duration::from_secs(630);

/// Move a name with manual failback, or an exclusive one, back to its first member that is up
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portolan failback db.svc.example

The environment variable PORTOLAN_TOKEN must have a token with the role operate.
If there is nothing to do, the exit code is 0 too.")]
pub(super) struct FailbackArgs {
    /// The name, such as db.svc.example
    #[arg(value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,
    #[command(flatten)]
    server: ServerArg,
    /// The output format; json is the answer of the API
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &FailbackArgs) -> Result<(), Failure> {
    let path = format!("/v1/failback/{}", encoded(&args.name));
    let body = match args.server.server().exchange(&Call::post(&path).within(TIMEOUT).with_token()?)? {
        Ok(body) => body,
        Err(refused) => {
            if args.format == Format::Json {
                text::print_json(&serde_json::to_string(&refused)?);
            }
            return Err(Failure::refused(&refused));
        }
    };
    let done: FailbackResponse = text::parsed(&body)?;
    match args.format {
        Format::Json => text::print_json(&body),
        Format::Human => text::print(&human(&done)),
    }
    if let Some(warning) = &done.warning {
        text::complain(&format!("portolan: {warning}"));
    }
    Ok(())
}

/// `db.svc.example.: pool pg handed back from pg-b to pg-a; 50.0 % of answers moved: pg-a +50.0, pg-b -50.0`
fn human(done: &FailbackResponse) -> String {
    let FailbackResponse { name, handed_back, stays, also, moved, epoch, on_disk: _, warning: _ } = done;
    let epoch = epoch.map_or_else(String::new, |epoch| format!(", epoch {epoch}"));
    let handed = |PoolMove { pool, from, to }: &PoolMove| format!("pool {pool} handed back from {from} to {to}");
    let stay =
        |PoolStay { pool, member }: &PoolStay| format!("pool {pool} is on {member}, its first member that is up");
    if handed_back.is_empty() {
        let stays: Vec<String> = stays.iter().map(stay).collect();
        let why = if stays.is_empty() { "it has given none of its members yet".to_owned() } else { stays.join("; ") };
        return format!("{name}: nothing to do: {why}\n");
    }
    let moves: Vec<String> = handed_back.iter().map(handed).collect();
    let mut text = format!("{name}: {}{epoch}; {}\n", moves.join(", "), overrides::moved(moved));
    if !also.is_empty() {
        let _ = writeln!(text, "{} has the same policy and was handed back too", also.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::moved::MovedAnswers;

    #[test]
    fn output_names_what_was_handed_back_or_why_there_was_nothing_to_do() {
        let text = |text: &str| text.to_owned();
        let mut done = FailbackResponse {
            name: text("db.svc.example."),
            handed_back: vec![PoolMove { pool: text("pg"), from: text("pg-b"), to: text("pg-a") }],
            stays: vec![],
            also: vec![text("ro.svc.example.")],
            moved: MovedAnswers::default(),
            on_disk: true,
            warning: None,
            epoch: None,
        };
        assert_eq!(
            human(&done),
            "db.svc.example.: pool pg handed back from pg-b to pg-a; no answer moved\n\
             ro.svc.example. has the same policy and was handed back too\n"
        );
        done.epoch = Some(8);
        assert!(human(&done).starts_with("db.svc.example.: pool pg handed back from pg-b to pg-a, epoch 8; no answer"));
        done.epoch = None;
        done.handed_back.clear();
        done.stays = vec![PoolStay { pool: text("pg"), member: text("pg-a") }];
        assert_eq!(human(&done), "db.svc.example.: nothing to do: pool pg is on pg-a, its first member that is up\n");
    }
}
