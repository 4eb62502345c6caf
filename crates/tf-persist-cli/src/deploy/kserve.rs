//! The objects of KServe: `ServingRuntime` (v1alpha1) and `InferenceService` (v1beta1).

use serde_json::{Map, Value, json};

use super::args::KserveArgs;
use super::model::{Model, image};
use super::names::Name;
use super::pod;
use crate::error::UsageError;

/// The ports: KServe expects REST on 8080.
const REST_PORT: u16 = 8080;
const GRPC_PORT: u16 = 9000;

/// The container that KServe gives the model and the requests.
const CONTAINER: &str = "kserve-container";

/// The path of the metrics, and the file in the image that turns them on.
const METRICS: &str = "/monitoring/prometheus/metrics";
const MONITORING_FILE: &str = "/tf-persist/etc/monitoring.config";

/// The seconds between the removal of a pod from its service and SIGTERM: until then requests are still sent to it.
const REMOVAL: u32 = 5;

/// The seconds that a pod has for the rest.
const MARGIN: u32 = 10;

/// The pods without a flag.
const REPLICAS: u32 = 3;

/// The schemes that KServe knows (`SupportedStorageURIPrefixList` of 0.20).
const STORAGE: [&str; 12] = [
    "gs://",
    "s3://",
    "pvc://",
    "file://",
    "https://",
    "http://",
    "hdfs://",
    "webhdfs://",
    "oci://",
    "oci+native://",
    "oci+fetch://",
    "hf://",
];

/// The documents in their order.
pub(super) fn documents(args: &KserveArgs) -> anyhow::Result<Vec<Value>> {
    let model = Model::find(&args.common.model)?;
    let name = model.object_name(&args.common)?;
    let container = server(args, &model)?;
    if let Some(uri) = &args.storage_uri {
        check_storage(uri)?;
        return Ok(vec![runtime(args, container), service(args, &model, &name, None)?]);
    }
    Ok(vec![service(args, &model, &name, Some(container))?])
}

fn check_storage(uri: &str) -> anyhow::Result<()> {
    let rest = STORAGE.iter().find_map(|scheme| uri.strip_prefix(scheme));
    if rest.is_some_and(|rest| !rest.is_empty()) && !uri.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Ok(());
    }
    let uri = tf_persist_store::remote::without_secrets(uri);
    let known = STORAGE.join(", ");
    Err(UsageError(format!("--storage-uri: KServe does not know `{uri}`; it begins with one of {known}")).into())
}

/// The container of the server.
fn server(args: &KserveArgs, model: &Model) -> anyhow::Result<Value> {
    let mut arguments = vec!["serve-local".to_owned()];
    if args.storage_uri.is_some() {
        // KServe writes the name of the service.
        arguments.extend(["--model_name={{.Name}}".to_owned(), "--model_base_path=/mnt/models".to_owned()]);
    }
    arguments.extend([
        "--host=0.0.0.0".to_owned(),
        format!("--rest_api_port={REST_PORT}"),
        format!("--port={GRPC_PORT}"),
        format!("--drain_timeout={}", args.drain_timeout),
        format!("--monitoring_config_file={MONITORING_FILE}"),
    ]);
    let image = image(&args.common.image)?;
    let mut container = pod::container(CONTAINER, &image, &arguments, model, &args.common);
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": REST_PORT},
            "periodSeconds": period,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        })
    };
    if let Some(container) = container.as_object_mut() {
        let ports = json!([
            {"name": "http1", "containerPort": REST_PORT, "protocol": "TCP"},
            {"name": "h2c", "containerPort": GRPC_PORT, "protocol": "TCP"},
        ]);
        container.insert("ports".to_owned(), ports);
        container.insert("readinessProbe".to_owned(), probe("/readyz", 5, 2));
        container.insert("livenessProbe".to_owned(), probe("/healthz", 10, 6));
        // The image has no shell that could wait.
        container.insert("lifecycle".to_owned(), json!({"preStop": {"sleep": {"seconds": REMOVAL}}}));
    }
    Ok(container)
}

