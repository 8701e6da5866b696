//! Vantages that stop in order, and goodbyes that are repeated, late, of another process, or forged.

use super::*;

fn goodbye(boot: u64, number: u64) -> ReportMessage {
    ReportMessage { boot, number, is_goodbye: true, ..ReportMessage::default() }
}

/// What a message that arrives at this time is taken for.
fn take(collector: &mut Collector, message: &ReportMessage, ms: u64) -> Result<Option<Extent>, Unaccepted> {
    let received = collector.receive(&vantage("far"), &message.encode(), at(ms));
    received.map(|report| report.map(|report| report.extent))
}

#[test]
fn a_goodbye_ends_its_process_and_late_messages_of_it_do_not_bring_it_back() {
    let mut collector = knowing(10);
    assert_eq!(take(&mut collector, &whole(1, 0..10, Health::Up), 0), Ok(Some(Extent::Part)));
    assert_eq!(take(&mut collector, &goodbye(BOOT, 5), 1000), Ok(Some(Extent::End)));
    assert_eq!(collector.vantages().count(), 0);
    assert_eq!(collector.received_at("far"), Some(at(1000)), "it may only restart");
    assert_eq!(take(&mut collector, &goodbye(BOOT, 5), 1100), Err(Unaccepted::Repeated));
    assert_eq!(take(&mut collector, &whole(1, 0..10, Health::Up), 1200), Err(Unaccepted::Repeated));
    assert_eq!(take(&mut collector, &changes(3, [1], Health::Down), 1300), Err(Unaccepted::Ended), "overtaken");
    assert_eq!(take(&mut collector, &changes(4, [1], Health::Down), 1400), Err(Unaccepted::Ended));
    assert_eq!((collector.vantages().count(), collector.asks(at(2000)).len()), (0, 0), "nobody is there to answer");
    assert!(collector.refusals(at(70_000)).is_empty(), "no line of the log: networks do that");
}

#[test]
fn a_process_that_starts_again_reports_at_once() {
    let mut collector = knowing(10);
    take(&mut collector, &whole(1, 0..10, Health::Up), 0).unwrap();
    take(&mut collector, &goodbye(BOOT, 2), 1000).unwrap();
    let next = ReportMessage { boot: BOOT + 1, ..whole(1, 0..10, Health::Up) };
    assert_eq!(take(&mut collector, &next, 2000), Ok(Some(Extent::Part)));
    assert_eq!(collector.vantages().count(), 1);
    assert_eq!(take(&mut collector, &goodbye(BOOT, 2), 2100), Err(Unaccepted::Ended), "a late copy");
    assert_eq!(collector.vantages().count(), 1);
}

#[test]
fn the_goodbye_of_a_process_that_was_replaced_changes_nothing() {
    let mut collector = knowing(10);
    take(&mut collector, &whole(1, 0..10, Health::Up), 0).unwrap();
    let next = ReportMessage { boot: BOOT + 1, ..whole(1, 0..10, Health::Up) };
    take(&mut collector, &next, 500).unwrap();
    assert_eq!(take(&mut collector, &goodbye(BOOT, 2), 600), Err(Unaccepted::Ended));
    assert_eq!(
        take(&mut collector, &goodbye(BOOT + 7, 1), 700),
        Err(Unaccepted::Ended),
        "a process that never reported"
    );
    assert_eq!(collector.vantages().count(), 1);
    let more = ReportMessage { boot: BOOT + 1, ..changes(2, [1], Health::Down) };
    assert_eq!(take(&mut collector, &more, 800), Ok(Some(Extent::Part)), "it goes on");
    let moved = Vantage { region: "us-east".into(), ..vantage("far") };
    let foreign = collector.receive(&moved, &goodbye(BOOT + 1, 3).encode(), at(60_000));
    assert!(matches!(foreign, Err(Unaccepted::Ended)), "from another region");
}

#[test]
fn a_process_that_goes_on_after_its_goodbye_is_back_after_three_seconds() {
    let mut collector = knowing(10);
    take(&mut collector, &whole(1, 0..10, Health::Up), 0).unwrap();
    assert_eq!(take(&mut collector, &goodbye(BOOT, u64::MAX), 500), Ok(Some(Extent::End)), "forged");
    let each: Vec<bool> = (2..7)
        .map(|number| take(&mut collector, &changes(number, [1], Health::Down), (number - 1) * 1000).is_ok())
        .collect();
    assert_eq!(each, [false, false, false, true, true]);
    assert_eq!(collector.vantages().count(), 1);
    let asks = collector.asks(at(6100));
    assert_eq!(asks.iter().map(|(_, ask)| ask.after).collect::<Vec<_>>(), [1], "what was refused is missing");
}

#[test]
fn who_is_only_known_by_a_goodbye_is_not_known_and_gives_way() {
    let mut collector = knowing(1);
    for nth in 0..MAX_VANTAGES as u64 {
        let stranger = vantage(&format!("v{nth}"));
        let received = collector.receive(&stranger, &goodbye(BOOT, 3).encode(), at(nth));
        assert!(matches!(received, Ok(None)));
    }
    assert_eq!(collector.vantages().count(), 0);
    let late = collector.receive(&vantage("v1"), &changes(2, [0], Health::Up).encode(), at(2000));
    assert!(matches!(late, Err(Unaccepted::Ended)), "it was sent before the goodbye");
    assert_eq!(take(&mut collector, &whole(1, 0..1, Health::Up), 3000), Ok(Some(Extent::Part)), "there is room");
    assert_eq!(collector.vantages().count(), 1);
}
