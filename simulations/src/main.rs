//! `cargo sim -- --seed N --runs M --devices D`: plays fleets and says what held.

use std::process::ExitCode;

use simulations::{Options, run};

fn main() -> ExitCode {
    let mut options = Options::default();
    let mut runs = 1;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = words.next().and_then(|text| text.parse::<u64>().ok());
        match (word.as_str(), number) {
            ("--seed", Some(seed)) => options.seed = seed,
            ("--runs", Some(count)) => runs = count,
            ("--devices", Some(count)) if count >= 2 => options.devices = count as usize,
            ("--writes", Some(count)) => options.writes = count,
            _ => {
                eprintln!("usage: cargo sim -- [--seed N] [--runs N] [--devices N≥2] [--writes N]");
                return ExitCode::from(2);
            }
        }
    }
    for _ in 0..runs {
        println!(
            "seed {} devices {} writes {}",
            options.seed, options.devices, options.writes
        );
        match run(&options) {
            Ok(outcome) => println!("  PASS {outcome}"),
            Err(failure) => {
                println!("  FAIL {failure}");
                println!(
                    "replay: cargo sim -- --seed {} --devices {} --writes {}",
                    options.seed, options.devices, options.writes
                );
                return ExitCode::FAILURE;
            }
        }
        options.seed += 1;
    }
    ExitCode::SUCCESS
}
