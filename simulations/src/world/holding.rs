//! Runs that also tell what the devices held, to be compared with another fidelity.

use std::sync::Arc;

use super::World;
use crate::holding::{Holding, Holdings};
use crate::oracle;
use crate::outcome::Outcome;
use crate::plan::{Plan, schema};

impl World<'_> {
    /// Carries out a plan. Also tells what the devices that were on held at the horizon and in the end.
    ///
    /// # Errors
    /// Why a device could not be read, in words.
    pub fn run_and_look(plan: &Plan) -> Result<(Outcome, [Holdings; 2]), String> {
        let schema = Arc::new(schema()?);
        let mut nobody = ();
        let mut world = World::new(plan.clone(), schema, &mut nobody);
        world.begin();
        world.run_until(plan.header.horizon_ms);
        let at_horizon = world.holdings()?;
        let (settled_ms, unsettled) = world.come_to_rest();
        let at_end = world.holdings()?;
        Ok((world.finish(settled_ms, unsettled), [at_horizon, at_end]))
    }

    fn holdings(&self) -> Result<Holdings, String> {
        let mut holdings = Holdings::new();
        for (number, seat) in &self.seats {
            if let Some(device) = &seat.device {
                let held = seat.durable.clone();
                let shown = oracle::shown(self, &device.reader())?;
                holdings.insert(*number, Holding { held, shown });
            }
        }
        Ok(holdings)
    }
}
