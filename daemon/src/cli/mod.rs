//! The `fieldmesh` command: its arguments, and which module carries out what.
//!
//! All but `init`, `run`, `demo`, `doctor`, the tools for schema files and the file side of `backup` and `restore`
//! are clients of the daemon's HTTP API, the one way in. Data goes to standard output, talk to standard
//! error. Nothing asks a question but `restore --replace` on a terminal. How a command ends is told by
//! [`failure::Exit`].

mod archive;
mod assign;
mod backup;
mod call;
mod client;
mod demo;
mod doctor;
mod events;
mod export;
mod failure;
mod formula;
mod history;
mod import;
mod init;
mod list;
mod offline;
mod output;
mod pages;
#[doc(hidden)]
pub mod probe;
mod progress;
mod record;
mod reply;
mod review;
mod run;
mod schema_file;
mod schema_live;
mod show;
mod status;
mod watch;

use std::borrow::Cow;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::client::{Client, Target};
use self::failure::{Exit, Failure};
use self::output::Output;
use self::schema_file::SchemaCommand;

const EXAMPLES: &str = "\
Examples:
  fieldmesh init --name tablet-1                  make this device's directory
  fieldmesh run                                   start the daemon
  fieldmesh put patient p1 name='Amina Odhiambo'  write a record
  fieldmesh add stock gloves-01 on_hand -3        count down
  fieldmesh get patient p1 --why                  who wrote what, and why it won
  fieldmesh history patient p1                    every edit, and what became of it
  fieldmesh import place places.csv --id geoname_id
  fieldmesh status                                is everything where it should be?

Exit codes: 0 done, 1 failed, 2 usage, 3 no daemon, 4 not found, 5 conflict, 6 not allowed,
7 invalid data, 8 a check found a problem.";

#[derive(Parser, Debug)]
#[command(
    name = "fieldmesh",
    version,
    about = "Records that several devices edit offline and merge when they meet",
    after_help = EXAMPLES,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args, Debug)]
struct Global {
    /// The device's directory [default: $XDG_STATE_HOME/fieldmesh or ~/.local/state/fieldmesh]
    #[arg(long, global = true, env = "FIELDMESH_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The daemon's address [env: FIELDMESH_API]; for `run`, where to serve it, or `none`
    #[arg(long, global = true, value_name = "ADDR")]
    api: Option<String>,
    /// The API's token, when it is reached by --api
    #[arg(long, global = true, env = "FIELDMESH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The space of the records
    #[arg(long, global = true, env = "FIELDMESH_SPACE")]
    space: Option<String>,
    /// Who is at the keyboard, for the others
    #[arg(long, global = true, env = "FIELDMESH_PERSON")]
    person: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Print data and errors only
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more: for `run`, log at debug level
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make this device's directory, key and configuration
    Init(init::InitArgs),
    /// Run the daemon
    Run(run::RunArgs),
    /// How this device is, in one line and then in detail
    Status(status::StatusArgs),
    /// The other devices
    Peers,
    /// Write fields of a record, or a new record
    Put(record::PutArgs),
    /// Add to a counter
    Add(record::AddArgs),
    /// Show a record
    Get(record::GetArgs),
    /// Show every edit of a record, newest first, and what became of it
    History(history::HistoryArgs),
    /// Show the records of a collection
    List(list::ListArgs),
    /// Delete a record; it can be restored
    Delete(record::DeleteArgs),
    /// Bring a deleted record back, or a device from a backup file
    Restore(record::RestoreArgs),
    /// Write this device, keys and secrets included, to one file
    Backup(backup::BackupArgs),
    /// Check the store from the first signature to the last view; the daemon must not run
    Doctor(doctor::DoctorArgs),
    /// Write the rows of a CSV or JSON lines file
    Import(import::ImportArgs),
    /// Write a collection to a CSV or JSON lines file
    Export(export::ExportArgs),
    /// Show changes as they arrive
    Watch(watch::WatchArgs),
    /// Conflicts that wait for a person
    #[command(subcommand)]
    Review(review::ReviewCommand),
    /// Take this device off the network
    Offline,
    /// Bring this device back on the network
    Online,
    /// Three daemons on this machine live through a bad week; shows and checks what they promise
    Demo(demo::DemoArgs),
    /// Schema files, and the versions of the schema in a running fleet
    #[command(subcommand)]
    Schema(SchemaCommand),
}

/// Carries out the command line and tells how it ended.
pub fn main() -> ExitCode {
    match carry_out(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let text = failure.to_string();
            if !text.is_empty() {
                eprintln!("{text}");
            }
            failure.exit.into()
        }
    }
}

