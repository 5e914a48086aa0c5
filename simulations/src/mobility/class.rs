//! The kinds of links.

use serde::{Deserialize, Serialize};

/// What carries a contact, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkClass {
    /// A local wireless network.
    Wifi,
    /// Short-range radio of low power.
    Ble,
    /// Slow mobile data.
    Cell2g,
    /// A satellite link.
    Satellite,
}
