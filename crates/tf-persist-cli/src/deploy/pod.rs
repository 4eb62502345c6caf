//! What the containers of all manifests have.

use serde_json::{Map, Value, json};

use super::args::CommonArgs;
use super::model::Model;

/// The user of the image.
pub(super) const USER: u32 = 65532;

/// The volume for temporary files. The rest of the container cannot be written to.
pub(super) const TEMPORARY: &str = "tmp";

/// A container that can do nothing but its work.
pub(super) fn container(name: &str, image: &str, arguments: &[String], model: &Model, args: &CommonArgs) -> Value {
    let mut variables = vec![json!({"name": "XDG_CACHE_HOME", "value": "/tmp/.cache"})];
    variables.extend(args.env.iter().map(|(name, value)| json!({"name": name, "value": escaped(value)})));
    let memory = model.memory(args);
    json!({
        "name": name,
        "image": image,
        "args": arguments,
        "env": variables,
        "resources": {
            "requests": {"cpu": args.cpu, "memory": memory},
            // Without a limit of processors: it would make requests wait while others have nothing to do.
            "limits": {"memory": memory},
        },
        "securityContext": {
            "runAsUser": USER,
            "runAsNonRoot": true,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": TEMPORARY, "mountPath": "/tmp"}],
    })
}

/// A value as it is: `$(NAME)` would be a reference to a variable.
pub(super) fn escaped(text: &str) -> String {
    text.replace("$(", "$$(")
}

/// The volume for temporary files.
pub(super) fn temporary() -> Value {
    json!({"name": TEMPORARY, "emptyDir": {}})
}

/// Adds what a pod has of the arguments.
pub(super) fn add_accounts(pod: &mut Map<String, Value>, args: &CommonArgs) {
    if let Some(account) = &args.service_account {
        pod.insert("serviceAccountName".to_owned(), account.as_str().into());
    }
    if let Some(secret) = &args.image_pull_secret {
        pod.insert("imagePullSecrets".to_owned(), json!([{"name": secret}]));
    }
}

/// The metadata of an object.
pub(super) fn metadata(name: &str, model: Option<&Model>, args: &CommonArgs) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), name.into());
    if let Some(namespace) = &args.namespace {
        metadata.insert("namespace".to_owned(), namespace.as_str().into());
    }
    metadata.insert("labels".to_owned(), json!({"app.kubernetes.io/managed-by": "tf-persist"}));
    if let Some(model) = model {
        let mut annotations = Map::new();
        annotations.insert("io.tf-persist/model".to_owned(), model.reference().into());
        if let Some(digest) = &model.digest {
            annotations.insert("io.tf-persist/identity".to_owned(), format!("sha256:{digest}").into());
        }
        metadata.insert("annotations".to_owned(), annotations.into());
    }
    metadata
}
