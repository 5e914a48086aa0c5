//! What real encoders write, to begin with; and the schemas and records that targets read against.
//!
//! Nothing here is drawn at random but the scripts of those targets whose input is a script.

mod bytes;
mod texts;

use std::sync::{Arc, LazyLock};

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::OrganisationId;
use crdt_schema::resolution::{Life, RecordView};
use crdt_schema::schema::{Collection, Schema};
use ed25519_dalek::SigningKey;
use fieldmesh::store::StoreOptions;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::json;

const SCHEMA_1: &str = include_str!("../../golden/format-1/schema-1.toml");
const SCHEMA_2: &str = include_str!("../../golden/format-1/schema-2.toml");
const STORE: &[u8] = include_bytes!("../../golden/format-1/store.redb.zst");
const STORE_BYTES_MAX: usize = 16 << 20;

/// Whose the golden store is.
pub(crate) const ORGANISATION: OrganisationId = OrganisationId([9; 16]);

/// The second schema up to its migrations.
pub(crate) static SCHEMA_2_FIELDS: LazyLock<&str> =
    LazyLock::new(|| SCHEMA_2.split("[[migrations]]").next().unwrap_or_default());

static FIRST: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(parsed(SCHEMA_1)));
static SECOND: LazyLock<Schema> = LazyLock::new(|| parsed(SCHEMA_2));
static ROUNDS: LazyLock<Schema> = LazyLock::new(|| parsed(simulations::plan::SCHEMA));
static PATIENT: LazyLock<RecordView> = LazyLock::new(|| {
    let fields = json!({
        "name": "Achieng", "born": "1990-01-02", "weight": 61.5, "stage": "new", "alive": true,
        "allergies": ["latex"], "visits": 3, "village": "kisumu",
    });
    RecordView {
        fields: fields.as_object().cloned().unwrap_or_default(),
        partial: Vec::new(),
        legacy: serde_json::Map::new(),
        life: Life::Live,
        reviews: Vec::new(),
        heads: Vec::new(),
        updated: Timestamp::from_ms(1_790_000_000_000),
        answered: Vec::new(),
        refs: Vec::new(),
        deleted_by: Vec::new(),
    }
});

fn parsed(text: &str) -> Schema {
    Schema::parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The first version of the golden schema.
pub(crate) fn schema() -> &'static Schema {
    &FIRST
}

/// The second version of the golden schema.
pub(crate) fn schema_2() -> &'static Schema {
    &SECOND
}

/// The simulator's schema.
pub(crate) fn rounds() -> &'static Schema {
    &ROUNDS
}

/// A collection of [`schema`].
pub(crate) fn collection(name: &str) -> &'static Collection {
    schema()
        .collection(name)
        .unwrap_or_else(|| panic!("no collection {name}"))
}

/// A record as it is shown.
pub(crate) fn patient() -> (&'static Collection, &'static RecordView) {
    (collection("patient"), &PATIENT)
}

/// The bytes of the golden store's file.
pub(crate) fn golden_store() -> Vec<u8> {
    zstd::bulk::decompress(STORE, STORE_BYTES_MAX).expect("the golden store unpacks")
}

/// The key of device `device`.
pub(crate) fn signer(device: u8) -> SigningKey {
    SigningKey::from_bytes(&[device; 32])
}

/// How device `device` opens a store.
pub(crate) fn options(device: u8) -> StoreOptions {
    StoreOptions {
        organisation: ORGANISATION,
        signer: signer(device),
        schema: Arc::clone(&FIRST),
        schema_follow: true,
        cache_bytes: 1 << 20,
        new_store_id: [device; 16],
    }
}

/// The inputs that a target begins with, by name.
///
/// # Panics
/// If there is no such target.
pub fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    let inputs: Vec<Vec<u8>> = match target {
        "change_set" => bytes::change_sets(),
        "codec" => bytes::fields(),
        "frame" => bytes::plain_frames(),
        "hello" => bytes::hellos(),
        "frames" => bytes::streams(),
        "rows" => bytes::rows(),
        "document_row" => bytes::document_rows(),
        "history" => scripts(12, 600),
        "session" => scripts(12, 400),
        "store_file" => scripts(6, 80),
        "schema" => vec![
            SCHEMA_1.into(),
            SCHEMA_2.into(),
            simulations::plan::SCHEMA.into(),
        ],
        "xlsform" => bytes::workbooks(),
        text => texts::of(text),
    };
    let named = inputs.into_iter().enumerate();
    named
        .map(|(index, bytes)| (format!("{index:02}"), bytes))
        .collect()
}

/// Scripts for the targets that draw what they do from their input.
fn scripts(count: u64, length: usize) -> Vec<Vec<u8>> {
    let script = |seed| {
        let mut script = vec![0; length];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut script);
        script
    };
    (0..count).map(script).collect()
}
