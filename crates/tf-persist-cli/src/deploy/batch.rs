//! Batch scoring: an Indexed Job, whose pod of each index runs the model over one file.

use serde_json::{Map, Value, json};

use super::args::BatchArgs;
use super::model::{Model, image};
use super::pod;
use crate::error::UsageError;
use crate::keras_args::KerasArgs;

/// Where the volume is.
const DATA: &str = "/data";
const VOLUME: &str = "data";

/// How often a pod of one index is tried again. The run goes on where it was.
const TRIES: u32 = 3;

/// The seconds after which a Job that has ended is deleted.
const KEPT: u32 = 7 * 24 * 3600;

/// The documents in their order.
pub(super) fn documents(args: &BatchArgs) -> anyhow::Result<Vec<Value>> {
    let model = Model::find(&args.common.model)?;
    check(args)?;
    let name = model.object_name(&args.common)?.with("batch");
    let container = scorer(args, &model)?;
    let mut template = Map::new();
    template.insert("restartPolicy".to_owned(), "Never".into());
    pod::add_accounts(&mut template, &args.common);
    // The files of the volume belong to the group of the image's user.
    template
        .insert("securityContext".to_owned(), json!({"fsGroup": pod::USER, "fsGroupChangePolicy": "OnRootMismatch"}));
    template.insert("containers".to_owned(), json!([container]));
    let data = json!({"name": VOLUME, "persistentVolumeClaim": {"claimName": args.claim}});
    template.insert("volumes".to_owned(), json!([pod::temporary(), data]));
    Ok(vec![json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": pod::metadata(&name, Some(&model), &args.common),
        "spec": {
            "completionMode": "Indexed",
            "completions": args.shards,
            "parallelism": args.parallelism.min(args.shards),
            "backoffLimitPerIndex": TRIES,
            "ttlSecondsAfterFinished": KEPT,
            "template": {
                "metadata": {"labels": {"app.kubernetes.io/managed-by": "tf-persist"}},
                "spec": template,
            },
        },
    })])
}

/// Refuses what `run` would refuse in every pod.
fn check(args: &BatchArgs) -> anyhow::Result<()> {
    if args.inputs == args.output {
        let reason = format!("--output: `{}` has the inputs, which the outputs would replace", args.output);
        return Err(UsageError(reason).into());
    }
    let model = KerasArgs::default().open(&args.common.model)?;
    let meta_graph = model.meta_graph(None)?;
    match &args.signature {
        Some(name) => meta_graph.signature(name)?,
        None => meta_graph.default_signature()?,
    };
    Ok(())
}

/// The container. The index of its pod comes as JOB_COMPLETION_INDEX, which `run` reads.
fn scorer(args: &BatchArgs, model: &Model) -> anyhow::Result<Value> {
    let mut arguments = vec![
        "run".to_owned(),
        format!("/models/{}/{}", model.name, model.number),
        format!("--inputs={DATA}/{}", args.inputs),
        format!("--output={DATA}/{}", args.output),
        format!("--batch-size={}", args.batch_size),
    ];
    arguments.extend(args.signature.as_ref().map(|name| format!("--signature={name}")));
    let arguments: Vec<String> = arguments.iter().map(|argument| pod::escaped(argument)).collect();
    let mut container = pod::container("run", &image(&args.common.image)?, &arguments, model, &args.common);
    if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
        mounts.push(json!({"name": VOLUME, "mountPath": DATA}));
    }
    Ok(container)
}
