//! `cargo sim simulate` and `cargo sim compare`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use simulations::compare::{Scene, Setting, rows, table};
use simulations::family::Family;
use simulations::generate::generate;
use simulations::measure::Meter;
use simulations::plan::Plan;
use simulations::plot;
use simulations::workload::{Prices, Workload, WorkloadError, plan};
use simulations::world::World;

use super::parse_profile;

/// What a plan file begins with, and no workload file does.
const PLAN_START: &str = "{\"plan\":";

/// Plays people's days under a schema. A schema alone gives a village: a hub, two clinics and six phones for
/// 14 days.
#[derive(Args)]
pub(crate) struct Simulate {
    /// A schema file. Give it again for other versions of the schema; devices begin with the oldest.
    #[arg(long, value_name = "FILE", required = true)]
    schema: Vec<PathBuf>,
    /// A workload file: who does what, where and for how long.
    #[arg(long, value_name = "FILE", alias = "plan")]
    workload: Option<PathBuf>,
    /// So many days, whatever the workload says.
    #[arg(long)]
    days: Option<u64>,
    /// Another seed than the workload's.
    #[arg(long)]
    seed: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Draw the run into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the plan here.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// Plays one plan under two configurations.
#[derive(Args)]
pub(crate) struct Compare {
    /// A plan file, or a workload file.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    plan: Option<PathBuf>,
    /// The seed of a generated plan under the bundled schema.
    #[arg(long)]
    seed: Option<u64>,
    /// What fleet the seed is of: field, quick or season.
    #[arg(long, default_value = "quick")]
    profile: String,
    /// The schema file of both sides, and its other versions; the bundled one if there is none.
    #[arg(long, value_name = "FILE")]
    schema: Vec<PathBuf>,
    /// A setting of the left side: hub=none, schema=FILE, workload=FILE, link=CLASS,
    /// merge.COLLECTION.FIELD=POLICY or delete.COLLECTION=POLICY.
    #[arg(long, value_name = "KEY=VALUE")]
    left: Vec<Setting>,
    /// A setting of the right side.
    #[arg(long, value_name = "KEY=VALUE")]
    right: Vec<Setting>,
    /// Print one JSON object with all figures.
    #[arg(long)]
    json: bool,
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn read_family(paths: &[PathBuf]) -> Result<Family, String> {
    if paths.is_empty() {
        return Family::bundled();
    }
    let texts = paths.iter().map(|path| read(path));
    let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let names: Vec<String> = paths.iter().map(|it| it.display().to_string()).collect();
    Family::parse(&texts).map_err(|why| format!("{}: {why}", names.join(", ")))
}

fn read_workload(path: Option<&Path>, family: &Family) -> Result<Workload, String> {
    let Some(path) = path else {
        return Workload::village().map_err(|error| error.to_string());
    };
    Workload::read(&read(path)?, family.first())
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// What is wrong with a workload, after the name of its file if it has one.
fn named(path: Option<&Path>) -> impl Fn(WorkloadError) -> String {
    move |error| match path {
        Some(path) => format!("{}: {error}", path.display()),
        None => error.to_string(),
    }
}

impl Simulate {
    pub(crate) fn run(&self) -> Result<u8, String> {
        let family = read_family(&self.schema)?;
        let mut workload = read_workload(self.workload.as_deref(), &family)?;
        workload.seed = self.seed.unwrap_or(workload.seed);
        if let Some(days) = self.days {
            workload = workload
                .with_days(days)
                .map_err(|error| error.to_string())?;
        }
        let plan = plan(&workload, family.first()).map_err(named(self.workload.as_deref()))?;
        if let Some(path) = &self.save {
            write(path, &plan.to_text())?;
        }
        let mut meter = Meter::new(&plan, workload.apart_ms(), self.svg.is_some());
        let outcome = World::run_under(&plan, &family, &mut meter);
        let report = meter.report(&plan, &outcome, &workload.prices);
        if let Some(path) = &self.svg {
            let trace = meter.into_trace();
            let svg = plot::svg(&trace[..]).map_err(|error| error.to_string())?;
            write(path, &svg)?;
        }
        match self.json {
            true => println!("{}", report.json()),
            false => print!("{}", report.text()),
        }
        Ok(outcome.verdict.exit_code())
    }
}

impl Compare {
    pub(crate) fn run(&self) -> Result<u8, String> {
        let left = self.scene(&self.left)?.play();
        let right = self.scene(&self.right)?.play();
        let rows = rows(&left, &right);
        if self.json {
            let told = serde_json::json!({ "left": left, "right": right, "figures": rows });
            println!("{told}");
            return Ok(0);
        }
        print!("{}", table(&words(&self.left), &words(&self.right), &rows));
        for (side, report) in [("left", &left), ("right", &right)] {
            if report.verdict != "held" {
                println!("{side}: {}", report.verdict);
            }
        }
        Ok(0)
    }

    fn scene(&self, settings: &[Setting]) -> Result<Scene, String> {
        let mut schema = self.schema.clone();
        let mut workload = self.plan.clone();
        for setting in settings {
            match setting {
                Setting::Schema(path) => schema = vec![PathBuf::from(path)],
                Setting::Workload(path) => workload = Some(PathBuf::from(path)),
                Setting::Hub(_)
                | Setting::Link(_)
                | Setting::Merge { .. }
                | Setting::Delete { .. } => {}
            }
        }
        // People do the same on both sides, so what they do is written out for the schema of both.
        let common = read_family(&self.schema)?;
        let family = read_family(&schema)?;
        let drawn_for = match self.schema.is_empty() && !schema.is_empty() {
            true => &family,
            false => &common,
        };
        let scene = self.drawn(workload.as_deref(), drawn_for)?;
        let scene = Scene { family, ..scene }.plainly()?;
        settings.iter().try_fold(scene, Scene::with)
    }

    /// The plan, written out for a schema.
    fn drawn(&self, path: Option<&Path>, family: &Family) -> Result<Scene, String> {
        let bare = |plan: Plan| Scene {
            plan,
            family: family.clone(),
            prices: Prices::default(),
            from_ms: 0,
        };
        if let Some(seed) = self.seed {
            let profile = parse_profile(&self.profile)?;
            return Ok(bare(generate(seed, &profile)));
        }
        if let Some(path) = path {
            let text = read(path)?;
            if text.starts_with(PLAN_START) {
                let plan = Plan::from_text(&text, family)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                return Ok(bare(plan));
            }
        }
        let workload = read_workload(path, family)?;
        let plan = plan(&workload, family.first()).map_err(named(path))?;
        Ok(Scene {
            prices: workload.prices.clone(),
            from_ms: workload.apart_ms(),
            ..bare(plan)
        })
    }
}

fn words(settings: &[Setting]) -> String {
    let words: Vec<String> = settings.iter().map(Setting::to_string).collect();
    match words.is_empty() {
        true => "as it is".to_owned(),
        false => words.join(" "),
    }
}
