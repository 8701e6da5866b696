//! Frame Streams, the framing of dnstap (the fstrm library's description of its protocol). A data frame is its length
//! and its octets. A control frame is four zero octets, its length, its type and fields. All numbers are 32 bits, big
//! endian. Pure.

/// The content type of dnstap.
pub(super) const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";

/// Longest control frame that the protocol allows, without its first eight octets.
pub(super) const MAX_CONTROL: usize = 512;

/// A field with a content type.
const FIELD_CONTENT_TYPE: u32 = 1;

/// The types of control frames. A writer sends READY, gets ACCEPT, sends START, data, STOP, and gets FINISH. In a file
/// there are only START, data and STOP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlFrame {
    Accept = 1,
    Start = 2,
    Stop = 3,
    Ready = 4,
    Finish = 5,
}

/// A control frame to send. READY and START have the content type.
pub(super) fn control(kind: ControlFrame) -> Vec<u8> {
    let content: &[u8] = match kind {
        ControlFrame::Ready | ControlFrame::Start => CONTENT_TYPE,
        ControlFrame::Accept | ControlFrame::Stop | ControlFrame::Finish => &[],
    };
    let mut body = (kind as u32).to_be_bytes().to_vec();
    if !content.is_empty() {
        body.extend_from_slice(&FIELD_CONTENT_TYPE.to_be_bytes());
        body.extend_from_slice(&(content.len() as u32).to_be_bytes());
        body.extend_from_slice(content);
    }
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    frame
}

/// The type of a control frame that was received, without its first eight octets; `None` if it is not one that a reader
/// sends, or if it accepts only other content than ours.
pub(super) fn received(body: &[u8]) -> Option<ControlFrame> {
    let (kind, mut fields) = body.split_first_chunk::<4>()?;
    let kind =
        [ControlFrame::Accept, ControlFrame::Finish].into_iter().find(|of| *of as u32 == u32::from_be_bytes(*kind))?;
    let (mut types, mut has_ours) = (0, false);
    while !fields.is_empty() {
        let (field, rest) = fields.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (content, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        if u32::from_be_bytes(*field) == FIELD_CONTENT_TYPE {
            types += 1;
            has_ours |= content == CONTENT_TYPE;
        }
        fields = rest;
    }
    (types == 0 || has_ours).then_some(kind)
}

/// Appends a data frame whose octets `write` appends. An empty one is left out: its length would begin a control frame.
pub(super) fn append(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    match out.len() - start - 4 {
        0 => out.truncate(start),
        len => out[start..start + 4].copy_from_slice(&(len as u32).to_be_bytes()),
    }
}

/// How many data frames of `octets` end behind the first `written` octets, and how long the whole ones before are.
pub(super) fn unfinished(octets: &[u8], written: usize) -> (u64, usize) {
    let (mut at, mut count, mut whole) = (0, 0, 0);
    while let Some(len) = octets.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        at += 4 + u32::from_be_bytes(*len) as usize;
        if at > written {
            count += 1;
        } else {
            whole = at;
        }
    }
    (count, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_have_the_octets_of_the_protocol() {
        assert_eq!(control(ControlFrame::Stop), [0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 3]);
        let start = control(ControlFrame::Start);
        assert_eq!(start[..20], [0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 22]);
        assert_eq!(&start[20..], CONTENT_TYPE);
    }

    #[test]
    fn what_a_reader_sends_is_recognized_and_anything_else_is_not() {
        let ready = control(ControlFrame::Ready);
        let accept = |types: &[&[u8]]| {
            let mut body = 1_u32.to_be_bytes().to_vec();
            for of in types {
                body.extend_from_slice(&1_u32.to_be_bytes());
                body.extend_from_slice(&(of.len() as u32).to_be_bytes());
                body.extend_from_slice(of);
            }
            body
        };
        assert_eq!(received(&accept(&[])), Some(ControlFrame::Accept));
        assert_eq!(received(&accept(&[b"other", CONTENT_TYPE])), Some(ControlFrame::Accept));
        assert_eq!(received(&accept(&[b"other"])), None);
        assert_eq!(received(&5_u32.to_be_bytes()), Some(ControlFrame::Finish));
        assert_eq!(received(&ready[8..]), None, "a reader does not send READY");
        for cut in [1, 5, 9, 15] {
            assert_eq!(received(&accept(&[CONTENT_TYPE])[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn frames_that_were_not_written_whole_are_counted() {
        let mut out = Vec::new();
        append(&mut out, |out| out.extend_from_slice(b"one"));
        append(&mut out, |_| {});
        append(&mut out, |out| out.extend_from_slice(b"three"));
        assert_eq!(out, b"\0\0\0\x03one\0\0\0\x05three");
        let all = [(0, (2, 0)), (6, (2, 0)), (7, (1, 7)), (15, (1, 7)), (16, (0, 16))];
        for (written, expected) in all {
            assert_eq!(unfinished(&out, written), expected, "{written}");
        }
    }
}
