//! Export where the disk is full, the folder is closed, or the process is killed: whole, or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use crate::export::inspected;
use crate::support::Dir;

/// Processes are killed this many milliseconds after their hidden folder appears.
const MOMENTS: [u64; 6] = [0, 10, 35, 50, 70, 120];

/// Files may not become longer than this many KiB; the signal that comes with it is ignored, so that writing fails as
/// it does on a full disk.
pub(crate) fn full_disk(kib: u32) -> String {
    format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"")
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing_behind() {
    let dir = Dir::new();
    let before = dir.listing();
    // The variables do not fit, nor the graph, the graph as text, or a model without variables.
    for (kib, model) in [(8, "digits"), (40, "text"), (8, "text_format"), (1, "bare_table")] {
        let ran = dir.bash(&full_disk(kib), &format!("export models/{model}/model out")).run().fails();
        // TensorFlow writes the variables and names the model; of what is copied, the place it should have gone to is
        // named.
        let ran = ran.says("File too large");
        ran.check(ran.err().contains(&format!("models/{model}/model")) || ran.err().contains("/out/"), "which model?");
        ran.check(dir.listing() == before, "something is left behind");
    }
}

#[test]
fn a_full_disk_leaves_no_folders_above_the_target_behind() {
    let dir = Dir::new();
    let before = dir.listing();
    dir.bash(&full_disk(8), "export models/digits/model some/where/out").run().fails();
    assert_eq!(dir.listing(), before);
}

#[test]
fn a_failed_copy_names_its_target() {
    let dir = Dir::new();
    let ran = dir.bash(&full_disk(40), "export models/text/model out").run().fails();
    // The source is whole; it is the target's disk that has no room.
    ran.says("out");
}

#[test]
fn outputs_on_a_full_disk_leave_nothing_behind() {
    let dir = Dir::new();
    let numbers = vec!["1"; 20_000].join(",");
    dir.write("in.json", format!("{{\"instances\": [{numbers}]}}"));
    let before = dir.listing();
    let mut all = Vec::new();
    for ending in ["npy", "json", "npz"] {
        let line = format!("run models/half_plus_two/model --inputs in.json --output y.{ending}");
        all.push((ending, dir.bash(&full_disk(8), &line).run()));
        assert_eq!(dir.listing(), before);
    }
    for (ending, ran) in all {
        ran.fails().says(format!("y.{ending}")).says("File too large");
    }
}

#[test]
fn at_most_one_of_two_processes_with_one_target_fails() {
    let dir = Dir::new();
    let mut children: Vec<_> = (0..2).map(|_| dir.cmd("export models/digits/model out").start()).collect();
    let codes: Vec<_> = children.iter_mut().map(|child| child.wait().unwrap().code()).collect();
    assert!(codes.contains(&Some(0)) && codes.iter().all(|code| [Some(0), Some(1)].contains(code)), "{codes:?}");
    inspected(&dir, "out");
    assert_eq!(dir.names(""), ["models", "out"]);
}

