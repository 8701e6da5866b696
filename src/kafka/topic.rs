//! The connection to one topic.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use rskafka::BackoffConfig;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use tokio::sync::Mutex;

use crate::config::KafkaCluster;
use crate::discovery::http_client::client_config;
use crate::kafka::KafkaFailure;
use crate::kafka::failure::MAX_PARTITIONS;
use crate::kafka::partitioner::partition_of;

/// Longest reply of a broker in octets. A list of 10,000 topics has less than 2 MB; a read has [`MAX_READ`], or one
/// longer batch of records.
const MAX_REPLY: usize = 4 << 20;
/// No offset is so high: a partition with a million records a second has it after 30,000 years. What a broker says
/// beyond it is an error.
const MAX_OFFSET: i64 = 1 << 60;
/// Partitions that are looked at at the same time (judgment: one after the other takes too long where the brokers are
/// far away).
const LOOKED_AT_ONCE: usize = 8;
/// Most octets of records of one read (judgment: some thousand events).
const MAX_READ: i32 = 1 << 20;
/// How the library itself repeats a request, for example after a change of the leader. The caller repeats everything
/// else, so that it knows the reason soon.
const RETRIES: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(50),
    max_backoff: Duration::from_millis(200),
    base: 2.0,
    deadline: Some(Duration::from_millis(300)),
};

/// One topic.
pub struct KafkaTopic {
    cluster: KafkaCluster,
    topic: String,
    /// How long a call may take.
    timeout: Duration,
    /// `None` before the first call, and after a failure.
    connected: Mutex<Option<Arc<ConnectedTopic>>>,
}

struct ConnectedTopic {
    client: Client,
    /// The numbers of the partitions, in their order; one at least.
    partitions: Vec<i32>,
    /// Whether no call for the ranges has used `partitions` yet.
    is_new: AtomicBool,
    leaders: Mutex<BTreeMap<i32, Arc<PartitionClient>>>,
}

/// The connection that a call used.
type UsedConnection = OnceLock<Arc<ConnectedTopic>>;

/// A record as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaRecord {
    /// Records of one key are in one partition, in their order.
    pub key: Bytes,
    /// The content.
    pub value: Bytes,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// When it was, in Unix milliseconds.
    pub at_millis: u64,
}

/// A record as it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadRecord {
    /// Its place in the partition.
    pub offset: i64,
    /// Its time, in Unix seconds.
    pub stored_at: f64,
    /// The content.
    pub value: Bytes,
}

/// What a partition has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRange {
    /// Its number.
    pub partition: i32,
    /// The offset of its oldest record.
    pub first: i64,
    /// The offset of the next record that is written.
    pub end: i64,
}

impl KafkaTopic {
    /// Opens nothing yet. `timeout`: how long a call may take.
    pub fn new(cluster: KafkaCluster, topic: String, timeout: Duration) -> KafkaTopic {
        KafkaTopic { cluster, topic, timeout, connected: Mutex::default() }
    }

    /// Writes one record, and waits until all replicas that are in sync have it.
    pub async fn store(&self, record: KafkaRecord) -> Result<(), KafkaFailure> {
        let KafkaRecord { key, value, headers, at_millis } = record;
        let record = Record {
            key: Some(key.to_vec()),
            value: Some(value.to_vec()),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
            timestamp: DateTime::from_timestamp_millis(at_millis as i64).unwrap_or_default(),
        };
        let used = UsedConnection::new();
        let storing = async {
            let of = self.connected(&used).await?;
            let at = partition_of(&key, of.partitions.len());
            let leader = self.leader(of, of.partitions[at]).await?;
            leader.produce(vec![record], Compression::NoCompression).await?;
            Ok(())
        };
        self.end(&used, storing).await
    }

    /// The partitions that there are now, at most [`MAX_PARTITIONS`], in their order, with what they have. Each
    /// partition has the time-out of a call.
    pub async fn ranges(&self) -> Result<Vec<PartitionRange>, KafkaFailure> {
        let used = UsedConnection::new();
        let listing = async {
            let of = self.connected(&used).await?;
            let partitions = match of.is_new.swap(false, Relaxed) {
                true => of.partitions.clone(),
                false => self.partitions(&of.client).await?,
            };
            match partitions.len() > MAX_PARTITIONS {
                true => Err(KafkaFailure::ManyPartitions(partitions.len())),
                false => Ok(partitions),
            }
        };
        let partitions = self.end(&used, listing).await?;
        let looking = stream::iter(partitions).map(|partition| self.range(partition));
        looking.buffered(LOOKED_AT_ONCE).try_collect().await
    }

    /// What a partition has now.
    async fn range(&self, partition: i32) -> Result<PartitionRange, KafkaFailure> {
        let used = UsedConnection::new();
        let looking = async {
            let of = self.connected(&used).await?;
            let leader = self.leader(of, partition).await?;
            let first = leader.get_offset(OffsetAt::Earliest).await?;
            let end = leader.get_offset(OffsetAt::Latest).await?;
            Ok(PartitionRange { partition, first: usable(first)?, end: usable(end)? })
        };
        self.end(&used, looking).await
    }

