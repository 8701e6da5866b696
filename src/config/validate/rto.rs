//! `rto`, a promise: within that time of an endpoint's failure no client is sent there any more, nor does a resolver
//! keep it. Here it is held against what the numbers of the policy come to in the worst case, and the one to change is
//! found.

use std::time::Duration;

use crate::config::monitor::MonitorSpec;
use crate::config::problem::Problems;
use crate::config::source::At;
use crate::config::spec::{EndpointSpec, PolicySpec};
use crate::config::validate::composite::leaves;
use crate::model::heartbeat::{MAX_BEAT, MIN_BEAT};
use crate::model::{AdminState, HeartbeatSpec, Monitor, Timing, Ttl};

/// From a verdict to the answers that follow it. One node hears its own prober at once: some milliseconds, which a
/// promise in seconds doesn't count.
const REPORT_PERIOD: Duration = Duration::ZERO;

/// Shortest values that a hint tells people to write. Judgment: more often than the interval is load, below the
/// time-out half the world is down, a single failure proves nothing, and a TTL of 0 isn't cached at all.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);
const LEAST_FALL: u32 = 2;
const LEAST_TTL: Duration = Duration::from_secs(1);

/// The longest that an answer may name an endpoint after its failure, and what that is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sum {
    total: Duration,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// In words: `3 x timeout 500ms`.
    words: String,
    takes: Duration,
    /// What makes it shorter.
    knobs: &'static [Knob],
}

/// A key that can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knob {
    Interval,
    Timeout,
    Fall,
    HoldDown,
    TtlMin,
    TtlMax,
    BeatTtl,
}

/// The largest of three ways in which it can come about: found after a while with the shortest TTL then; held Up, and
/// found after that; or a reply just before the first probe fails, whose TTL is that of peace.
fn worst(timing: &Timing, ttl: Ttl) -> Sum {
    let part = |words: String, takes, knobs| Part { words, takes, knobs };
    let interval = part(format!("interval {}", shown(timing.interval)), timing.interval, &[Knob::Interval]);
    let timeout = || part(format!("timeout {}", shown(timing.timeout)), timing.timeout, &[Knob::Timeout]);
    let more = timing.fall.saturating_sub(1);
    let mut found = vec![interval.clone()];
    if timing.step() == timing.timeout {
        let words = format!("{} x timeout {}", timing.fall, shown(timing.timeout));
        found.push(part(words, timing.timeout * timing.fall.max(1), &[Knob::Timeout, Knob::Fall]));
    } else {
        let words = format!("{more} x {} between probes", shown(timing.step()));
        found.extend([timeout(), part(words, timing.step() * more, &[Knob::Fall])]);
    }
    let report = part(format!("report period {}", shown(REPORT_PERIOD)), REPORT_PERIOD, &[]);
    let ttl_min = part(format!("ttl.min {}", shown(ttl.min)), ttl.min, &[Knob::TtlMin]);
    found.extend([report.clone(), ttl_min.clone()]);
    let hold_down = part(format!("hold_down {}", shown(timing.hold_down)), timing.hold_down, &[Knob::HoldDown]);
    let held = vec![hold_down, timeout(), report, ttl_min];
    let peace = Duration::from_secs(timing.horizon().as_secs()).clamp(ttl.min, ttl.max.max(ttl.min));
    let kept = part(format!("a TTL of {}", shown(peace)), peace, &[Knob::TtlMax]);
    let kept = vec![interval, timeout(), kept];
    let ways = if timing.hold_down.is_zero() { vec![kept, found] } else { vec![kept, held, found] };
    let sum = |mut parts: Vec<Part>| {
        parts.retain(|part| !part.takes.is_zero());
        Sum { total: parts.iter().map(|part| part.takes).sum(), parts }
    };
    ways.into_iter().map(sum).max_by_key(|sum| sum.total).unwrap_or_else(|| sum(Vec::new()))
}

/// The knob of the largest part that keeps the promise when it is turned alone, and what to write.
fn remedy(timing: Timing, ttl: Ttl, rto: Duration) -> Option<(Knob, String)> {
    let mut parts = worst(&timing, ttl).parts;
    parts.sort_by_key(|part| std::cmp::Reverse(part.takes));
    parts.iter().flat_map(|part| part.knobs).find_map(|knob| Some((*knob, turned(*knob, timing, ttl, rto)?)))
}

