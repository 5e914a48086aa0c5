//! The bytes of one field's value.

use crdt_schema::value::Value;

use super::WireError;
use super::codec::{Reader, Writer};
use super::limits::TEXT_BYTES_MAX;

pub(super) const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INTEGER: u8 = 3;
/// A number that is short in decimal: its digits, and how many follow the point.
pub(super) const DECIMAL: u8 = 4;
/// Any other number.
pub(super) const FLOAT: u8 = 5;
const TEXT: u8 = 6;
const JSON: u8 = 7;

/// Writes a value: its tag, then what the tag calls for.
pub(super) fn write_value(writer: &mut Writer, value: &Value) {
    match value {
        Value::Null => writer.byte(NULL),
        Value::Bool(false) => writer.byte(FALSE),
        Value::Bool(true) => writer.byte(TRUE),
        Value::Integer(integer) => {
            writer.byte(INTEGER);
            writer.signed(*integer);
        }
        Value::Number(number) => match decimal(*number) {
            Some((digits, places)) => {
                writer.byte(DECIMAL);
                writer.byte(places);
                writer.signed(digits);
            }
            None => {
                writer.byte(FLOAT);
                writer.float(*number);
            }
        },
        Value::Text(text) => {
            writer.byte(TEXT);
            writer.text(text);
        }
        Value::Json(text) => {
            writer.byte(JSON);
            writer.text(text);
        }
    }
}

/// Reads a value. Whether it is one that may stand in a change set, and in its only form, is for the
/// caller to check.
pub(super) fn read_value(reader: &mut Reader<'_>) -> Result<Value, WireError> {
    match reader.byte("value")? {
        NULL => Ok(Value::Null),
        FALSE => Ok(Value::Bool(false)),
        TRUE => Ok(Value::Bool(true)),
        INTEGER => Ok(Value::Integer(reader.signed("integer")?)),
        DECIMAL => {
            let places = usize::from(reader.byte("decimal")?);
            let power = POWERS.get(places).ok_or(WireError::Malformed("decimal"))?;
            Ok(Value::Number(reader.signed("decimal")? as f64 / power))
        }
        FLOAT => Ok(Value::Number(reader.float("number")?)),
        TEXT => Ok(Value::Text(reader.text("text", TEXT_BYTES_MAX)?.to_owned())),
        JSON => Ok(Value::Json(reader.text("json", TEXT_BYTES_MAX)?.to_owned())),
        _ => Err(WireError::Malformed("value")),
    }
}

/// The powers of ten that a decimal may be divided by, exact as floats.
const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Beyond this many digits (41 bits) the decimal form would not be shorter than eight bytes.
const DIGITS_MAX: u64 = 1 << 41;

/// The number as digits and decimal places, if that gives back exactly this number and is short. What
/// people and sensors enter nearly always is. Multiplication, division and rounding are exact by
/// IEEE 754, so every device finds the same form.
fn decimal(number: f64) -> Option<(i64, u8)> {
    (0_u8..).zip(POWERS).find_map(|(places, power)| {
        let digits = (number * power).round() as i64;
        let same = (digits as f64 / power).to_bits() == number.to_bits();
        (same && digits.unsigned_abs() < DIGITS_MAX).then_some((digits, places))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(value: &Value) -> Vec<u8> {
        let mut writer = Writer::new();
        write_value(&mut writer, value);
        writer.into_bytes()
    }

    #[test]
    fn short_decimals_are_short() {
        assert_eq!(bytes(&Value::Number(0.0)), [DECIMAL, 0, 0]);
        assert_eq!(bytes(&Value::Number(1.5)), [DECIMAL, 1, 30]);
        assert_eq!(bytes(&Value::Number(36.821946)).len(), 2 + 4);
        assert_eq!(bytes(&Value::Number(-7.0)), [DECIMAL, 0, 13]);
    }

    #[test]
    fn other_numbers_take_eight_bytes() {
        for number in [
            1.0 / 3.0,
            1e300,
            5e-324,
            f64::MAX,
            -0.0,
            f64::INFINITY,
            f64::NAN,
        ] {
            assert_eq!(bytes(&Value::Number(number)).len(), 1 + 8, "{number}");
        }
    }

    proptest! {
        #[test]
        fn every_number_comes_back_to_the_bit(
            number in prop_oneof![
                any::<f64>(),
                (any::<i64>(), 0_usize..10).prop_map(|(n, p)| n as f64 / POWERS[p]),
                (any::<i32>(), 0_usize..10).prop_map(|(n, p)| f64::from(n) / POWERS[p]),
            ]
        ) {
            let bytes = bytes(&Value::Number(number));
            let read = read_value(&mut Reader::new(&bytes));
            let Ok(Value::Number(read)) = read else { panic!("{read:?}") };
            prop_assert_eq!(read.to_bits(), number.to_bits());
            prop_assert!(bytes.len() <= 9);
        }
    }
}
