//! What every kind of remote store must do.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use tf_persist_store::remote::{Cache, PullOptions, PushOptions, Remote, RemoteErrorKind, SyncOptions, Transferred};
use tf_persist_store::signing::{SigningKey, Trusted};
use tf_persist_store::{GcOptions, PublishOptions, Selector, StoreError, What, Why};

use super::{TestStore, label, model, model_folder, open, reference};

/// The places where the suite runs, each with a prefix that nothing else has.
fn places(test: &str) -> Vec<(Remote, Option<tempfile::TempDir>)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let prefix = format!("{test}-{now}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = tempfile::tempdir().unwrap();
    let mut places = vec![(open(&folder.path().join("remote").display().to_string()), Some(folder))];
    match std::env::var("TF_PERSIST_REMOTES") {
        Ok(remotes) => places.extend(remotes.split_whitespace().map(|it| (open(&format!("{it}/{prefix}")), None))),
        Err(_) => tf_persist_testing::skipped(test, "TF_PERSIST_REMOTES names no servers: only a folder is tried"),
    }
    places
}

#[test]
fn a_version_is_the_same_after_a_push_and_a_pull() {
    for (remote, _folder) in places("same") {
        let here = TestStore::new();
        let version = here.publish("digits");
        let push = |options| remote.push(&here.store, &version, &options).unwrap();
        assert!(matches!(push(PushOptions::default().label(label("a"))), Transferred::Done(_)), "{remote:?}");
        assert!(matches!(push(PushOptions::default().label(label("b"))), Transferred::WasThere(_)), "{remote:?}");
        assert_eq!(remote.models().unwrap(), [model("m")]);
        let overview = remote.overview(&model("m")).unwrap();
        assert_eq!((overview.labels.clone(), overview.latest()), (vec![(label("a"), 1), (label("b"), 1)], Some(1)));
        for text in ["m", "m@latest", "m@1", "m@a"] {
            assert_eq!(remote.find(&reference(text)).unwrap().digest(), version.digest());
        }
        let other = TestStore::new();
        let options = PullOptions::default().label(label("here"));
        let pulled = remote.pull(&reference("m@a"), &other.store, &options).unwrap();
        assert!(matches!(&pulled, Transferred::Done(it) if it.digest() == version.digest()));
        assert_eq!(other.store.verify(pulled.version()).unwrap(), []);
        assert_eq!(other.store.resolve(&reference("m@here")).unwrap().digest(), version.digest());
        let from = match &other.store.log(&model("m")).unwrap()[0].what {
            What::Published { from, .. } => from.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(from, Some(remote.address().to_string()));
        let again = remote.pull(&reference("m@a"), &other.store, &PullOptions::default()).unwrap();
        assert!(matches!(again, Transferred::WasThere(_)));
        let staging = other.folder.path().join("models.store/m/.store/staging");
        assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
    }
}

#[test]
fn unknown_names_are_errors() {
    for (remote, _folder) in places("unknown") {
        let here = TestStore::new();
        assert!(matches!(
            remote.find(&reference("m")),
            Err(StoreError::UnknownModel { .. } | StoreError::NotAStore { .. })
        ));
        remote.push(&here.store, &here.publish("digits"), &PushOptions::default()).unwrap();
        assert!(matches!(remote.find(&reference("n")), Err(StoreError::UnknownModel { .. })), "{remote:?}");
        assert!(matches!(remote.find(&reference("m@2")), Err(StoreError::UnknownVersion { .. })), "{remote:?}");
        assert!(matches!(remote.find(&reference("m@a")), Err(StoreError::UnknownLabel { .. })), "{remote:?}");
        assert!(matches!(remote.unlabel(&model("m"), &label("a")), Err(StoreError::UnknownLabel { .. })));
        assert!(matches!(remote.rollback(&model("m"), None, None), Err(StoreError::NoLabels { .. })));
    }
}

#[test]
fn a_number_is_one_version() {
    for (remote, _folder) in places("number") {
        let (one, two) = (TestStore::new(), TestStore::new());
        remote.push(&one.store, &one.publish("digits"), &PushOptions::default()).unwrap();
        let other = two.publish("half_plus_two");
        let is_other = |error| match error {
            Err(StoreError::Remote(error)) => matches!(error.kind(), RemoteErrorKind::OtherVersion { .. }),
            _ => false,
        };
        assert!(is_other(remote.push(&two.store, &other, &PushOptions::default())), "{remote:?}");
        assert!(is_other(remote.pull(&reference("m@1"), &two.store, &PullOptions::default())), "{remote:?}");
        assert_eq!(two.store.resolve(&reference("m@1")).unwrap().digest(), other.digest());
        // Removed numbers are not used again.
        remote.remove(&reference("m@1")).unwrap();
        assert!(matches!(remote.find(&reference("m@1")), Err(StoreError::UnknownVersion { .. })), "{remote:?}");
        let pushed = remote.push(&two.store, &other, &PushOptions::default());
        assert!(matches!(pushed, Err(StoreError::VersionUsed { version: 1, .. })), "{remote:?} {pushed:?}");
    }
}

#[test]
fn labels_are_moved_and_rolled_back() {
    for (remote, _folder) in places("labels") {
        let here = TestStore::new();
        for source in ["digits", "half_plus_two", "digits_trainable"] {
            remote.push(&here.store, &here.publish(source), &PushOptions::default()).unwrap();
        }
        let production = label("production");
        for (version, from) in [(1, None), (2, Some(1)), (3, Some(2))] {
            let moved = remote.label(&reference(&format!("m@{version}")), &production, Why::Promote).unwrap();
            assert_eq!(moved, (version, from));
        }
        assert_eq!(remote.rollback(&model("m"), None, None).unwrap(), (production.clone(), 3, 2));
        assert_eq!(remote.rollback(&model("m"), Some(&production), None).unwrap(), (production.clone(), 2, 1));
        let to = Selector::Number(3);
        assert_eq!(remote.rollback(&model("m"), None, Some(&to)).unwrap(), (production.clone(), 1, 3));
        assert!(matches!(remote.remove(&reference("m@3")), Err(StoreError::Labelled { .. })));
        let events = remote.log(&model("m")).unwrap();
        assert_eq!(events.len(), 9);
        assert!(events.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
        let then = events[4].at;
        assert_eq!(remote.label_at(&model("m"), &production, then).unwrap(), Some(2));
        assert_eq!(remote.unlabel(&model("m"), &production).unwrap(), 3);
        let kept = remote.gc(&model("m"), &GcOptions::default().keep(1)).unwrap();
        assert_eq!(kept.versions, [1, 2]);
        assert_eq!(remote.overview(&model("m")).unwrap().latest(), Some(3));
    }
}

#[test]
fn moves_of_several_writers_are_all_in_the_log() {
    const WRITERS: u64 = 4;
    const MOVES: u64 = 20;
    for (remote, _folder) in places("writers") {
        let here = TestStore::new();
        for source in ["digits", "half_plus_two"] {
            remote.push(&here.store, &here.publish(source), &PushOptions::default()).unwrap();
        }
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let remote = remote.clone();
                scope.spawn(move || {
                    for step in 0..MOVES {
                        let to = reference(&format!("m@{}", 1 + step % 2));
                        remote.label(&to, &label(&format!("w{writer}")), Why::Label).unwrap();
                    }
                });
            }
        });
        let events = remote.log(&model("m")).unwrap();
        assert_eq!(events.len() as u64, 2 + WRITERS * MOVES, "{remote:?}");
        assert!(events.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
        assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at));
        for writer in 0..WRITERS {
            let name = label(&format!("w{writer}"));
            let mut from_last = None;
            for event in &events {
                let What::Labelled { label, from, to, .. } = &event.what else { continue };
                if *label == name {
                    assert_eq!(*from, from_last);
                    from_last = *to;
                }
            }
        }
    }
}

