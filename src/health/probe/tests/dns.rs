//! dns: which responses are a success, and which packets are ignored.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::UdpSocket;

use super::*;
use crate::model::{DnsRdata, DnsSpec};
use crate::wire::Name;
use crate::wire::code::{rcode, rtype};

fn asking(qtype: u16, rdata: Option<DnsRdata>) -> ProbeKind {
    let name = Name::parse("www.svc.example.").expect("a name");
    ProbeKind::Dns(DnsSpec { name, qtype, rcode: rcode::NOERROR, rdata })
}

fn address(text: &str) -> Option<DnsRdata> {
    Some(DnsRdata::Address(text.parse().expect("an address")))
}

/// A server over UDP and TCP. For each query `make` returns the packets to send; over TCP only the first is sent.
async fn server(make: impl Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync + 'static) -> SocketAddr {
    let make = Arc::new(make);
    let over_tcp = Arc::clone(&make);
    let to = serve(move |_, mut stream| {
        let make = Arc::clone(&over_tcp);
        async move {
            let Ok(len) = stream.read_u16().await else { return };
            let mut question = vec![0; usize::from(len)];
            if stream.read_exact(&mut question).await.is_err() {
                return;
            }
            let reply = make(&question, true).swap_remove(0);
            let _ = stream.write_all(&[&(reply.len() as u16).to_be_bytes()[..], &reply].concat()).await;
            let _ = stream.read_u8().await;
        }
    })
    .await;
    let socket = UdpSocket::bind(to).await.expect("the same port over UDP");
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            for packet in make(&buffer[..len], false) {
                let _ = socket.send_to(&packet, from).await;
            }
        }
    });
    to
}

/// The response to `question` with these flags, and a record for each RDATA with a pointer to the name.
fn reply(question: &[u8], flags: u16, answers: &[(u16, &[u8])]) -> Vec<u8> {
    let mut packet = question.to_vec();
    packet[2..4].copy_from_slice(&flags.to_be_bytes());
    packet[6..8].copy_from_slice(&(answers.len() as u16).to_be_bytes());
    for (rtype, rdata) in answers {
        packet.extend([0xC0, 0x0C]);
        packet.extend(rtype.to_be_bytes());
        packet.extend([0, 1, 0, 0, 0, 60]);
        packet.extend((rdata.len() as u16).to_be_bytes());
        packet.extend(*rdata);
    }
    packet
}

const OK: u16 = 0x8400;
const TRUNCATED: u16 = 0x8600;

#[tokio::test]
async fn the_code_and_the_record_decide() {
    let to =
        server(|question, _| vec![reply(question, OK, &[(rtype::A, &[192, 0, 2, 1]), (rtype::A, &[192, 0, 2, 2])])])
            .await;
    assert!(measure(asking(rtype::A, None), to, AMPLE).await.result.is_ok());
    assert!(measure(asking(rtype::A, address("192.0.2.2")), to, AMPLE).await.result.is_ok());
    let text = failure(asking(rtype::A, address("192.0.2.3")), to, AMPLE).await.to_string();
    assert_eq!(text, "no record of the answer is 192.0.2.3");
    let txt = server(|question, _| vec![reply(question, OK, &[(rtype::TXT, b"\x02ro\x02le")])]).await;
    assert!(measure(asking(rtype::TXT, Some(DnsRdata::Text("role".into()))), txt, AMPLE).await.result.is_ok());
    let empty = server(|question, _| vec![reply(question, OK, &[])]).await;
    let text = failure(asking(rtype::AAAA, address("2001:db8::1")), empty, AMPLE).await.to_string();
    assert_eq!(text, "no answer, expected 2001:db8::1");
    let failing = server(|question, _| vec![reply(question, OK | 2, &[])]).await;
    assert_eq!(failure(asking(rtype::A, None), failing, AMPLE).await.to_string(), "SERVFAIL, expected NOERROR");
    let bare = server(|question, _| vec![vec![question[0], question[1], 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]]).await;
    assert_eq!(failure(asking(rtype::A, None), bare, AMPLE).await.to_string(), "FORMERR, expected NOERROR");
}

#[tokio::test]
async fn a_packet_that_is_not_the_response_is_ignored() {
    let to = server(|question, _| {
        let right = reply(question, OK, &[]);
        let (mut number, mut name, mut query) = (right.clone(), right.clone(), right.clone());
        number[0] ^= 1;
        name[13] ^= 1;
        query[2] = 0;
        for other in [&mut number, &mut name, &mut query] {
            other[3] |= 2;
        }
        vec![number, name, query, b"x".to_vec(), right]
    })
    .await;
    assert!(measure(asking(rtype::A, None), to, AMPLE).await.result.is_ok());
    let silent = server(|_, _| Vec::new()).await;
    assert_eq!(failure(asking(rtype::A, None), silent, BRIEF).await, Failure::TimedOut { after: BRIEF });
    let garbage = server(|question, _| vec![[&question[..2], &[0xFF; 40]].concat()]).await;
    assert_eq!(failure(asking(rtype::A, None), garbage, AMPLE).await.to_string(), "the reply is not a DNS message");
    // It has an answer less than it says.
    let broken = server(|question, _| vec![[&reply(question, OK, &[])[..7], &[9], &question[8..]].concat()]).await;
    assert_eq!(failure(asking(rtype::A, None), broken, AMPLE).await.to_string(), "the reply is not a DNS message");
}

