//! Rights (16): no log has an answer that its author's role may not give.
//!
//! It knows an answer by what the change set says and by what people were refused, not by what was asked for.

use crdt_schema::ident::{DeviceId, Dot};
use crdt_schema::op::{Edit, Op};
use crdt_schema::resolution::ReviewSubject;
use crdt_schema::schema::Schema;

use super::{Judged, Oracle};
use crate::plan::DeviceSpec;
use crate::world::World;

pub(super) fn judge(world: &mut World<'_>) -> Judged {
    let mut judged = 0;
    for (dot, entry) in &world.ledger.entries {
        let Some(schema) = world.family.get(entry.set.schema_version) else {
            continue;
        };
        for number in numbers(world, entry.device) {
            let spec = &world.seats[&number].spec;
            let is_refused = |review: &str| {
                let refused = &world.ledger.refused_answers;
                refused.contains(&(number, review.to_owned()))
            };
            for edit in &entry.set.edits {
                let answers = edit.ops.iter().filter(|op| is_answer(op)).count() as u64;
                judged += answers * u64::from(spec.duty.is_some());
                judge_edit(*dot, spec, schema, edit, &is_refused)?;
            }
        }
    }
    world.counts.checks.note(Oracle::Rights, judged);
    Ok(())
}

fn is_answer(op: &Op) -> bool {
    matches!(op, Op::Resolve { .. } | Op::Accept { .. })
}

/// The devices that go by that name.
fn numbers(world: &World<'_>, id: DeviceId) -> Vec<usize> {
    let named = world.seats.values().filter(|seat| seat.id() == id);
    named.map(|seat| seat.spec.device).collect()
}

fn judge_edit(
    dot: Dot,
    author: &DeviceSpec,
    schema: &Schema,
    edit: &Edit,
    is_refused: &impl Fn(&str) -> bool,
) -> Judged {
    let is_forbidden = |op: &Op| match op {
        Op::Resolve { key, .. } => {
            let subject = ReviewSubject::Field { key: key.clone() };
            !author.may_answer(schema, &edit.collection, &subject)
        }
        Op::Accept { review, .. } => is_refused(review),
        Op::Set { .. }
        | Op::Add { .. }
        | Op::Insert { .. }
        | Op::Remove { .. }
        | Op::Delete { .. }
        | Op::Restore { .. } => false,
    };
    match edit.ops.iter().find(|op| is_forbidden(op)) {
        None => Ok(()),
        Some(op) => {
            let detail = format!(
                "device {}, whose people are {:?}, answered in {dot} of {}/{}: {op:?}",
                author.device, author.duty, edit.collection, edit.id
            );
            Err((Oracle::Rights, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use crdt_schema::ident::LogId;
    use crdt_schema::value::Value;

    use super::*;

    fn judged(duty: Option<&str>, collection: &str, op: Op) -> Judged {
        let author = DeviceSpec {
            duty: duty.map(str::to_owned),
            ..DeviceSpec::default()
        };
        let edit = Edit {
            collection: collection.to_owned(),
            id: "p1".to_owned(),
            deps: Vec::new(),
            ops: vec![op],
        };
        let schema = crate::plan::schema().unwrap();
        let dot = Dot::new(LogId([1; 16]), 1);
        judge_edit(dot, &author, &schema, &edit, &|review| review == "refused")
    }

    #[test]
    fn an_answer_is_for_those_whose_role_may_give_it() {
        let resolve = || Op::Resolve {
            key: "diagnosis".to_owned(),
            value: Value::Text("malaria".to_owned()),
            note: String::new(),
        };
        for duty in [None, Some("lead"), Some("nurse")] {
            assert_eq!(judged(duty, "patient", resolve()), Ok(()));
        }

        let (oracle, why) = judged(Some("clerk"), "patient", resolve()).unwrap_err();

        assert_eq!(oracle, Oracle::Rights);
        assert!(why.contains("clerk"), "{why}");
    }

    #[test]
    fn what_a_person_was_refused_to_accept_is_not_accepted_in_their_name() {
        let accept = |review: &str| Op::Accept {
            review: review.to_owned(),
            note: String::new(),
        };

        assert_eq!(judged(Some("nurse"), "patient", accept("allowed")), Ok(()));
        assert!(judged(Some("nurse"), "patient", accept("refused")).is_err());
    }
}
