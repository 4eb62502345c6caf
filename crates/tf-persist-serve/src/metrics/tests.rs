use super::buckets::{EXAMPLES, LATENCY, six_digits};
use super::*;
use crate::api::{Api, Protocol};

#[test]
fn bucket_limits_are_printed_as_in_tensorflow_serving() {
    let labels: Vec<&str> = LATENCY.labels.iter().map(String::as_str).collect();
    assert_eq!(labels[..7], ["10", "18", "32.4", "58.32", "104.976", "188.957", "340.122"]);
    assert_eq!(LATENCY.labels.len(), 33);
    assert_eq!(labels[32], "1.47476e+09");
    assert_eq!(EXAMPLES.labels.last().unwrap(), "16384");
    for (number, text) in
        [(1e-6, "1e-06"), (0.001, "0.001"), (123_456.7, "123457"), (1_234_567.0, "1.23457e+06"), (0.0, "0")]
    {
        assert_eq!(six_digits(number), text);
    }
}

#[test]
fn value_on_a_limit_counts_below_it() {
    let histogram = Histogram::new(&EXAMPLES.limits);
    for value in [1, 2, 3, 20_000] {
        histogram.add(value);
    }
    let found = histogram.snapshot();
    assert_eq!(found.cumulative[..3], [1, 2, 3]);
    assert_eq!((found.count(), found.sum), (4, 20_006));
}

#[test]
fn page_has_tensorflow_servings_names_and_label_order() {
    let metrics = Metrics::new();
    metrics.model("m").record_request(Api::Predict, Protocol::Rest, None, Duration::from_micros(15));
    metrics.model("m").record_request(Api::Predict, Protocol::Grpc, None, Duration::from_micros(5));
    metrics.model("m").record_request(Api::GetModelStatus, Protocol::Rest, None, Duration::from_micros(5));
    metrics.model("m").record_request(Api::GetModelMetadata, Protocol::Rest, None, Duration::from_micros(5));
    metrics.model("a\"b\\c").record_request(Api::Predict, Protocol::Rest, Some(Code::NotFound), Duration::ZERO);
    metrics.model("m").record_runtime(Api::Predict, Duration::from_micros(11));
    metrics.model("m").record_examples(3);
    metrics.model("m").record_phase(Phase::Queue, Duration::from_micros(1));
    metrics.record_batch_queue(Duration::from_micros(1));
    metrics.record_batch_input(5);
    metrics.record_batch(5, 3);
    metrics.record_load("/models/m/1", None, Duration::from_millis(2));
    metrics.record_warm_up("/models/m/1", Some(Code::Internal), 4, Duration::from_millis(2));
    let versions = vec![VersionGauge { model: "m".into(), version: 1, state: "AVAILABLE" }];
    let page = metrics.page(&Gauges { connections: 2, requests: 1, ready: true, versions, shares: None });
    for line in [
        "# TYPE :tensorflow:serving:request_count counter",
        ":tensorflow:serving:request_count{model_name=\"m\",status=\"OK\"} 4",
        ":tensorflow:serving:request_count{model_name=\"a\\\"b\\\\c\",status=\"NOT_FOUND\"} 1",
        "# TYPE :tensorflow:serving:request_latency histogram",
        ":tensorflow:serving:request_latency_bucket{model_name=\"m\",API=\"predict\",entrypoint=\"REST\",le=\"10\"} 0",
        ":tensorflow:serving:request_latency_bucket{model_name=\"m\",API=\"predict\",entrypoint=\"REST\",le=\"+Inf\"} 1",
        ":tensorflow:serving:request_latency_sum{model_name=\"m\",API=\"predict\",entrypoint=\"REST\"} 15",
        ":tensorflow:serving:request_latency_count{model_name=\"m\",API=\"\",entrypoint=\"REST\"} 2",
        ":tensorflow:serving:request_latency_count{model_name=\"m\",API=\"Predict\",entrypoint=\"GRPC\"} 1",
        ":tensorflow:serving:runtime_latency_count{model_name=\"m\",API=\"Predict\",runtime=\"TF1\"} 1",
        ":tensorflow:serving:request_example_counts_bucket{model=\"m\",le=\"4\"} 1",
        ":tensorflow:serving:request_example_count_total{model=\"m\"} 3",
        ":tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name=\"\"} 1",
        ":tensorflow:serving:batching_session:wrapped_run_count{} 1",
        ":tensorflow:serving:batching_session:padding_size_sum{execution_batch_size=\"8\"} 3",
        ":tensorflow:serving:batching_session:padding_size_bucket{execution_batch_size=\"8\",le=\"8192\"} 1",
        ":tensorflow:serving:batching_session:input_batch_size_sum{} 5",
        ":tensorflow:serving:batching_session:processed_batch_size_bucket{le=\"4\"} 0",
        ":tensorflow:serving:batching_session:processed_batch_size_bucket{le=\"8\"} 1",
        ":tensorflow:serving:batching_session:processed_batch_size_sum{} 8",
        ":tensorflow:serving:model_warmup_latency_count{model_path=\"/models/m/1\",status=\"INTERNAL\"} 1",
        ":tensorflow:serving:model_warmup_records_read{model_path=\"/models/m/1\",status=\"INTERNAL\"} 4",
        ":tensorflow:cc:saved_model:load_attempt_count{model_path=\"/models/m/1\",status=\"success\"} 1",
        ":tensorflow:cc:saved_model:load_latency{model_path=\"/models/m/1\"} 2000",
        "tf_persist_connections{} 2",
        "tf_persist_ready{} 1",
        "tf_persist_model_version_state{model=\"m\",version=\"1\",state=\"AVAILABLE\"} 1",
        "tf_persist_request_phase_seconds_sum{model=\"m\",phase=\"queue\"} 0.000001000",
    ] {
        assert!(page.lines().any(|found| found == line), "`{line}` is missing from\n{page}");
    }
    assert!(page.ends_with('\n') && !page.contains("tf_persist_version_") && !page.contains("traffic"));
    assert_eq!(metrics.value("/tensorflow/serving/request_count"), 5);
    assert_eq!(metrics.value("/tensorflow/serving/request_example_count_total"), 3);
    assert_eq!(metrics.value("/no/such/metric"), 0);
}

