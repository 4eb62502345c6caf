use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::models::crash_journal::{CrashJournal, LoadPermit};
use crate::models::folder::FileStamp;

const ONE: &str = "/m/1";

/// A process that ends while it loads a version.
fn end_while_loading(file: &Path, path: &str, now: SystemTime) {
    let journal = CrashJournal::open(Some(file), now);
    drop(journal.begin_load("m", 1, Path::new(path), FileStamp(7)));
}

/// How long a version is left alone by the next process, in seconds.
fn quarantine_left(file: &Path, path: &str, now: SystemTime) -> Option<u64> {
    let blame = CrashJournal::open(Some(file), now).quarantined(Path::new(path), FileStamp(7), now)?;
    Some(blame.left.as_secs())
}

#[test]
fn the_second_end_of_a_process_is_held_against_a_version_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("below/journal");
    let now = SystemTime::now();
    end_while_loading(&file, ONE, now);
    assert_eq!(quarantine_left(&file, ONE, now), None, "the first end may have any reason");
    assert!(file.exists());
    // Again and again, and for longer each time.
    for pause in [60, 120, 240, 480] {
        end_while_loading(&file, ONE, now);
        for _ in 0..2 {
            assert_eq!(quarantine_left(&file, ONE, now), Some(pause));
        }
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(quarantine_left(&file, ONE, later(pause - 1)), Some(1));
        assert_eq!(quarantine_left(&file, ONE, later(pause)), None);
        assert_eq!(quarantine_left(&file, ONE, now - Duration::from_secs(3600)), None, "the clock was put back");
    }
    for _ in 0..40 {
        end_while_loading(&file, ONE, now);
    }
    assert_eq!(quarantine_left(&file, ONE, now), Some(24 * 3600));
    let journal = CrashJournal::open(Some(&file), now);
    let said = journal.quarantined(Path::new(ONE), FileStamp(7), now).unwrap().status.message;
    assert!(said.starts_with("version 1 of model m took the process down 45 times"), "{said}");
    assert!(said.contains("below/journal"), "{said}");
    // Other files are another version.
    assert_eq!(journal.quarantined(Path::new(ONE), FileStamp(8), now), None);
    assert!(!file.exists());
}

#[test]
fn a_load_that_ends_clears_a_version() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let now = SystemTime::now();
    end_while_loading(&file, ONE, now);
    let journal = CrashJournal::open(Some(&file), now);
    drop(journal.begin_load("m", 1, Path::new(ONE), FileStamp(7)));
    journal.end_load(Path::new(ONE));
    assert!(!file.exists());
    drop(journal);
    end_while_loading(&file, ONE, now);
    assert_eq!(quarantine_left(&file, ONE, now), None);
}

#[test]
fn who_stops_in_order_blames_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let now = SystemTime::now();
    for _ in 0..3 {
        let journal = CrashJournal::open(Some(&file), now);
        drop(journal.begin_load("m", 1, Path::new(ONE), FileStamp(7)));
        assert!(file.exists());
        journal.stop();
        // A load that begins all the same is not to blame either.
        drop(journal.begin_load("m", 2, Path::new("/m/2"), FileStamp(8)));
        assert!(!file.exists());
    }
    // What was known before is known still.
    end_while_loading(&file, ONE, now);
    let journal = CrashJournal::open(Some(&file), now);
    drop(journal.begin_load("m", 1, Path::new(ONE), FileStamp(7)));
    journal.stop();
    drop(journal);
    assert_eq!(quarantine_left(&file, ONE, now), None);
    end_while_loading(&file, ONE, now);
    assert_eq!(quarantine_left(&file, ONE, now), Some(60));
}

#[test]
fn a_version_under_suspicion_is_loaded_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let now = SystemTime::now();
    let paths = ["/m/1", "/m/2", "/m/3"];
    let journal = CrashJournal::open(Some(&file), now);
    // Two are being loaded at once, and one of them ends the process.
    let load_lock = paths[..2].iter().map(|path| journal.begin_load("m", 1, Path::new(path), FileStamp(7)));
    assert!(load_lock.collect::<Vec<_>>().iter().all(|permit| matches!(permit, LoadPermit::Shared { .. })));
    drop(journal);
    let journal = CrashJournal::open(Some(&file), now);
    let is_alone =
        |path: &str| matches!(journal.begin_load("m", 1, Path::new(path), FileStamp(7)), LoadPermit::Alone { .. });
    assert_eq!(paths.map(is_alone), [true, true, false]);
}

#[test]
fn two_servers_do_not_blame_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let now = SystemTime::now();
    end_while_loading(&file, ONE, now);
    let first = CrashJournal::open(Some(&file), now);
    drop(first.begin_load("m", 1, Path::new(ONE), FileStamp(7)));
    let second = CrashJournal::open(Some(&file), now);
    assert_eq!(second.quarantined(Path::new(ONE), FileStamp(7), now), None);
    // What the second does leaves no trace.
    drop(second.begin_load("m", 2, Path::new("/m/2"), FileStamp(8)));
    second.stop();
    drop(second);
    drop(first);
    assert_eq!(quarantine_left(&file, ONE, now), Some(60));
    assert_eq!(quarantine_left(&file, "/m/2", now), None);
}

#[test]
fn what_is_no_journal_does_not_hurt() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let now = SystemTime::now();
    for text in [&b"no json\n"[..], b"{}", b"\xff\xfe", &[b'x'; 2 << 20]] {
        fs::write(&file, text).unwrap();
        assert_eq!(quarantine_left(&file, ONE, now), None);
        for _ in 0..2 {
            end_while_loading(&file, ONE, now);
        }
        assert_eq!(quarantine_left(&file, ONE, now), Some(60));
    }
    // Where nothing can be written, models are loaded all the same.
    let nowhere = CrashJournal::open(Some(&folder.path().join("journal/below")), now);
    drop(nowhere.begin_load("m", 1, Path::new(ONE), FileStamp(7)));
    nowhere.end_load(Path::new(ONE));
    let none = CrashJournal::open(None, now);
    drop(none.begin_load("m", 1, Path::new(ONE), FileStamp(7)));
    assert_eq!(none.quarantined(Path::new(ONE), FileStamp(7), now), None);
}