#[test]
fn two_pushes_of_one_version_make_one() {
    for (remote, _folder) in places("twice") {
        let here = TestStore::new();
        let version = here.publish("digits");
        // Of one machine, which wait for each other, and of another with the same version.
        let other = TestStore::new();
        let source = open(&here.store.path().display().to_string());
        source.pull(&reference("m@1"), &other.store, &PullOptions::default()).unwrap();
        thread::scope(|scope| {
            for store in [&here.store, &here.store, &other.store] {
                let (remote, version) = (remote.clone(), &version);
                scope.spawn(move || remote.push(store, version, &PushOptions::default()).unwrap());
            }
        });
        let published = |what: &What| matches!(what, What::Published { .. });
        let events = remote.log(&model("m")).unwrap();
        assert_eq!(events.iter().filter(|event| published(&event.what)).count(), 1, "{remote:?}");
        let third = TestStore::new();
        let pulled = remote.pull(&reference("m"), &third.store, &PullOptions::default()).unwrap();
        assert_eq!(third.store.verify(pulled.version()).unwrap(), []);
    }
}

#[test]
fn sync_brings_what_the_other_side_lacks() {
    for (remote, _folder) in places("sync") {
        let (one, two) = (TestStore::new(), TestStore::new());
        let options = SyncOptions::default();
        let first = one.publish("digits");
        one.store.label(&first, &label("production"), Why::Label).unwrap();
        let dry = remote.sync(&one.store, &model("m"), &options.clone().dry_run(true)).unwrap();
        assert_eq!((dry.pushed, dry.labelled_there), (vec![1], vec![(label("production"), 1)]));
        remote.sync(&one.store, &model("m"), &options).unwrap();
        let synced = remote.sync(&two.store, &model("m"), &options).unwrap();
        assert_eq!((synced.pulled, synced.labelled_here), (vec![1], vec![(label("production"), 1)]));
        // What was removed or differs stays so.
        let second = two.publish("half_plus_two");
        two.store.label(&second, &label("production"), Why::Label).unwrap();
        remote.sync(&two.store, &model("m"), &options).unwrap();
        two.store.remove(&two.store.find(&reference("m@1")).unwrap()).unwrap();
        let synced = remote.sync(&two.store, &model("m"), &options).unwrap();
        assert_eq!((synced.pushed.len(), synced.pulled.len()), (0, 0), "{remote:?}");
        assert_eq!(synced.different_labels, [(label("production"), 2, 1)]);
        assert!(remote.sync(&one.store, &model("n"), &options).is_err());
    }
}

