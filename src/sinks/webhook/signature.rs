//! The headers that identify and sign an event (Standard Webhooks 1.0.0): `webhook-id`, `webhook-timestamp`, and
//! `webhook-signature` with `v1,BASE64` for each secret, the HMAC-SHA256 of `ID.TIMESTAMP.BODY`. Pure.

use data_encoding::BASE64;
use ring::hmac;

use crate::config::SigningSecrets;
use crate::sinks::OutgoingEvent;

/// The names of the headers.
pub(super) const ID: &str = "webhook-id";
pub(super) const TIMESTAMP: &str = "webhook-timestamp";
pub(super) const SIGNATURE: &str = "webhook-signature";

/// The headers of an event that is sent at `timestamp`, in Unix seconds.
pub(super) fn headers(event: &OutgoingEvent, timestamp: u64, secrets: &SigningSecrets) -> [(&'static str, String); 3] {
    let OutgoingEvent { id, body, subject: _, at_millis: _ } = event;
    let signed = |key: &hmac::Key| {
        let mut context = hmac::Context::with_key(key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign().as_ref()))
    };
    let signatures: Vec<String> = secrets.keys().iter().map(signed).collect();
    [(ID, id.clone()), (TIMESTAMP, timestamp.to_string()), (SIGNATURE, signatures.join(" "))]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An example with a known result, of the documentation of Svix, whose scheme the specification is.
    #[test]
    fn the_signature_is_that_of_the_reference() {
        let secret = BASE64.decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let event = OutgoingEvent {
            subject: String::new(),
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(),
            at_millis: 0,
            body: "{\"test\": 2432232314}".into(),
        };
        let headers = headers(&event, 1_614_265_330, &SigningSecrets::of_octets(&[&secret, &secret]));
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let expected = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned()),
            ("webhook-timestamp", "1614265330".to_owned()),
            ("webhook-signature", format!("{one} {one}")),
        ];
        assert_eq!(headers, expected);
    }
}
