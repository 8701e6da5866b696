//! Calls of JetStream's API, for the buckets and the streams of events.

use async_nats::Message;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::fleet::nats::{Nats, NatsLink};

/// Why a call of JetStream's API failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    /// The number of the error (`err_code`); 0: there was no reply.
    pub(super) code: u64,
    pub(super) why: String,
}

/// Why, where a reply is not one of JetStream.
pub(super) const UNUSABLE: &str = "a reply that can't be used";
/// `stream not found`.
pub(super) const NOT_FOUND: u64 = 10_059;
/// `wrong last sequence`.
pub(super) const WRONG_LAST: [u64; 2] = [10_071, 10_164];
/// `no message found`: none was ever written on a subject, or all were discarded.
pub(super) const NO_MESSAGE: u64 = 10_037;
/// `stream name already in use`: another node has made it meanwhile.
const IN_USE: u64 = 10_058;
/// `replicas > 1 not supported in non-clustered mode`.
const NOT_CLUSTERED: u64 = 10_074;

/// Most messages and octets of one read. More follow in the next one.
const MAX_BATCH: u64 = 256;
const MAX_BATCH_OCTETS: u64 = 8 << 20;

/// Calls the API for a stream.
pub(super) async fn api(nats: &NatsLink, stream: &str, call: &str, content: &Json) -> Result<Json, ApiError> {
    let subject = format!("$JS.API.{call}.{stream}");
    let reply = nats.request(subject, None, content.to_string().into()).await;
    parsed(&reply.map_err(|why| ApiError { code: 0, why })?)
}

/// Makes the stream of `config` if there is none with its name; one that exists stays as it is. It has as many copies
/// as `[fleet] replicas` says; without that key three where that is possible.
pub(super) async fn create(nats: &Nats, config: Json) -> Result<(), ApiError> {
    let replicas = nats.replicas().unwrap_or(3);
    match create_with(nats, config.clone(), replicas).await {
        Err(error) if nats.replicas().is_none() && error.code != 0 && has_few_servers(nats, error.code) => {
            create_with(nats, config, 1).await
        }
        other => other,
    }
}

/// Whether three copies can never be made, and not only now.
fn has_few_servers(nats: &Nats, code: u64) -> bool {
    code == NOT_CLUSTERED || nats.known_servers() < 3
}

async fn create_with(nats: &Nats, mut config: Json, replicas: u32) -> Result<(), ApiError> {
    config["num_replicas"] = json!(replicas);
    let stream = config["name"].as_str().unwrap_or_default().to_owned();
    match api(nats, &stream, "STREAM.CREATE", &config).await {
        Ok(_) => {
            tracing::info!(stream, replicas, "made a stream of NATS");
            Ok(())
        }
        Err(error) if error.code == IN_USE => Ok(()),
        Err(error) => Err(error),
    }
}

/// One reply to a read of a stream (`DIRECT.GET` with a batch).
pub(super) enum BatchPart<'m> {
    /// A message: its subject in the stream, and its sequence. Whether more replies follow.
    Message(&'m str, u64, bool),
    /// The end of the batch, and how many messages follow in the next read.
    End(u64),
    /// The read failed.
    Failed(ApiError),
}

/// Reads one reply. `what` is what can't be read where there is no JetStream.
pub(super) fn batch_part<'m>(reply: &'m Message, what: &str) -> BatchPart<'m> {
    let header = |name: &str| reply.headers.as_ref().and_then(|headers| headers.get(name)).map(|value| value.as_str());
    let number = |name: &str| header(name).and_then(|text| text.parse::<u64>().ok());
    let failed = |why: String| BatchPart::Failed(ApiError { code: 0, why });
    match reply.status.map(|status| status.as_u16()) {
        // End of the batch.
        Some(204) => return BatchPart::End(number("Nats-Num-Pending").unwrap_or(0)),
        // Nothing has a higher sequence.
        Some(404) => return BatchPart::End(0),
        Some(503) => return failed(format!("no JetStream has {what}: a server makes it")),
        Some(status) if !(200..300).contains(&status) => {
            return failed(format!("status {status} {}", reply.description.as_deref().unwrap_or_default()));
        }
        Some(_) | None => {}
    }
    match (header("Nats-Subject"), number("Nats-Sequence")) {
        // A NATS server that does not know batches (before 2.11) sends one message, and no end.
        (Some(subject), Some(sequence)) => BatchPart::Message(subject, sequence, header("Nats-Num-Pending").is_some()),
        _ => failed(UNUSABLE.to_owned()),
    }
}

/// Reads the messages of a subject that have this sequence or a higher one, without a consumer. `take` gets each with
/// its own subject and its sequence, oldest first. Returns whether more follow in the next read. The text says why they
/// can't be read.
pub(super) async fn read_batch(
    link: &NatsLink,
    (stream, subject): (&str, &str),
    from: u64,
    mut take: impl FnMut(&str, u64, &Message),
) -> Result<bool, String> {
    let request = json!({
        "seq": from.max(1),
        "next_by_subj": subject,
        "batch": MAX_BATCH,
        "max_bytes": MAX_BATCH_OCTETS,
    });
    let (mut taken, mut has_more, mut error) = (0, false, None);
    let each = |reply: Message| match batch_part(&reply, "this stream") {
        BatchPart::Message(of, sequence, is_followed) => {
            take(of, sequence, &reply);
            taken += 1;
            has_more = !is_followed;
            is_followed && taken < MAX_BATCH * 2
        }
        BatchPart::End(pending) => {
            has_more = pending > 0;
            false
        }
        BatchPart::Failed(failed) => {
            error = Some(failed.why);
            false
        }
    };
    link.request_many(format!("$JS.API.DIRECT.GET.{stream}"), request.to_string().into(), each).await?;
    error.map_or(Ok(has_more), Err)
}

/// The error of a reply of JetStream.
#[derive(Deserialize)]
struct WireError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    code: u64,
    #[serde(default)]
    description: String,
}

/// A reply of JetStream, or the error that it has.
pub(super) fn parsed(reply: &[u8]) -> Result<Json, ApiError> {
    let mut reply: Json =
        serde_json::from_slice(reply).map_err(|error| ApiError { code: 0, why: format!("{UNUSABLE}: {error}") })?;
    match reply.get_mut("error").map(Json::take) {
        None => Ok(reply),
        Some(error) => {
            let error: WireError = serde_json::from_value(error).unwrap_or(WireError {
                err_code: 1,
                code: 0,
                description: "an error without a text".to_owned(),
            });
            let code = if error.err_code == 0 { error.code.max(1) } else { error.err_code };
            Err(ApiError { code, why: error.description.chars().take(MAX_WHY).collect() })
        }
    }
}

/// Longest text of an error, in characters (judgment).
const MAX_WHY: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_jetstream_are_results_or_errors_with_their_number() {
        assert_eq!(parsed(br#"{"stream":"KV_x","seq":7}"#).unwrap()["seq"], 7);
        for (reply, code) in [
            (r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"}}"#, 10_071),
            (r#"{"error":{"code":503,"description":"no"}}"#, 503),
            (r#"{"error":"text"}"#, 1),
            (r#"{"error":{}}"#, 1),
            ("", 0),
            ("{", 0),
        ] {
            assert_eq!(parsed(reply.as_bytes()).unwrap_err().code, code, "{reply}");
        }
        let long = format!(r#"{{"error":{{"err_code":1,"description":"{}"}}}}"#, "x".repeat(10_000));
        assert_eq!(parsed(long.as_bytes()).unwrap_err().why.len(), MAX_WHY);
    }
}