/// The largest value of `knob` that keeps the promise.
fn turned(knob: Knob, timing: Timing, ttl: Ttl, rto: Duration) -> Option<String> {
    let keeps = |timing: Timing, ttl: Ttl| worst(&timing, ttl).total <= rto;
    let length = |least: Duration, now: Duration, try_out: &dyn Fn(Duration) -> bool| {
        let value = |n| Duration::from_millis(n);
        let best = largest(millis(least), millis(now), &|n| try_out(value(n)))?;
        Some(format!("\"{}\"", shown(value(rounded(best).max(millis(least))))))
    };
    let seconds = |least: Duration, now: Duration, try_out: &dyn Fn(Duration) -> bool| {
        let best = largest(least.as_secs(), now.as_secs(), &|n| try_out(Duration::from_secs(n)))?;
        Some(format!("\"{}\"", shown(Duration::from_secs(best))))
    };
    match knob {
        Knob::Interval => length(LEAST_INTERVAL.max(timing.timeout), timing.interval, &|interval| {
            keeps(Timing { interval, ..timing }, ttl)
        }),
        Knob::Timeout => length(LEAST_TIMEOUT, timing.timeout, &|timeout| keeps(Timing { timeout, ..timing }, ttl)),
        Knob::HoldDown => {
            length(Duration::ZERO, timing.hold_down, &|hold_down| keeps(Timing { hold_down, ..timing }, ttl))
        }
        Knob::Fall => {
            largest(LEAST_FALL.into(), timing.fall.into(), &|fall| keeps(Timing { fall: fall as u32, ..timing }, ttl))
                .map(|fall| fall.to_string())
        }
        // A probe has none.
        Knob::BeatTtl => None,
        Knob::TtlMin => seconds(LEAST_TTL, ttl.min, &|min| keeps(timing, Ttl { min, ..ttl })),
        Knob::TtlMax => seconds(LEAST_TTL.max(ttl.min), ttl.max, &|max| keeps(timing, Ttl { max, ..ttl })),
    }
}

/// The largest number of `least..=most` for which `holds`, which holds for all below one for which it does.
fn largest(least: u64, most: u64, holds: &dyn Fn(u64) -> bool) -> Option<u64> {
    if least > most || !holds(least) {
        return None;
    }
    let (mut good, mut bad) = (least, most.saturating_add(1));
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if holds(middle) { good = middle } else { bad = middle }
    }
    Some(good)
}

/// Two digits and zeros: what a person would have written.
fn rounded(millis: u64) -> u64 {
    let unit = 10u64.pow(millis.checked_ilog10().unwrap_or(0).saturating_sub(1));
    millis / unit * unit
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn shown(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// Holds the promise of the name `label` against `endpoints`, those that its answers may name, each with the monitor
/// that judges it for this name.
pub(super) fn check<'a>(
    label: &str,
    rto: &At<Duration>,
    ttl: Ttl,
    endpoints: impl Iterator<Item = (&'a EndpointSpec, Option<&'a At<String>>)>,
    spec: &PolicySpec,
    problems: &mut Problems,
) {
    let promised = shown(rto.value);
    let (mut unseen, mut slowest): (Vec<&str>, Option<(Sum, &EndpointSpec, &MonitorSpec)>) = (Vec::new(), None);
    for (endpoint, monitor) in endpoints.filter(|(endpoint, _)| *endpoint.state != AdminState::Disabled) {
        let Some(name) = monitor else {
            unseen.push(&endpoint.name.value);
            continue;
        };
        let Some(monitor) = spec.monitors.iter().find(|monitor| monitor.name.value == name.value) else { continue };
        // What a `not` turns is about something else than the endpoint's failure.
        let watching: Vec<&MonitorSpec> =
            leaves(monitor, &spec.monitors).iter().filter(|leaf| !leaf.is_turned).map(|leaf| leaf.monitor).collect();
        if watching.is_empty() {
            let message = format!(
                "`{label}` can't promise {promised}: the monitor of `{}` is of type `not`, which doesn't notice its failure",
                endpoint.name.value
            );
            let problem = problems.error(&rto.place, message);
            problem.hint("make it `all` of that and of one that does, or leave `rto` out");
        }
        for monitor in watching {
            let Some(sum) = monitor.monitor().map(|model| worst_of(model, ttl)) else { continue };
            if slowest.as_ref().is_none_or(|(slowest, ..)| sum.total > slowest.total) {
                slowest = Some((sum, endpoint, monitor));
            }
        }
    }
    if let [first, others @ ..] = unseen.as_slice() {
        let who = match others.len() {
            0 => format!("`{first}` has no monitor, so its failure is never noticed"),
            more => format!("`{first}` and {more} more have no monitor, so their failure is never noticed"),
        };
        let problem = problems.error(&rto.place, format!("`{label}` can't promise {promised}: {who}"));
        problem.hint("write `monitor = \"NAME\"` in the endpoint, or leave `rto` out");
    }
    let Some((sum, endpoint, monitor)) = slowest.filter(|(sum, ..)| sum.total > rto.value) else { return };
    let parts: Vec<&str> = sum.parts.iter().map(|part| part.words.as_str()).collect();
    let (name, total) = (&endpoint.name.value, shown(sum.total));
    let message = format!(
        "`{label}` can't promise {promised}: clients may be sent to `{name}` for {total} after it fails: {} (monitor `{}`)",
        parts.join(" + "),
        monitor.name.value
    );
    let change = match monitor.monitor().and_then(|model| remedy_of(model, ttl, rto.value)) {
        None => "no single key does it: lower several".to_string(),
        Some((knob, value)) => match knob {
            Knob::TtlMin => format!("lower `ttl.min` to {value}"),
            Knob::TtlMax => format!("lower `ttl.max` to {value}"),
            Knob::BeatTtl if monitor.heartbeat().is_some_and(|beat| beat.longest == MAX_BEAT) => {
                format!("write `ttl = {value}` in monitor `{}`", monitor.name.value)
            }
            Knob::Interval | Knob::Timeout | Knob::Fall | Knob::HoldDown | Knob::BeatTtl => {
                format!("lower `{}` of monitor `{}` to {value}", knob.key(), monitor.name.value)
            }
        },
    };
    let problem = problems.error(&rto.place, message);
    problem.label(&monitor.name.place, format!("monitor `{}`", monitor.name.value));
    problem.label(&endpoint.name.place, format!("endpoint `{name}`"));
    problem.hint(format!("{change}, or promise `rto = \"{total}\"`"));
}

impl Knob {
    fn key(self) -> &'static str {
        match self {
            Knob::Interval => "interval",
            Knob::Timeout => "timeout",
            Knob::Fall => "fall",
            Knob::HoldDown => "hold_down",
            Knob::TtlMin => "ttl.min",
            Knob::TtlMax => "ttl.max",
            Knob::BeatTtl => "ttl",
        }
    }
}

