//! LOC (RFC 1876): a position as degrees, minutes and seconds, an altitude, a size, and two precisions.

use super::{ContentFields, Wrong};

/// Thousandths of a second of arc at the equator and the prime meridian (RFC 1876, 2).
const MIDDLE: i64 = 1 << 31;
/// Centimetres of the lowest altitude, 100,000 m below the sea (RFC 1876, 2).
const ALTITUDE_BASE: i64 = 10_000_000;
/// The default size and precisions (RFC 1876, 3): 1, 10,000 and 10 metres.
const DEFAULT_PRECISIONS: [u8; 3] = [0x12, 0x16, 0x13];
/// Longest size or precision in centimetres (RFC 1876, 3: 90,000,000 m).
const MAX_PRECISION: i64 = 9_000_000_000;

/// `d [m [s]] N|S d [m [s]] E|W altitude[m] [size[m] [horizontal[m] [vertical[m]]]]`
pub(super) fn location(fields: &mut ContentFields<'_>) -> Result<Vec<u8>, Wrong> {
    let latitude = angle(fields, 90, ["N", "S"], "expected degrees, minutes and seconds, then N or S")?;
    let longitude = angle(fields, 180, ["E", "W"], "expected degrees, minutes and seconds, then E or W")?;
    let altitude = fields.read("expected an altitude, such as 24.5m", |field| {
        let centimetres = fixed(field.strip_suffix('m').unwrap_or(field), 2)? + ALTITUDE_BASE;
        u32::try_from(centimetres).ok()
    })?;
    let mut precisions = DEFAULT_PRECISIONS;
    for precision in &mut precisions {
        if fields.peek().is_some() {
            *precision = fields.read("expected metres, such as 30m", |field| {
                let centimetres = fixed(field.strip_suffix('m').unwrap_or(field), 2)?;
                (0..=MAX_PRECISION).contains(&centimetres).then(|| power_of_ten(centimetres))
            })?;
        }
    }
    let mut octets = vec![0];
    octets.extend(precisions);
    for field in [latitude, longitude, altitude] {
        octets.extend(field.to_be_bytes());
    }
    Ok(octets)
}

/// An angle as it is in the record: [`MIDDLE`] plus or minus thousandths of a second of arc.
fn angle(fields: &mut ContentFields<'_>, most: i64, sides: [&str; 2], expected: &'static str) -> Result<u32, Wrong> {
    const UNITS: [i64; 3] = [3_600_000, 60_000, 1000];
    let mut total = 0;
    for at in 0..=UNITS.len() {
        let field = fields.read(expected, |field| Some(field.to_owned()))?;
        let wrong = fields.wrong(expected);
        if at > 0 && sides.contains(&field.as_str()) {
            let side = if field == sides[0] { total } else { -total };
            let fits = total <= most * UNITS[0];
            return u32::try_from(MIDDLE + side).ok().filter(|_| fits).ok_or(wrong);
        }
        let unit = UNITS.get(at).ok_or(wrong)?;
        let value = fixed(&field, if at == 2 { 3 } else { 0 }).ok_or(wrong)?;
        let bound = [most + 1, 60, 60_000][at];
        if !(0..bound).contains(&value) {
            return Err(wrong);
        }
        total += if at == 2 { value } else { value * unit };
    }
    Err(fields.wrong(expected))
}

/// A decimal number times ten to the power of `decimals`; it has at most that many digits after its dot.
fn fixed(text: &str, decimals: usize) -> Option<i64> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || part.len() > decimals || !digits(whole) || !digits(part) {
        return None;
    }
    let value: i64 = format!("{whole}{part:0<decimals$}").parse().ok()?;
    Some(if negative { -value } else { value })
}

/// Centimetres as a digit times a power of ten, rounded down (RFC 1876, 2).
fn power_of_ten(centimetres: i64) -> u8 {
    let (mut digit, mut power) = (centimetres, 0);
    while digit > 9 {
        (digit, power) = (digit / 10, power + 1);
    }
    (digit as u8) << 4 | power
}

#[cfg(test)]
mod tests {
    use crate::masterfile::content::octets;

    fn read(text: &str) -> String {
        let fields: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        match octets("LOC", &fields, &[0]).unwrap() {
            Ok(octets) => octets.iter().map(|octet| format!("{octet:02x}")).collect(),
            Err(wrong) => format!("{} {}", wrong.at, wrong.reason),
        }
    }

    #[test]
    fn places_are_as_other_servers_write_them() {
        // BIND 9.18, Knot 3.2 and NSD 4.6 answer these octets for the same text.
        for (text, octets) in [
            ("42 21 54 N 71 06 18 W -24m 30m", "0033161389172dd070be15f000988d20"),
            ("52 N 0 E 0", "001216138b2872008000000000989680"),
            ("1 2 3.004 S 179 59 59.999 E 42849672.95m 0m 0.09 90000000.00m", "000090997fc73104a69fb1ffffffffff"),
        ] {
            assert_eq!(read(text), octets, "{text}");
        }
    }

    #[test]
    fn places_that_are_none_are_refused() {
        for text in [
            "91 N 0 E 0",
            "90 0 1 N 0 E 0",
            "1 60 N 0 E 0",
            "1 1 60 N 0 E 0",
            "1 N 2",
            "1 N 181 E 0",
            "N 1 E 0",
            "1 N 0 E 42849672.96m",
            "1 N 0 E 0 90000000.01m",
            "1 2 3 4 N 0 E 0",
            "1 N 0 E 0 1 1 1 1",
            "-1 N 0 E 0",
        ] {
            assert!(read(text).contains(' '), "{text}: {}", read(text));
        }
    }
}
