//! Makes the report of a drill from the plan, the last status of the server, and what the client measured.

use std::time::Duration;

use crate::drill::{DrillPlan, DrillQuestion, DrillReport, DrillStatus, DrilledServer, QuestionReport};
use crate::drill::{Watch, WatchedAnswers};
use crate::model::Moment;

/// The longest recovery that is accepted where neither the operator nor the name says (judgment).
pub const DEFAULT_RTO: Duration = Duration::from_secs(30);

/// What the client has when the drill is over.
#[derive(Debug)]
pub struct DrillMeasurements<'a> {
    /// The plan.
    pub plan: &'a DrillPlan,
    /// The last status of the server; `None`: the connection was lost before the loss began.
    pub status: Option<&'a DrillStatus>,
    /// What was measured: the address of a server or resolver, whether it is a resolver, and the answers.
    pub servers: &'a [(String, bool, Watch)],
    /// The longest recovery that is accepted; `None`: that of each name, or [`DEFAULT_RTO`].
    pub rto: Option<Duration>,
    /// Why the client ended the drill, if it did.
    pub interrupted: Option<String>,
    /// A moment of the client's clock, and the same in Unix seconds.
    pub now: (Moment, f64),
}

/// The report.
pub fn report(of: &DrillMeasurements<'_>) -> DrillReport {
    let DrillMeasurements { plan, status, servers, rto, interrupted, now } = of;
    let unix = |at: Moment| now.1 - now.0.since(at).as_secs_f64();
    let accepted = |question: &DrillQuestion| match (rto, question.rto_ms) {
        (Some(rto), _) => millis(*rto),
        (None, Some(ms)) => ms,
        (None, None) => millis(DEFAULT_RTO),
    };
    let server = |(server, resolver, watch): &(String, bool, Watch)| {
        let questions = watch.results().map(|(question, answers)| question_report(question, answers, watch));
        let mut questions: Vec<QuestionReport> = questions.collect();
        for (report, (question, _)) in questions.iter_mut().zip(watch.results()) {
            report.rto_ms = accepted(question);
        }
        server_report(server, *resolver, watch, questions, unix)
    };
    let mut reports: Vec<DrilledServer> = servers.iter().map(server).collect();
    let injected = servers.iter().find_map(|(_, _, watch)| watch.injected());
    let strictest = plan.questions.iter().map(accepted).reduce(f64::min);
    let rto_ms = strictest.unwrap_or(millis(rto.unwrap_or(DEFAULT_RTO)));
    let aborted = interrupted.clone().or_else(|| status.and_then(|status| status.aborted.clone()));
    if aborted.is_some() {
        let is_published = status.is_some_and(|status| status.publish_ms.is_some());
        reports.iter_mut().for_each(|server| drop_unmeasured(server, is_published));
    }
    let own = || reports.iter().filter(|server| !server.resolver);
    let within_rto = within_rto(&reports);
    let mut problems = problems(plan, *status, &reports, aborted.as_deref());
    if aborted.is_none() && within_rto == Some(false) {
        problems.push(late(&reports));
    }
    DrillReport {
        drill: plan.drill,
        target: plan.target.clone(),
        ok: problems.is_empty(),
        problems,
        aborted,
        who: status.map_or_else(String::new, |status| status.who.clone()),
        injected_at: injected.map(unix).or(status.map(|status| status.injected_at)).unwrap_or_default(),
        last_stale_at: own().filter_map(|server| server.last_stale_at).reduce(f64::max),
        restored_at: status.and_then(|status| status.restored_at),
        recovery_ms: own()
            .filter_map(|server| server.recovery_ms)
            .reduce(f64::max)
            .filter(|_| own().all(DrilledServer::is_measured)),
        detect_ms: status.and_then(|status| status.detect_ms),
        decide_ms: status.and_then(|status| status.decide_ms),
        publish_ms: status.and_then(|status| status.publish_ms),
        rto_ms,
        within_rto,
        for_secs: plan.for_secs,
        generation: plan.generation,
        lost: plan.lost.clone(),
        lost_vantages: plan.lost_vantages.clone(),
        moves: plan.moves.clone(),
        servers: reports,
        notes: plan.notes.clone(),
    }
}

