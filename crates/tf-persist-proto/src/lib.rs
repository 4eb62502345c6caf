//! Protobuf types of TensorFlow and TensorFlow Serving.
//!
//! - [`tensorflow`]: `SavedModel`s, graphs, tensors, checkpoints, object graphs and session options.
//! - [`serving`]: requests, answers, logs and configuration files of TensorFlow Serving.
//! - [`open_inference`]: requests and answers of the Open Inference Protocol, which KServe and Triton speak.
//!
//! Top-level messages and enums are directly in these modules. Types nested in a message, its oneofs included, are in a
//! module named after the file: `tensorflow::attr_value::attr_value::Value`.
//!
//! The code follows the [`protobuf`] crate, which is re-exported here in the one version that fits it, as is [`bytes`]:
//!
//! - Fields that a newer schema added are kept in `special_fields` and written back, unless they are groups.
//! - A `bytes` field is a [`bytes::Bytes`]: [`parse`] makes it a slice of the buffer, which lives as long as the last
//!   such slice.
//! - A `map` field is a `BTreeMap`: entries are written in the order of their keys, so a message is always written as
//!   the same bytes.
//!
//! # Where it comes from
//!
//! Two directories of this crate belong together:
//!
//! - `protos/`: the schemas, as text. They were printed from the descriptors in the Python wheels `tensorflow-cpu`
//!   2.21.0 and `tensorflow-serving-api` 2.21.0. A few files of TensorFlow Serving that are in no wheel, and the Open
//!   Inference Protocol's, were written by hand from the public schemas, and say so.
//! - `src/generated/`: the Rust made of them by `protobuf-codegen` 3.7.2, without `protoc`. Never edit it.
//!
//! `scripts/gen_protos` regenerates the second from the first, with `--check` compares them, and with `--protos` prints
//! the schemas anew from the wheels. Generated code demands the `protobuf` crate of its own version, to the patch
//! level.
//!
//! # Untrusted input
//!
//! Parse with [`parse`]: what the `protobuf` crate offers on its own takes a truncated message for a whole one.
//!
//! - Messages nested more than 100 deep are refused.
//! - A length that lies costs at most 80 MB of reserved memory, never touched, before it is refused.
//! - Small input can still become a large message: a node of four bytes, with one empty attribute, takes 4.9 KB,
//!   because the map reserves eleven [`AttrValue`](tensorflow::AttrValue)s. Limit the length of what is parsed.
//! - Read text with [`text_format`]. [`protobuf::text_format`] has no limit of depth: it overflows the stack on input
//!   nested some hundreds deep. It also panics, where overflow is checked, on octal escapes such as `\779`.
//! - Read large messages field by field with [`wire`], which copies nothing and does not recurse.

use bytes::Bytes;
use protobuf::{CodedInputStream, Message};

// The generated files allow most of this themselves; repeated here, it does not depend on the generator.
#[rustfmt::skip]
#[allow(clippy::all, clippy::too_many_lines, missing_debug_implementations, missing_docs, rustdoc::all, unreachable_pub)]
mod generated;

pub mod text_format;
pub mod wire;

pub use bytes;
pub use protobuf;

/// Parses a message that takes up the whole of `bytes`; its `bytes` fields share that buffer.
///
/// # Errors
///
/// If `bytes` is not such a message: cut off inside a field, nested too deep, or with a length beyond its end. A
/// message that is cut off between two top-level fields is valid, and cannot be detected.
pub fn parse<M: Message>(bytes: &Bytes) -> protobuf::Result<M> {
    let mut input = CodedInputStream::from_tokio_bytes(bytes);
    // Without a limit, nested messages and packed fields that claim more bytes than there are end quietly with the
    // buffer.
    input.push_limit(bytes.len() as u64)?;
    let mut message = M::new();
    message.merge_from(&mut input)?;
    message.check_initialized()?;
    Ok(message)
}

