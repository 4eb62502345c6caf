use super::*;

fn this_machine() -> &'static str {
    machine().unwrap_or(UNKNOWN)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The leftovers of a killed process: the folder, and a lock that is not held.
fn killed(target: &Path) -> PathBuf {
    let mut scratch = Scratch::beside(target).unwrap();
    let path = std::mem::take(&mut scratch.folder);
    fs::create_dir_all(path.join("model/variables")).unwrap();
    fs::write(path.join("model/variables/data"), "half").unwrap();
    path
}

#[test]
fn what_killed_processes_left_is_deleted_by_the_next() {
    let root = tempfile::tempdir().unwrap();
    killed(&root.path().join("model"));
    killed(&root.path().join("other.tfpack"));
    // One was killed before it had a lock, another while it tidied up.
    fs::create_dir(root.path().join(format!(".model.tmp-{}-aaaaaa", this_machine()))).unwrap();
    fs::create_dir(root.path().join(format!(".model.tmp-{}-bbbbbb.gone", this_machine()))).unwrap();
    let scratch = Scratch::beside(&root.path().join("third")).unwrap();
    assert_eq!(names(root.path()).len(), 1, "{:?}", names(root.path()));
    scratch.close().unwrap();
    assert!(names(root.path()).is_empty());
}

#[test]
fn what_is_in_use_stays() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("model");
    let living = Scratch::beside(&target).unwrap();
    fs::write(living.path().join("model"), "being written").unwrap();
    let mut file = NewFile::beside(&target).unwrap();
    file.write_all(b"whole").unwrap();
    for _ in 0..3 {
        drop(Scratch::beside(&target).unwrap());
    }
    assert_eq!(fs::read(living.path().join("model")).unwrap(), b"being written");
    file.publish(false).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"whole");
    drop(living);
    assert_eq!(names(root.path()), ["model"]);
}

#[test]
fn a_folder_that_was_taken_away_is_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let lock = take(&folder).unwrap().unwrap();
    assert!(take(&folder).unwrap().is_none(), "another has it");
    drop(lock);
    remove(&folder).unwrap();
    assert!(take(&folder).unwrap().is_none(), "it is gone");
    assert!(names(root.path()).is_empty());
}

#[test]
fn what_has_another_name_is_not_looked_at() {
    let root = tempfile::tempdir().unwrap();
    // Of an older version, of another program, and a file.
    for name in [".model.tmp-AbC123", ".model.tmp-1234567-AbC123", ".tmp-", "model.tmp-12345678-AbC123"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    fs::write(root.path().join(format!(".model.tmp-{}-AbC123", this_machine())), "a file").unwrap();
    let before = names(root.path());
    drop(Scratch::beside(&root.path().join("model")).unwrap());
    assert_eq!(names(root.path()), before);
    assert_eq!(machine_of(".a.tmp-b.tmp-0123abcd-AbC123"), Some("0123abcd"));
    assert_eq!(machine_of(".a.tmp-0123abcd-AbC123.gone"), Some("0123abcd"));
}

#[test]
fn what_others_named_so_stays() {
    let root = tempfile::tempdir().unwrap();
    // A date and a time are eight hexadecimal digits and six.
    for name in [".model.tmp-20261128-064458".to_owned(), format!(".model.tmp-{}-AbC123", this_machine())] {
        let folder = root.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("weights"), "mine").unwrap();
        drop(Scratch::beside(&root.path().join("model")).unwrap());
        assert_eq!(names(&folder), ["weights"]);
    }
}

/// It may live, and write through a server of this machine's files.
#[test]
fn what_another_machine_made_is_deleted_once_it_is_old() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(".model.tmp-00c0ffee-AbC123");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(LOCK), "").unwrap();
    drop(Scratch::beside(&root.path().join("model")).unwrap());
    assert!(folder.is_dir());
    File::open(&folder).unwrap().set_modified(SystemTime::now() - 2 * LONG).unwrap();
    drop(Scratch::beside(&root.path().join("model")).unwrap());
    let is_shared = File::open(root.path()).map_or(true, |root| is_shared(&root));
    assert_eq!(folder.is_dir(), is_shared);
}

#[test]
fn a_link_is_not_followed() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(elsewhere.path().join("mine"), "mine").unwrap();
    let link = root.path().join(format!(".model.tmp-{}-AbC123", this_machine()));
    std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
    // A folder whose lock is a link to a foreign file.
    let folder = root.path().join(format!(".model.tmp-{}-AbC124", this_machine()));
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("mine"), folder.join(LOCK)).unwrap();
    drop(Scratch::beside(&root.path().join("model")).unwrap());
    assert_eq!(names(elsewhere.path()), ["mine"]);
    assert!(link.is_symlink() && folder.is_dir());
}

#[test]
fn names_may_be_long() {
    let root = tempfile::tempdir().unwrap();
    let scratch = Scratch::beside(&root.path().join("ü".repeat(127))).unwrap();
    assert!(machine_of(scratch.path().file_name().unwrap().to_str().unwrap()).is_some());
    assert!(Scratch::beside(Path::new("/")).is_err());
}

#[test]
fn many_at_once_do_not_take_from_each_other() {
    let root = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let target = root.path().join(format!("file{thread}"));
            scope.spawn(move || {
                for round in 0..20 {
                    let mut file = NewFile::beside(&target).unwrap();
                    write!(file, "{round}").unwrap();
                    file.publish(true).unwrap();
                    assert_eq!(fs::read_to_string(&target).unwrap(), round.to_string());
                }
            });
        }
    });
    assert_eq!(names(root.path()).len(), 4);
}

/// Not a test of its own: a process that fills folders and deletes them until it is killed.
#[test]
fn worker() {
    let Some(target) = std::env::var_os("SCRATCH_OF_WORKER").map(PathBuf::from) else { return };
    loop {
        let scratch = Scratch::beside(&target).unwrap();
        (0..200).for_each(|index| fs::write(scratch.path().join(index.to_string()), "").unwrap());
    }
}

#[test]
fn what_is_left_of_a_folder_after_a_kill_is_deleted() {
    let root = tempfile::tempdir().unwrap();
    for moment in 0..20 {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "scratch::tests::worker"]).env("SCRATCH_OF_WORKER", root.path().join("model"));
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        while names(root.path()).is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(50));
        }
        std::thread::sleep(Duration::from_micros(moment * 700));
        child.kill().unwrap();
        child.wait().unwrap();
        drop(Scratch::beside(&root.path().join("other")).unwrap());
        assert!(names(root.path()).is_empty(), "{:?}", names(root.path()));
    }
}
