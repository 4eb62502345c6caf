use std::fs;
use std::path::Path;

use crate::models::folder::Stamp;
use crate::models::journal::Journal;

#[test]
fn says_who_took_the_process_down() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("below/journal");
    let (one, two) = (Path::new("/m/1"), Path::new("/m/2"));
    let journal = Journal::open(Some(&file));
    journal.begin("m", 1, one, Stamp(7));
    journal.begin("m", 2, two, Stamp(8));
    journal.end(two);
    assert_eq!(journal.blames(one, Stamp(7)), None, "not yet");
    drop(journal);

    // Again and again, until its files change.
    for _ in 0..2 {
        let journal = Journal::open(Some(&file));
        let blame = journal.blames(one, Stamp(7)).unwrap();
        assert!(blame.message.contains("version 1 of model m took the process down"), "{blame}");
        assert!(blame.message.contains("below/journal"), "{blame}");
        assert_eq!(journal.blames(two, Stamp(8)), None);
    }
    assert_eq!(Journal::open(Some(&file)).blames(one, Stamp(9)), None);
    assert!(!file.exists());
}

#[test]
fn who_stops_in_order_blames_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let journal = Journal::open(Some(&file));
    journal.begin("m", 1, Path::new("/m/1"), Stamp(7));
    assert!(file.exists());
    journal.stop();
    // A load that begins all the same is not to blame either.
    journal.begin("m", 2, Path::new("/m/2"), Stamp(8));
    assert!(!file.exists());
    drop(journal);
    assert_eq!(Journal::open(Some(&file)).blames(Path::new("/m/1"), Stamp(7)), None);
}

#[test]
fn two_servers_do_not_blame_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let path = Path::new("/m/1");
    let first = Journal::open(Some(&file));
    first.begin("m", 1, path, Stamp(7));
    let second = Journal::open(Some(&file));
    assert_eq!(second.blames(path, Stamp(7)), None);
    // What the second does leaves no trace.
    second.begin("m", 2, Path::new("/m/2"), Stamp(8));
    second.stop();
    drop(second);
    drop(first);
    let next = Journal::open(Some(&file));
    assert!(next.blames(path, Stamp(7)).is_some());
    assert_eq!(next.blames(Path::new("/m/2"), Stamp(8)), None);
}

#[test]
fn what_is_no_journal_does_not_hurt() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    for text in [&b"no json\n"[..], b"{}", b"\xff\xfe", &[b'x'; 2 << 20]] {
        fs::write(&file, text).unwrap();
        let journal = Journal::open(Some(&file));
        assert_eq!(journal.blames(Path::new("/m/1"), Stamp(7)), None);
        journal.begin("m", 1, Path::new("/m/1"), Stamp(7));
        drop(journal);
        assert!(Journal::open(Some(&file)).blames(Path::new("/m/1"), Stamp(7)).is_some());
    }
    // Where nothing can be written, models are loaded all the same.
    let nowhere = Journal::open(Some(&folder.path().join("journal/below")));
    nowhere.begin("m", 1, Path::new("/m/1"), Stamp(7));
    nowhere.end(Path::new("/m/1"));
    let none = Journal::open(None);
    none.begin("m", 1, Path::new("/m/1"), Stamp(7));
    assert_eq!(none.blames(Path::new("/m/1"), Stamp(7)), None);
}