fn server_report(
    server: &str,
    resolver: bool,
    watch: &Watch,
    questions: Vec<QuestionReport>,
    unix: impl Fn(Moment) -> f64,
) -> DrilledServer {
    let last = watch.results().filter_map(|(_, answers)| answers.last_stale).map(|[received, _]| received).max();
    let fresh: Option<Vec<Moment>> = watch.results().map(|(_, answers)| answers.fresh_since).collect();
    DrilledServer {
        server: server.to_owned(),
        resolver,
        recovery_ms: last.zip(watch.injected()).map(|(last, injected)| millis(last.since(injected))),
        last_stale_at: last.map(&unix),
        fresh_at: fresh.and_then(|all| all.into_iter().max()).map(&unix),
        questions,
    }
}

fn question_report(question: &DrillQuestion, answers: &WatchedAnswers, watch: &Watch) -> QuestionReport {
    let DrillQuestion { name, rtype, client, class, .. } = question;
    let from = |since: Option<Moment>, at: Option<Moment>| since.zip(at).map(|(since, at)| millis(at.since(since)));
    QuestionReport {
        name: name.clone(),
        rtype: rtype.clone(),
        client: *client,
        class: class.clone(),
        sent: answers.sent,
        timed_out: answers.timed_out,
        stale: answers.stale,
        recovery_ms: from(watch.injected(), answers.last_stale.map(|[received, _]| received)),
        rto_ms: 0.0,
        recovered: Some(answers.fresh_since.is_some()),
        empty: answers.empty,
        outside_fence: answers.outside,
        back_ms: from(watch.ended(), answers.back),
    }
}

/// Takes the recoveries out that an aborted drill did not measure. One is measured if the server had published answers
/// without the lost endpoints before, and such answers came; otherwise the last stale answer is only the last one
/// before the end.
fn drop_unmeasured(server: &mut DrilledServer, is_published: bool) {
    for question in &mut server.questions {
        if !is_published || question.recovered == Some(false) {
            (question.recovered, question.recovery_ms) = (None, None);
        }
    }
    if !server.is_measured() {
        (server.recovery_ms, server.fresh_at) = (None, None);
    }
}

/// Whether every answer recovered within its time; `None` if that was not measured, and no answer was too late.
fn within_rto(servers: &[DrilledServer]) -> Option<bool> {
    let questions = || servers.iter().flat_map(|server| &server.questions);
    let is_late = |question: &QuestionReport| {
        question.recovered == Some(false) || question.recovery_ms.is_some_and(|ms| ms > question.rto_ms)
    };
    match questions().any(is_late) {
        true => Some(false),
        false => questions().all(|question| question.recovered.is_some()).then_some(true),
    }
}

/// Most endpoints of a problem that are named (judgment: a line).
const MOST_NAMED: usize = 8;

/// What was wrong, apart from the rto.
fn problems(
    plan: &DrillPlan,
    status: Option<&DrillStatus>,
    servers: &[DrilledServer],
    aborted: Option<&str>,
) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(why) = aborted {
        problems.push(format!("the drill was aborted: {why}"));
    }
    let Some(status) = status else { return problems };
    problems.extend(status.left.iter().cloned());
    if aborted.is_none() && status.restored_at.is_none() && status.left.is_empty() {
        problems.push("the server has not reported that everything is restored".to_owned());
    }
    if aborted.is_none() && status.publish_ms.is_none() {
        let of = match &status.unnoticed[..] {
            [] => String::new(),
            few if few.len() <= MOST_NAMED => format!(" of {}", few.join(", ")),
            many => format!(" of {} and {} more", many[..MOST_NAMED].join(", "), many.len() - MOST_NAMED),
        };
        problems.push(format!("the loss{of} was not noticed within {} s", plan.for_secs));
    }
    let stale = servers.iter().flat_map(|server| &server.questions).any(|question| question.stale > 0);
    if aborted.is_none() && plan.drill.loses_endpoints() && !stale {
        problems.push("nothing was measured: no answer had a lost endpoint".to_owned());
    }
    for server in servers {
        let of = |question: &QuestionReport| format!("{} {} at {}", question.name, question.rtype, server.server);
        for question in &server.questions {
            // A resolver answers for the class of its own clients.
            if question.outside_fence > 0 && !server.resolver {
                problems.push(format!("{}: {} records are outside the fence", of(question), question.outside_fence));
            }
            if question.empty > 0 {
                problems.push(format!("{}: {} answers had no records", of(question), question.empty));
            }
            if question.sent > 0 && question.timed_out == question.sent {
                problems.push(format!("{}: no question was answered", of(question)));
            } else if question.timed_out > 0 && !server.resolver {
                let (timed_out, sent) = (question.timed_out, question.sent);
                problems.push(format!("{}: {timed_out} of {sent} questions were not answered", of(question)));
            }
            let had_lost = question.stale > 0;
            if had_lost && question.back_ms.is_none() && !server.resolver && question.timed_out < question.sent {
                problems.push(format!("{}: the lost endpoints are not answered again", of(question)));
            }
        }
    }
    problems
}

