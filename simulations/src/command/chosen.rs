//! The plan that a command plays: of a seed or from a file, and under which schema.

use std::path::PathBuf;

use clap::Args;
use simulations::family::Family;
use simulations::generate::{PROFILES, Profile, generate, profile};
use simulations::outcome::Outcome;
use simulations::plan::Plan;
use simulations::plan::text::Lines;
use simulations::progress::Progress;
use simulations::report;
use simulations::trace::{Observer, Watched};
use simulations::world::World;

use super::files;

#[derive(Args)]
pub(super) struct Which {
    /// The seed.
    #[arg(long, default_value_t = 1, conflicts_with = "plan")]
    seed: u64,
    /// What fleet: field, quick or season.
    #[arg(long, default_value = PROFILES[0].name, value_parser = parse_profile, conflicts_with = "plan")]
    profile: Profile,
    /// A plan file instead of a seed.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// The schema file of the plan, and its other versions; the bundled one if there is none.
    #[arg(long, value_name = "FILE", requires = "plan")]
    schema: Vec<PathBuf>,
}

pub(super) fn parse_profile(name: &str) -> Result<Profile, String> {
    profile(name).ok_or_else(|| {
        let names: Vec<_> = PROFILES.iter().map(|known| known.name).collect();
        format!(
            "there is no profile {name:?}; use one of {}",
            names.join(", ")
        )
    })
}

impl Which {
    pub(super) fn chosen(self) -> Result<Chosen, String> {
        match self.plan {
            Some(file) => Chosen::read(file, self.schema),
            None => Ok(Chosen::of(
                generate(self.seed, &self.profile),
                Family::bundled()?,
            )),
        }
    }
}

/// A plan, and the versions of the schema under which it is played.
pub(super) struct Chosen {
    pub(super) plan: Plan,
    pub(super) family: Family,
    /// Where the plan comes from, if it is no seed's.
    pub(super) file: Option<PathBuf>,
    /// Where the schema comes from, if it is not the bundled one.
    pub(super) schemas: Vec<PathBuf>,
    /// In which lines of the file things stand.
    pub(super) lines: Lines,
}

impl Chosen {
    /// A plan that is in no file.
    pub(super) fn of(plan: Plan, family: Family) -> Self {
        Self {
            lines: Lines::of(&plan.to_text()),
            plan,
            family,
            file: None,
            schemas: Vec::new(),
        }
    }

    /// Reads a plan, and its schema unless that is the bundled one.
    pub(super) fn read(file: PathBuf, schemas: Vec<PathBuf>) -> Result<Self, String> {
        let family = files::read_family(&schemas)?;
        let text = files::read(&file)?;
        let plan = Plan::from_text(&text, &family)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Self {
            lines: Lines::of(&text),
            plan,
            family,
            file: Some(file),
            schemas,
        })
    }

    /// Plays it for an observer, and says on standard error how far it is.
    pub(super) fn play<O: Observer>(&self, what: &str, observer: O) -> (Outcome, O) {
        let mut progress = Progress::new(what, self.plan.header.horizon_ms);
        let mut told = |t_ms| progress.at(t_ms);
        let mut watched = Watched::new(observer, &mut told);
        let outcome = World::run_under(&self.plan, &self.family, &mut watched);
        (outcome, watched.into_inner())
    }

    /// How it is played again.
    pub(super) fn replay_command(&self) -> String {
        report::replay_command(&self.plan, self.file.as_deref(), &self.schemas)
    }
}

/// How large a plan is, in words.
pub(super) fn size(plan: &Plan) -> String {
    format!(
        "{} devices, {} contacts, {} operations, {} faults",
        plan.devices.len(),
        plan.contacts.len(),
        plan.operations.len(),
        plan.faults.len()
    )
}
