use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::models::crash_journal::{CrashJournal, LoadPermit};
use crate::models::folder::FileStamp;

const ONE: &str = "/m/1";

/// Simulates a process that ends while it loads a version.
fn end_while_loading(file: &Path, path: &str, now: SystemTime) {
    let journal = CrashJournal::open(Some(file), now);
    drop(journal.begin_load("m", 1, Path::new(path), FileStamp(7)));
}

/// The quarantine of a version in the next process, in seconds.
fn quarantine_left(file: &Path, path: &str, now: SystemTime) -> Option<u64> {
    let blame = CrashJournal::open(Some(file), now).quarantined(Path::new(path), FileStamp(7), now)?;
    Some(blame.left.as_secs())
}

#[test]
fn second_crash_quarantines_a_version() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("below/journal");
    let now = SystemTime::now();
    end_while_loading(&file, ONE, now);
    assert_eq!(quarantine_left(&file, ONE, now), None, "the first crash may have any reason");
    assert!(file.exists());
    // The quarantine grows with every crash.
    for pause in [60, 120, 240, 480] {
        end_while_loading(&file, ONE, now);
        for _ in 0..2 {
            assert_eq!(quarantine_left(&file, ONE, now), Some(pause));
        }
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(quarantine_left(&file, ONE, later(pause - 1)), Some(1));
        assert_eq!(quarantine_left(&file, ONE, later(pause)), None);
        assert_eq!(quarantine_left(&file, ONE, now - Duration::from_secs(3600)), None, "the clock was set back");
    }
    for _ in 0..40 {
        end_while_loading(&file, ONE, now);
    }
    assert_eq!(quarantine_left(&file, ONE, now), Some(24 * 3600));
    let journal = CrashJournal::open(Some(&file), now);
    let message = journal.quarantined(Path::new(ONE), FileStamp(7), now).unwrap().status.message;
    assert!(message.starts_with("version 1 of model m crashed the process 45 times"), "{message}");
    assert!(message.contains("below/journal"), "{message}");
    // Other files make it another version.
    assert_eq!(journal.quarantined(Path::new(ONE), FileStamp(8), now), None);
    assert!(!file.exists());
}

#[test]
fn finished_load_clears_a_version() {
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
fn ordinary_shutdown_is_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let now = SystemTime::now();
    for _ in 0..3 {
        let journal = CrashJournal::open(Some(&file), now);
        drop(journal.begin_load("m", 1, Path::new(ONE), FileStamp(7)));
        assert!(file.exists());
        journal.stop();
        // A load that begins later is not suspected either.
        drop(journal.begin_load("m", 2, Path::new("/m/2"), FileStamp(8)));
        assert!(!file.exists());
    }
    // Earlier crashes are still known.
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
fn suspected_version_is_loaded_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let now = SystemTime::now();
    let paths = ["/m/1", "/m/2", "/m/3"];
    let journal = CrashJournal::open(Some(&file), now);
    // Two are being loaded at once, and one of them crashes the process.
    let permits = paths[..2].iter().map(|path| journal.begin_load("m", 1, Path::new(path), FileStamp(7)));
    assert!(permits.collect::<Vec<_>>().iter().all(|permit| matches!(permit, LoadPermit::Shared { .. })));
    drop(journal);
    let journal = CrashJournal::open(Some(&file), now);
    let is_alone =
        |path: &str| matches!(journal.begin_load("m", 1, Path::new(path), FileStamp(7)), LoadPermit::Alone { .. });
    assert_eq!(paths.map(is_alone), [true, true, false]);
}

#[test]
fn second_server_does_not_use_the_journal_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let now = SystemTime::now();
    end_while_loading(&file, ONE, now);
    let first = CrashJournal::open(Some(&file), now);
    drop(first.begin_load("m", 1, Path::new(ONE), FileStamp(7)));
    let second = CrashJournal::open(Some(&file), now);
    assert_eq!(second.quarantined(Path::new(ONE), FileStamp(7), now), None);
    // The second server writes nothing.
    drop(second.begin_load("m", 2, Path::new("/m/2"), FileStamp(8)));
    second.stop();
    drop(second);
    drop(first);
    assert_eq!(quarantine_left(&file, ONE, now), Some(60));
    assert_eq!(quarantine_left(&file, "/m/2", now), None);
}

#[test]
fn damaged_or_unwritable_journal_is_ignored() {
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
    // Without write access, models are loaded nevertheless.
    let nowhere = CrashJournal::open(Some(&folder.path().join("journal/below")), now);
    drop(nowhere.begin_load("m", 1, Path::new(ONE), FileStamp(7)));
    nowhere.end_load(Path::new(ONE));
    let none = CrashJournal::open(None, now);
    drop(none.begin_load("m", 1, Path::new(ONE), FileStamp(7)));
    assert_eq!(none.quarantined(Path::new(ONE), FileStamp(7), now), None);
}
