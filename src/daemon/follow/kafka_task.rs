//! The task of one topic of Kafka that is followed: reads its partitions, has the overrides of their events made, and
//! stores the offsets after that.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{FollowStart, KafkaFollow};
use crate::daemon::follow::effects::FollowEffects;
use crate::daemon::follow::kafka_place::KafkaPlace;
use crate::kafka::{KafkaFailure, KafkaTopic, ReadRecord};

/// How long a call may take (judgment: brokers that work reply within a second, apart from [`WAIT`]).
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// How long a broker waits for a record before it replies that there is none (judgment: two requests a second for each
/// partition).
const WAIT: Duration = Duration::from_millis(500);
/// How often the task looks which partitions there are (judgment).
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// The time from a read that failed to the next one. Judgment: with the connection and the read after it, a standby has
/// what it missed within a second of the return of the brokers.
const RETRY_AFTER: Duration = Duration::from_millis(250);

type PartitionRead<'a> = Pin<Box<dyn Future<Output = (i32, Result<(Vec<ReadRecord>, i64), KafkaFailure>)> + Send + 'a>>;

/// Follows the topic until `stop`.
pub(super) async fn run(effects: FollowEffects, from: KafkaFollow, start: FollowStart, stop: CancellationToken) {
    let place = KafkaPlace::after(effects.saved(), &from.topic);
    let topic = KafkaTopic::new(from.cluster, from.topic, CALL_WITHIN);
    let mut reader = TopicReader { effects, start, place };
    tokio::select! {
        () = reader.follow(&topic) => {}
        () = stop.cancelled() => {}
    }
}

struct TopicReader {
    effects: FollowEffects,
    start: FollowStart,
    place: KafkaPlace,
}

/// Why reading ended.
enum ReadEnd {
    /// The brokers: what is wrong, and what to do.
    Brokers(String),
    /// The server stops.
    Stopping,
}

impl From<KafkaFailure> for ReadEnd {
    fn from(failure: KafkaFailure) -> ReadEnd {
        ReadEnd::Brokers(format!("{failure}: {}", failure.hint()))
    }
}

impl TopicReader {
    async fn follow(&mut self, topic: &KafkaTopic) {
        loop {
            match self.read(topic).await {
                Ok(()) => {}
                Err(ReadEnd::Stopping) => return,
                Err(ReadEnd::Brokers(why)) => {
                    self.effects.note_read(self.place.progress(), Some(why));
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// Reads all partitions until it is time to look which ones there are.
    async fn read(&mut self, topic: &KafkaTopic) -> Result<(), ReadEnd> {
        let ranges = topic.ranges().await?;
        if self.place.adopt(&ranges, self.start) {
            self.effects.note_gap(self.place.gap());
        }
        self.effects.note_read(self.place.progress(), None);
        let until = clock::now() + LOOK_EVERY;
        let one = |partition: i32, from: i64| -> PartitionRead<'_> {
            Box::pin(async move { (partition, topic.read(partition, from, WAIT).await) })
        };
        let is_there = |partition: &i32| ranges.iter().any(|range| range.partition == *partition);
        let next = self.place.next().iter().filter(|(partition, _)| is_there(partition));
        let mut reads: FuturesUnordered<PartitionRead<'_>> =
            next.map(|(partition, next)| one(*partition, *next)).collect();
        while let Some((partition, read)) = reads.next().await {
            match read {
                Ok((records, end)) => self.take(partition, records, end).await?,
                Err(KafkaFailure::OutOfRange) => {
                    let ranges = topic.ranges().await?;
                    let is_anew =
                        ranges.into_iter().any(|of| of.partition == partition && self.place.note_out_of_range(of));
                    if !is_anew {
                        // What begins later than the next record is found at the next look.
                        return Err(KafkaFailure::OutOfRange.into());
                    }
                    self.effects.note_gap(self.place.gap());
                    return Ok(());
                }
                Err(failure) => return Err(failure.into()),
            }
            self.effects.note_read(self.place.progress(), None);
            if clock::now() >= until {
                return Ok(());
            }
            if let Some(next) = self.place.next().get(&partition) {
                reads.push(one(partition, *next));
            }
        }
        Ok(())
    }

    /// Makes the overrides of these records, and stores the position.
    async fn take(&mut self, partition: i32, records: Vec<ReadRecord>, end: i64) -> Result<(), ReadEnd> {
        self.place.note_end(partition, end);
        let Some(last) = records.last().map(|record| record.offset) else { return Ok(()) };
        let texts = records.iter().map(|record| (record.stored_at, &*record.value));
        let made = self.effects.make_all(&mut self.place.saved.ledger, texts).await;
        made.map_err(|_| ReadEnd::Stopping)?;
        self.place.saved.offsets.insert(partition, last.saturating_add(1));
        // After the effect: what a crash repeats changes nothing.
        self.effects.save(self.place.saved.clone());
        Ok(())
    }
}
