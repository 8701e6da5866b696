//! Countries and continents as clients and endpoints have them: ISO 3166-1 codes, and the continents of the usual
//! databases.

use std::fmt;

/// A country by its ISO 3166-1 alpha-2 code (XK, Kosovo, too, which the databases use).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

/// A continent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Continent {
    /// Africa.
    Africa,
    /// Antarctica.
    Antarctica,
    /// Asia.
    Asia,
    /// Europe.
    Europe,
    /// North America, Central America and the Caribbean.
    NorthAmerica,
    /// Oceania.
    Oceania,
    /// South America.
    SouthAmerica,
}

/// Every country by its continent.
const COUNTRIES: [(Continent, &str); 7] = [
    (
        Continent::Africa,
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW IO KE KM LR LS LY MA \
         MG ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    ),
    (Continent::Antarctica, "AQ BV GS HM TF"),
    (
        Continent::Asia,
        "AE AF AM AZ BD BH BN BT CC CN CX CY GE HK ID IL IN IQ IR JO JP KG KH KP KR KW KZ LA LB LK \
         MM MN MO MV MY NP OM PH PK PS QA SA SG SY TH TJ TL TM TR TW UZ VN YE",
    ),
    (
        Continent::Europe,
        "AD AL AT AX BA BE BG BY CH CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT \
         LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    ),
    (
        Continent::NorthAmerica,
        "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI \
         PA PM PR SV SX TC TT US VC VG VI",
    ),
    (Continent::Oceania, "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV UM VU WF WS"),
    (Continent::SouthAmerica, "AR BO BR CL CO EC FK GF GY PE PY SR UY VE"),
];

impl Country {
    /// The country of this code, in upper or lower case; `None` where there is none.
    pub fn parse(code: &str) -> Option<Country> {
        let code: [u8; 2] = code.to_ascii_uppercase().as_bytes().try_into().ok()?;
        let country = Country(code);
        country.find().map(|_| country)
    }

    /// The continent it is on; of those on two, the one the usual databases say.
    pub fn continent(self) -> Continent {
        // Only codes of the list are ever made.
        self.find().unwrap_or(Continent::Antarctica)
    }

    /// Its code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Every code, in the order of the continents.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        COUNTRIES.iter().flat_map(|(_, codes)| codes.split(' '))
    }

    fn find(self) -> Option<Continent> {
        let has = |codes: &str| codes.split(' ').any(|code| code == self.as_str());
        COUNTRIES.iter().find(|(_, codes)| has(codes)).map(|(continent, _)| *continent)
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Continent {
    /// All of them, in the order of their codes.
    pub const ALL: [Continent; 7] = [
        Continent::Africa,
        Continent::Antarctica,
        Continent::Asia,
        Continent::Europe,
        Continent::NorthAmerica,
        Continent::Oceania,
        Continent::SouthAmerica,
    ];

    /// The continent of this two-letter code, in upper or lower case.
    pub fn parse(code: &str) -> Option<Continent> {
        Continent::ALL.into_iter().find(|continent| continent.as_str().eq_ignore_ascii_case(code))
    }

    /// Its code.
    pub fn as_str(self) -> &'static str {
        match self {
            Continent::Africa => "AF",
            Continent::Antarctica => "AN",
            Continent::Asia => "AS",
            Continent::Europe => "EU",
            Continent::NorthAmerica => "NA",
            Continent::Oceania => "OC",
            Continent::SouthAmerica => "SA",
        }
    }
}

impl fmt::Display for Continent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_a_country_of_one_continent() {
        let mut codes: Vec<&str> = Country::codes().collect();
        assert_eq!(codes.len(), 250);
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), 250);
        for (code, continent) in [("de", "EU"), ("US", "NA"), ("JP", "AS"), ("BR", "SA"), ("ZA", "AF"), ("AU", "OC")] {
            assert_eq!(Country::parse(code).unwrap().continent().as_str(), continent);
        }
        for wrong in ["UK", "XX", "D", "DEU", "", "d e"] {
            assert_eq!(Country::parse(wrong), None, "{wrong}");
        }
    }
}
