//! `rto`, a promise: within this time after an endpoint's failure, no client is sent to it, and no resolver has it in
//! its cache. The worst case follows from the numbers of the policy. If it takes longer, the problem names the key to
//! change.

use std::time::Duration;

use crate::config::monitor::MonitorSpec;
use crate::config::spec::{EndpointSpec, PolicySpec};
use crate::config::validate::composite::leaves;
use crate::model::heartbeat::{MAX_BEAT, MIN_BEAT};
use crate::model::{AdminState, Monitor, Timing, Ttl};
use crate::source::{At, Problems};

/// Shortest values that a hint recommends. Judgment: an interval below it is mostly load, many hosts don't answer
/// within a shorter time-out, a single failure proves nothing, and a TTL of 0 is not cached at all.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);
const LEAST_FALL: u32 = 2;
const LEAST_TTL: Duration = Duration::from_secs(1);

/// The longest time for which an answer may have an endpoint after its failure, and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sum {
    total: Duration,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// For messages: `3 x timeout 500ms`.
    text: String,
    takes: Duration,
    /// The keys that make it shorter.
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

/// What the time follows from.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    timing: Timing,
    /// The longest ttl of a beat; `None` for probes.
    beat: Option<Duration>,
    ttl: Ttl,
}

impl Numbers {
    fn of(monitor: &Monitor, ttl: Ttl) -> Numbers {
        let Monitor { interval, timeout, fall, hold_down, .. } = *monitor;
        let beat = monitor.kind.heartbeat().map(|beat| beat.longest);
        Numbers { timing: Timing { interval, timeout, fall, hold_down }, beat, ttl }
    }
}

fn part(text: String, takes: Duration, knobs: &'static [Knob]) -> Part {
    Part { text, takes, knobs }
}

fn sum(mut parts: Vec<Part>) -> Sum {
    parts.retain(|part| !part.takes.is_zero());
    Sum { total: parts.iter().map(|part| part.takes).sum(), parts }
}

/// The worst of three cases. The failure is found at the end of an interval, and the answers meanwhile have the
/// shortest TTL. Or the endpoint just came up, and hold-down delays the verdict. Or a reply was sent just before the
/// first probe fails, with the long TTL of a healthy endpoint.
fn worst(Numbers { timing, beat, ttl }: &Numbers) -> Sum {
    let ttl_min = part(format!("ttl.min {}", shown(ttl.min)), ttl.min, &[Knob::TtlMin]);
    let hold_down = part(format!("hold_down {}", shown(timing.hold_down)), timing.hold_down, &[Knob::HoldDown]);
    if let Some(beat) = *beat {
        // As a goodbye may come at any moment, all answers have the shortest TTL.
        let silence = part(format!("ttl {} of a beat", shown(beat)), beat, &[Knob::BeatTtl]);
        return sum(vec![if timing.hold_down > beat { hold_down } else { silence }, ttl_min]);
    }
    let interval = part(format!("interval {}", shown(timing.interval)), timing.interval, &[Knob::Interval]);
    let timeout = || part(format!("timeout {}", shown(timing.timeout)), timing.timeout, &[Knob::Timeout]);
    let more = timing.fall.saturating_sub(1);
    let mut found = vec![interval.clone()];
    if timing.step() == timing.timeout {
        let text = format!("{} x timeout {}", timing.fall, shown(timing.timeout));
        found.push(part(text, timing.timeout * timing.fall.max(1), &[Knob::Timeout, Knob::Fall]));
    } else {
        let text = format!("{more} x {} between probes", shown(timing.step()));
        found.extend([timeout(), part(text, timing.step() * more, &[Knob::Fall])]);
    }
    found.push(ttl_min.clone());
    let longest = Duration::from_secs(timing.horizon().as_secs()).clamp(ttl.min, ttl.max.max(ttl.min));
    let cached = part(format!("a TTL of {}", shown(longest)), longest, &[Knob::TtlMax]);
    let held_down = (!timing.hold_down.is_zero()).then(|| sum(vec![hold_down, timeout(), ttl_min]));
    let cases = held_down.into_iter().chain([sum(vec![interval, timeout(), cached])]);
    cases.fold(sum(found), |worst, case| if case.total > worst.total { case } else { worst })
}

/// The knob of the largest part that keeps the promise when it alone is changed, and the value to write.
fn remedy(numbers: &Numbers, rto: Duration) -> Option<(Knob, String)> {
    let mut parts = worst(numbers).parts;
    if numbers.beat.is_none() {
        parts.sort_by_key(|part| std::cmp::Reverse(part.takes));
    }
    let keeps = |knob: Knob, value| {
        let mut changed = *numbers;
        knob.set(&mut changed, value);
        worst(&changed).total <= rto
    };
    parts.iter().flat_map(|part| part.knobs).find_map(|knob| {
        let (least, now) = knob.range(numbers);
        let best = largest(least, now, &|value| keeps(*knob, value))?;
        Some((*knob, knob.written(best, least)))
    })
}

