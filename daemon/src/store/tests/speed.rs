//! temporary
use super::*;
use std::time::Instant;

fn record(n: usize) -> LocalEdit {
    let words = ["maize","clinic","river","road","mother","child","fever","visit","seed","well","market","school","tea","rain","nurse","dose"];
    let mut notes = String::new();
    let mut x = n as u64 * 2654435761 + 12345;
    while notes.len() < 120 + (n * 37) % 240 { x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); notes.push_str(words[(x>>40) as usize % 16]); notes.push(' ');}
    let mut ops = vec![set("name", &format!("Person number {n}")), set("notes", &notes), set("born","1990-01-02"), set("status","open")];
    for f in 0..8 { ops.push(set(&format!("f{f}"), &format!("{:x}", x.wrapping_mul(f+3)>>24))); }
    upsert(&format!("{:08x}-{n}", (n as u32).wrapping_mul(2654435761)), ops)
}

#[test]
fn speed() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = SCHEMA.to_owned();
    for f in 0..8 { text.push_str(&format!("f{f} = {{ type = \"text\" }}\n")); }
    let s = schema(&text);
    let mut a = Device::of(Store::open_file(&dir.path().join("a"), StoreOptions{cache_bytes: 16<<20, ..options(1, s.clone())}).unwrap(), 1);
    let total: usize = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let t = Instant::now();
    for c in 0..total/100 { a.write((0..100).map(|i| record(c*100+i)).collect()).unwrap(); }
    println!("author {total} in {}-edit commits of 100: {:?}", total, t.elapsed());
    let mut b = Device::of(Store::open_file(&dir.path().join("b"), StoreOptions{cache_bytes: 16<<20, ..options(2, s.clone())}).unwrap(), 2);
    let (mut after, mut fetch_t, mut commit_t) = (0, std::time::Duration::ZERO, std::time::Duration::ZERO);
    loop {
        let t = Instant::now();
        let f = a.reader().fetch(after, &b.held(), 128<<10).unwrap();
        fetch_t += t.elapsed();
        let runs = b.verify(&f.runs);
        let t = Instant::now();
        let r = b.store.commit(vec![Batch::Remote{batch:1, runs}]);
        assert!(r.remote[0].result.is_ok());
        commit_t += t.elapsed();
        after = f.arrival;
        if f.end {break}
    }
    println!("fetch {fetch_t:?} apply {commit_t:?}; {:?}", b.reader().counts());
    let t = Instant::now();
    for n in 0..500 { b.write(vec![upsert(&record(n*7 % total).id, vec![set("notes", "changed")])]).unwrap(); }
    println!("single edit commit: {:?}", t.elapsed()/500);
    let t = Instant::now();
    let p = b.reader().list(&query(None, usize::MAX, false), &|v| v.fields.len() == 1).unwrap();
    println!("scan list {} of {total}: {:?}", p.records.len(), t.elapsed());
    let t = Instant::now();
    let mut after = None; let mut c = 0;
    for _ in 0..100 { let p = b.reader().list(&query(after.as_deref(), 50, false), &|_| true).unwrap(); c+=p.records.len(); after = p.next; if after.is_none() {break} }
    println!("pages of 50: {c} {:?}", t.elapsed());
    let t = Instant::now();
    for n in 0..1000 { b.get(&record(n*3 % total).id).unwrap(); }
    println!("get {:?}", t.elapsed()/1000);
    drop(b);
    let t = Instant::now();
    let b = Store::open_file(&dir.path().join("b"), StoreOptions{cache_bytes: 16<<20, ..options(2, s.clone())}).unwrap();
    println!("open {:?}", t.elapsed());
    let t = Instant::now();
    b.opening().unwrap();
    println!("opening {:?}", t.elapsed());
    println!("{}", std::fs::read_to_string("/proc/self/status").unwrap().lines().filter(|l| l.starts_with("VmRSS") || l.starts_with("VmHWM")).collect::<Vec<_>>().join(" "));
    let dbs = b.handle.read(|tx| {
        use redb::ReadableTableMetadata;
        for (n, st) in [("docs", tx.open_table(crate::store::tables::DOCS)?.stats()?), ("views", tx.open_table(crate::store::tables::VIEWS)?.stats()?), ("entries", tx.open_table(crate::store::tables::ENTRIES)?.stats()?), ("index", tx.open_table(crate::store::tables::INDEX)?.stats()?)] {
            println!("{n}: stored {} pages {}", st.stored_bytes(), st.leaf_pages());
        }
        Ok(())
    });
    dbs.unwrap();
}
