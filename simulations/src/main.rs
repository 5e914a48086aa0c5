//! `cargo sim`: plays simulated fleets and says what held; see [`command`].

mod command;

use std::panic;
use std::process::ExitCode;

use clap::Parser;
use command::{CRASHED, Cli, NOT_TESTED};

/// A thousand engines make and drop many small things of many sizes: a quarter of a large run's time with the
/// system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The database panics on some damaged pages, and the store takes that for damage: whoever plays fleets with disks
/// that rot need not read of it. Other panics are shown.
fn quiet_the_database() {
    let show = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let of_database = panic
            .location()
            .is_some_and(|at| at.file().contains("redb-"));
        if !of_database {
            show(panic);
        }
    }));
}

fn main() -> ExitCode {
    quiet_the_database();
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            // There is nowhere to say that nothing can be printed.
            let _ = error.print();
            let is_asked_for = !error.use_stderr();
            return ExitCode::from(if is_asked_for { 0 } else { NOT_TESTED });
        }
    };
    match panic::catch_unwind(|| command.play()) {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(why)) => {
            eprintln!("sim: {why}");
            ExitCode::from(NOT_TESTED)
        }
        // The hook has said what panicked, and where.
        Err(_) => ExitCode::from(CRASHED),
    }
}