impl Knob {
    /// From the shortest value that makes sense to the present one: milliseconds, for TTLs seconds, for `fall` a
    /// number.
    fn range(self, Numbers { timing, beat, ttl }: &Numbers) -> (u64, u64) {
        let in_millis = |least: Duration, now: Duration| (millis(least), millis(now));
        match self {
            Knob::Interval => in_millis(LEAST_INTERVAL.max(timing.timeout), timing.interval),
            Knob::Timeout => in_millis(LEAST_TIMEOUT, timing.timeout),
            Knob::Fall => (LEAST_FALL.into(), timing.fall.into()),
            Knob::HoldDown => in_millis(Duration::ZERO, timing.hold_down),
            Knob::TtlMin => (LEAST_TTL.as_secs(), ttl.min.as_secs()),
            Knob::TtlMax => (LEAST_TTL.max(ttl.min).as_secs(), ttl.max.as_secs()),
            Knob::BeatTtl => in_millis(MIN_BEAT, beat.unwrap_or_default()),
        }
    }

    fn set(self, Numbers { timing, beat, ttl }: &mut Numbers, value: u64) {
        let time = Duration::from_millis(value);
        match self {
            Knob::Interval => timing.interval = time,
            Knob::Timeout => timing.timeout = time,
            Knob::Fall => timing.fall = value as u32,
            Knob::HoldDown => timing.hold_down = time,
            Knob::TtlMin => ttl.min = Duration::from_secs(value),
            Knob::TtlMax => ttl.max = Duration::from_secs(value),
            Knob::BeatTtl => *beat = Some(time),
        }
    }

    /// The value as a person writes it.
    fn written(self, value: u64, least: u64) -> String {
        match self {
            Knob::Fall => value.to_string(),
            Knob::TtlMin | Knob::TtlMax => format!("\"{}\"", shown(Duration::from_secs(value))),
            Knob::Interval | Knob::Timeout | Knob::HoldDown | Knob::BeatTtl => {
                format!("\"{}\"", shown(Duration::from_millis(rounded(value).max(least))))
            }
        }
    }

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

/// The largest number of `least..=most` for which `holds`. If it holds for a number, it holds for all smaller ones.
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

/// Rounded down to two digits and zeros, as a person writes it.
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

/// Checks the promise of the name `label` for `endpoints`, all that its answers may have, each with the monitor that
/// checks it for this name.
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
        let Some(monitor) = spec.monitor(&name.value) else { continue };
        // A monitor below a `not` doesn't notice the endpoint's failure.
        let watching: Vec<&MonitorSpec> =
            leaves(monitor, spec).iter().filter(|leaf| !leaf.is_inverted).map(|leaf| leaf.monitor).collect();
        if watching.is_empty() {
            let message = format!(
                "`{label}` can't promise {promised}: the monitor of `{}` is of type `not`, which doesn't notice its \
                 failure",
                endpoint.name.value
            );
            let problem = problems.error(&rto.place, message);
            problem.hint("make it `all` of that and of one that does, or leave `rto` out");
        }
        for monitor in watching {
            let Some(sum) = monitor.monitor().map(|model| worst(&Numbers::of(model, ttl))) else { continue };
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
    let parts: Vec<&str> = sum.parts.iter().map(|part| part.text.as_str()).collect();
    let (name, total) = (&endpoint.name.value, shown(sum.total));
    let message = format!(
        "`{label}` can't promise {promised}: clients may be sent to `{name}` for {total} after it fails: {} (monitor \
         `{}`)",
        parts.join(" + "),
        monitor.name.value
    );
    let change = match monitor.monitor().and_then(|model| remedy(&Numbers::of(model, ttl), rto.value)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds of interval, time-out, `fall`, milliseconds of hold-down; and seconds of `ttl.min` and `ttl.max`.
    type Row = (u64, u64, u32, u64, u64, u64);

    fn read((interval, timeout, fall, hold_down, min, max): Row) -> Numbers {
        let ms = Duration::from_millis;
        let timing = Timing { interval: ms(interval), timeout: ms(timeout), fall, hold_down: ms(hold_down) };
        Numbers { timing, beat: None, ttl: Ttl { min: ms(min * 1000), max: ms(max * 1000) } }
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
            let sum = worst(&read(numbers));
            let parts: Vec<&str> = sum.parts.iter().map(|part| part.text.as_str()).collect();
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
            let found = remedy(&read(numbers), Duration::from_millis(rto_ms));
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
