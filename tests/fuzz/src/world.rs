//! What is answered from: the files of `world/`, loaded as the server does, and compiled for several states of health.

use std::sync::{Arc, LazyLock};

use portolan::config::{Flags, load};
use portolan::model::{CheckView, Health, Model, WorldView};
use portolan::snapshot::compile::compile;
use portolan::snapshot::{Identity, Snapshot};
use portolan::source::to_human;
use portolan::wire::cookie::CookieSecrets;

static WORLDS: LazyLock<Vec<Snapshot>> = LazyLock::new(|| {
    let settings = super::dir().join("world/portolan.toml");
    let loaded = load(Some(&settings), &Flags::default()).unwrap_or_else(|problems| panic!("{}", to_human(&problems)));
    let healthy = |health: &dyn Fn(usize) -> Health| compiled(loaded.model.clone(), health);
    vec![
        healthy(&|_| Health::Up),
        healthy(&|_| Health::Down),
        healthy(&|check| if check % 2 == 0 { Health::Up } else { Health::Down }),
        healthy(&|_| Health::Unknown),
    ]
});

/// One of the worlds: all up, all down, half of it, nothing known yet.
pub(crate) fn of(which: usize) -> &'static Snapshot {
    &WORLDS[which % WORLDS.len()]
}

/// A model compiled, its checks of this health.
pub(crate) fn compiled(model: Model, health: &dyn Fn(usize) -> Health) -> Snapshot {
    let checks =
        (0..model.checks.len()).map(|check| CheckView { health: health(check), tried: true, ..CheckView::default() });
    let view = WorldView { checks: checks.collect(), ..WorldView::default() };
    let identity = Identity {
        nsid: b"fuzz".to_vec(),
        cookies: Some(CookieSecrets { current: [7; 16], other: None }),
        version: Some("fuzz".to_owned()),
        id: Some("fuzz".to_owned()),
        ..Identity::default()
    };
    compile(Arc::new(model), Arc::new(view), Arc::new(identity), 1, None)
}
