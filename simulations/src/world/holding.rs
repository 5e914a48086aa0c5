//! Runs that also tell what the devices held, to be compared with another fidelity.

use super::{EVENTS_MAX, World};
use crate::family::Family;
use crate::holding::{Holding, Holdings};
use crate::oracle;
use crate::outcome::Outcome;
use crate::plan::Plan;

impl World<'_> {
    /// Carries out a plan. Also tells what the devices that were on held at the horizon and in the end.
    ///
    /// # Errors
    /// Why a device could not be read, in words.
    pub fn run_and_look(plan: &Plan) -> Result<(Outcome, [Holdings; 2]), String> {
        let mut nobody = ();
        let mut world = World::new(plan.clone(), Family::bundled()?, EVENTS_MAX, &mut nobody);
        world.begin();
        world.run_days(plan.header.horizon_ms);
        let at_horizon = world.holdings()?;
        let (settled_ms, unsettled) = world.come_to_rest();
        let at_end = world.holdings()?;
        Ok((world.finish(settled_ms, unsettled), [at_horizon, at_end]))
    }

    /// One digest of what all hold and, once all are found to show the same, of what the first of them shows.
    pub(super) fn held_digest(&self, is_held: bool) -> String {
        let mut hasher = blake3::Hasher::new();
        for (number, seat) in &self.seats {
            hasher.update(format!("{number} {:?}\n", seat.durable).as_bytes());
        }
        let shown = || {
            let first = self.seats.get(self.living().first()?)?;
            oracle::shown(&first.device.as_ref()?.reader()).ok()
        };
        for (name, view) in is_held.then(shown).flatten().unwrap_or_default() {
            hasher.update(format!("{name:?} {view:?}\n").as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    fn holdings(&self) -> Result<Holdings, String> {
        let mut holdings = Holdings::new();
        for (number, seat) in &self.seats {
            if let Some(device) = &seat.device {
                let held = seat.durable.clone();
                let shown = oracle::shown(&device.reader())?;
                holdings.insert(*number, Holding { held, shown });
            }
        }
        Ok(holdings)
    }
}
