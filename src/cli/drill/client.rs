//! The client of one drill: opens the stream, measures meanwhile, shows that it is there, and makes the report.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::client::{ApiServer, Call, EventReader, StreamMessage};
use crate::cli::drill::RunArgs;
use crate::cli::drill::asker::Asker;
use crate::cli::{Failure, Format, text};
use crate::clock;
use crate::daemon::{command_runtime, stop_signal};
use crate::drill::{DrillMeasurements, DrillPlan, DrillReport, DrillStatus, Watch, planned, report};

/// From one sign of life to the next; the server waits for six (`RENEW_WITHIN`).
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// The longest wait for the response to one, so that others follow a lost one within that time.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(2);
/// A stream without an octet for so long is broken: the server sends a comment twice a second.
const SILENCE: Duration = Duration::from_secs(8);
/// So long after the drill the answers may take to be those from before. Judgment: the server has published them.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// The same after a drill that was aborted: what really failed does not come back.
const BACK_AFTER_ABORT: Duration = Duration::from_secs(2);
/// From one look whether the answers are back to the next.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the stream has shown so far.
#[derive(Default)]
struct Progress {
    status: Option<DrillStatus>,
    interrupted: Option<String>,
}

/// One server of a drill.
struct Drilled {
    server: ApiServer,
    stream: EventReader,
    asker: Asker,
}

/// Runs a drill at all of `servers` at once, and measures at each of them.
pub(super) fn run_drill(servers: &[ApiServer], call: &Call, args: &RunArgs) -> Result<DrillReport, Failure> {
    let runtime = command_runtime()?;
    runtime.block_on(async {
        let opened = join_all(servers.iter().map(|server| open(server, call))).await;
        let opened: Vec<(EventReader, DrillPlan)> = opened.into_iter().collect::<Result<_, Failure>>()?;
        let plan = opened[0].1.clone();
        if args.format == Format::Human {
            text::complain(planned(&plan).trim_end());
        }
        let mut drilled = Vec::new();
        for (server, (stream, own)) in servers.iter().zip(opened) {
            let asker = Asker::new(of_server(server, own.dns)?, false, &plan.questions);
            drilled.push(Drilled { server: server.clone(), stream, asker });
        }
        let resolvers: Vec<Asker> = args.resolver.iter().map(|to| Asker::new(*to, true, &plan.questions)).collect();
        let own = drilled.iter().map(|of| of.asker.clone());
        let askers: Vec<Asker> = own.chain(resolvers.iter().cloned()).collect();
        let mut asking = JoinSet::new();
        for asker in askers.iter().filter(|_| !plan.questions.is_empty()) {
            let socket = asker.connected().await?;
            asking.spawn(asker.clone().run(socket, plan.questions.clone()));
        }
        let end = CancellationToken::new();
        let following = drilled.iter_mut().zip(0..).map(|(of, nth)| {
            // The resolvers have the times of the first server.
            let measured = if nth == 0 { &resolvers[..] } else { &[] };
            follow(of, measured, &end)
        });
        let mut progress: Vec<Progress> = join_all(following).await.into_iter().collect::<Result<_, Failure>>()?;
        if progress.iter().all(|of| of.status.is_some()) && !plan.questions.is_empty() {
            let is_aborted = |of: &Progress| {
                of.interrupted.is_some() || of.status.as_ref().is_some_and(|status| status.aborted.is_some())
            };
            let is_aborted = progress.iter().any(is_aborted);
            wait_until_back(&askers, if is_aborted { BACK_AFTER_ABORT } else { BACK_WITHIN }).await;
        }
        asking.shutdown().await;
        let measured: Vec<(String, bool, Watch)> =
            askers.iter().map(|asker| (asker.to.to_string(), asker.is_resolver, asker.watch().clone())).collect();
        let interrupted = progress.iter_mut().find_map(|of| of.interrupted.take());
        // The server whose drill did not last its time, if there is one.
        progress.sort_by_key(|of| of.status.as_ref().is_none_or(|status| status.aborted.is_none()));
        Ok(report(&DrillMeasurements {
            plan: &plan,
            status: progress[0].status.as_ref(),
            servers: &measured,
            rto: args.rto,
            interrupted,
            now: (clock::now(), clock::unix_seconds()),
        }))
    })
}

/// Opens the stream of a server, and reads its plan.
async fn open(server: &ApiServer, call: &Call) -> Result<(EventReader, DrillPlan), Failure> {
    match server.open_stream(call).await? {
        Ok(stream) => {
            let mut stream = stream.silent_for_at_most(SILENCE);
            let plan = first(&mut stream).await?;
            Ok((stream, plan))
        }
        Err(refused) => Err(Failure(format!("{server}: {}", Failure::refused(&refused).0))),
    }
}