/// The runtime, which all models of its namespace may use.
fn runtime(args: &KserveArgs, container: Value) -> Value {
    let formats = [("tensorflow", "1"), ("tensorflow", "2"), ("keras", "2"), ("keras", "3")];
    // Chosen by name only: a cluster has another runtime for TensorFlow.
    let formats: Vec<Value> =
        formats.iter().map(|(name, version)| json!({"name": name, "version": version, "autoSelect": false})).collect();
    json!({
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": pod::metadata(&args.runtime.to_string(), None, &args.common),
        "spec": {
            "annotations": {"prometheus.kserve.io/port": REST_PORT.to_string(), "prometheus.kserve.io/path": METRICS},
            "supportedModelFormats": formats,
            "protocolVersions": ["v1", "v2", "grpc-v1", "grpc-v2"],
            "containers": [container],
            "volumes": [pod::temporary()],
        },
    })
}

/// The service, with a container of its own or with the runtime.
fn service(args: &KserveArgs, model: &Model, name: &Name, container: Option<Value>) -> anyhow::Result<Value> {
    let mut metadata = pod::metadata(&name.to_string(), Some(model), &args.common);
    let mut predictor = Map::new();
    let class = scale(args, name, &mut predictor)?;
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.insert("serving.kserve.io/deploymentMode".to_owned(), "Standard".into());
        annotations.insert("serving.kserve.io/autoscalerClass".to_owned(), class.into());
    }
    let scraped = json!({
        "prometheus.io/scrape": "true",
        "prometheus.io/port": REST_PORT.to_string(),
        "prometheus.io/path": METRICS,
    });
    predictor.insert("annotations".to_owned(), scraped);
    let grace = REMOVAL + args.drain_timeout + MARGIN;
    predictor.insert("terminationGracePeriodSeconds".to_owned(), grace.into());
    pod::add_accounts(&mut predictor, &args.common);
    match (container, &args.storage_uri) {
        (Some(container), _) => {
            predictor.insert("containers".to_owned(), json!([container]));
            predictor.insert("volumes".to_owned(), json!([pod::temporary()]));
        }
        (None, uri) => {
            let memory = model.memory(&args.common);
            let model = json!({
                "modelFormat": {"name": "tensorflow", "version": "2"},
                "runtime": args.runtime.to_string(),
                "storageUri": uri,
                "resources": {
                    "requests": {"cpu": args.common.cpu, "memory": memory},
                    "limits": {"memory": memory},
                },
            });
            predictor.insert("model".to_owned(), model);
        }
    }
    Ok(json!({
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": predictor},
    }))
}

/// Adds what scales the pods, and gives the class of the autoscaler.
fn scale(args: &KserveArgs, name: &Name, predictor: &mut Map<String, Value>) -> anyhow::Result<&'static str> {
    let least = args.min_replicas;
    let most = args.max_replicas.unwrap_or(REPLICAS.max(least));
    if most < least {
        let reason = format!("--max-replicas is {most}, which is less than --min-replicas, {least}");
        return Err(UsageError(reason).into());
    }
    predictor.insert("minReplicas".to_owned(), least.into());
    predictor.insert("maxReplicas".to_owned(), most.into());
    if least == most {
        return Ok("none");
    }
    let Some(server) = &args.prometheus else {
        predictor.insert("scaleMetric".to_owned(), "cpu".into());
        predictor.insert("scaleTarget".to_owned(), args.target_cpu.into());
        return Ok("hpa");
    };
    if !["http://", "https://"].iter().any(|scheme| server.starts_with(scheme)) || server.contains([' ', '"', '@']) {
        return Err(
            UsageError("--prometheus is not an address, such as http://prometheus.monitoring:9090".into()).into()
        );
    }
    let namespace = args.common.namespace.as_ref().map(|name| format!("namespace=\"{name}\", ")).unwrap_or_default();
    let query = format!("sum(tf_persist_requests_under_way{{{namespace}pod=~\"{name}-predictor-.*\"}})");
    // KEDA divides the sum by the number of pods, whatever the type of the target is.
    let metric = json!({
        "type": "External",
        "external": {
            "metric": {"backend": "prometheus", "serverAddress": server, "query": query},
            "target": {"type": "Value", "value": args.target_requests.to_string()},
        },
    });
    predictor.insert("autoScaling".to_owned(), json!({"metrics": [metric]}));
    Ok("keda")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_that_kserve_knows() {
        for good in ["s3://b/m", "oci+native://h/r:1", "pvc://claim/path"] {
            assert!(check_storage(good).is_ok(), "{good}");
        }
        for bad in ["", "s3://", "ftp://a", "/models", "S3://a", "az://a/b", "s3://a b"] {
            assert!(check_storage(bad).is_err(), "{bad}");
        }
    }
}
