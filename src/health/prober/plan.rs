//! The plan of a prober: which checks to probe.

use std::sync::Arc;

use crate::health::observation::RetainedCheck;
use crate::model::CheckKey;

/// The checks to probe, and the region of each.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The checks. One that is listed twice is probed once.
    pub checks: Vec<Arc<CheckKey>>,
    /// The number of the region of each check, from 0, in the same order. Checks after the end of this list have region
    /// 0.
    pub regions: Vec<usize>,
    /// The names of the regions by their numbers; `None`: endpoints without a region.
    pub region_names: Vec<Option<String>>,
    /// The last observations of an earlier prober of this vantage. They count for checks that are new to this prober.
    pub retained: Vec<RetainedCheck>,
}

impl From<Vec<Arc<CheckKey>>> for Plan {
    fn from(checks: Vec<Arc<CheckKey>>) -> Plan {
        Plan { checks, ..Plan::default() }
    }
}