fn carry_out(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    let out = Output::new(global.json, global.quiet);
    let dir = match global.dir.clone() {
        Some(dir) => dir,
        None => default_dir()?,
    };
    match command {
        Command::Init(args) => init::init(&dir, &args, out),
        Command::Run(args) => run::run(&dir, global.api, global.verbose, args),
        Command::Schema(command) if !matches!(command, SchemaCommand::Live(_)) => {
            schema_file::schema(&command, &dir, out)
        }
        Command::Demo(args) => runtime()?.block_on(demo::demo(&args, out)),
        Command::Doctor(args) => doctor::doctor(&dir, &args, out),
        Command::Restore(args) if args.is_of_backup() => {
            backup::restore(&dir, &args.of_backup(), out)
        }
        command => {
            // A variable that is set to nothing says nothing.
            let given = |text: Option<String>| text.filter(|text| !text.is_empty());
            let client = Client::new(Target {
                dir,
                api: global
                    .api
                    .or_else(|| given(std::env::var("FIELDMESH_API").ok())),
                token: given(global.token),
                space: given(global.space),
                person: given(global.person),
            })?;
            runtime()?.block_on(ask(&client, command, out))
        }
    }
}

/// What an argument says: itself, or standard input if it is `-`, as far as `bytes_max`.
fn said(argument: &str, bytes_max: u64) -> Result<Cow<'_, str>, Failure> {
    if argument != "-" {
        return Ok(Cow::Borrowed(argument));
    }
    let mut typed = String::new();
    io::stdin()
        .take(bytes_max)
        .read_to_string(&mut typed)
        .map_err(|error| Failure::io("standard input", &error))?;
    Ok(Cow::Owned(typed))
}

/// What a client needs: one thread.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", &error))
}

/// The commands that are clients of the API.
async fn ask(client: &Client, command: Command, out: Output) -> Result<Exit, Failure> {
    match command {
        Command::Status(args) => status::status(client, &args, out).await,
        Command::Peers => status::peers(client, out).await,
        Command::Put(args) => record::put(client, &args, out).await,
        Command::Add(args) => record::add(client, &args, out).await,
        Command::Get(args) => record::get(client, &args, out).await,
        Command::History(args) => history::history(client, &args, out).await,
        Command::List(args) => list::list(client, &args, out).await,
        Command::Delete(args) => record::delete(client, &args, out).await,
        Command::Restore(args) => record::restore(client, &args, out).await,
        Command::Backup(args) => backup::backup(client, client.dir(), &args, out).await,
        Command::Import(args) => import::import(client, args, out).await,
        Command::Export(args) => export::export(client, &args, out).await,
        Command::Watch(args) => watch::watch(client, &args, out).await,
        Command::Review(command) => review::review(client, &command, out).await,
        Command::Offline => status::network(client, false, out).await,
        Command::Online => status::network(client, true, out).await,
        Command::Schema(SchemaCommand::Live(command)) => {
            schema_live::live(client, &command, out).await
        }
        Command::Init(_)
        | Command::Run(_)
        | Command::Schema(_)
        | Command::Demo(_)
        | Command::Doctor(_) => Err(Failure::usage("this command does not talk to a daemon")),
    }
}

/// The service's directory for root and for the service's own user; the user's own otherwise.
fn default_dir() -> Result<PathBuf, Failure> {
    let owner = |path: &Path| std::fs::metadata(path).map(|found| found.uid()).ok();
    let user = owner(Path::new("/proc/self"));
    let service = Path::new("/var/lib/fieldmesh");
    if owner(service).is_some_and(|owner| user == Some(0) || user == Some(owner)) {
        return Ok(service.to_owned());
    }
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute());
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    state
        .or(home)
        .map(|state| state.join("fieldmesh"))
        .ok_or_else(|| {
            Failure::usage("there is no home directory").next("give --dir or FIELDMESH_DIR")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("fieldmesh").chain(line.split(' ')))
    }

    #[test]
    fn the_command_tree_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        assert!(parse("--json status --check").unwrap().global.json);
        assert_eq!(
            parse("status --dir /x").unwrap().global.dir,
            Some("/x".into())
        );
        assert!(parse("status -q -v").is_err());
    }

    #[test]
    fn negative_numbers_and_minus_assignments_are_not_flags() {
        assert!(parse("add stock s1 on_hand -3").is_ok());
        assert!(parse("put stock s1 on_hand-=3").is_ok());
        assert!(parse("add stock s1 on_hand 1.5").is_err());
    }

    #[test]
    fn a_flag_after_the_fields_is_still_a_flag() {
        assert!(parse("put patient p1 name=x --json").unwrap().global.json);
    }

    #[test]
    fn a_review_gets_exactly_one_answer() {
        assert!(parse("review resolve r1 --pick 0").is_ok());
        assert!(parse("review resolve r1 --value -3 --note why").is_ok());
        assert!(parse("review resolve r1").is_err());
        assert!(parse("review resolve r1 --keep --delete").is_err());
    }

    #[test]
    fn joining_needs_the_organisation_and_the_secret() {
        assert!(parse("init").is_ok());
        let organisation = "00".repeat(16);
        assert!(parse(&format!("init --organisation {organisation}")).is_err());
        assert!(parse(&format!("init --organisation {organisation} --join -")).is_ok());
        assert!(
            parse(&format!(
                "init --organisation {organisation} --join - --new"
            ))
            .is_err()
        );
    }
}
