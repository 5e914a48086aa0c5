//! How much a workload would write out, before anything is: so that nobody's memory is filled with it.

use crdt_schema::schema::{Collection, FieldType, Schema};

use toml::Spanned;

use super::{Work, Workload, WorkloadError, values};

/// Most operations of a workload.
pub const OPERATIONS_MAX: usize = 500_000;
/// Most bytes of what people write in all of them.
pub const PLAN_BYTES_MAX: usize = 1 << 30;
/// About what an operation takes besides the texts that people write, in bytes.
const OPERATION_BYTES: f64 = 200.0;

/// What all do together, in the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Size {
    operations: f64,
    bytes: f64,
}

/// Whether there is room for what all do.
///
/// # Errors
/// That there is not, at the collection where most is done.
pub(super) fn check(workload: &Workload, schema: &Schema) -> Result<(), WorkloadError> {
    let mut total = answers(workload);
    let mut most: Option<(&str, Size)> = None;
    for collection in schema.collections.values() {
        let size = of_collection(workload, collection);
        total.operations += size.operations;
        total.bytes += size.bytes;
        if most.is_none_or(|(_, most)| size.bytes > most.bytes) {
            most = Some((&collection.name, size));
        }
    }
    let name = most.map_or("", |(name, _)| name);
    let what = if total.operations > OPERATIONS_MAX as f64 {
        format!(
            "about {:.0} operations, more than {OPERATIONS_MAX}, most of them of {name}; lower the rates, the days or the devices",
            total.operations
        )
    } else if total.bytes > PLAN_BYTES_MAX as f64 {
        format!(
            "people would write about {:.0} MB, more than {} MB, most of it in {name}; lower its text, the rates or the days",
            total.bytes / 1e6,
            PLAN_BYTES_MAX / 1_000_000
        )
    } else {
        return Ok(());
    };
    let mut named = workload.collections.keys();
    let place = named.find(|known| known.get_ref() == name);
    let place = place.map_or_else(|| workload.days.span(), Spanned::span);
    Err(workload.wrong(place, what))
}

fn answers(workload: &Workload) -> Size {
    let mut operations = 0.0;
    for supervisor in &workload.supervisors {
        let desks = workload.members(supervisor.group.get_ref()).len();
        operations += desks as f64 * *supervisor.per_day.get_ref() as f64;
    }
    let operations = operations * *workload.days.get_ref() as f64;
    Size {
        operations,
        bytes: operations * OPERATION_BYTES,
    }
}

fn of_collection(workload: &Workload, collection: &Collection) -> Size {
    let work = workload.work(&collection.name);
    let users = workload.users(&work).len();
    if users == 0 {
        return Size::default();
    }
    let in_all = |rate: f64| rate * users as f64 * *workload.days.get_ref() as f64;
    let creates = *work.start.get_ref() as f64 + in_all(*work.creates.get_ref());
    let others = match users {
        1 => 0.0,
        _ => *work.same_record_percent.get_ref() as f64 / 100.0,
    };
    let edits = in_all(*work.edits.get_ref()) * (1.0 + others);
    let deletes = in_all(*work.deletes.get_ref());
    let operations = creates + edits + deletes;
    let [record, edit] = texts(collection, &work);
    Size {
        operations,
        bytes: operations * OPERATION_BYTES + creates * record + edits * edit,
    }
}

/// About how many bytes of texts a new record has, and an edit.
fn texts(collection: &Collection, work: &Work) -> [f64; 2] {
    let fields = collection.fields.values();
    let texts = fields.filter(|field| field.kind == FieldType::Text);
    let lengths = texts.map(|field| {
        let [least, most] = values::lengths(field, work);
        (least + most) as f64 / 2.0
    });
    let lengths: Vec<f64> = lengths.collect();
    let record: f64 = lengths.iter().sum();
    let changed = *work.fields_per_edit.get_ref() as f64 / collection.fields.len().max(1) as f64;
    [record, record * changed.min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::plan;

    fn wrong(text: &str) -> String {
        let schema = crate::plan::schema().unwrap();
        let workload = Workload::read(text, &schema).unwrap();
        let error = plan(&workload, &schema).err();
        error.map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_too_much_is_refused_before_it_is_written_out() {
        // 500 devices that create, edit and delete 500 times a day for a year: 274.5 million for each collection.
        let all =
            "days = 366\nwho = [{ name = \"a\", count = 500 }]\nwhere.near = [{ group = \"a\" }]\n";
        let busy = "[collections.visit]\ncreates = 500\nedits = 500\ndeletes = 500\ntext = [20000, 20000]\n";
        let told = wrong(&format!("{all}{busy}"));
        assert!(
            told.contains("operations, more than 500000, most of them of visit"),
            "{told}"
        );
        assert!(told.contains("line 4, column 14"), "{told}");

        // 8 people make 500 patients a day for 20 days, each with two texts that have no upper bound.
        let long = "days = 20\n[collections.patient]\ncreates = 500\ntext = [20000, 20000]\n";
        let told = wrong(long);
        assert!(
            told.contains("more than 1073 MB, most of it in patient"),
            "{told}"
        );
        assert!(told.contains("line 2, column 14"), "{told}");
    }

    #[test]
    fn more_contacts_than_fit_are_refused_at_their_line() {
        // Each market of 500 has 124,750 contacts, so the ninth is too many.
        let told = wrong(
            "days = 20\nwho = [{ name = \"a\", count = 500 }]\n[where]\nmarket = [{ every_days = 2 }]\n[collections]\npatient = { edits = 1 }\n",
        );
        assert!(told.contains("more than 1000000 contacts"), "{told}");
        assert!(told.contains("line 4, column 11"), "{told}");
    }

    #[test]
    fn people_who_are_looked_at_too_often_are_refused_at_their_line() {
        let told = wrong(
            "days = 366\nwho = [{ name = \"a\", count = 500 }]\n[where]\nwaypoint = [{ area_m = 1, range_m = 1, speed_min_mm_s = 1, speed_max_mm_s = 9, pause_max_min = 0, step_s = 1, class = \"ble\" }]\n[collections]\npatient = { edits = 1, creates = 0 }\nvisit = { edits = 0, creates = 0 }\nstock = { edits = 0, creates = 0 }\n",
        );
        assert!(told.contains("choose a longer step_s"), "{told}");
        assert!(told.contains("line 4"), "{told}");
    }
}