/// TensorFlow's own types: package `tensorflow`.
pub mod tensorflow {
    pub use crate::generated::{
        allocation_description, attr_value, checkpoint_state, cluster, config, coordination_config, cost_graph, debug,
        error_codes, example, feature, fingerprint, full_type, function, graph, graph_debug_info, meta_graph,
        named_tensor, node_def, op_def, resource_handle, rewriter_config, rpc_options, saved_model, saved_object_graph,
        saver, step_stats, struct_, tensor, tensor_bundle, tensor_description, tensor_shape, tensor_slice,
        trackable_object_graph, types, variable, verifier_config, versions,
    };

    // SavedModels.
    pub use crate::generated::fingerprint::FingerprintDef;
    pub use crate::generated::meta_graph::{AssetFileDef, CollectionDef, MetaGraphDef, SignatureDef, TensorInfo};
    pub use crate::generated::saved_model::SavedModel;
    pub use crate::generated::saver::SaverDef;

    // Graphs.
    pub use crate::generated::attr_value::{AttrValue, NameAttrList};
    pub use crate::generated::full_type::{FullTypeDef, FullTypeId};
    pub use crate::generated::function::{FunctionDef, FunctionDefLibrary, GradientDef, RegisteredGradient};
    pub use crate::generated::graph::GraphDef;
    pub use crate::generated::graph_debug_info::GraphDebugInfo;
    pub use crate::generated::node_def::NodeDef;
    pub use crate::generated::op_def::{OpDef, OpDeprecation, OpList};
    pub use crate::generated::resource_handle::ResourceHandleProto;
    pub use crate::generated::versions::VersionDef;

    // Tensors.
    pub use crate::generated::named_tensor::NamedTensorProto;
    pub use crate::generated::tensor::{TensorProto, VariantTensorDataProto};
    pub use crate::generated::tensor_shape::TensorShapeProto;
    pub use crate::generated::tensor_slice::TensorSliceProto;
    pub use crate::generated::types::{DataType, SerializedDType};

    // Checkpoints and variables.
    pub use crate::generated::checkpoint_state::CheckpointState;
    pub use crate::generated::tensor_bundle::{BundleEntryProto, BundleHeaderProto};
    pub use crate::generated::variable::{SaveSliceInfoDef, VariableAggregation, VariableDef, VariableSynchronization};

    // Object graphs and structured values.
    pub use crate::generated::saved_object_graph::{
        CapturedTensor, FunctionSpec, SaveableObject, SavedAsset, SavedBareConcreteFunction, SavedConcreteFunction,
        SavedConstant, SavedFunction, SavedObject, SavedObjectGraph, SavedResource, SavedUserObject, SavedVariable,
    };
    pub use crate::generated::struct_::{
        BoundedTensorSpecProto, DictValue, ListValue, NamedTupleValue, NoneValue, PairValue, StructuredValue,
        TensorSpecProto, TupleValue, TypeSpecProto,
    };
    pub use crate::generated::trackable_object_graph::{RegisteredSaver, TrackableObjectGraph};

    // Examples.
    pub use crate::generated::example::{Example, SequenceExample};
    pub use crate::generated::feature::{
        BytesList, Feature, FeatureList, FeatureLists, Features, FloatList, Int64List,
    };

    // Sessions.
    pub use crate::generated::cluster::{ClusterDef, JobDef};
    pub use crate::generated::config::{
        BatchingOptions, CallableOptions, ConfigProto, GPUOptions, GraphOptions, OptimizerOptions, RunMetadata,
        RunOptions, SessionMetadata, TensorConnection, ThreadPoolOptionProto,
    };
    pub use crate::generated::coordination_config::{CoordinatedJob, CoordinationServiceConfig};
    pub use crate::generated::debug::{DebugOptions, DebugTensorWatch, DebuggedSourceFile, DebuggedSourceFiles};
    pub use crate::generated::rewriter_config::{AutoParallelOptions, RewriterConfig, ScopedAllocatorOptions};
    pub use crate::generated::rpc_options::RPCOptions;
    pub use crate::generated::verifier_config::VerifierConfig;

