//! A handful of seeds that run with every `cargo test`.

use simulations::{Options, run};

#[test]
fn fleets_of_three_settle_with_nothing_lost() {
    for seed in 1..=12 {
        let options = Options {
            seed,
            ..Options::default()
        };
        let outcome = run(&options).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert!(outcome.saved > 0, "seed {seed} wrote nothing");
    }
}

#[test]
fn the_faults_and_conflicts_that_matter_are_reached() {
    let outcomes: Vec<_> = (100..110)
        .filter_map(|seed| {
            run(&Options {
                seed,
                ..Options::default()
            })
            .ok()
        })
        .collect();

    assert_eq!(outcomes.len(), 10);
    assert!(outcomes.iter().any(|outcome| outcome.kills > 0));
    assert!(outcomes.iter().any(|outcome| outcome.cuts > 0));
    assert!(outcomes.iter().any(|outcome| outcome.reviews > 0));
    assert!(outcomes.iter().any(|outcome| outcome.refused > 0));
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    let options = Options {
        seed: 42,
        devices: 4,
        writes: 40,
    };

    assert_eq!(run(&options), run(&options));
    let other = run(&Options {
        seed: 43,
        ..options
    });
    assert_ne!(run(&options).map(|o| o.digest), other.map(|o| o.digest));
}
