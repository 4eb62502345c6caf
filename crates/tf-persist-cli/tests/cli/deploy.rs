//! `deploy`: what is printed for Kubernetes, and what is refused. `python/checks/check_deploy.py` compares it with
//! schemas.

use serde_json::Value;

use crate::support::Dir;

const KSERVE: &str = "deploy kserve models/digits/model --name digits --image ghcr.io/team/digits:7";
const BATCH: &str =
    "deploy batch models/digits/model --name digits --image ghcr.io/team/digits:7 --claim c --inputs in --output out";

/// The documents that a command prints.
fn documents(dir: &Dir, line: &str) -> Vec<Value> {
    let ran = dir.cmd(line).without_tensorflow().run().ok();
    serde_saphyr::from_multiple(ran.out()).unwrap()
}

#[test]
fn services_of_kserve() {
    let dir = Dir::new();
    let [service] = &documents(&dir, KSERVE)[..] else { panic!("a service alone") };
    let container = &service["spec"]["predictor"]["containers"][0];
    assert_eq!((&service["kind"], &container["image"]), (&"InferenceService".into(), &"ghcr.io/team/digits:7".into()));
    let line = format!("{KSERVE} --storage-uri s3://models/digits --prometheus http://prometheus:9090");
    let [runtime, service] = &documents(&dir, &line)[..] else { panic!("a runtime and a service") };
    assert_eq!((&runtime["kind"], &service["kind"]), (&"ServingRuntime".into(), &"InferenceService".into()));
    assert_eq!(runtime["metadata"]["name"], service["spec"]["predictor"]["model"]["runtime"]);
    let target = &service["spec"]["predictor"]["autoScaling"]["metrics"][0]["external"]["target"];
    assert_eq!(target["value"], "4", "a quantity is a text");
}

#[test]
fn jobs_have_an_index_for_each_file() {
    let dir = Dir::new();
    let [job] = &documents(&dir, &format!("{BATCH} --shards 2"))[..] else { panic!("a job") };
    assert_eq!((&job["spec"]["completionMode"], &job["spec"]["completions"]), (&"Indexed".into(), &2.into()));
    assert_eq!(job["spec"]["parallelism"], 2, "no more than there are files");
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let arguments: Vec<&str> = container["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(arguments[..2], ["run", "/models/model/1"]);
    assert!(arguments.contains(&"--inputs=/data/in") && arguments.contains(&"--output=/data/out"));
}

#[test]
fn what_a_cluster_would_refuse() {
    let dir = Dir::new();
    for (flags, says) in [
        ("--name Digits", "lower case letters"),
        ("--storage-uri ftp://a", "does not know `ftp://a`"),
        ("--min-replicas 4 --max-replicas 3", "less than --min-replicas"),
        ("--memory 2GB", "not a size of memory"),
        ("--env PYTHONPATH=/x", "does not allow PYTHONPATH"),
        ("--prometheus prometheus", "not an address"),
        ("--image ghcr.io/Team/a", "upper case"),
    ] {
        let line = match flags.strip_prefix("--image ") {
            Some(image) => KSERVE.replace("ghcr.io/team/digits:7", image),
            None => format!("{} {flags}", KSERVE.replace(" --name digits", "")),
        };
        dir.cmd(&line).without_tensorflow().run().misused().says(says);
    }
    std::fs::create_dir(dir.path("2b")).unwrap();
    dir.cmd("deploy kserve 2b --image ghcr.io/team/digits:7").without_tensorflow().run().fails().hints("--name NAME");
    dir.cmd(&format!("{BATCH} --shards 0")).run().misused().says("0");
    let same = BATCH.replace("--output out", "--output /in/ --shards 2");
    dir.cmd(&same).without_tensorflow().run().misused().says("`in` has the inputs, which the outputs would replace");
    let unknown = dir.cmd(&format!("{BATCH} --shards 2 --signature nope")).without_tensorflow().run().fails();
    unknown.prints_only("").says("has no signature `nope`").hints("--signature NAME");
}
