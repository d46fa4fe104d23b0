//! What an update costs: bytes fetched by a node that holds the release before.

use super::*;

#[test]
fn a_kibibyte_inserted_in_the_middle_of_64_mib_costs_little() {
    let old = noise("world", 64 * MIB);
    let mut new = old.clone();
    new.splice(31 * MIB + 77..31 * MIB + 77, noise("inserted", KIB));
    let old = Files::default().with("world.bin", old).pack(PackParams::default());
    let new = Files::default().with("world.bin", new).pack(PackParams::default());
    let plan = old.update_to(&new);
    assert!(plan.segments.len() <= 3, "{} of {} segments", plan.segments.len(), new.index.segments().len());
    assert!(plan.fetch_bytes < 256 << 10, "{} bytes", plan.fetch_bytes);
}

#[test]
fn an_append_costs_what_was_appended() {
    let mut bytes = noise("log", 20 * MIB);
    let old = Files::default().with("data.log", &bytes).pack(PackParams::default());
    bytes.extend(noise("more", 100 * KIB));
    let new = Files::default().with("data.log", &bytes).pack(PackParams::default());
    let plan = old.update_to(&new);
    assert!(plan.segments.len() <= 2);
    assert!(plan.fetch_bytes < 256 << 10, "{} bytes", plan.fetch_bytes);
}

fn thousands() -> Files {
    let mut files = Files::default();
    for n in 0..4000 {
        files.put(&format!("dir{:02}/file{n}", n % 40), noise(&format!("v1 {n}"), 200 + n * 13 % 6000));
    }
    files.with("models/large.bin", noise("model", 2 * MIB))
}

#[test]
fn a_renamed_directory_costs_no_file_bytes() {
    let files = thousands();
    let mut renamed = Files::default();
    for (parts, (bytes, _)) in &files.0 {
        renamed.put(&parts.join("/").replace("dir07/", "zz/renamed/"), bytes.clone());
    }
    let plan = files.pack(fine()).update_to(&renamed.pack(fine()));
    assert_eq!(plan.fetch_bytes, 0);
    assert!(!plan.segments.is_empty());
}

#[test]
fn ten_replaced_files_among_thousands_cost_about_their_bytes() {
    let old = thousands();
    let mut new = old.clone();
    let mut replaced = 0;
    for n in (0..10).map(|k| k * 399) {
        let bytes = noise(&format!("v2 {n}"), 3000);
        replaced += bytes.len() as u64;
        new.put(&format!("dir{:02}/file{n}", n % 40), bytes);
    }
    let (old, new) = (old.pack(fine()), new.pack(fine()));
    let plan = old.update_to(&new);
    // Beside its bytes each costs what is rounded at both ends.
    assert!(
        plan.fetch_bytes <= replaced + 10 * 2 * u64::from(splice::RANGE_BYTES),
        "{} for {replaced}",
        plan.fetch_bytes
    );
    assert!(plan.segments.len() <= 20, "{}", plan.segments.len());
}

#[test]
fn an_added_file_disturbs_only_its_segment() {
    let old = thousands();
    let new = old.clone().with("dir20/added", noise("added", 5000));
    let plan = old.pack(fine()).update_to(&new.pack(fine()));
    assert!(plan.segments.len() <= 3, "{}", plan.segments.len());
    assert!(plan.fetch_bytes <= 5000 + 2 * u64::from(splice::RANGE_BYTES), "{}", plan.fetch_bytes);
}

#[test]
fn a_file_renamed_and_changed_finds_its_old_chunks() {
    let mut bytes = noise("texture", 3 * MIB);
    let old = Files::default().with("tex/old.png", &bytes).with("readme", "1").pack(fine());
    bytes[MIB] ^= 1;
    let new = Files::default().with("tex/new.png", &bytes).with("readme", "1").pack(fine());
    let plan = old.update_to(&new);
    assert!(plan.fetch_bytes < 128 << 10, "{}", plan.fetch_bytes);
}

#[test]
fn only_modes_changed_costs_nothing() {
    let old = Files::default().with("run", noise("run", 5000));
    let mut new = old.clone();
    new.make_executable("run");
    let (old, new) = (old.pack(fine()), new.pack(fine()));
    assert_ne!(old.index.tree_id(), new.index.tree_id());
    assert_eq!(old.update_to(&new), SplicePlan::default());
}

#[test]
fn nothing_held_is_fetched_whole() {
    let new = Files::default().with("a", noise("a", MIB)).with("b", "b").pack(fine());
    let all = plan(&new.index, 0..new.index.segments().len(), &Held::new(), &HashMap::new());
    assert_eq!(all.fetch_bytes, new.index.stored_bytes());
    assert!(all.segments.iter().all(splice::SegmentPlan::is_whole));
    assert_eq!(all.wanted_lists(), []);
}

#[test]
fn a_false_chunk_list_is_no_help_and_no_harm() {
    let old = Files::default().with("a", noise("a", MIB)).pack(fine());
    let segment = old.index.segments()[0];
    let mut chunks = old.store.list(segment.chunks.unwrap()).chunks().to_vec();
    chunks.pop();
    let short = ChunkList::new(chunks).unwrap();
    assert!(!Held::new().add_chunks(&segment, &short));
    let lists = HashMap::from([(segment.chunks.unwrap(), short)]);
    let all = plan(&old.index, [0], &Held::new(), &lists);
    assert!(all.segments[0].is_whole());
}
