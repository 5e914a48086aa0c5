//! `cargo sim scale`: plays a large fleet and tells how its entries spread.

use std::time::Instant;

use clap::Args;

use super::fleet::{LargeFleet, Movement};
use super::report::{self, Cost};
use super::run;
use crate::progress::Progress;

/// What fleet, and how it is told.
#[derive(Clone, Debug, Args)]
pub struct Scale {
    /// How many devices.
    #[arg(long, default_value_t = 1000)]
    devices: usize,
    /// For how many days.
    #[arg(long, default_value_t = 30)]
    days: u64,
    /// How people move.
    #[arg(long, value_enum, default_value_t = Movement::Shuttle)]
    mobility: Movement,
    /// How many records each device writes in ten days.
    #[arg(long, default_value_t = 10)]
    writes: u64,
    /// How many devices a village has, for `shuttle`.
    #[arg(long, default_value_t = 8)]
    village: usize,
    /// How many minutes two radios talk when their people stay together.
    #[arg(long, default_value_t = 30)]
    awake_min: u64,
    /// How many hours from one such talk to the next.
    #[arg(long, default_value_t = 24)]
    every_h: u64,
    /// The seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Scale {
    /// Plays the fleet and prints the report.
    ///
    /// # Errors
    /// Why it cannot be played, in words.
    #[expect(clippy::print_stdout, reason = "it is a command")]
    pub fn play(&self) -> Result<(), String> {
        let fleet = LargeFleet {
            devices: self.devices,
            days: self.days,
            movement: self.mobility,
            writes_in_10_days: self.writes,
            village: self.village,
            awake_min: self.awake_min,
            every_h: self.every_h,
            seed: self.seed,
        };
        let plan = fleet.plan().map_err(|error| error.to_string())?;
        if !self.json {
            println!(
                "scale   {} devices, {} days of {}, {} writes, {} contacts, seed {}",
                self.devices,
                self.days,
                plan.header.profile,
                plan.operations.len(),
                plan.contacts.len(),
                self.seed
            );
        }
        let mut progress = Progress::new("playing", plan.header.horizon_ms);
        let start = Instant::now();
        let outcome = run(&plan, &mut |now_ms| progress.at(now_ms))?;
        drop(progress);
        let cost = Cost::since(start);
        match self.json {
            true => println!("{}", report::json(&plan, &outcome, cost)),
            false => print!("{}", report::text(&plan, &outcome, cost)),
        }
        Ok(())
    }
}
