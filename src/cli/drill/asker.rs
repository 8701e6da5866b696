//! Repeats the questions of a drill at one server over UDP, and passes the answers to the measurement.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;

use crate::cli::Failure;
use crate::clock;
use crate::drill::{Answer, DrillQuestion, Watch};
use crate::model::Moment;
use crate::source::reason;
use crate::wire::Name;
use crate::wire::code::{flag, rtype};
use crate::wire::edns::option as edns_option;

/// From one round of questions to the next: twenty a second.
const EVERY: Duration = Duration::from_millis(50);
/// A question without an answer for so long is lost. Judgment: a resolver waits about as long.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Most octets of an answer.
const MAX_ANSWER: usize = 4096;
/// The size of UDP answers that is accepted (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

/// What is measured at one server or resolver.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) to: SocketAddr,
    pub(super) is_resolver: bool,
    watch: Arc<Mutex<Watch>>,
}

/// A question that waits for its answer.
struct Waiting {
    question: usize,
    sent: Moment,
}

impl Asker {
    pub(super) fn new(to: SocketAddr, is_resolver: bool, questions: &[DrillQuestion]) -> Asker {
        Asker { to, is_resolver, watch: Arc::new(Mutex::new(Watch::new(questions))) }
    }

    pub(super) fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket to ask from. An error is that of the system: no answer could ever be measured.
    pub(super) async fn connected(&self) -> Result<UdpSocket, Failure> {
        let any = if self.to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let opened = async {
            let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
            // A connected socket receives only from this server.
            socket.connect(self.to).await?;
            Ok(socket)
        };
        opened.await.map_err(|error: std::io::Error| Failure(format!("can't ask {}: {}", self.to, reason(&error))))
    }

    /// Asks until this is dropped. An error is the system's.
    pub(super) async fn run(self, socket: UdpSocket, questions: Vec<DrillQuestion>) -> std::io::Result<()> {
        let mut cookie: Vec<u8> = clock::secret::<8>()?.to_vec();
        let mut waiting: HashMap<u16, Waiting> = HashMap::new();
        let mut next_id = u16::from_ne_bytes(clock::secret()?);
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = vec![0; MAX_ANSWER];
        loop {
            tokio::select! {
                biased;
                received = socket.recv(&mut buffer) => {
                    // An error is that of an earlier question, which counts as lost when its time is over.
                    if let Ok(length) = received {
                        self.take(&buffer[..length], &mut waiting, &mut cookie);
                    }
                }
                _ = ticks.tick() => {
                    let now = clock::now();
                    let lost = waiting.extract_if(|_, of| now.since(of.sent) > TIMEOUT);
                    let lost: Vec<usize> = lost.map(|(_, of)| of.question).collect();
                    lost.into_iter().for_each(|question| self.watch().timed_out(question));
                    for (at, question) in questions.iter().enumerate() {
                        next_id = next_id.wrapping_add(1);
                        let Some(octets) = query(next_id, question, self.is_resolver, &cookie) else { continue };
                        let sent = clock::now();
                        self.watch().sent(at);
                        waiting.insert(next_id, Waiting { question: at, sent });
                        // A question that can't be sent counts as lost when its time is over.
                        let _ = socket.send(&octets).await;
                    }
                }
            }
        }
    }

    /// Takes in a packet.
    fn take(&self, packet: &[u8], waiting: &mut HashMap<u16, Waiting>, cookie: &mut Vec<u8>) {
        let received = clock::now();
        let Ok(message) = Message::from_vec(packet) else { return };
        if let Some(of_server) = server_cookie(&message, &cookie[..8]) {
            *cookie = of_server;
        }
        // A truncated answer says nothing; the question counts as lost.
        if message.metadata.truncation {
            return;
        }
        let Some(Waiting { question, sent }) = waiting.remove(&message.metadata.id) else { return };
        self.watch().received(question, &Answer { sent, received, records: records(&message) });
    }
}

