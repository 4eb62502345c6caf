//! Configurations that are right, and that are not.

use super::*;

const SMALL: &str = r#"
store = "models.store"
model = "digits"

[watch]
logs = ["logs"]

[train]
data = ["data"]
held_out = 0.2

[gates]
metric = "accuracy"
"#;

fn refused(text: &str) -> String {
    Config::parse(text, Path::new("/loops")).unwrap_err()
}

#[test]
fn the_rest_has_defaults() {
    let config = Config::parse(SMALL, Path::new("/loops")).unwrap();
    assert_eq!(config.store, Path::new("/loops/models.store"));
    assert_eq!(config.watch.logs, [Path::new("/loops/logs")]);
    assert_eq!((config.label.as_str(), config.train.epochs, config.train.batch_size), ("production", 1, 32));
    assert!(config.act.drift && config.promote.is_none() && !config.gates.worse_scan);
    assert_eq!(config.act.cool_down.to_string(), "1h");
}

#[test]
fn a_file_of_held_out_rows_and_steps_of_a_canary() {
    let text = SMALL.replace("held_out = 0.2", "held_out = \"held.npz\"")
        + r#"
[promote]
traffic = "traffic.toml"
server = "http://127.0.0.1:8501"
shadow = { requests = 100, within = "10m" }
canary = [{ share = 5, requests = 50 }, { share = 50, requests = 200, within = "1h" }]
"#;
    let config = Config::parse(&text, Path::new("/loops")).unwrap();
    assert!(matches!(config.train.held_out, HeldOut::File(path) if path == Path::new("/loops/held.npz")));
    let promote = config.promote.unwrap();
    assert_eq!(promote.traffic, Path::new("/loops/traffic.toml"));
    assert_eq!((promote.canary.len(), promote.canary[1].share, promote.label.as_str()), (2, 50, "candidate"));
}

#[test]
fn what_is_wrong_is_named() {
    let with = |from: &str, to: &str| refused(&SMALL.replace(from, to));
    let unknown = with("[gates]\n", "[gates]\nmetrics = 1\n");
    assert!(unknown.starts_with("line 13: unknown field `metrics`"), "{unknown}");
    assert!(with("accuracy", "speed").contains("unknown variant `speed`"), "{}", with("accuracy", "speed"));
    assert!(with("\"digits\"", "\"../digits\"").contains("only letters"));
    assert_eq!(with("data = [\"data\"]\n", ""), "`train` has neither `data` nor `data_command`");
    let both = with("data = [\"data\"]\n", "data = [\"data\"]\ndata_command = [\"make\"]\n");
    assert_eq!(both, "`train` has both `data` and `data_command`");
    assert!(with("held_out = 0.2", "held_out = 1.5").contains("`train.held_out` is 1.5"));
    assert!(with("held_out = 0.2", "held_out = 0.2\nlearning_rate = nan").contains("not above 0"));
    assert!(with("held_out = 0.2", "held_out = 0.2\ntimeout = \"1 hour\"").contains("not a length of time"));
    assert!(with("logs = [\"logs\"]", "logs = []").contains("`watch.logs` is empty"));
    assert!(with("logs = [\"logs\"]", "logs = [\"logs\"]\nevery = \"0s\"").contains("`watch.every` is 0"));
    assert!(with("\"accuracy\"", "\"accuracy\"\ngolden = -1.0").ends_with("not a number from 0 on"));
    let guard = |more: &str| refused(&format!("{SMALL}\n[guard]\n{more}"));
    assert!(guard("fall = -0.1").starts_with("`guard.fall` is -0.1"));
    assert!(guard("fall = nan").starts_with("`guard.fall` is NaN"));
    assert!(guard("quality = inf").starts_with("`guard.quality` is inf"));
    assert!(
        guard("labelled = 40").starts_with("`guard.labelled` is 40, with which the guard ends before it has the 50")
    );
    let promote = |more: &str| refused(&format!("{SMALL}\n[promote]\ntraffic = \"t\"\n{more}"));
    assert!(promote("server = \"https://host\"").contains("does not begin with `http://`"));
    assert!(promote("server = \"http://h:1\"\nlabel = \"production\"").contains("are both `production`"));
    let metrics = promote("server = \"http://h:1\"\nmetrics = \"metrics\"");
    assert_eq!(metrics, "`promote.metrics` is `metrics`, and does not begin with `/`");
    let shadow = promote("server = \"http://h:1\"\nshadow = {requests = 1, largest_difference = -1.0}");
    assert!(shadow.starts_with("`promote.shadow.largest_difference` is -1"), "{shadow}");
    assert!(promote("server = \"http://h:1\"\ncanary = [{share = 0, requests = 1}]").contains("not 1 to 100 percent"));
}

#[test]
fn the_documentation_and_the_example_are_right() {
    let page = std::fs::read_to_string(tf_persist_testing::root().join("docs/loop.md")).unwrap();
    let snippets: Vec<&str> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [first, promote] = snippets.as_slice() else { panic!("{} snippets", snippets.len()) };
    assert!(Config::parse(first, Path::new(".")).unwrap().promote.is_none());
    let config = Config::parse(&format!("{first}\n{promote}"), Path::new(".")).unwrap();
    assert_eq!(config.promote.unwrap().canary.len(), 2);
    let example = std::fs::read_to_string(tf_persist_testing::root().join("examples/loop/loop.toml")).unwrap();
    let config = Config::parse(&example.replace("{SERVER}", "http://127.0.0.1:1"), Path::new(".")).unwrap();
    assert_eq!((config.gates.golden, config.guard.fall), (Some(1.0), Some(0.15)));
    // Every key has a row.
    for key in ["least_requests", "cool_down", "data_command", "least_rows", "worse_scan", "patience", "least_labelled"]
    {
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
}