#[test]
fn a_read_only_folder_is_named() {
    let dir = Dir::new();
    // Nobody, not even root, makes folders here.
    dir.cmd("export models/half_plus_two/model /sys/out").run().fails().says("/sys");
    let closed = dir.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let root = fs::create_dir(closed.join("probe")).is_ok();
    if !root {
        dir.cmd("export models/half_plus_two/model closed/out").run().fails().says("closed");
        assert!(dir.names("closed").is_empty());
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn messages_do_not_name_temporary_folders() {
    let dir = Dir::new();
    let closed = dir.cmd("export models/half_plus_two/model /sys/out").run().fails();
    closed.check(!closed.err().contains(".tmp"), "it names its own temporary folder");
}

#[test]
fn a_killed_process_leaves_a_complete_model_or_none() {
    let dir = Dir::new();
    dir.cmd("export models/digits/model whole").run().ok();
    for moment in MOMENTS {
        killed(&dir, "export models/digits/model out", moment);
        if dir.path("out").exists() {
            is_whole(&dir, "out");
            fs::remove_dir_all(dir.path("out")).unwrap();
        }
        only_the_last_hidden_folder_is_beside(&dir, &["models", "whole"]);
    }
    dir.cmd("export models/digits/model out").run().ok();
    assert_eq!(dir.names(""), ["models", "out", "whole"], "what was left is tidied up");
}

#[test]
fn a_process_killed_while_overwriting_leaves_the_old_or_the_new_model() {
    let dir = Dir::new();
    dir.cmd("export models/digits/model whole").run().ok();
    dir.copy_model("half_plus_two", "out");
    let old = fs::read(dir.path("out/saved_model.pb")).unwrap();
    for moment in MOMENTS {
        killed(&dir, "export models/digits/model out --overwrite", moment);
        if fs::read(dir.path("out/saved_model.pb")).unwrap() == old {
            inspected(&dir, "out");
        } else {
            is_whole(&dir, "out");
            fs::remove_dir_all(dir.path("out")).unwrap();
            dir.copy_model("half_plus_two", "out");
        }
        only_the_last_hidden_folder_is_beside(&dir, &["models", "out", "whole"]);
    }
    dir.cmd("export models/digits/model out --overwrite").run().ok();
    assert_eq!(dir.names(""), ["models", "out", "whole"], "what was left is tidied up");
}

/// A process that is stopped has its folder for as long as it is there.
#[test]
fn the_folder_of_a_running_process_stays() {
    let dir = Dir::new();
    dir.copy_model("digits", "source");
    // So that there is something to do.
    dir.write("source/assets.extra/large", "x".repeat(64 << 20));
    let (mut child, living) = loop {
        let mut child = dir.cmd("export source one --overwrite").start();
        while hidden(&dir).is_empty() && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_micros(200));
        }
        if child.try_wait().unwrap().is_some() {
            continue;
        }
        signal(&child, "-STOP");
        // The signal may arrive later than `kill` ends.
        while !is_stopped(&child) && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_micros(200));
        }
        let living = hidden(&dir);
        if !living.is_empty() {
            break (child, living);
        }
        // On a busy machine it was done before the signal.
        signal(&child, "-CONT");
        assert!(child.wait().unwrap().success());
    };
    for _ in 0..2 {
        dir.cmd("export models/half_plus_two/model two --overwrite").run().ok();
        assert_eq!(hidden(&dir), living);
    }
    signal(&child, "-CONT");
    assert!(child.wait().unwrap().success());
    assert_eq!(dir.names(""), ["models", "one", "source", "two"]);
}

/// Whether the kernel has stopped a process.
fn is_stopped(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn hidden(dir: &Dir) -> Vec<String> {
    dir.names("").into_iter().filter(|name| name.starts_with('.')).collect()
}

fn killed(dir: &Dir, line: &str, moment: u64) {
    let before = hidden(dir);
    let mut child = dir.cmd(line).start();
    let begun = || hidden(dir) != before;
    while !begun() && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_micros(200));
    }
    thread::sleep(Duration::from_millis(moment));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The model is what `whole` is, and answers.
#[track_caller]
fn is_whole(dir: &Dir, path: &str) {
    let (mut report, mut expected) = (inspected(dir, path), inspected(dir, "whole"));
    for report in [&mut report, &mut expected] {
        report["path"] = "".into();
        // Each copy has its own identifier.
        report["fingerprint"]["uuid"] = "".into();
    }
    assert_eq!(report, expected);
    let pixels = format!("image=[[{}]]", ["[[0],[0],[0],[0],[0],[0],[0],[0]]"; 8].join(","));
    dir.cmd(&format!("run {path} --input {pixels}")).run().ok().prints("probabilities  float32 [1, 10]");
}

#[track_caller]
fn only_the_last_hidden_folder_is_beside(dir: &Dir, expected: &[&str]) {
    let names = dir.names("");
    let (hidden, others): (Vec<&str>, Vec<&str>) =
        names.iter().map(String::as_str).partition(|name| name.starts_with('.'));
    assert_eq!(others, expected);
    assert!(hidden.len() <= 1 && hidden.iter().all(|name| name.starts_with(".out.tmp-")), "{hidden:?}");
}
