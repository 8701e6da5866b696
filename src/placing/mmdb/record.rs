//! One record of a database, in either of the two usual schemas and their variants: codes as texts or in maps, numbers
//! as texts. A value that is not understood counts as absent; only a record that cannot be decoded at all is an error.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::{Continent, Country, Facts, Point};

/// The fields that are used, for messages.
pub(super) const FIELDS: &str = "country.iso_code, registered_country.iso_code, continent.code, location.latitude and \
     .longitude, autonomous_system_number (MaxMind's schema); country_code, continent_code, latitude and longitude, \
     asn (the flat schema)";

/// The fields of a record that are used.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Record {
    country: Field,
    country_code: Field,
    registered_country: Field,
    continent: Field,
    continent_code: Field,
    location: Field,
    latitude: Field,
    longitude: Field,
    autonomous_system_number: Field,
    asn: Field,
}

/// The value of a field.
#[derive(Debug, Default)]
struct Field {
    /// A text, or the `iso_code` or `code` of a map.
    text: Option<String>,
    number: Option<f64>,
    /// The `latitude` and `longitude` of a map.
    place: (Option<f64>, Option<f64>),
}

impl Record {
    /// The facts of the record. Without a continent, it has that of its country.
    pub(super) fn facts(&self) -> Facts {
        let countries = [&self.country_code, &self.country, &self.registered_country];
        let country = countries.iter().find_map(|field| Country::parse(field.text.as_deref()?.trim()));
        let continents = [&self.continent_code, &self.continent];
        let continent = continents.iter().find_map(|field| Continent::parse(field.text.as_deref()?.trim()));
        let flat = (self.latitude.as_number(), self.longitude.as_number());
        let place = [self.location.place, flat].into_iter().find_map(|(latitude, longitude)| latitude.zip(longitude));
        Facts {
            country,
            continent: continent.or(country.map(Country::continent)),
            point: place.and_then(|(latitude, longitude)| Point::from_degrees(latitude, longitude)),
            asn: [&self.autonomous_system_number, &self.asn].iter().find_map(|field| field.as_asn()),
        }
    }
}

impl Field {
    fn as_number(&self) -> Option<f64> {
        self.number.or_else(|| self.text.as_deref()?.trim().parse().ok())
    }

    /// `15169` or `"AS15169"`; 0 is none (RFC 7607).
    fn as_asn(&self) -> Option<u32> {
        let text = self.text.as_deref().map(|text| text.trim().trim_start_matches("AS").parse().ok());
        let number = self.number.map(|number| Some(number as u32).filter(|whole| f64::from(*whole) == number));
        number.or(text).flatten().filter(|asn| *asn != 0)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Field, D::Error> {
        OUTER.deserialize(deserializer)
    }
}

/// Reads a field. Maps within a map are skipped: in a broken file a map can contain itself, and reading it without a
/// bound would overflow the stack.
#[derive(Clone, Copy)]
struct FieldVisitor {
    is_inner: bool,
}

/// For the fields of a record.
const OUTER: FieldVisitor = FieldVisitor { is_inner: false };
/// For the fields of a map in a record.
const INNER: FieldVisitor = FieldVisitor { is_inner: true };

impl<'de> DeserializeSeed<'de> for FieldVisitor {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl FieldVisitor {
    fn number<E>(number: f64) -> Result<Field, E> {
        Ok(Field { number: Some(number), ..Field::default() })
    }
}

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number or a map")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field { text: Some(text.to_string()), ..Field::default() })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Field, E> {
        Ok(Field::default())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Field, E> {
        Ok(Field::default())
    }

    fn visit_u128<E>(self, number: u128) -> Result<Field, E> {
        FieldVisitor::number(number as f64)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field, E> {
        FieldVisitor::number(number as f64)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Field, E> {
        FieldVisitor::number(number as f64)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Field, E> {
        FieldVisitor::number(number)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Key {
            IsoCode,
            Code,
            Latitude,
            Longitude,
            #[serde(other)]
            Other,
        }
        let mut field = Field::default();
        if self.is_inner {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(field);
        }
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::IsoCode | Key::Code => field.text = map.next_value_seed(INNER)?.text,
                Key::Latitude => field.place.0 = map.next_value_seed(INNER)?.as_number(),
                Key::Longitude => field.place.1 = map.next_value_seed(INNER)?.as_number(),
                Key::Other => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(json: &str) -> Facts {
        serde_json::from_str::<Record>(json).unwrap().facts()
    }

    #[test]
    fn both_schemas_give_the_same_facts() {
        let expected = Facts {
            country: Country::parse("DE"),
            continent: Some(Continent::Europe),
            point: Point::from_degrees(50.11, 8.68),
            asn: Some(3320),
        };
        let nested = r#"{"country":{"iso_code":"DE","names":{"en":"Germany"}},"continent":{"code":"EU"},
            "location":{"latitude":50.11,"longitude":8.68,"time_zone":"x"},
            "autonomous_system_number":3320,"city":[1]}"#;
        let flat = r#"{"country_code":"DE","continent_code":"EU","latitude":50.11,"longitude":8.68,"asn":3320}"#;
        let texts = r#"{"country":"DE","continent":"Europe","latitude":"50.11","longitude":"8.68","asn":"AS3320"}"#;
        for json in [nested, flat, texts] {
            assert_eq!(facts(json), expected, "{json}");
        }
    }

    #[test]
    fn what_is_missing_follows_or_is_unknown() {
        assert_eq!(facts(r#"{"country_code":"JP"}"#).continent, Some(Continent::Asia));
        assert_eq!(facts(r#"{"registered_country":{"iso_code":"FR"}}"#).country, Country::parse("FR"));
        let wrong = r#"{"country_code":"ZZ","latitude":91,"longitude":0,"asn":0,"continent":true,"location":[]}"#;
        assert_eq!(facts(wrong), Facts::default());
        assert_eq!(facts("{}"), Facts::default());
        assert_eq!(facts(r#"{"country":{"iso_code":{"iso_code":"FR"}}}"#), Facts::default(), "no map in a map");
    }
}
