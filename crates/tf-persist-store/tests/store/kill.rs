//! Processes that are killed at random moments.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tf_persist_store::{Folder, GcOptions, PublishOptions, Store, StoreError, What, Why};

use crate::{TestStore, label, model, model_folder};

/// Numbers that look random: a linear congruential generator.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Not a test of its own: a process that changes a store until it is killed, and writes down what it was told.
#[test]
fn worker() {
    let Ok(folder) = std::env::var("STORE_OF_WORKER") else { return };
    let mut numbers = Numbers(std::env::var("SEED").unwrap().parse().unwrap());
    let store = Store::open(&folder).unwrap();
    let mut told = fs::File::options().append(true).create(true).open(format!("{folder}.told")).unwrap();
    let name = model("m");
    loop {
        let some = |numbers: &mut Numbers| -> Result<_, StoreError> {
            let folders = store.overview(&name)?.folders;
            let number = match folders.get(numbers.below(folders.len() as u64) as usize) {
                Some(Folder::Published(number)) => *number,
                _ => 1,
            };
            store.find(&format!("m@{number}").parse()?)
        };
        let label = label(["a", "b", "c"][numbers.below(3) as usize]);
        match numbers.below(6) {
            0 | 1 => {
                let options = PublishOptions::default().label(label);
                let version = store.publish(&name, model_folder("half_plus_two"), options).unwrap();
                writeln!(told, "published {} {}", version.number(), version.digest()).unwrap();
            }
            2 => drop(some(&mut numbers).and_then(|version| store.label(&version, &label, Why::Label))),
            3 => drop(store.rollback(&name, Some(&label), None)),
            4 => drop(some(&mut numbers).and_then(|version| store.remove(&version))),
            _ => drop(store.gc(&name, &GcOptions::default().keep(3).keep_labelled(true))),
        }
    }
}

fn start(folder: &Path, seed: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill::worker"]).stdout(Stdio::null()).stderr(Stdio::piped());
    command.env("STORE_OF_WORKER", folder).env("SEED", seed.to_string()).spawn().unwrap()
}

/// What must hold at any moment.
fn check(store: &Store, told: &str) {
    let name = model("m");
    let overview = store.overview(&name).unwrap();
    let log = store.log(&name).unwrap();
    for (label, version) in &overview.labels {
        assert!(overview.folders.contains(&Folder::Published(*version)), "{label} points to {version}: {overview:?}");
    }
    for folder in &overview.folders {
        match folder {
            Folder::Published(number) => {
                let version = store.resolve(&format!("m@{number}").parse().unwrap()).unwrap();
                assert_eq!(store.verify(&version).unwrap(), []);
            }
            other => panic!("{other:?} in {overview:?}"),
        }
    }
    for line in told.lines() {
        let mut words = line.split(' ').skip(1);
        let (number, digest): (u64, _) = (words.next().unwrap().parse().unwrap(), words.next().unwrap());
        let published =
            |what: &What| *what == What::Published { version: number, manifest: digest.to_owned(), from: None };
        assert!(log.iter().any(|event| published(&event.what)), "version {number} is not in the log");
        let removed = |what: &What| *what == What::Removed { version: number, manifest: digest.to_owned() };
        let is_there = overview.folders.contains(&Folder::Published(number));
        assert_ne!(is_there, log.iter().any(|event| removed(&event.what)), "version {number} was lost");
    }
}

/// `TF_PERSIST_KILLS` is the number of processes that are killed.
#[test]
fn killed_processes_leave_a_store_that_is_whole() {
    let kills = std::env::var("TF_PERSIST_KILLS").map_or(40, |kills| kills.parse().unwrap());
    let it = TestStore::with_versions(1);
    let folder = it.store.path();
    let mut numbers = Numbers(7);
    let mut running: Vec<Child> = (0..4).map(|seed| start(folder, seed)).collect();
    for kill in 0..kills {
        thread::sleep(Duration::from_millis(5 + numbers.below(60)));
        let index = numbers.below(4) as usize;
        running[index].kill().unwrap();
        let ended = std::mem::replace(&mut running[index], start(folder, 100 + kill)).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!said.contains("panicked"), "{said}");
        if kill % 8 == 7 {
            for process in &mut running {
                process.kill().unwrap();
                process.wait().unwrap();
            }
            // The next change finishes or takes back what they left.
            it.publish("half_plus_two");
            check(&it.store, &fs::read_to_string(format!("{}.told", folder.display())).unwrap_or_default());
            let staging = fs::read_dir(folder.join("m/.store/staging")).unwrap().count();
            assert_eq!(staging, 0, "the staging folder is not empty");
            for (seed, process) in (1000 + kill * 4..).zip(&mut running) {
                *process = start(folder, seed);
            }
        }
    }
    for process in &mut running {
        process.kill().unwrap();
        process.wait().unwrap();
    }
}