/// The plan, which is the first message.
async fn first(stream: &mut EventReader) -> Result<DrillPlan, Failure> {
    match stream.next().await {
        Ok(Some(StreamMessage { event, data, .. })) if event == "plan" => Ok(text::parsed(&data)?),
        Ok(Some(_)) => Err(Failure("the server did not send a plan".to_owned())),
        Ok(None) => Err(Failure("the server ended the stream before the plan".to_owned())),
        Err(why) => Err(Failure(format!("no plan from the server: {why}"))),
    }
}

/// Reads the stream of a server to its end. On Ctrl-C, or when the drill of another server ends early (`end`), its
/// drill is ended too, and the restoration still measured.
async fn follow(drilled: &mut Drilled, resolvers: &[Asker], end: &CancellationToken) -> Result<Progress, Failure> {
    let Drilled { server, stream, asker } = drilled;
    let mut askers = vec![asker.clone()];
    askers.extend_from_slice(resolvers);
    let mut progress = Progress::default();
    let mut renewal = tokio::time::interval(RENEW_EVERY);
    renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let stop = stop_signal();
    tokio::pin!(stop);
    let (mut calls, mut is_ended) = (JoinSet::new(), false);
    loop {
        let why = tokio::select! {
            biased;
            message = stream.next() => match message {
                Ok(Some(message)) => {
                    if take(&message, &mut progress, &askers)? {
                        return Ok(progress);
                    }
                    if progress.status.as_ref().is_some_and(|status| status.aborted.is_some()) {
                        end.cancel();
                    }
                    continue;
                }
                broken => {
                    let why = broken.err().unwrap_or_else(|| "it ended".to_owned());
                    end.cancel();
                    end_watches(&askers);
                    progress.interrupted.get_or_insert_with(|| format!("the stream of {server} broke: {why}"));
                    return Ok(progress);
                }
            },
            () = &mut stop, if !is_ended => Some("it was interrupted"),
            () = end.cancelled(), if !is_ended => None,
            _ = renewal.tick() => {
                while calls.try_join_next().is_some() {}
                if let Some(status) = progress.status.as_ref().filter(|_| calls.is_empty()) {
                    let call = Call::put(&format!("/v1/drill/{}", status.id), String::new()).within(RENEWAL_TIMEOUT);
                    let call = call.with_token()?;
                    let server = server.clone();
                    // If one is lost, the next one counts.
                    calls.spawn(async move { drop(server.call_within_runtime(&call).await) });
                }
                continue;
            }
        };
        is_ended = true;
        if progress.status.is_none() {
            return Err(Failure("the drill was ended before it began".to_owned()));
        }
        progress.interrupted = why.map(str::to_owned);
        let (server, call) = (server.clone(), Call::delete("/v1/drill").with_token()?);
        // If it fails, the end of the stream ends the drill.
        calls.spawn(async move { drop(server.call_within_runtime(&call).await) });
    }
}

/// Takes in a message. True after the last one.
fn take(message: &StreamMessage, progress: &mut Progress, askers: &[Asker]) -> Result<bool, Failure> {
    match message.event.as_str() {
        "drill" => {
            let now = clock::now();
            let status: DrillStatus = text::parsed(&message.data)?;
            askers.iter().for_each(|asker| asker.watch().inject(now));
            if status.phase != DrillStatus::LOST {
                askers.iter().for_each(|asker| asker.watch().end(now));
            }
            let is_over = status.is_over();
            progress.status = Some(status);
            Ok(is_over)
        }
        "refused" => {
            let refused: serde_json::Value = text::parsed(&message.data)?;
            let why = refused.get("why").and_then(serde_json::Value::as_str).unwrap_or("no reason is known");
            Err(Failure(format!("the drill is refused: {why}")))
        }
        // A later release may send more.
        _ => Ok(false),
    }
}

fn end_watches(askers: &[Asker]) {
    let now = clock::now();
    askers.iter().for_each(|asker| asker.watch().end(now));
}

/// Waits until the answers of every server have the lost endpoints again, at most for this time.
async fn wait_until_back(askers: &[Asker], within: Duration) {
    let until = clock::now() + within;
    let is_back = || askers.iter().filter(|asker| !asker.is_resolver).all(|asker| asker.watch().is_back());
    while clock::now() < until && !is_back() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Where a server answers DNS: one that listens on all addresses is asked at that of its API.
fn of_server(server: &ApiServer, dns: Vec<std::net::SocketAddr>) -> Result<std::net::SocketAddr, Failure> {
    let mut dns = dns.into_iter();
    let Some(mut address) = dns.next() else {
        return Err(Failure(format!("{server} answers no DNS")));
    };
    if address.ip().is_unspecified() {
        let ip = server.ip().ok_or_else(|| Failure(format!("the address of {server} can't be found")))?;
        address.set_ip(ip);
    }
    Ok(address)
}
