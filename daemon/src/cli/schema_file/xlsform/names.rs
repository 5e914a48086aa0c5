//! Names of a form made into names of a schema: legal, and each given once.

use std::collections::BTreeSet;

use crdt_schema::ident::{KEY_BYTES_MAX, check_key};

/// The name of the record's id in exports and imports, which no field should take.
const ID: &str = "id";

/// Names that are taken.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// A free legal name as near to `wanted` as can be; it is taken from then on.
    pub(super) fn take(&mut self, wanted: &str, otherwise: &str) -> String {
        let base = legal(wanted, otherwise);
        let base = if base == ID {
            "form_id".to_owned()
        } else {
            base
        };
        let numbered = (2_u32..).map(|number| {
            let suffix = format!("_{number}");
            let room = base.len().min(KEY_BYTES_MAX - suffix.len());
            format!("{}{suffix}", &base[..room])
        });
        let free = std::iter::once(base.clone())
            .chain(numbered)
            .find(|name| !self.taken.contains(name));
        let name = free.unwrap_or(base);
        self.taken.insert(name.clone());
        name
    }
}

/// The text as a legal name; `otherwise` if nothing of it can stand in one.
pub(super) fn legal(text: &str, otherwise: &str) -> String {
    if check_key(text).is_ok() {
        return text.to_owned();
    }
    let mut name = String::new();
    for c in text.trim().chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            name.push(c);
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_matches('_');
    let name = match name.chars().next() {
        None => otherwise.to_owned(),
        Some(first) if first.is_ascii_digit() => format!("n{name}"),
        Some(_) => name.to_owned(),
    };
    // Only ASCII is left, so every byte is a character.
    name.chars().take(KEY_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_legal_and_stay_different() {
        let mut names = Names::default();
        let long = "x".repeat(80);

        let given: Vec<String> = [
            "Full Name",
            "full-name",
            "1st",
            "ñ",
            "id",
            "ok_1",
            &long,
            &long,
        ]
        .iter()
        .map(|name| names.take(name, "field"))
        .collect();

        assert_eq!(
            given[..6],
            [
                "full_name",
                "full_name_2",
                "n1st",
                "field",
                "form_id",
                "ok_1"
            ]
        );
        assert!(
            given.iter().all(|name| check_key(name).is_ok()),
            "{given:?}"
        );
        assert!(given[7].ends_with("x_2") && given[7].len() == KEY_BYTES_MAX);
    }
}
