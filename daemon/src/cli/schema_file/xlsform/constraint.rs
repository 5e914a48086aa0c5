//! The constraints of a form that a schema can say: a least and a greatest value.

/// Greatest bound that a schema takes: up to here floats tell integers apart.
const BOUND_MAX: f64 = 9_007_199_254_740_992.0;

/// What a constraint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// A whole number.
    Whole,
    /// Any number.
    Decimal,
    /// A text's length.
    Length,
}

/// The bounds of a constraint, and the parts of it that are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bounds {
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) rest: Vec<String>,
}

/// Reads a constraint such as `. >= 0 and . <= 120`. A part that is not a bound of `measure` is kept
/// as it stands.
pub(super) fn read(constraint: &str, measure: Measure) -> Bounds {
    let mut bounds = Bounds::default();
    for part in parts(constraint) {
        match comparison(part, measure).and_then(|(sign, number)| bound(sign, number, measure)) {
            Some((Some(min), None)) => {
                bounds.min = Some(bounds.min.map_or(min, |had| had.max(min)))
            }
            Some((None, Some(max))) => {
                bounds.max = Some(bounds.max.map_or(max, |had| had.min(max)))
            }
            Some((Some(only), Some(_))) => (bounds.min, bounds.max) = (Some(only), Some(only)),
            _ => bounds.rest.push(part.to_owned()),
        }
    }
    if bounds
        .min
        .zip(bounds.max)
        .is_some_and(|(min, max)| min > max)
    {
        return Bounds {
            rest: vec![constraint.trim().to_owned()],
            ..Bounds::default()
        };
    }
    bounds
}

/// The parts that all must hold. Where something else may hold instead, the whole is one part.
fn parts(constraint: &str) -> Vec<&str> {
    let words = constraint.split_ascii_whitespace();
    let alternatives = words.clone().any(|word| word.eq_ignore_ascii_case("or"));
    if alternatives {
        return vec![constraint.trim()];
    }
    let mut parts = Vec::new();
    let mut from = 0;
    for word in words {
        if word.eq_ignore_ascii_case("and") {
            // The word is a slice of the constraint, so its place is the distance of their starts.
            let at = word.as_ptr() as usize - constraint.as_ptr() as usize;
            parts.push(&constraint[from..at]);
            from = at + word.len();
        }
    }
    parts.push(&constraint[from..]);
    parts
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

/// `. >= 3` or `3 <= .`, with the value on the left.
fn comparison(part: &str, measure: Measure) -> Option<(&'static str, f64)> {
    const SIGNS: [(&str, &str); 5] = [
        (">=", "<="),
        ("<=", ">="),
        (">", "<"),
        ("<", ">"),
        ("=", "="),
    ];
    let part = unwrapped(part);
    let (at, (sign, turned)) = SIGNS
        .iter()
        .find_map(|&signs| Some((part.find(signs.0)?, signs)))?;
    let (left, right) = (part[..at].trim(), part[at + sign.len()..].trim());
    let is_value = |side: &str| match measure {
        Measure::Whole | Measure::Decimal => side == ".",
        Measure::Length => side.replace(' ', "") == "string-length(.)",
    };
    let (sign, number) = if is_value(left) {
        (sign, right)
    } else if is_value(right) {
        (turned, left)
    } else {
        return None;
    };
    let number: f64 = number.parse().ok()?;
    (number.abs() <= BOUND_MAX).then_some((sign, number))
}

/// The part without brackets around all of it.
fn unwrapped(part: &str) -> &str {
    let inner = part
        .strip_prefix('(')
        .and_then(|part| part.strip_suffix(')'));
    inner
        .filter(|inner| !inner.contains(['(', ')']))
        .map_or(part, str::trim)
}

/// The least and the greatest value that a comparison leaves. `None` if it leaves no such.
fn bound(sign: &str, number: f64, measure: Measure) -> Option<(Option<f64>, Option<f64>)> {
    let whole = measure != Measure::Decimal;
    let (min, max) = match sign {
        ">=" if whole => (Some(number.ceil()), None),
        "<=" if whole => (None, Some(number.floor())),
        ">" if whole => (Some(number.floor() + 1.0), None),
        "<" if whole => (None, Some(number.ceil() - 1.0)),
        ">=" => (Some(number), None),
        "<=" => (None, Some(number)),
        "=" if !whole || number.fract() == 0.0 => (Some(number), Some(number)),
        // Of decimals there is no least one above a number.
        _ => return None,
    };
    let negative = |bound: Option<f64>| bound.is_some_and(|bound| bound < 0.0);
    if measure == Measure::Length && (negative(min) || negative(max)) {
        return None;
    }
    Some((min, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(text: &str, measure: Measure) -> (Option<f64>, Option<f64>) {
        let bounds = read(text, measure);
        assert_eq!(bounds.rest, [] as [&str; 0], "{text}");
        (bounds.min, bounds.max)
    }

    #[test]
    fn simple_constraints_become_bounds() {
        for (text, min, max) in [
            (". >= 0 and . <= 120", Some(0.0), Some(120.0)),
            (".>=0 AND .<=120", Some(0.0), Some(120.0)),
            ("(. > 0) and (. < 10)", Some(1.0), Some(9.0)),
            ("0 <= . and 5.5 >= .", Some(0.0), Some(5.0)),
            (". = 7", Some(7.0), Some(7.0)),
            (". >= 1 and . >= 3", Some(3.0), None),
        ] {
            assert_eq!(bounds(text, Measure::Whole), (min, max), "{text}");
        }
        assert_eq!(bounds(". >= 0.5", Measure::Decimal), (Some(0.5), None));
        assert_eq!(
            bounds("string-length( . ) <= 20", Measure::Length),
            (None, Some(20.0))
        );
    }

    #[test]
    fn what_is_not_a_bound_is_kept_in_words() {
        for (text, measure) in [
            ("regex(., '^[0-9]+$')", Measure::Length),
            (". > ${other}", Measure::Whole),
            (". < 3 or . > 7", Measure::Whole),
            (". > 0", Measure::Decimal),
            (". != 3", Measure::Whole),
            (". >= 9 and . <= 3", Measure::Whole),
            (". >= 1e300", Measure::Whole),
            (". <= today()", Measure::Decimal),
            ("string-length(.) < 0", Measure::Length),
        ] {
            assert_eq!(
                read(text, measure),
                Bounds {
                    rest: vec![text.to_owned()],
                    ..Bounds::default()
                }
            );
        }
        let both = read(". >= 0 and selected(${x}, 'a')", Measure::Whole);
        assert_eq!((both.min, both.rest.len()), (Some(0.0), 1));
    }
}