/// The same for what a monitor of any type comes to.
fn worst_of(monitor: &Monitor, ttl: Ttl) -> Sum {
    match monitor.kind.heartbeat() {
        Some(beat) => worst_beat(beat.longest, monitor.hold_down, ttl),
        None => worst(&timing(monitor), ttl),
    }
}

/// A service that dies just after a beat, or just after it came up and is held so. Answers meanwhile have the shortest
/// TTL: a goodbye could come at any moment.
fn worst_beat(longest: Duration, hold_down: Duration, ttl: Ttl) -> Sum {
    let beat = Part { words: format!("ttl {} of a beat", shown(longest)), takes: longest, knobs: &[Knob::BeatTtl] };
    let held = Part { words: format!("hold_down {}", shown(hold_down)), takes: hold_down, knobs: &[Knob::HoldDown] };
    let first = if hold_down > longest { held } else { beat };
    let kept = Part { words: format!("ttl.min {}", shown(ttl.min)), takes: ttl.min, knobs: &[Knob::TtlMin] };
    let mut parts = vec![first, kept];
    parts.retain(|part| !part.takes.is_zero());
    Sum { total: parts.iter().map(|part| part.takes).sum(), parts }
}

fn remedy_of(monitor: &Monitor, ttl: Ttl, rto: Duration) -> Option<(Knob, String)> {
    let Some(&HeartbeatSpec { longest, .. }) = monitor.kind.heartbeat() else {
        return remedy(timing(monitor), ttl, rto);
    };
    let keeps = |longest, hold_down, ttl| worst_beat(longest, hold_down, ttl).total <= rto;
    let ms = Duration::from_millis;
    let length = |least: Duration, now: Duration, try_out: &dyn Fn(Duration) -> bool| {
        let best = largest(millis(least), millis(now), &|n| try_out(ms(n)))?;
        Some(format!("\"{}\"", shown(ms(rounded(best).max(millis(least))))))
    };
    let hold_down = monitor.hold_down;
    [
        (Knob::BeatTtl, length(MIN_BEAT, longest, &|longest| keeps(longest, hold_down, ttl))),
        (Knob::HoldDown, length(Duration::ZERO, hold_down, &|hold_down| keeps(longest, hold_down, ttl))),
        (Knob::TtlMin, length(LEAST_TTL, ttl.min, &|min| keeps(longest, hold_down, Ttl { min, ..ttl }))),
    ]
    .into_iter()
    .find_map(|(knob, value)| Some((knob, value?)))
}

