//! The demo's files: those under `zones/demo` where the demo is run from a checkout, so that they can be edited while
//! it runs; elsewhere copies from the binary, in a folder that goes with the demo.

use std::path::{Path, PathBuf};

use crate::daemon::StartError;

const SETTINGS: &str = "portolan.toml";

/// What is copied, by name.
const FILES: [(&str, &str); 3] = [
    (SETTINGS, include_str!("../../zones/demo/portolan.toml")),
    ("demo.example.zone", include_str!("../../zones/demo/demo.example.zone")),
    ("demo.example.policy.toml", include_str!("../../zones/demo/demo.example.policy.toml")),
];

/// Where the demo's files are; a folder of copies is removed when this is dropped.
pub(crate) struct Files {
    dir: PathBuf,
    is_ours: bool,
}

impl Files {
    /// Finds the checkout's files, or makes copies.
    pub(crate) fn find() -> Result<Files, StartError> {
        let checkout = Path::new("zones/demo");
        if checkout.join(SETTINGS).is_file() {
            return Ok(Files { dir: checkout.to_path_buf(), is_ours: false });
        }
        let dir = std::env::temp_dir().join(format!("portolan-demo-{}", std::process::id()));
        let failed = |error: std::io::Error| StartError::Demo(format!("{}: {error}; set TMPDIR", dir.display()));
        std::fs::create_dir(&dir).map_err(failed)?;
        let files = Files { dir: dir.clone(), is_ours: true };
        for (name, text) in FILES {
            std::fs::write(dir.join(name), text).map_err(failed)?;
        }
        Ok(files)
    }

    /// The settings file.
    pub(crate) fn settings(&self) -> PathBuf {
        self.dir.join(SETTINGS)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if self.is_ours {
            // Left behind in the temporary folder at worst.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