    /// The records of a partition from this offset on, and the offset of the next record that will be written. If there
    /// are none, it waits for them, at most `wait`.
    pub async fn read(
        &self,
        partition: i32,
        from: i64,
        wait: Duration,
    ) -> Result<(Vec<ReadRecord>, i64), KafkaFailure> {
        let wait = i32::try_from(wait.min(self.timeout / 2).as_millis()).unwrap_or(0);
        let used = UsedConnection::new();
        let reading = async {
            let of = self.connected(&used).await?;
            let leader = self.leader(of, partition).await?;
            let (records, end) = leader.fetch_records(from, 1..MAX_READ, wait).await?;
            let read = records.into_iter().filter(|of| of.offset >= from).map(|of| {
                Ok(ReadRecord {
                    offset: usable(of.offset)?,
                    stored_at: of.record.timestamp.timestamp_millis() as f64 / 1000.0,
                    value: of.record.value.unwrap_or_default().into(),
                })
            });
            Ok((read.collect::<Result<_, KafkaFailure>>()?, usable(end)?))
        };
        self.end(&used, reading).await
    }

    /// Waits for a call, at most for the time-out. After a failure that another connection may not have, the connection
    /// that it used is closed: the next call makes another, which reads the files for TLS and asks for the brokers.
    async fn end<T>(
        &self,
        used: &UsedConnection,
        call: impl Future<Output = Result<T, KafkaFailure>>,
    ) -> Result<T, KafkaFailure> {
        // Numbers that make no sense may overflow inside the library, which is a panic in builds that check for it.
        let done = tokio::time::timeout(self.timeout, AssertUnwindSafe(call).catch_unwind()).await;
        let away = |why: &str| Err(KafkaFailure::Away(why.to_owned()));
        let done = match done {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => away("a reply of the brokers can't be read"),
            Err(_) => away("no reply from the brokers in time"),
        };
        let is_connection = match &done {
            Ok(_) | Err(KafkaFailure::Record(_) | KafkaFailure::OutOfRange | KafkaFailure::ManyPartitions(_)) => false,
            Err(KafkaFailure::Away(_) | KafkaFailure::NoTopic | KafkaFailure::NoRight(_)) => true,
        };
        if is_connection && let Some(used) = used.get() {
            let mut connected = self.connected.lock().await;
            // Another call may have made another connection meanwhile.
            if connected.as_ref().is_some_and(|of| Arc::ptr_eq(of, used)) {
                *connected = None;
            }
        }
        done
    }

    /// The connection, which is made if there is none.
    async fn connected<'a>(&self, used: &'a UsedConnection) -> Result<&'a ConnectedTopic, KafkaFailure> {
        let of = self.connect().await?;
        Ok(used.get_or_init(|| of))
    }

    async fn connect(&self) -> Result<Arc<ConnectedTopic>, KafkaFailure> {
        let mut connected = self.connected.lock().await;
        if let Some(of) = &*connected {
            return Ok(of.clone());
        }
        let mut builder = ClientBuilder::new(self.cluster.brokers.clone())
            .client_id("portolan")
            .max_message_size(MAX_REPLY)
            .backoff_config(RETRIES);
        if let Some(tls) = self.cluster.tls.clone() {
            // Files may be on a slow disk, and the store of the system has some hundred certificates.
            let config = tokio::task::spawn_blocking(move || client_config(&tls)).await;
            let config = config.map_err(|error| KafkaFailure::Away(error.to_string()))?;
            builder = builder.tls_config(config.map_err(KafkaFailure::Away)?);
        }
        let client = builder.build().await?;
        let partitions = self.partitions(&client).await?;
        let of =
            Arc::new(ConnectedTopic { client, partitions, is_new: AtomicBool::new(true), leaders: Mutex::default() });
        *connected = Some(of.clone());
        Ok(of)
    }

    /// The numbers of the partitions, in their order.
    async fn partitions(&self, client: &Client) -> Result<Vec<i32>, KafkaFailure> {
        let found = client.list_topics().await?.into_iter().find(|of| of.name == self.topic);
        let mut partitions: Vec<i32> = found.into_iter().flat_map(|of| of.partitions).collect();
        partitions.sort_unstable();
        match partitions.is_empty() {
            true => Err(KafkaFailure::NoTopic),
            false => Ok(partitions),
        }
    }

    /// The connection to the broker that leads a partition.
    async fn leader(&self, of: &ConnectedTopic, partition: i32) -> Result<Arc<PartitionClient>, KafkaFailure> {
        if let Some(leader) = of.leaders.lock().await.get(&partition) {
            return Ok(leader.clone());
        }
        // Those of other partitions are made at the same time.
        let made = of.client.partition_client(self.topic.clone(), partition, UnknownTopicHandling::Error).await?;
        Ok(of.leaders.lock().await.entry(partition).or_insert_with(|| Arc::new(made)).clone())
    }
}

/// An offset that a reader can go on with.
fn usable(offset: i64) -> Result<i64, KafkaFailure> {
    match (0..MAX_OFFSET).contains(&offset) {
        true => Ok(offset),
        false => Err(KafkaFailure::Away(format!("the brokers reply with the offset {offset}, which none can have"))),
    }
}
