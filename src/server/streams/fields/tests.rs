//! Header fields as they arrive, octet by octet.

use proptest::prelude::*;

use super::*;

const CLIENT_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    [&length.to_be_bytes()[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// A literal with a name and a value as texts: 0x40 for the table, 0x00 or 0x10 without it.
fn literal(kind: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let text = |text: &[u8]| {
        let length = match text.len() {
            short @ ..127 => vec![short as u8],
            long => vec![127, (long - 127) as u8 & 0x7f | 0x80, ((long - 127) >> 7) as u8],
        };
        [&length[..], text].concat()
    };
    [&[kind][..], &text(name), &text(value)].concat()
}

/// The fields that go to the table, by what each takes of it at least.
fn fields(octets: &[u8], part: usize) -> Vec<usize> {
    let mut watch = FieldWatch::default();
    for part in octets.chunks(part) {
        watch.observe(part);
    }
    watch.fields.iter().map(|(in_table, _)| *in_table).collect()
}

#[test]
fn the_fields_that_go_to_the_table_are_found_in_whatever_parts_they_arrive() {
    let block = [
        // Indexed: the method, and a number of two octets.
        &[0x82, 0xff, 0x05][..],
        &literal(0x40, b"accept", b"x"),
        // The path, whose name has number 4: not for the table, never for a table, for the table.
        &[0x04, 1, b'/', 0x14, 1, b'/', 0x44, 1, b'/'],
        // The same with a number of several octets, and Huffman code of eight octets.
        &[0x7f, 0x80, 0x01, 0x88, 1, 2, 3, 4, 5, 6, 7, 8],
        // A size of the table in between, and long texts.
        &[0x3f, 0xe1, 0x1f],
        &literal(0x00, &[b'n'; 200], &[b'v'; 300]),
        &literal(0x40, &[b'n'; 200], &[b'v'; 300]),
        &literal(0x40, b"", b""),
    ]
    .concat();
    let expected = vec![32 + 7, 32 + 1, 32 + 2, 32 + 500, 32];
    let padded = [&[3][..], &[0, 0, 0, 0, 9], &block, &[0x40, 0x40, 0x40]].concat();
    for sent in [
        frame(HEADERS, 5, &block),
        frame(HEADERS, 5 | PADDED | PRIORITY, &padded),
        [frame(HEADERS, 1, &block[..40]), frame(CONTINUATION, 0, &block[40..60]), frame(CONTINUATION, 4, &block[60..])]
            .concat(),
    ] {
        // Frames of other kinds have no fields, whatever is in them.
        let other = [frame(0, 0, &[0x40; 100]), frame(4, 0, &[]), frame(0xbe, PADDED | PRIORITY, &[0x40; 9])].concat();
        let all = [CLIENT_PREFACE, &other, &sent, &other].concat();
        for part in [1, 2, 7, 64, all.len()] {
            assert_eq!(fields(&all, part), expected, "in parts of {part}");
        }
    }
}

#[test]
fn fields_far_from_each_other_have_more_memory_than_the_table_has_octets() {
    let mut watch = FieldWatch::default();
    watch.observe(CLIENT_PREFACE);
    let filler = frame(0xbe, 0, &[0; 16_384]);
    let mut most = 0;
    for nth in 0..1000_u32 {
        watch.observe(&frame(HEADERS, 5, &literal(0x40, &nth.to_be_bytes(), b"")));
        most = most.max(watch.observe(&filler));
    }
    assert_eq!(most, TABLE / (FIELD + 4) * LARGEST, "fields that leave the table are not counted");
    assert!(watch.in_table <= TABLE && watch.fields.len() <= TABLE / FIELD);
}

#[test]
fn fields_that_the_library_copies_have_no_buffer() {
    let mut watch = FieldWatch::default();
    watch.observe(CLIENT_PREFACE);
    for nth in 0..1000_u32 {
        watch.observe(&frame(0xbe, 0, &[0; 16_384]));
        // The length of the content, by its number 28.
        let block = [&[0x5c, 4][..], &nth.to_be_bytes()].concat();
        assert_eq!(watch.observe(&frame(HEADERS, 5, &block)), 0);
    }
    assert_eq!(watch.observe(&frame(HEADERS, 5, &[0x44, 1, b'/'])), LARGEST);
}

#[test]
fn clients_that_put_every_path_into_the_table_go_on() {
    let mut watch = FieldWatch::default();
    watch.observe(CLIENT_PREFACE);
    for nth in 0..10_000_u32 {
        let path = [b"/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB".as_slice(), &nth.to_be_bytes()];
        let block = [&[0x82, 0x87, 0x44, 64][..], &path.concat()[..], &[0; 64]].concat();
        let block = [&block[..68], &[0xbe, 0xbf]].concat();
        let has = watch.observe(&frame(HEADERS, 5, &block));
        assert!(has <= RENEWED_ABOVE, "{nth}: {has}");
    }
}

proptest! {
    /// Whatever is sent, what is reckoned is bounded by what was sent and by the table, and no part changes it.
    #[test]
    fn noise_is_bounded_and_is_the_same_in_all_parts(
        octets in prop::collection::vec(any::<u8>(), 0..4000), part in 1..50_usize,
    ) {
        let mut watch = FieldWatch::default();
        watch.observe(CLIENT_PREFACE);
        for part in octets.chunks(part) {
            prop_assert!(watch.observe(part) <= (PREFACE + octets.len()) * BUFFERED);
        }
        prop_assert!(watch.fields.len() <= TABLE / FIELD);
        prop_assert_eq!(watch.in_memory, watch.fields.iter().map(|(_, has)| has).sum::<usize>());
        let all = [CLIENT_PREFACE, &octets].concat();
        let whole = fields(&all, all.len());
        prop_assert_eq!(watch.fields.iter().map(|(in_table, _)| *in_table).collect::<Vec<_>>(), whole);
    }
}
