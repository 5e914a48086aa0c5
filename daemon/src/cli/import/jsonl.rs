//! Rows of a file of JSON lines: one object a line, its members the fields.
//!
//! A member that is `null` clears its field; one that is missing says nothing about it. A counter's
//! number is the value that it shall have, not an amount to add.

use crdt_schema::intent::ops_from_patch;
use crdt_schema::json_line::complaint;
use crdt_schema::schema::FieldType;
use serde_json::{Map, Value as Json};

use super::check::{self, Bad, Ready, Rules};

/// A file of JSON lines.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    rules: Rules<'a>,
    bytes: &'a [u8],
    id: Option<&'a str>,
    renames: &'a [(String, String)],
}

impl<'a> Lines<'a> {
    /// The rows of `bytes`. Without `id` a member `id` is the record's id if it is there.
    pub(super) fn new(
        rules: Rules<'a>,
        bytes: &'a [u8],
        id: Option<&'a str>,
        renames: &'a [(String, String)],
    ) -> Self {
        Self {
            rules,
            bytes,
            id,
            renames,
        }
    }

    /// The name of the member that holds the ids.
    pub(super) fn id_name(&self) -> &str {
        self.id.unwrap_or("id")
    }

    /// Every line that is not blank.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<Ready, Vec<Bad>>> + '_ {
        let lines = self.bytes.split(|byte| *byte == b'\n').enumerate();
        let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        lines
            .enumerate()
            .map(|(row, (index, line))| self.row(index as u64 + 1, row as u64 + 1, line))
    }

    fn row(&self, line: u64, number: u64, bytes: &[u8]) -> Result<Ready, Vec<Bad>> {
        let members: Map<String, Json> = serde_json::from_slice(bytes).map_err(|error| {
            let shown = String::from_utf8_lossy(bytes);
            let reason = format!("is not a JSON object: {}", complaint(&error));
            let bad = Bad::new(line, shown.trim(), reason);
            vec![Bad {
                column: Some(error.column() as u64),
                ..bad
            }]
        })?;
        let mut bad = Vec::new();
        let id = self.id(&members, number).unwrap_or_else(|reason| {
            let value = members.get(self.id_name()).unwrap_or(&Json::Null);
            bad.push(Bad::new(line, &value.to_string(), reason).at(None, self.id_name()));
            String::new()
        });
        let mut patch = Map::new();
        let mut counters = Vec::new();
        for (member, value) in members {
            let Some(name) = self.field_name(&member) else {
                continue;
            };
            let field = self.rules.collection.fields.get(&name);
            match field.filter(|field| field.kind == FieldType::Counter) {
                Some(field) => match check::counter(field, value.as_i64()) {
                    Ok(value) => counters.push((name, value)),
                    Err(reason) => {
                        bad.push(Bad::new(line, &value.to_string(), reason).at(None, &member));
                    }
                },
                None => {
                    patch.insert(name, value);
                }
            }
        }
        for error in ops_from_patch(self.rules.collection, &patch)
            .err()
            .unwrap_or_default()
        {
            let name = error.pointer.trim_start_matches('/');
            let value = patch.get(name).map(Json::to_string).unwrap_or_default();
            bad.push(Bad::new(line, &value, check::reason(&error)).at(None, name));
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        let lacks = self.rules.lacking(|name| patch.contains_key(name));
        Ok(Ready {
            line,
            id,
            patch,
            counters,
            lacks,
        })
    }

    fn id(&self, members: &Map<String, Json>, number: u64) -> Result<String, String> {
        match members.get(self.id_name()) {
            Some(Json::String(id)) => check::id(id),
            // Numbering systems of others are often written as numbers.
            Some(Json::Number(id)) if id.is_i64() || id.is_u64() => check::id(&id.to_string()),
            None if self.id.is_none() => Ok(self.rules.made_id(number)),
            None => Err("the id is missing".to_owned()),
            Some(_) => Err("an id is a text or a whole number".to_owned()),
        }
    }

    /// The field that a member is for; `None` leaves the member out.
    fn field_name(&self, member: &str) -> Option<String> {
        let target = self
            .renames
            .iter()
            .find(|(from, _)| from == member)
            .map(|(_, to)| to.as_str());
        match target {
            Some("") => None,
            Some(name) => Some(name.to_owned()),
            None if member == self.id_name()
                && !self.rules.collection.fields.contains_key(member) =>
            {
                None
            }
            None => Some(member.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt_schema::schema::Schema;

    const SCHEMA: &str = "schema = \"s\"\nversion = 1\n[collections.stock.fields]\n\
        item = { type = \"text\", required = true }\non_hand = { type = \"counter\", min = 0 }\n\
        tags = { type = \"set\", of = \"text\" }\n";

    fn rows(text: &str, id: Option<&str>) -> Vec<Result<Ready, Vec<Bad>>> {
        let schema = Schema::parse(SCHEMA).unwrap();
        let collection = schema.collection("stock").unwrap();
        let rules = Rules {
            collection,
            file: [0; 32],
        };
        Lines::new(rules, text.as_bytes(), id, &[]).rows().collect()
    }

    #[test]
    fn members_become_fields_and_counters_become_targets() {
        let rows = rows(
            "{\"id\":7,\"item\":\"gloves\",\"on_hand\":12,\"tags\":[\"a\"]}\n\n",
            None,
        );

        let row = rows[0].as_ref().unwrap();
        assert_eq!((rows.len(), row.line, row.id.as_str()), (1, 1, "7"));
        assert_eq!(row.counters, [("on_hand".to_owned(), 12)]);
        assert_eq!(
            Json::from(row.patch.clone()),
            serde_json::json!({"item":"gloves","tags":["a"]})
        );
        assert_eq!(row.lacks, None);
    }

    #[test]
    fn every_problem_of_a_line_is_reported_with_its_member() {
        let rows = rows(
            "{\"id\":\"a b\",\"item\":3,\"on_hand\":-1,\"colour\":\"red\"}",
            None,
        );

        let bad = rows[0].as_ref().unwrap_err();
        let names: Vec<_> = bad.iter().map(|bad| bad.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["id", "on_hand", "item", "colour"]);
    }

    #[test]
    fn broken_json_is_reported_with_its_line_and_column() {
        let rows = rows("{\"item\":\"a\"}\n{\"item\":}\n[1]\n\u{0}\n", None);

        let bad = rows.iter().filter_map(|row| row.as_ref().err());
        let places: Vec<_> = bad.map(|bad| (bad[0].line, bad[0].column)).collect();
        assert_eq!(places[0], (2, Some(9)));
        assert_eq!(places.iter().map(|p| p.0).collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn a_named_id_must_be_there_and_an_unnamed_one_is_made() {
        assert!(rows("{\"item\":\"a\"}", Some("code"))[0].is_err());
        assert_eq!(
            rows("{\"item\":\"a\"}", None)[0].as_ref().unwrap().id.len(),
            32
        );
    }
}
