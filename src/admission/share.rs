//! How much of something the clients of one site may have at a time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::SourceNet;

/// A limit for each site. Clones share it.
#[derive(Debug, Clone)]
pub struct SiteShares {
    most: usize,
    taken: Arc<Mutex<HashMap<SourceNet, usize>>>,
}

/// One of a site's, until this is dropped.
#[derive(Debug)]
pub struct SiteShare {
    of: SiteShares,
    site: SourceNet,
}

impl SiteShares {
    /// At most `most` (at least 1) at a time for each site.
    pub fn new(most: usize) -> SiteShares {
        SiteShares { most: most.max(1), taken: Arc::default() }
    }

    /// One for the site of `source`; `None` if it has as many as it may.
    pub fn take(&self, source: IpAddr) -> Option<SiteShare> {
        let site = SourceNet::of(source).site();
        let mut all = self.lock();
        let taken = all.entry(site).or_default();
        if *taken >= self.most {
            return None;
        }
        *taken += 1;
        Some(SiteShare { of: self.clone(), site })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SourceNet, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SiteShare {
    fn drop(&mut self) {
        let mut all = self.of.lock();
        if let Some(taken) = all.get_mut(&self.site) {
            *taken -= 1;
            if *taken == 0 {
                all.remove(&self.site);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_has_its_share_and_others_have_theirs() {
        let shares = SiteShares::new(2);
        let take = |text: &str| shares.take(text.parse().unwrap());
        let first = take("2001:db8:1:2::3").unwrap();
        let _second = take("2001:db8:1:3::3").unwrap();
        assert!(take("2001:db8:1:4::3").is_none(), "all nets of a site together");
        let _other = take("192.0.2.1").unwrap();
        drop(first);
        assert!(take("2001:db8:1::1").is_some());
        assert_eq!(shares.lock().len(), 2, "only those that have any are remembered");
    }
}
