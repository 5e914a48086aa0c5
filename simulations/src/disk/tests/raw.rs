//! What the disk itself keeps and loses.

use redb::StorageBackend;

use crate::disk::{DiskFaults, SimDisk, Syncs};
use crate::draw::Draw;

const DRAW: Draw = Draw::new(11);

fn disk(len: u64) -> SimDisk {
    let disk = SimDisk::default();
    disk.set_len(len).expect("it grows");
    disk.sync_data().expect("it syncs");
    disk
}

fn bytes(disk: &SimDisk, offset: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    disk.read(offset, &mut out).expect("it reads");
    out
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_any_part_of_the_rest() {
    let (mut lost, mut kept, mut torn) = (0, 0, 0);
    for number in 0..60 {
        let mut disk = disk(64 << 10);
        disk.write(0, &[1; 8192]).expect("a write");
        disk.sync_data().expect("a sync");
        disk.write(4096, &[2; 8192]).expect("a write");

        disk.power_cut(&DRAW, number);

        assert_eq!(bytes(&disk, 0, 4096), [1; 4096]);
        for sector in bytes(&disk, 4096, 8192).chunks(512).enumerate() {
            let old = if sector.0 < 8 { 1 } else { 0 };
            let new = sector.1.iter().filter(|byte| **byte == 2).count();
            assert!(sector.1.iter().all(|byte| *byte == 2 || *byte == old));
            lost += usize::from(new == 0);
            kept += usize::from(new == 512);
            torn += usize::from(new > 0 && new < 512);
        }
    }
    assert!(lost > 100 && kept > 100 && torn > 5, "{lost} {kept} {torn}");
}

#[test]
fn the_same_draws_cut_alike_and_others_differ() {
    let cut = |number| {
        let mut disk = disk(1 << 20);
        disk.write(0, &[3; 1 << 20]).expect("a write");
        disk.power_cut(&DRAW, number);
        bytes(&disk, 0, 1 << 20)
    };

    assert!(cut(5) == cut(5));
    assert!((0..9).any(|number| cut(number) != cut(number + 1)));
}

#[test]
fn a_sector_written_twice_may_come_out_as_either() {
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..200 {
        let mut disk = disk(4096);
        disk.write(0, &[1; 512]).expect("a write");
        disk.write(0, &[2; 512]).expect("a write");
        disk.power_cut(&DRAW, number);
        seen.insert(bytes(&disk, 100, 1));
    }

    assert_eq!(seen.len(), 3, "before both, after the first, after both");
}

#[test]
fn a_length_that_was_not_synced_may_be_lost() {
    let mut lengths = std::collections::BTreeSet::new();
    for number in 0..40 {
        let mut disk = disk(4096);
        disk.set_len(16_384).expect("it grows");
        disk.write(12_288, &[1; 4096]).expect("a write");
        disk.power_cut(&DRAW, number);
        lengths.insert(disk.len().expect("a length"));
    }

    assert_eq!(lengths, [4096, 16_384].into());
}

#[test]
fn a_disk_that_ignores_syncs_loses_what_it_promised() {
    let faults = DiskFaults {
        syncs: Syncs::Ignored,
        ..DiskFaults::default()
    };
    let lost = (0..20).filter(|number| {
        let mut disk = disk(4096);
        disk.set_faults(faults);
        disk.write(0, &[1; 4096]).expect("a write");
        disk.sync_data().expect("it says yes");
        disk.power_cut(&DRAW, *number);
        bytes(&disk, 0, 4096) != [1; 4096]
    });

    assert!(lost.count() > 10);
}

#[test]
fn whoever_had_the_disk_open_writes_into_the_void_after_a_cut() {
    let mut disk = disk(4096);
    let process = disk.clone();
    disk.kill();

    process.write(0, &[9; 4096]).expect("a write");
    process.sync_data().expect("a sync");

    assert_eq!(bytes(&disk, 0, 4096), [0; 4096]);
}

#[test]
fn a_full_disk_takes_what_fits_and_overwrites_what_it_has() {
    let disk = disk(1 << 20);
    disk.set_faults(DiskFaults {
        bytes_max: Some(8192),
        ..DiskFaults::default()
    });

    let full = disk
        .write(4096, &[1; 16_384])
        .expect_err("only two pages fit");

    assert_eq!(full.raw_os_error(), Some(28));
    assert_eq!(bytes(&disk, 4096, 8192), [1; 8192]);
    assert_eq!(bytes(&disk, 12_288, 4096), [0; 4096]);
    disk.write(4096, &[2; 8192]).expect("it is allocated");
    assert_eq!(disk.counters().full, 1);
}

#[test]
fn a_disk_that_is_full_from_a_write_on_takes_the_ones_before() {
    let disk = disk(1 << 20);
    disk.set_faults(DiskFaults {
        full_from_write: Some(3),
        ..DiskFaults::default()
    });

    assert!(disk.write(0, &[1; 10]).is_ok() && disk.write(0, &[1; 10]).is_ok());
    assert!(disk.write(0, &[2; 10]).is_err());
    disk.set_faults(DiskFaults::default());
    assert!(disk.write(0, &[3; 10]).is_ok());
}

#[test]
fn rot_and_wear_touch_cold_pages_only_and_a_write_mends_wear() {
    let disk = disk(1 << 20);
    disk.write(0, &[1; 4096]).expect("a write");
    assert_eq!(disk.rot(&DRAW, 1), None, "nothing is cold");
    for _ in 0..100 {
        disk.write(8192, &[1; 4096]).expect("a write");
    }

    let bit = disk.rot(&DRAW, 1).expect("the first page is cold");
    let worn = disk.wear(&DRAW, 2).expect("it still is");

    assert!(bit < 4096 * 8);
    assert_eq!(worn, 0);
    assert!(disk.read(0, &mut [0; 4096]).is_err());
    assert_eq!(bytes(&disk, 8192, 10), [1; 10]);
    disk.write(0, &[1; 4096]).expect("a write");
    assert_eq!(bytes(&disk, 0, 4096), [1; 4096]);
}

#[test]
fn an_image_comes_back_as_it_was_and_keeps_the_faults_of_the_disk() {
    let mut disk = disk(8192);
    disk.write(0, &[1; 4096]).expect("a write");
    let image = disk.image();
    disk.write(0, &[2; 8192]).expect("a write");
    let faults = DiskFaults {
        bytes_max: Some(8192),
        ..DiskFaults::default()
    };
    disk.set_faults(faults);

    disk.restore(&image);

    assert_eq!(bytes(&disk, 0, 4096), [1; 4096]);
    assert_eq!(bytes(&disk, 4096, 4096), [0; 4096]);
    assert!(disk.counters().writes >= 2);
    disk.power_cut(&DRAW, 1);
    assert_eq!(
        bytes(&disk, 0, 4096),
        [1; 4096],
        "a restored image is durable"
    );
}

#[test]
fn a_cut_off_end_is_zero_after_the_next_sync_too() {
    let mut disk = disk(8192);
    disk.write(0, &[1; 8192]).expect("a write");
    disk.sync_data().expect("a sync");
    disk.set_len(4096).expect("it shrinks");
    disk.set_len(8192).expect("it grows");
    disk.sync_data().expect("a sync");

    disk.power_cut(&DRAW, 1);

    assert_eq!(bytes(&disk, 4096, 4096), [0; 4096]);
}