    // Statistics of a run.
    pub use crate::generated::allocation_description::AllocationDescription;
    pub use crate::generated::cost_graph::CostGraphDef;
    pub use crate::generated::error_codes::Code;
    pub use crate::generated::step_stats::{
        AllocationRecord, AllocatorMemoryUsed, DeviceStepStats, MemoryStats, NodeExecStats, NodeOutput, StepStats,
    };
    pub use crate::generated::tensor_description::TensorDescription;
}

/// TensorFlow Serving's types: package `tensorflow.serving`.
///
/// The descriptors of its gRPC services are in the files `prediction_service`, `model_service` and `session_service`.
pub mod serving {
    pub use crate::generated::{
        classification, file_system_storage_path_source, get_model_metadata, get_model_status, inference, input,
        log_collector_config, logging, logging_config, model, model_management, model_server_config, model_service,
        monitoring_config, platform_config, predict, prediction_log, prediction_service, regression,
        saved_model_bundle_source_adapter, session_bundle_config, session_service, ssl_config, status,
    };

    // Requests and answers.
    pub use crate::generated::classification::{
        Class, ClassificationRequest, ClassificationResponse, ClassificationResult, Classifications,
    };
    pub use crate::generated::get_model_metadata::{
        GetModelMetadataRequest, GetModelMetadataResponse, SignatureDefMap,
    };
    pub use crate::generated::get_model_status::{GetModelStatusRequest, GetModelStatusResponse, ModelVersionStatus};
    pub use crate::generated::inference::{
        InferenceResult, InferenceTask, MultiInferenceRequest, MultiInferenceResponse,
    };
    pub use crate::generated::input::{ExampleList, ExampleListWithContext, Input};
    pub use crate::generated::model::ModelSpec;
    pub use crate::generated::model_management::{Metric, ReloadConfigRequest, ReloadConfigResponse};
    pub use crate::generated::predict::{PredictRequest, PredictResponse, PredictStreamedOptions};
    pub use crate::generated::regression::{Regression, RegressionRequest, RegressionResponse, RegressionResult};
    pub use crate::generated::session_service::{SessionRunRequest, SessionRunResponse};
    pub use crate::generated::status::StatusProto;

    // Logs: warm-up requests in `assets.extra` among them.
    pub use crate::generated::logging::LogMetadata;
    pub use crate::generated::prediction_log::{
        ClassifyLog, MultiInferenceLog, PredictLog, PredictStreamedLog, PredictionLog, RegressLog, SessionRunLog,
    };

    // Configuration files of the server.
    pub use crate::generated::file_system_storage_path_source::FileSystemStoragePathSourceConfig;
    pub use crate::generated::log_collector_config::LogCollectorConfig;
    pub use crate::generated::logging_config::{LoggingConfig, PerTaskSamplingConfig, SamplingConfig};
    pub use crate::generated::model_server_config::{ModelConfig, ModelConfigList, ModelServerConfig, ModelType};
    pub use crate::generated::monitoring_config::{MonitoringConfig, PrometheusConfig};
    pub use crate::generated::platform_config::{PlatformConfig, PlatformConfigMap};
    pub use crate::generated::saved_model_bundle_source_adapter::SavedModelBundleSourceAdapterConfig;
    pub use crate::generated::session_bundle_config::{BatchingParameters, ModelWarmupOptions, SessionBundleConfig};
    pub use crate::generated::ssl_config::SSLConfig;
}

/// Types of the Open Inference Protocol and of Triton's extensions to it: package `inference`.
pub mod open_inference {
    pub use crate::generated::grpc_service;
    pub use crate::generated::grpc_service::{
        DataType, InferParameter, InferStatistics, InferTensorContents, ModelConfig, ModelConfigRequest,
        ModelConfigResponse, ModelInferRequest, ModelInferResponse, ModelInput, ModelMetadataRequest,
        ModelMetadataResponse, ModelOutput, ModelReadyRequest, ModelReadyResponse, ModelRepositoryParameter,
        ModelStatistics, ModelStatisticsRequest, ModelStatisticsResponse, RepositoryIndexRequest,
        RepositoryIndexResponse, RepositoryModelLoadRequest, RepositoryModelLoadResponse, RepositoryModelUnloadRequest,
        RepositoryModelUnloadResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
        ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse, StatisticDuration,
    };
}
