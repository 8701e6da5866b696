//! Odd responses: what curl accepts, a probe accepts. The table has the results of curl 7.88. `PORTOLAN_CURL=1`
//! compares it with the installed curl (see `the_table_is_what_curl_does`).

use tokio::io::AsyncWriteExt;

use super::*;

/// A response, the result of curl (the status, or `-`), and the result of a probe without an expected text, if that
/// differs on purpose.
struct Odd {
    what: &'static str,
    octets: &'static [u8],
    curl: &'static str,
    differs: Option<&'static str>,
}

const fn odd(what: &'static str, octets: &'static [u8], curl: &'static str) -> Odd {
    Odd { what, octets, curl, differs: None }
}

/// Curl fails, but a probe accepts the status, because the head decides or because the fault is harmless.
const fn accepted(what: &'static str, octets: &'static [u8], status: &'static str) -> Odd {
    Odd { what, octets, curl: "-", differs: Some(status) }
}

const TABLE: &[Odd] = &[
    odd("regular", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200"),
    // Lines.
    odd("a folded header, space", b"HTTP/1.1 200 OK\r\nX-A: one\r\n two\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a folded header, tab", b"HTTP/1.1 200 OK\r\nX-A: one\r\n\ttwo\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a folded line of nothing", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n \r\n\r\nok", "200"),
    accepted("a folded line before any header", b"HTTP/1.1 200 OK\r\n folded: x\r\nContent-Length: 2\r\n\r\nok", "200"),
    accepted("a folded length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nok", "200"),
    odd("bare line feeds", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "200"),
    odd("some of them", b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok", "200"),
    odd("others", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\nok", "200"),
    odd("a carriage return too many", b"HTTP/1.1 200 OK\r\r\nContent-Length: 2\r\r\n\r\r\nok", "200"),
    odd("carriage returns alone", b"HTTP/1.1 200 OK\rContent-Length: 2\r\rok", "-"),
    accepted("an empty line before", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200"),
    accepted("a bare line feed before", b"\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200"),
    // Names and values.
    odd("a space before the colon", b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", "200"),
    odd("a tab before the colon", b"HTTP/1.1 200 OK\r\nContent-Length\t: 2\r\n\r\nok", "200"),
    odd("a space within a name", b"HTTP/1.1 200 OK\r\nX A: 2\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("no name", b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a colon alone", b"HTTP/1.1 200 OK\r\n:\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a name of odd characters", b"HTTP/1.1 200 OK\r\nX(A)@: x\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a name that is not ASCII", b"HTTP/1.1 200 OK\r\nX-\xe9: x\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a value that is not ASCII", b"HTTP/1.1 200 OK\r\nX-A: \xe9\xff\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("control octets in a value", b"HTTP/1.1 200 OK\r\nX-A: a\x01\x7fb\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a carriage return in a value", b"HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("no value", b"HTTP/1.1 200 OK\r\nX-A:\r\nContent-Length:2\r\n\r\nok", "200"),
    odd("a NUL in a value", b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("a NUL in a name", b"HTTP/1.1 200 OK\r\nX-\x00A: b\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("no colon", b"HTTP/1.1 200 OK\r\nBroken header\r\nContent-Length: 2\r\n\r\nok", "-"),
    // Status lines.
    odd("no reason", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("an empty reason", b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a reason in UTF-8", b"HTTP/1.1 200 \xc3\x89t\xc3\xa9\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a reason in Latin-1", b"HTTP/1.1 200 \xc9t\xe9\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a control octet in the reason", b"HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a NUL in the reason", b"HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nok", "200"),
    odd("HTTP/1.0 without a reason", b"HTTP/1.0 200\r\n\r\nok", "200"),
    odd("HTTP/2", b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("HTTP/1.2", b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("HTTP/3", b"HTTP/3 200 OK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("HTTP/0.9", b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("HTTP/01.1", b"HTTP/01.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("small letters", b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("ICY", b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("RTSP", b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("two spaces", b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a tab", b"HTTP/1.1\t200\tOK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("a space before", b" HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("the reason glued to the status", b"HTTP/1.1 200OK\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("a status below 100", b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("no status", b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok", "-"),
    odd("a status above 599", b"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok", "999"),
    // Lengths.
    odd("the same length twice", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("a list of lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "200"),
    odd("a length with a sign", b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "200"),
    odd("a length with more after it", b"HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok", "200"),
    odd("spaces around the length", b"HTTP/1.1 200 OK\r\nContent-Length:    2   \r\n\r\nok", "200"),
    odd("a length beyond all numbers", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nok", "200"),
    odd("less than nothing", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok", "-"),
    odd("a length in words", b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nok", "-"),
    odd("an empty length", b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok", "-"),
    odd("more than the length", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", "200"),
    accepted("less than the length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "200"),
    // Chunks.
    odd("chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200"),
    odd(
        "chunks and a length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "200",
    ),
    odd("chunks with bare line feeds", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n", "200"),
    odd("chunks in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200"),
    odd("identity", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", "200"),
    accepted("an unknown coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\nContent-Length: 2\r\n\r\nok", "200"),
    accepted("chunks that break off", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "200"),
    accepted("a chunk of no size", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n", "200"),
    // Interim responses, and incomplete ones.
    odd("go on", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200"),
    odd("early hints, with bare line feeds", b"HTTP/1.1 103\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok", "200"),
    odd("no headers", b"HTTP/1.1 200 OK\r\n\r\nok", "200"),
    odd("an end before the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "200"),
    odd("an end after the status line", b"HTTP/1.1 200 OK\r\n", "200"),
    odd("an end within the status line", b"HTTP/1.1 200 OK", "-"),
    odd("nothing", b"", "-"),
    odd("mail", b"220 mail ESMTP\r\n", "-"),
    odd("a page without a head", b"<html>ok</html>", "-"),
];

/// A server that sends this and closes its side of the connection.
async fn sending(octets: &'static [u8]) -> SocketAddr {
    serve(move |_, mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(octets).await;
        let _ = stream.shutdown().await;
        // The probe closes the connection.
        let mut rest = [0; 16];
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    })
    .await
}

/// The status that a probe reads, or `-`.
async fn status_of(to: SocketAddr) -> String {
    // No server sends the expected status, so the failure names the one that was sent.
    let unmet = HttpSpec { statuses: vec![777], ..spec() };
    let failure = failure(ProbeKind::Http(unmet), to, AMPLE).await;
    assert!(failure.is_evidence(), "{failure}");
    match failure {
        Failure::Status { got, .. } => got.to_string(),
        _ => "-".to_owned(),
    }
}

#[tokio::test]
async fn what_curl_accepts_is_accepted() {
    for Odd { what, octets, curl, differs } in TABLE {
        let expected = differs.unwrap_or(curl);
        assert_eq!(status_of(sending(octets).await).await, *expected, "{what}: {:?}", String::from_utf8_lossy(octets));
    }
}

#[tokio::test]
async fn the_text_is_found_in_a_body_with_an_odd_head_or_odd_chunks() {
    let expecting = || ProbeKind::Http(HttpSpec { body: Some("ok".to_owned()), ..spec() });
    for Odd { what, octets, curl, .. } in TABLE.iter().filter(|odd| odd.octets.windows(2).any(|two| two == b"ok")) {
        let is_ok = measure(expecting(), sending(octets).await, AMPLE).await.result.is_ok();
        assert!(is_ok || *curl != "200", "{what}");
    }
}

#[tokio::test]
async fn octet_by_octet_the_results_are_the_same() {
    for Odd { what, octets, curl, differs } in TABLE {
        let to = serve(move |_, mut stream| async move {
            read_request(&mut stream).await;
            let _ = stream.set_nodelay(true);
            for octet in *octets {
                if stream.write_all(&[*octet]).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            let _ = stream.shutdown().await;
            let _ = stream.read_u8().await;
        })
        .await;
        let expected = differs.unwrap_or(curl);
        assert_eq!(status_of(to).await, *expected, "{what}");
    }
}

/// Run it with `PORTOLAN_CURL=1` where curl is installed. Other versions may differ.
#[tokio::test]
async fn the_table_is_what_curl_does() {
    if std::env::var_os("PORTOLAN_CURL").is_none() {
        return;
    }
    for Odd { what, octets, curl, .. } in TABLE {
        let to = sending(octets).await;
        let url = format!("http://{to}/");
        let args = ["-s", "-o", "/dev/null", "--max-time", "5", "-w", "%{http_code}", "-H", "Connection: close", &url];
        let output = tokio::process::Command::new("curl").args(args).output().await.expect("curl is there");
        let found =
            if output.status.success() { String::from_utf8_lossy(&output.stdout).into_owned() } else { "-".to_owned() };
        assert_eq!(found, *curl, "{what}");
    }
}
