//! What the commands have in common that work on the files of a device whose daemon does not run.

use std::path::Path;

use super::failure::{Exit, Failure};
use crate::config::{Config, Flags};
use crate::node::NodeError;
use crate::node::offline::StoreError;

/// The device's configuration.
pub(crate) fn load(dir: &Path) -> Result<Config, Failure> {
    Config::load(dir, Flags::default(), |name| std::env::var(name).ok()).map_err(Failure::usage)
}

/// Why the store cannot be worked on.
pub(crate) fn failed(error: &NodeError) -> Failure {
    let failure = Failure::new(Exit::Failed, error).unchanged("nothing was changed");
    match error {
        NodeError::Store(StoreError::InUse { .. }) => {
            failure.next("stop the daemon and run the same command again")
        }
        _ => failure,
    }
}