/// The addresses and aliases of the name in the question; those of an alias's target are the answer for another name.
fn records(message: &Message) -> Vec<String> {
    let text = |data: &RData| match data {
        RData::A(address) => Some(address.0.to_string()),
        RData::AAAA(address) => Some(address.0.to_string()),
        RData::CNAME(name) => Some(name.0.to_ascii().to_lowercase()),
        _ => None,
    };
    let question = message.queries.first().map(|query| query.name());
    let own = message.answers.iter().filter(|record| Some(&record.name) == question);
    own.filter_map(|record| text(&record.data)).collect()
}

/// The whole cookie of a reply, if it has our part.
fn server_cookie(message: &Message, own: &[u8]) -> Option<Vec<u8>> {
    use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
    match message.edns.as_ref()?.option(EdnsCode::Cookie)? {
        EdnsOption::Unknown(_, octets) => (octets.starts_with(own) && octets.len() <= 40).then(|| octets.clone()),
        _ => None,
    }
}

/// The octets of a query with EDNS, a cookie, and the client's address if the question has one. A resolver is asked for
/// recursion, and without a client: it answers for its own.
fn query(id: u16, question: &DrillQuestion, is_resolver: bool, cookie: &[u8]) -> Option<Vec<u8>> {
    let name = Name::parse(&question.name).ok()?;
    // Clients ask for addresses; an alias is in the answer.
    let qtype = if question.rtype == "AAAA" { rtype::AAAA } else { rtype::A };
    let mut octets = Vec::with_capacity(128);
    octets.extend(id.to_be_bytes());
    octets.extend(if is_resolver { flag::RD } else { 0 }.to_be_bytes());
    octets.extend([0, 1, 0, 0, 0, 0, 0, 1]);
    octets.extend(name.as_wire());
    octets.extend(qtype.to_be_bytes());
    octets.extend([0, 1]);
    let mut options: Vec<u8> = Vec::new();
    let mut option = |code: u16, data: &[u8]| {
        options.extend(code.to_be_bytes());
        options.extend((data.len() as u16).to_be_bytes());
        options.extend(data);
    };
    option(edns_option::COOKIE, cookie);
    match question.client.filter(|_| !is_resolver) {
        Some(IpAddr::V4(ip)) => option(edns_option::CLIENT_SUBNET, &[&[0, 1, 32, 0][..], &ip.octets()].concat()),
        Some(IpAddr::V6(ip)) => option(edns_option::CLIENT_SUBNET, &[&[0, 2, 128, 0][..], &ip.octets()].concat()),
        None => {}
    }
    octets.push(0);
    octets.extend(rtype::OPT.to_be_bytes());
    octets.extend(PAYLOAD.to_be_bytes());
    octets.extend([0; 4]);
    octets.extend((options.len() as u16).to_be_bytes());
    octets.extend(options);
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::DrillQuestion;

    #[test]
    fn a_query_is_read_by_another_library() {
        let mut question = DrillQuestion {
            name: "www.svc.example.".to_owned(),
            rtype: "AAAA".to_owned(),
            client: Some("192.0.2.7".parse().unwrap()),
            class: String::new(),
            probability: 1.0,
            rto_ms: None,
            lost: Vec::new(),
            allowed: None,
        };
        let message = Message::from_vec(&query(7, &question, false, &[9; 8]).unwrap()).unwrap();
        assert_eq!((message.metadata.id, message.metadata.recursion_desired), (7, false));
        assert_eq!(message.queries[0].to_string(), "www.svc.example. IN AAAA");
        assert_eq!(message.edns.as_ref().map(|edns| edns.max_payload()), Some(PAYLOAD));
        assert_eq!(server_cookie(&message, &[9; 8]), Some(vec![9; 8]));
        let subnet = |message: &Message| {
            let edns = message.edns.as_ref().unwrap();
            edns.option(hickory_proto::rr::rdata::opt::EdnsCode::Subnet).is_some()
        };
        assert!(subnet(&message));
        question.rtype = "CNAME".to_owned();
        let message = Message::from_vec(&query(8, &question, true, &[9; 8]).unwrap()).unwrap();
        assert!(message.metadata.recursion_desired && !subnet(&message), "a resolver has its own clients");
        assert_eq!(message.queries[0].to_string(), "www.svc.example. IN A");
    }
}