fn timing(monitor: &Monitor) -> Timing {
    let Monitor { interval, timeout, fall, hold_down, .. } = *monitor;
    Timing { interval, timeout, fall, hold_down }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds of interval, time-out, `fall`, milliseconds of hold-down; and seconds of `ttl.min` and `ttl.max`.
    type Numbers = (u64, u64, u32, u64, u64, u64);

    fn read((interval, timeout, fall, hold_down, min, max): Numbers) -> (Timing, Ttl) {
        let ms = Duration::from_millis;
        let timing = Timing { interval: ms(interval), timeout: ms(timeout), fall, hold_down: ms(hold_down) };
        (timing, Ttl { min: ms(min * 1000), max: ms(max * 1000) })
    }

    #[test]
    fn the_worst_case_is_the_sum_of_what_really_happens() {
        for (what, numbers, expected) in [
            ("the defaults", (1000, 500, 3, 0, 5, 20), "7s 500ms: interval 1s + 3 x timeout 500ms + ttl.min 5s"),
            ("fall 1 and no TTL", (1000, 500, 1, 0, 0, 0), "1s 500ms: interval 1s + 1 x timeout 500ms"),
            (
                "short time-outs are spaced",
                (1000, 10, 3, 0, 1, 1),
                "2s 110ms: interval 1s + timeout 10ms + 2 x 50ms between probes + ttl.min 1s",
            ),
            (
                "long ones overlap",
                (1000, 2000, 3, 0, 1, 1),
                "6s: interval 1s + timeout 2s + 2 x 1s between probes + ttl.min 1s",
            ),
            (
                "rare probes let answers live long",
                (30_000, 500, 3, 0, 5, 60),
                "1m 500ms: interval 30s + timeout 500ms + a TTL of 30s",
            ),
            (
                "but never over ttl.max",
                (30_000, 500, 3, 0, 5, 20),
                "50s 500ms: interval 30s + timeout 500ms + a TTL of 20s",
            ),
            ("held Up", (1000, 500, 3, 30_000, 5, 20), "35s 500ms: hold_down 30s + timeout 500ms + ttl.min 5s"),
            (
                "held, but not for long",
                (1000, 500, 3, 1000, 5, 20),
                "7s 500ms: interval 1s + 3 x timeout 500ms + ttl.min 5s",
            ),
        ] {
            let (timing, ttl) = read(numbers);
            let sum = worst(&timing, ttl);
            let parts: Vec<&str> = sum.parts.iter().map(|part| part.words.as_str()).collect();
            assert_eq!(format!("{}: {}", shown(sum.total), parts.join(" + ")), expected, "{what}");
            assert_eq!(sum.parts.iter().map(|part| part.takes).sum::<Duration>(), sum.total, "{what}");
        }
    }

    #[test]
    fn the_remedy_is_the_largest_part_that_does_it_alone() {
        for (what, numbers, rto_ms, expected) in [
            ("the TTL is largest", (1000, 500, 3, 0, 5, 20), 6000, Some((Knob::TtlMin, "\"3s\""))),
            (
                "no TTL does it, the interval does",
                (10_000, 500, 3, 0, 1, 1),
                5000,
                Some((Knob::Interval, "\"2s 500ms\"")),
            ),
            ("time-outs", (1000, 1000, 5, 0, 1, 1), 4000, Some((Knob::Timeout, "\"400ms\""))),
            ("fewer failures", (200, 150, 20, 0, 1, 1), 2000, Some((Knob::Fall, "5"))),
            ("hold-down", (1000, 500, 3, 60_000, 5, 20), 10_000, Some((Knob::HoldDown, "\"4s 500ms\""))),
            ("ttl.max", (10_000, 20, 100, 0, 1, 60), 16_000, Some((Knob::TtlMax, "\"5s\""))),
            ("nothing does it alone", (10_000, 5000, 3, 0, 20, 20), 2000, None),
        ] {
            let (timing, ttl) = read(numbers);
            let found = remedy(timing, ttl, Duration::from_millis(rto_ms));
            assert_eq!(found.as_ref().map(|(knob, value)| (*knob, value.as_str())), expected, "{what}");
        }
    }

    #[test]
    fn values_are_found_to_the_last_one_that_holds() {
        for (least, most, limit, expected) in
            [(1, 9, 5, Some(5)), (1, 9, 100, Some(9)), (3, 9, 2, None), (9, 3, 9, None)]
        {
            assert_eq!(largest(least, most, &|n| n <= limit), expected, "{least}..={most} up to {limit}");
        }
        assert_eq!([0, 7, 42, 1337, 98_765].map(rounded), [0, 7, 42, 1300, 98_000]);
    }
}
