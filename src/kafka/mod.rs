//! Topics of Kafka: the only files that name its library. Records go in and come out as octets. Nothing here decides
//! anything.
//!
//! [`KafkaTopic`] is the connection to one topic. It is made when it is needed, and made anew after a failure. Every
//! call ends within its time-out: by itself the library tries for ever.

mod failure;
mod partitioner;
mod topic;

pub use failure::KafkaFailure;
pub use topic::{KafkaRecord, KafkaTopic, PartitionRange, ReadRecord};
