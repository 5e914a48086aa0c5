//! The name that a person probably meant.
//!
//! Distance is the number of letters typed wrong, missing, added or swapped with their neighbour,
//! ignoring case. Work is bounded whatever the word: it may come from a client.

/// Words longer than this are nobody's typing mistake.
const WORD_CHARS_MAX: usize = 64;

/// The candidate closest to `word`, if one is close enough to be suggested. The first of equals
/// wins.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = letters(word)?;
    let tolerated = (word.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let Some(letters) = letters(candidate) else {
            continue;
        };
        if word.len().abs_diff(letters.len()) > tolerated {
            continue;
        }
        let distance = distance(&word, &letters);
        let closer = best.is_none_or(|(least, _)| distance < least);
        if distance <= tolerated && distance < letters.len() && closer {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Advice about an unknown name: the nearest of `names`, or all of them if none is near.
pub(crate) fn advice(word: &str, names: &[&str]) -> String {
    advice_or(word, names, || format!("known: {}", listed(names)))
}

/// Advice about an unknown name: the nearest of `names`, or what is said if none is near.
pub(crate) fn advice_or(word: &str, names: &[&str], otherwise: impl FnOnce() -> String) -> String {
    match nearest(word, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => otherwise(),
    }
}

/// Names for people: `` `a`, `b` and `c` ``, cut short when there are many.
pub(crate) fn listed(names: &[&str]) -> String {
    const SHOWN_MAX: usize = 12;
    let quoted: Vec<String> = names
        .iter()
        .take(SHOWN_MAX)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.len() > SHOWN_MAX {
        return format!("{} and {} more", quoted.join(", "), names.len() - SHOWN_MAX);
    }
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

fn letters(word: &str) -> Option<Vec<char>> {
    let letters: Vec<char> = word
        .chars()
        .take(WORD_CHARS_MAX + 1)
        .flat_map(char::to_lowercase)
        .collect();
    (1..=WORD_CHARS_MAX)
        .contains(&letters.len())
        .then_some(letters)
}

/// The optimal string alignment distance, over three rows of the usual table.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let wrong = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (last[j - 1] + wrong).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_find_the_name_that_was_meant() {
        let names = ["required", "default", "merge", "min", "max", "of"];
        for (typed, meant) in [
            ("requird", "required"),
            ("Required", "required"),
            ("reqiured", "required"),
            ("defualt", "default"),
            ("mreeg", "merge"),
            ("mx", "max"),
        ] {
            assert_eq!(
                nearest(typed, names),
                (typed != "mreeg").then_some(meant),
                "{typed}"
            );
        }
    }

    #[test]
    fn unlike_and_endless_words_suggest_nothing() {
        assert_eq!(nearest("colour", ["required", "of", "to"]), None);
        assert_eq!(nearest("", ["of"]), None);
        assert_eq!(nearest("x", ["a", "b"]), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), ["x"]), None);
    }

    #[test]
    fn lists_read_as_prose_and_are_cut() {
        assert_eq!(listed(&[]), "none");
        assert_eq!(listed(&["a"]), "`a`");
        assert_eq!(listed(&["a", "b", "c"]), "`a`, `b` and `c`");
        assert!(listed(&["x"; 20]).ends_with("and 8 more"));
    }
}