#[test]
fn a_signature_comes_with_its_version() {
    for (remote, _folder) in places("signed") {
        let here = TestStore::new();
        let key = SigningKey::create(here.folder.path().join("key.pem")).unwrap();
        let trusted = Trusted::Key(key);
        let first = here.publish("digits");
        remote.push(&here.store, &first, &PushOptions::default()).unwrap();
        let strict = PullOptions::default().require_signature(trusted.clone());
        let other = TestStore::new();
        assert!(matches!(remote.pull(&reference("m@1"), &other.store, &strict), Err(StoreError::NotSigned { .. })));
        assert!(matches!(other.store.find(&reference("m@1")), Err(StoreError::UnknownModel { .. })));
        let key = SigningKey::read(here.folder.path().join("key.pem")).unwrap();
        let options = PublishOptions::default().sign(key);
        let second = here.store.publish(&model("m"), model_folder("digits"), options).unwrap();
        remote.push(&here.store, &second, &PushOptions::default()).unwrap();
        let pulled = remote.pull(&reference("m@2"), &other.store, &strict).unwrap();
        pulled.version().verify_signature(&trusted, false).unwrap();
        // A version that is signed later is signed there after the next push, and in the cache after the next look.
        let cache = Cache::at(other.folder.path().join("cache"));
        let cached = cache.get(&remote, &reference("m@1")).unwrap();
        assert!(matches!(cached.version().verify_signature(&trusted, false), Err(StoreError::NotSigned { .. })));
        here.store.sign(&first, &SigningKey::read(here.folder.path().join("key.pem")).unwrap()).unwrap();
        remote.push(&here.store, &first, &PushOptions::default()).unwrap();
        let cached = cache.get(&remote, &reference("m@1")).unwrap();
        cached.version().verify_signature(&trusted, false).unwrap();
        assert_eq!(Cache::version_at(cached.version().path()).as_ref(), Some(cached.version()));
        // Another signature takes its place only on request.
        let other_key = SigningKey::create(here.folder.path().join("other.pem")).unwrap();
        let key = SigningKey::read(here.folder.path().join("other.pem")).unwrap();
        here.store.replace_signature(&first, &key).unwrap();
        let refused = remote.push(&here.store, &first, &PushOptions::default()).unwrap_err();
        let there = match refused {
            StoreError::Remote(error) => error.kind().clone(),
            error => panic!("{error}"),
        };
        assert!(matches!(there, RemoteErrorKind::OtherSignature { there, here } if there != here));
        let cached = cache.get(&remote, &reference("m@1")).unwrap();
        cached.version().verify_signature(&trusted, false).unwrap();
        remote.push(&here.store, &first, &PushOptions::default().replace_signature(true)).unwrap();
        let cached = cache.get(&remote, &reference("m@1")).unwrap();
        cached.version().verify_signature(&Trusted::Key(other_key), false).unwrap();
    }
}

#[test]
fn watching_tells_of_changes_alone() {
    for (remote, _folder) in places("watch") {
        let here = TestStore::new();
        remote.push(&here.store, &here.publish("digits"), &PushOptions::default()).unwrap();
        let mut watch = remote.watch(&model("m"));
        assert_eq!(watch.poll().unwrap().unwrap().latest, 1);
        assert_eq!(watch.poll().unwrap(), None);
        remote.label(&reference("m@1"), &label("a"), Why::Label).unwrap();
        let state = watch.poll().unwrap().unwrap();
        assert_eq!((state.labels.get(&label("a")), state.changes), (Some(&1), 2));
        assert_eq!(watch.poll().unwrap(), None);
    }
}

#[test]
fn the_cache_keeps_what_is_used() {
    for (remote, _folder) in places("cache") {
        let here = TestStore::new();
        for source in ["digits", "half_plus_two", "digits_trainable"] {
            remote.push(&here.store, &here.publish(source), &PushOptions::default()).unwrap();
        }
        let cache = Cache::at(here.folder.path().join("cache")).limit(1);
        let first = cache.get(&remote, &reference("m@1")).unwrap();
        let second = cache.get(&remote, &reference("m@2")).unwrap();
        let path = second.version().path().to_path_buf();
        drop(second);
        let third = cache.get(&remote, &reference("m@3")).unwrap();
        let kept: BTreeSet<bool> = [&first, &third].iter().map(|it| it.version().path().exists()).collect();
        assert_eq!((kept, path.exists()), (BTreeSet::from([true]), false));
        let mut signature = first.version().path().to_path_buf();
        signature.push("saved_model.pb");
        assert!(signature.exists());
    }
}
