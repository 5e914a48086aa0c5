//! `cargo sim simulate` and `cargo sim compare`: people's days under somebody's own schema.

use std::path::{Path, PathBuf};

use clap::Args;
use simulations::compare::{Scene, Setting, rows, table};
use simulations::family::Family;
use simulations::generate::{Profile, generate};
use simulations::measure::{Meter, Report};
use simulations::outcome::Verdict;
use simulations::plan::Plan;
use simulations::progress::Progress;
use simulations::report;
use simulations::workload::{Prices, Workload, plan};

use super::chosen::{Chosen, parse_profile};
use super::files::{self, Source, read_family, read_source};
use super::graver;
use super::voice::Voice;

/// Plays people's days under a schema. A schema alone gives a village: a hub, two clinics and six phones for
/// 14 days.
#[derive(Args)]
pub(crate) struct Simulate {
    /// A schema file. Give it again for other versions of the schema; devices begin with the oldest.
    #[arg(long, value_name = "FILE", required = true)]
    schema: Vec<PathBuf>,
    /// A workload file: who does what, where and for how long. Or a plan that `--save` wrote.
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
    #[arg(long, default_value = "quick", value_parser = parse_profile, requires = "seed")]
    profile: Profile,
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

impl Simulate {
    pub(super) fn play(self) -> Result<u8, String> {
        let voice = Voice::of(self.json);
        let family = read_family(&self.schema)?;
        let scene = self.scene(&family)?;
        let mut chosen = Chosen::of(scene.plan, family);
        if let Some(path) = &self.save {
            files::write(path, &chosen.plan.to_text())?;
        }
        let meter = Meter::new(&chosen.plan, scene.from_ms, self.svg.is_some());
        let (outcome, meter) = chosen.play("playing", meter);
        let measured = meter.report(&chosen.plan, &outcome, &scene.prices);
        if let (Some(path), Some(picture)) = (&self.svg, meter.into_picture()) {
            let svg = picture.svg();
            let svg = svg.map_err(|error| format!("the run cannot be drawn: {error}"))?;
            files::write(path, &svg)?;
        }
        voice.report(|| measured.text(), || measured.json());
        if !outcome.verdict.is_held() {
            let is_plan = self.workload.filter(|_| scene.is_written_out);
            chosen.file = self.save.or(is_plan);
            chosen.schemas = self.schema;
            voice.say(how_to_go_on(&chosen));
        }
        Ok(outcome.verdict.exit_code())
    }

    /// What is played, written out for the oldest version of the schema.
    fn scene(&self, family: &Family) -> Result<Days, String> {
        let mut workload = match read_source(self.workload.as_deref(), family)? {
            Source::Workload(workload) => *workload,
            Source::Plan(plan) if self.days.is_none() && self.seed.is_none() => {
                return Ok(Days {
                    plan,
                    prices: Prices::default(),
                    from_ms: 0,
                    is_written_out: true,
                });
            }
            Source::Plan(_) => {
                return Err(
                    "a plan says its days and its seed; take --days and --seed out, or give a workload"
                        .to_owned(),
                );
            }
        };
        workload.seed = self.seed.unwrap_or(workload.seed);
        if let Some(days) = self.days {
            let longer = workload.with_days(days);
            workload = longer.map_err(|error| error.to_string())?;
        }
        Days::of(&workload, self.workload.as_deref(), family)
    }
}

/// What is played, and how it is counted.
struct Days {
    plan: Plan,
    prices: Prices,
    from_ms: u64,
    is_written_out: bool,
}

impl Days {
    /// What is wrong with a workload comes after the name of its file, if it has one.
    fn of(workload: &Workload, file: Option<&Path>, family: &Family) -> Result<Self, String> {
        let plan = plan(workload, family.first()).map_err(|error| match file {
            Some(file) => format!("{}: {error}", file.display()),
            None => error.to_string(),
        })?;
        Ok(Self {
            plan,
            prices: workload.prices.clone(),
            from_ms: workload.apart_ms(),
            is_written_out: false,
        })
    }
}

/// What to do about a run that failed.
fn how_to_go_on(chosen: &Chosen) -> String {
    match &chosen.file {
        None => "then    the same with --save FILE, to replay, shrink and explain it".to_owned(),
        Some(file) => {
            let explain = report::explain_command(file, &chosen.schemas);
            format!(
                "replay  {}\nwhy     {explain}\nsmall   {}",
                chosen.replay_command(),
                explain.replacen("explain", "shrink", 1)
            )
        }
    }
}

impl Compare {
    pub(super) fn play(self) -> Result<u8, String> {
        let voice = Voice::of(self.json);
        let (left, left_verdict) = self.side("left", &self.left)?;
        let (right, right_verdict) = self.side("right", &self.right)?;
        let rows = rows(&left, &right);
        voice.report(
            || table(&words(&self.left), &words(&self.right), &rows),
            || serde_json::json!({ "left": left, "right": right, "figures": rows }).to_string(),
        );
        for (name, verdict) in [("left", &left_verdict), ("right", &right_verdict)] {
            if !verdict.is_held() {
                voice.say(format!("{name}: {}", report::found(verdict)));
            }
        }
        Ok(graver(left_verdict.exit_code(), right_verdict.exit_code()))
    }

    fn side(&self, name: &str, settings: &[Setting]) -> Result<(Report, Verdict), String> {
        let scene = self.scene(settings)?;
        let horizon_ms = scene.plan.header.horizon_ms;
        let mut progress = Progress::new(format!("playing the {name} side"), horizon_ms);
        Ok(scene.play_and_tell(&mut |t_ms| progress.at(t_ms)))
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
            return Ok(bare(generate(seed, &self.profile)));
        }
        let days = match read_source(path, family)? {
            Source::Plan(plan) => return Ok(bare(plan)),
            Source::Workload(workload) => Days::of(&workload, path, family)?,
        };
        Ok(Scene {
            prices: days.prices,
            from_ms: days.from_ms,
            ..bare(days.plan)
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