#[test]
fn statistics_count_the_same_requests_in_all_fields() {
    let metrics = Metrics::new();
    let model = metrics.model("m");
    for (api, protocol) in
        [(Api::Predict, Protocol::Rest), (Api::Classify, Protocol::Rest), (Api::Regress, Protocol::Grpc)]
    {
        model.record_request(api, protocol, None, Duration::from_nanos(10));
        model.record_request(api, protocol, Some(Code::InvalidArgument), Duration::from_nanos(3));
    }
    model.record_inference(None, Duration::from_nanos(100));
    model.record_inference(Some(Code::Internal), Duration::from_nanos(50));
    // These run no model.
    for api in [Api::GetModelMetadata, Api::GetModelStatus] {
        model.record_request(api, Protocol::Rest, None, Duration::from_nanos(1));
        model.record_request(api, Protocol::Grpc, Some(Code::NotFound), Duration::from_nanos(1));
    }
    model.record_malformed(Code::InvalidArgument);
    let found = model.statistics();
    assert_eq!((found.succeeded, found.failed), (Total { count: 4, nanos: 130 }, Total { count: 4, nanos: 59 }));
    // TensorFlow Serving's counter does not know MultiInference.
    assert_eq!(metrics.value("/tensorflow/serving/request_count"), 11);
}

#[test]
fn unknown_model_names_use_bounded_memory() {
    let metrics = Metrics::new();
    for number in 0..MAX_MODELS + 10 {
        metrics.model(&number.to_string()).record_examples(1);
    }
    assert!(metrics.0.models.load().len() <= MAX_MODELS + 1);
    // Unknown names do not take the place of models.
    metrics.register("m");
    metrics.model("m").record_examples(5);
    let page = metrics.page(&Gauges::default());
    assert!(page.contains(":tensorflow:serving:request_example_count_total{model=\"m\"} 5\n"));
    assert!(page.contains(":tensorflow:serving:request_example_count_total{model=\"(others)\"} 10\n"));
    assert_eq!(metrics.value("/tensorflow/serving/request_example_count_total"), MAX_MODELS as i64 + 15);
}

#[test]
fn versions_have_metrics_where_traffic_is_split() {
    let metrics = Metrics::new();
    let version = metrics.version("m", 2);
    version.record_request(None, Duration::from_micros(3));
    version.record_request(Some(Code::InvalidArgument), Duration::from_micros(9));
    metrics.version("m", 1).record_request(None, Duration::from_micros(1));
    assert_eq!(version.record_shadow(3, ShadowOutcome::Same, Some(0.25)), 0);
    assert_eq!(version.record_shadow(3, ShadowOutcome::Same, Some(0.125)), 1);
    version.record_shadow(4, ShadowOutcome::Dropped, None);
    let shares = vec![ShareGauge { model: "m".into(), version: 2, share: 0.05 }];
    let page = metrics.page(&Gauges { shares: Some(shares), ..Gauges::default() });
    for line in [
        "# TYPE tf_persist_version_requests_total counter",
        "tf_persist_version_requests_total{model=\"m\",version=\"1\",status=\"OK\"} 1",
        "tf_persist_version_requests_total{model=\"m\",version=\"2\",status=\"OK\"} 1",
        "tf_persist_version_requests_total{model=\"m\",version=\"2\",status=\"INVALID_ARGUMENT\"} 1",
        "tf_persist_version_latency_seconds_bucket{model=\"m\",version=\"2\",le=\"2e-06\"} 0",
        "tf_persist_version_latency_seconds_bucket{model=\"m\",version=\"2\",le=\"4e-06\"} 1",
        "tf_persist_version_latency_seconds_sum{model=\"m\",version=\"2\"} 0.000003000",
        "tf_persist_version_latency_seconds_count{model=\"m\",version=\"2\"} 1",
        "tf_persist_shadow_requests_total{model=\"m\",version=\"2\",shadow=\"3\",outcome=\"same\"} 2",
        "tf_persist_shadow_requests_total{model=\"m\",version=\"2\",shadow=\"3\",outcome=\"differs\"} 0",
        "tf_persist_shadow_requests_total{model=\"m\",version=\"2\",shadow=\"4\",outcome=\"dropped\"} 1",
        "tf_persist_shadow_largest_difference{model=\"m\",version=\"2\",shadow=\"3\"} 0.25",
        "tf_persist_traffic_share{model=\"m\",version=\"2\"} 0.05",
    ] {
        assert!(page.lines().any(|found| found == line), "`{line}` is missing from\n{page}");
    }
    assert!(!page.contains("largest_difference{model=\"m\",version=\"2\",shadow=\"4\"}"), "nothing was compared");
}
