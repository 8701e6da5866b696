//! Places on the globe, and the distance between them.

/// A place on the globe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Location {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
}

impl Location {
    /// Metres along the surface, by the haversine formula, which is exact enough at all distances (0.5 % for the
    /// Earth's flattening).
    pub fn metres_to(self, other: Location) -> f64 {
        /// Mean radius of the Earth in metres (IUGG).
        const EARTH: f64 = 6_371_008.8;
        let (north, there) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half = |angle: f64| (angle / 2.0).sin().powi(2);
        let east = (other.longitude - self.longitude).to_radians();
        let chord = half(there - north) + north.cos() * there.cos() * half(east);
        2.0 * EARTH * chord.clamp(0.0, 1.0).sqrt().asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn great_circles_are_as_on_the_map() {
        let at = |latitude, longitude| Location { latitude, longitude };
        let (dublin, frankfurt, sydney) = (at(53.34, -6.26), at(50.11, 8.68), at(-33.87, 151.21));
        for (a, b, km) in [(dublin, frankfurt, 1087.0), (dublin, sydney, 17_215.0), (dublin, dublin, 0.0)] {
            assert!((a.metres_to(b) / 1000.0 - km).abs() < 20.0, "{}", a.metres_to(b) / 1000.0);
        }
        let across = at(0.0, 179.5).metres_to(at(0.0, -179.5)) / 1000.0;
        assert!((across - 111.2).abs() < 0.1, "over the date line: {across}");
    }
}