/// Which answers recovered too late.
fn late(servers: &[DrilledServer]) -> String {
    let all = servers.iter().flat_map(|server| server.questions.iter().map(move |question| (server, question)));
    let slow = all.filter(|(_, of)| of.recovered == Some(false) || of.recovery_ms.is_some_and(|ms| ms > of.rto_ms));
    let named: Vec<String> = slow
        .map(|(server, question)| {
            let when = match (question.recovered, question.recovery_ms) {
                (Some(true), Some(ms)) => format!("after {:.1} s", ms / 1000.0),
                (Some(true), None) | (Some(false) | None, _) => "not at all".to_owned(),
            };
            let rto = question.rto_ms / 1000.0;
            format!("{} {} at {} {when} (rto {rto} s)", question.name, question.rtype, server.server)
        })
        .collect();
    format!("not recovered within the rto: {}", named.join(", "))
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::watch::tests::{answer, at, question};
    use crate::drill::{Answer, DrillKind};

    pub(in crate::drill) fn plan() -> DrillPlan {
        DrillPlan {
            drill: DrillKind::LoseRegion,
            target: "eu".to_owned(),
            for_secs: 10.0,
            generation: 3,
            lost: Vec::new(),
            lost_vantages: Vec::new(),
            moves: Vec::new(),
            questions: vec![question()],
            dns: Vec::new(),
            qps: None,
            demand: String::new(),
            notes: Vec::new(),
        }
    }

    fn status() -> DrillStatus {
        DrillStatus {
            phase: DrillStatus::RESTORED.to_owned(),
            detect_ms: Some(1500.0),
            decide_ms: Some(1501.0),
            publish_ms: Some(1502.0),
            restored_at: Some(1011.0),
            ..DrillStatus::begun(1, (DrillKind::LoseRegion, "eu"), "alice", 1000.0, 10.0)
        }
    }

    /// Answers every 50 ms: the lost endpoint until `stale_until`, another one until 10 s, and the lost one again.
    fn watched(stale_until: u64) -> Watch {
        let mut watch = Watch::new(&[question()]);
        watch.inject(at(0));
        for ms in (0..10_000).step_by(50) {
            answer(&mut watch, ms, if ms < stale_until { &["192.0.2.1"] } else { &["192.0.2.2"] });
        }
        watch.end(at(10_000));
        answer(&mut watch, 10_050, &["192.0.2.1"]);
        watch
    }

    fn reported(watch: Watch, status: Option<&DrillStatus>, rto_secs: u64) -> DrillReport {
        let (plan, servers) = (plan(), [("127.0.0.1:53".to_owned(), false, watch)]);
        let rto = Some(Duration::from_secs(rto_secs));
        let now = (at(20_000), 1020.0);
        report(&DrillMeasurements { plan: &plan, status, servers: &servers, rto, interrupted: None, now })
    }

    #[test]
    fn a_drill_within_its_rto_is_ok() {
        let good = reported(watched(2000), Some(&status()), 3);
        assert_eq!((good.ok, good.within_rto, &good.problems[..]), (true, Some(true), &[][..]));
        assert_eq!((good.injected_at, good.recovery_ms, good.restored_at), (1000.0, Some(1952.0), Some(1011.0)));
        assert_eq!(good.last_stale_at.map(|at| (at * 1000.0).round()), Some(1_001_952.0));
        assert_eq!(good.servers[0].questions[0].back_ms, Some(52.0));
    }

    #[test]
    fn a_slow_recovery_is_a_problem_with_its_figure() {
        let slow = reported(watched(4000), Some(&status()), 3);
        assert!(!slow.ok && slow.within_rto == Some(false));
        assert_eq!(
            slow.problems,
            ["not recovered within the rto: www.svc.example. A at 127.0.0.1:53 after 4.0 s (rto 3 s)"]
        );
        let unnoticed = vec!["fra1".to_owned(), "fra2".to_owned()];
        let never = reported(watched(10_000), Some(&DrillStatus { publish_ms: None, unnoticed, ..status() }), 30);
        assert!(!never.ok && never.within_rto == Some(false), "it recovered only because the drill ended");
        assert!(never.problems[0].contains("the loss of fra1, fra2 was not noticed"), "{:?}", never.problems);
        assert!(never.problems[1].ends_with("not at all (rto 30 s)"), "{:?}", never.problems);
    }

    #[test]
    fn a_drill_in_which_nothing_is_measured_is_not_ok() {
        let (plan, status) = (DrillPlan { questions: Vec::new(), ..plan() }, status());
        let now = (at(20_000), 1020.0);
        let of =
            DrillMeasurements { plan: &plan, status: Some(&status), servers: &[], rto: None, interrupted: None, now };
        let report = report(&of);
        assert_eq!(report.problems, ["nothing was measured: no answer had a lost endpoint"]);
        assert!(!report.ok);
    }

    #[test]
    fn an_aborted_drill_is_not_ok_and_says_why() {
        let aborted = DrillStatus {
            phase: DrillStatus::ABORTED.to_owned(),
            aborted: Some("fra1 is down: connection refused".to_owned()),
            ..status()
        };
        let report = reported(watched(2000), Some(&aborted), 3);
        assert_eq!(report.problems, ["the drill was aborted: fra1 is down: connection refused"]);
        assert_eq!((report.ok, report.aborted.is_some()), (false, true));
        assert_eq!(report.recovery_ms, Some(1952.0), "it recovered before it was aborted");
    }

    #[test]
    fn an_aborted_drill_has_no_recovery_that_was_not_measured() {
        // Every second answer has the lost endpoint until the end: an answer without one proves nothing.
        let mut watch = Watch::new(&[question()]);
        watch.inject(at(0));
        for ms in (0..1000).step_by(50) {
            answer(&mut watch, ms, if ms % 100 == 0 { &["192.0.2.1"] } else { &["192.0.2.2"] });
        }
        watch.end(at(1000));
        answer(&mut watch, 1050, &["192.0.2.1"]);
        let aborted = DrillStatus {
            phase: DrillStatus::ABORTED.to_owned(),
            aborted: Some("alice ended it".to_owned()),
            detect_ms: None,
            decide_ms: None,
            publish_ms: None,
            ..status()
        };
        let report = reported(watch, Some(&aborted), 30);
        let json = serde_json::to_value(&report).unwrap();
        let question = &json["servers"][0]["questions"][0];
        for value in [&json["recovery_ms"], &json["within_rto"], &question["recovered"], &question["recovery_ms"]] {
            assert!(value.is_null(), "{json}");
        }
        assert_eq!(report.problems, ["the drill was aborted: alice ended it"]);
        let text = crate::drill::human(&report);
        assert!(text.contains("recovery  not measured") && text.contains("(class eu): not measured"), "{text}");
        assert!(text.contains("detect    not before it was aborted"), "{text}");
        let page = crate::drill::html(&report, "now");
        for text in [text, page] {
            assert!(!text.contains("recovered") && !text.contains("no stale answer"), "{text}");
            assert!(text.contains("not measured") && !text.contains("not at all"), "{text}");
        }
    }

    #[test]
    fn a_question_that_never_had_a_lost_endpoint_need_not_have_it_again() {
        let mut watch = Watch::new(&[question(), question()]);
        watch.inject(at(0));
        for ms in (0..10_000).step_by(50) {
            answer(&mut watch, ms, if ms < 2000 { &["192.0.2.1"] } else { &["192.0.2.2"] });
            let records = vec!["192.0.2.3".to_owned()];
            watch.received(1, &Answer { sent: at(ms), received: at(ms + 2), records });
        }
        watch.end(at(10_000));
        assert!(!watch.is_back(), "the first question has had it");
        answer(&mut watch, 10_050, &["192.0.2.1"]);
        assert!(watch.is_back());
        assert_eq!(reported(watch, Some(&status()), 3).problems, Vec::<String>::new());
    }

    #[test]
    fn an_answer_that_is_lost_is_a_problem() {
        let mut watch = watched(2000);
        watch.sent(0);
        watch.timed_out(0);
        let report = reported(watch, Some(&status()), 3);
        assert_eq!(
            report.problems,
            ["www.svc.example. A at 127.0.0.1:53: 1 of 202 questions were not answered"],
            "every query counts"
        );
    }
}
