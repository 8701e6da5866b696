//! A topic of Kafka: each event is a record with one CloudEvent, in the structured mode of the Kafka protocol binding
//! for CloudEvents 1.0. Its key is the endpoint, so the events of one endpoint are in one partition, in their order.
//! The library has no idempotent producer: an event whose confirmation was lost is there twice, with the same `ce_id`.

use std::time::Duration;

use bytes::Bytes;

use crate::config::KafkaSinkSettings;
use crate::fleet::events::ONE;
use crate::kafka::{KafkaFailure, KafkaRecord, KafkaTopic};
use crate::sinks::{FailureKind, OutgoingEvent, SendFailure};

/// The connection to the topic of one sink.
pub struct KafkaSink {
    topic: KafkaTopic,
}

impl KafkaSink {
    /// Opens nothing yet.
    pub fn new(to: &KafkaSinkSettings, timeout: Duration) -> KafkaSink {
        KafkaSink { topic: KafkaTopic::new(to.cluster.clone(), to.topic.clone(), timeout) }
    }

    /// Sends one event, and waits until all replicas that are in sync have it. Ends within the time-out.
    pub async fn send(&self, event: &OutgoingEvent) -> Result<(), SendFailure> {
        let OutgoingEvent { id, subject, at_millis, body } = event;
        let record = KafkaRecord {
            key: Bytes::copy_from_slice(subject.as_bytes()),
            value: body.clone(),
            headers: vec![("content-type", ONE.to_owned()), ("ce_id", id.clone())],
            at_millis: *at_millis,
        };
        self.topic.store(record).await.map_err(|failure| {
            let (why, hint) = (failure.to_string(), failure.hint());
            match failure {
                KafkaFailure::Record(_) => SendFailure { kind: FailureKind::Refused, retry_after: None, why, hint },
                KafkaFailure::NoTopic
                | KafkaFailure::NoRight(_)
                | KafkaFailure::OutOfRange
                | KafkaFailure::ManyPartitions(_)
                | KafkaFailure::Away(_) => SendFailure::away(why, hint),
            }
        })
    }
}
