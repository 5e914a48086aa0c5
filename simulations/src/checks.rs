//! How often each oracle was asked: one that was asked of nothing has not held.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::oracle::Oracle;

/// Counts of checks, by the name of the oracle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Checks(BTreeMap<&'static str, u64>);

impl Checks {
    /// Notes that an oracle was asked so often.
    pub fn note(&mut self, oracle: Oracle, times: u64) {
        if times > 0 {
            *self.0.entry(oracle.name()).or_default() += times;
        }
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (name, times) in &other.0 {
            *self.0.entry(name).or_default() += times;
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The oracles that were not asked.
    pub fn not_asked(&self) -> Vec<Oracle> {
        let all = Oracle::ALL.into_iter();
        all.filter(|oracle| !self.0.contains_key(oracle.name()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oracle_that_was_asked_of_nothing_was_not_asked() {
        let (mut one, mut other) = (Checks::default(), Checks::default());
        one.note(Oracle::Order, 3);
        one.note(Oracle::Rights, 0);
        other.note(Oracle::Order, 2);
        other.note(Oracle::Clock, 1);

        assert!(one.not_asked().contains(&Oracle::Rights));
        assert!(!one.not_asked().contains(&Oracle::Order));
        one.add(&other);
        assert_eq!(
            (one.total(), one.not_asked().len()),
            (6, Oracle::ALL.len() - 2)
        );
    }
}
