//! Texts as people, clients and the simulator write them.

use simulations::plan::SCHEMA;

/// The texts of a target.
///
/// # Panics
/// If there is no such target.
pub(super) fn of(target: &str) -> Vec<Vec<u8>> {
    let texts: &[&str] = match target {
        "migrations" => MIGRATIONS,
        "rule" => RULES,
        "witness" => {
            &["00112233445566778899aabbccddeeff 00000000000000000012 00000000000000000007 tablet\n"]
        }
        "plan" => &[
            include_str!("../../../../simulations/regressions/told-nothing-yet.plan"),
            SCHEMA,
        ],
        "contacts" => CONTACTS,
        "csv" => CSV,
        "jsonl" => JSONL,
        "list" => LISTS,
        "preconditions" => &["*\n*", "\"0011\"\nW/\"aa\", \"bb\"", "\n"],
        "patch" => PATCHES,
        "batch" => BATCHES,
        other => panic!("there is no target {other}"),
    };
    texts
        .iter()
        .map(|text| text.as_bytes().to_owned())
        .collect()
}

const MIGRATIONS: &[&str] = &[
    "[[migrations]]\nto = 2\nsteps = [\n  { convert = \"patient.fever_f\", as = \"fever_c\", with = \"f_to_c\" },\n  \
     { split = \"patient.full_name\", into = [\"given\", \"family\"], with = \"first_space\" },\n]\n",
    "[[migrations]]\nto = 2\nsteps = [{ rename = \"patient.surname\", as = \"family\" }, { add = \"patient.phone\", \
     default = \"none\" }]\n",
    "[[migrations]]\nto = 2\nsteps = [{ remap = \"patient.stage\", values = { old = \"new\", gone = \"closed\" } }]\n",
    "[[migrations]]\nto = 2\nsteps = [{ merge = [\"patient.a\", \"patient.b\"], into = \"given\", with = \
     \"join_space\" }, { remove = \"place.more\", was = { type = \"json\" }, until = 9 }]\n",
];
const RULES: &[&str] = &[
    "temp_c > 41 or pulse > 200",
    "not (temp_c is set) and pulse + 10 <= 300 - 5",
    "at >= \"2026-11-21T00:00:00Z\" and patient != \"nobody\"",
    "temp_c == 37.5 or (pulse < -1 and (pulse > 2 or pulse != 9223372036854775807))",
];
const CONTACTS: &[&str] = &[
    "at_s,end_s,a,b,class\n10,20,0,1,wifi\n30,45,1,2,wifi\n",
    "at_s,end_s,a,b,class\n",
];
const CSV: &[&str] = &[
    "id,name,born,weight,stage,alive,allergies,visits\np1,Achieng,1990-01-02,61.5,new,true,latex;nuts,3\n\
     p2,\"Otieno, \"\"B\"\"\",,,closed,,,\n",
    "name;visits\r\n'=Akinyi;2\r\n\r\nWekesa;-1\r\n",
    "id\tname\np1\tA\u{301}\n",
];
const JSONL: &[&str] = &[
    "{\"id\":\"p1\",\"name\":\"Achieng\",\"born\":\"1990-01-02\",\"allergies\":[\"latex\"],\"visits\":3}\n\
     {\"id\":7,\"name\":\"Otieno\",\"weight\":1e3}\n",
    "{\"name\":\"A\",\"alive\":null}\n\n{\"name\":[]}\n",
];
const LISTS: &[&str] = &[
    "/v1/collections/patient/records?filter=name:contains:ach&filter=visits:ge:2&limit=10",
    "/v1/collections/patient/records?filter=born:lt:2000-01-01&filter=@status:ne:synced&deleted=true",
    "/v1/collections/patient/records?filter=allergies:has:latex&filter=review:eq:false&space=clinic%2Fkisumu",
    "/v1/collections/patient/records?filter=weight:eq:&cursor=7031&filter=stage:eq:new",
];
const PATCHES: &[&str] = &[
    "{\"name\":\"Achieng\",\"born\":\"1990-01-02\",\"weight\":61.5,\"stage\":\"new\",\"alive\":true}",
    "{\"allergies\":{\"$insert\":[\"latex\"],\"$remove\":[\"nuts\"]},\"visits\":{\"$add\":-2},\"village\":null}",
];
const BATCHES: &[&str] = &[
    "{\"edits\":[{\"op\":\"create\",\"collection\":\"patient\",\"fields\":{\"name\":\"A\"}},\
     {\"op\":\"delete\",\"collection\":\"patient\",\"id\":\"p2\",\"reason\":\"twice\"}]}",
    "{\"space\":\"main\",\"edits\":[{\"op\":\"upsert\",\"collection\":\"room\",\"id\":\"r\",\"fields\":{\"place\":\
     \"held\"}},{\"op\":\"restore\",\"collection\":\"place\",\"id\":\"held\",\"if_match\":\"00\"}]}",
];