/// The letters of the name in a question.
fn letters(question: &[u8]) -> Vec<u8> {
    question[12..question.len() - 4].iter().copied().filter(u8::is_ascii_alphabetic).collect()
}

#[tokio::test]
async fn what_does_not_repeat_the_case_is_no_response_whatever_it_says() {
    // A forger knows the name, and has guessed ID and port.
    let to = server(|question, _| {
        let forged = |change: fn(&u8) -> u8| {
            let mut packet = reply(question, OK | 2, &[]);
            packet[12..question.len() - 4].iter_mut().for_each(|octet| *octet = change(octet));
            packet
        };
        let is_mixed = letters(question).iter().any(u8::is_ascii_uppercase);
        let bare = vec![question[0], question[1], 0x80, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        match is_mixed {
            true => vec![
                forged(u8::to_ascii_lowercase),
                forged(|octet| if octet.is_ascii_alphabetic() { octet ^ 0x20 } else { *octet }),
                bare,
                [&question[..2], &[0xFF; 40]].concat(),
                reply(question, OK, &[]),
            ],
            // The second question, which such packets cause, or one chance in 2,048.
            false => vec![reply(question, OK, &[])],
        }
    })
    .await;
    for _ in 0..20 {
        let measured = measure(asking(rtype::A, None), to, AMPLE).await;
        assert!(measured.result.is_ok(), "{:?}", measured.result);
    }
}

#[tokio::test]
async fn a_server_that_lowers_the_case_is_up() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let to = server(move |question, over_tcp| {
        log.lock().unwrap().push(question.to_vec());
        let mut packet = reply(question, if over_tcp { OK } else { TRUNCATED }, &[(rtype::A, &[192, 0, 2, 1])]);
        let end = question.len() - 4;
        packet[12..end].make_ascii_lowercase();
        vec![packet]
    })
    .await;
    for _ in 0..8 {
        assert!(measure(asking(rtype::A, address("192.0.2.1")), to, AMPLE).await.result.is_ok());
    }
    let seen = seen.lock().unwrap();
    let cases: std::collections::BTreeSet<_> = seen.iter().map(|question| letters(question)).collect();
    assert!(cases.len() > 4, "each question has a case of its own: {cases:?}");
    let ids: std::collections::BTreeSet<_> = seen.iter().map(|question| [question[0], question[1]]).collect();
    assert!(ids.len() > seen.len() / 2, "each question has an ID of its own: {ids:?}");
}

#[tokio::test]
async fn each_question_comes_from_a_port_of_its_own() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let to = socket.local_addr().expect("an address");
    let ports = tokio::spawn(async move {
        let (mut ports, mut buffer) = (std::collections::BTreeSet::new(), [0; 512]);
        for _ in 0..8 {
            let (len, from) = socket.recv_from(&mut buffer).await.expect("a question");
            ports.insert(from.port());
            let _ = socket.send_to(&reply(&buffer[..len], OK, &[]), from).await;
        }
        ports
    });
    for _ in 0..8 {
        // A lost packet is asked for again, which only makes another port.
        assert!(measure(asking(rtype::A, None), to, AMPLE).await.result.is_ok());
    }
    assert!(ports.await.expect("it ends").len() > 4, "the kernel may choose one twice");
}

#[tokio::test]
async fn a_truncated_response_is_enough_unless_a_record_is_expected() {
    let to = server(|question, over_tcp| match over_tcp {
        true => vec![reply(question, OK, &[(rtype::A, &[192, 0, 2, 1])])],
        false => vec![reply(question, TRUNCATED, &[])],
    })
    .await;
    assert!(measure(asking(rtype::A, None), to, AMPLE).await.result.is_ok());
    assert!(measure(asking(rtype::A, address("192.0.2.1")), to, AMPLE).await.result.is_ok());
    let text = failure(asking(rtype::A, address("192.0.2.9")), to, AMPLE).await.to_string();
    assert_eq!(text, "no record of the answer is 192.0.2.9");
}

#[tokio::test]
async fn a_port_without_a_server_refuses() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let to = taken.local_addr().expect("an address");
    drop(taken);
    assert_eq!(failure(asking(rtype::A, None), to, AMPLE).await, Failure::Refused);
}
