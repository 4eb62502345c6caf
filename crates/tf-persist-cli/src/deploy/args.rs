//! The arguments of `tf-persist deploy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::names::{Name, cpu, label, memory, path_in_volume, variable};

#[derive(Debug, Args)]
#[command(after_help = "Nothing is sent to a cluster: `tf-persist deploy … | kubectl apply -f -` does that.")]
pub(crate) struct DeployArgs {
    #[command(subcommand)]
    pub(crate) command: DeployCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeployCommand {
    /// Print an InferenceService of KServe, and the ServingRuntime for it if the model is not in the image
    Kserve(KserveArgs),
    /// Print an Indexed Job that runs a model over the files of a folder, each in a pod
    Batch(BatchArgs),
}

impl DeployArgs {
    /// The path of the model.
    pub(crate) fn model_mut(&mut self) -> &mut PathBuf {
        match &mut self.command {
            DeployCommand::Kserve(args) => &mut args.common.model,
            DeployCommand::Batch(args) => &mut args.common.model,
        }
    }
}

/// What both have.
#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// The model: MODEL@REF, or a folder. It gives names and sizes; the cluster takes its files from the image or the
    /// storage
    #[arg(value_name = "MODEL")]
    pub(super) model: PathBuf,
    /// The image that `tf-persist image` wrote to a registry, such as ghcr.io/team/digits:7
    #[arg(long, value_name = "IMAGE")]
    pub(super) image: String,
    /// The name of the object [default: that of the model, in lower case]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<Name>,
    /// The namespace of the objects [default: that of kubectl]
    #[arg(long, value_name = "NAME", value_parser = label)]
    pub(super) namespace: Option<String>,
    /// The processors that a pod gets
    #[arg(long, value_name = "N", default_value = "1", value_parser = cpu)]
    pub(super) cpu: String,
    /// The memory that a pod gets [default: 1Gi and twice the size of the model]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(super) memory: Option<String>,
    /// Set an environment variable in the container; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(super) env: Vec<(String, String)>,
    /// The secret with the credentials for the registry of the image
    #[arg(long, value_name = "NAME", value_parser = label)]
    pub(super) image_pull_secret: Option<String>,
    /// The service account of the pods
    #[arg(long, value_name = "NAME", value_parser = label)]
    pub(super) service_account: Option<String>,
}

/// `deploy kserve`.
#[derive(Debug, Args)]
pub(crate) struct KserveArgs {
    #[command(flatten)]
    pub(super) common: CommonArgs,
    /// Where KServe gets the model, if it is not in the image: s3://, gs://, https://, pvc://, hf:// or an image of
    /// `store push --modelcar`, oci+native://HOST/REPO:TAG; its files are NUMBER/saved_model.pb below it
    #[arg(long, value_name = "URI")]
    pub(super) storage_uri: Option<String>,
    /// The name of the ServingRuntime
    #[arg(long, value_name = "NAME", default_value = "tf-persist", requires = "storage_uri")]
    pub(super) runtime: Name,
    /// The fewest pods
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) min_replicas: u32,
    /// The most pods [default: 3, or the fewest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) max_replicas: Option<u32>,
    /// Add pods above this part of their processors, in percent
    #[arg(long, value_name = "PERCENT", default_value = "70", conflicts_with = "prometheus")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) target_cpu: u32,
    /// Add pods by the requests that are under way instead, which this Prometheus server knows; needs KEDA
    #[arg(long, value_name = "URL")]
    pub(super) prometheus: Option<String>,
    /// The requests that are under way at once for each pod
    #[arg(long, value_name = "N", default_value = "4", requires = "prometheus")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) target_requests: u32,
    /// Wait up to N seconds for requests in flight when a pod stops
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub(super) drain_timeout: u32,
}

/// `deploy batch`.
#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    #[command(flatten)]
    pub(super) common: CommonArgs,
    /// The claim of the volume with the files; pods of several nodes need one that they can share (ReadWriteMany)
    #[arg(long, value_name = "NAME", value_parser = label)]
    pub(super) claim: String,
    /// The folder of the volume with the inputs, such as Parquet files, which are taken in the order of their names
    #[arg(long, value_name = "DIR", value_parser = path_in_volume)]
    pub(super) inputs: String,
    /// The folder of the volume for the outputs, which get the names of the inputs
    #[arg(long, value_name = "DIR", value_parser = path_in_volume)]
    pub(super) output: String,
    /// The number of input files
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) shards: u32,
    /// The most pods at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) parallelism: u32,
    /// The rows of a batch
    #[arg(long, value_name = "N", default_value = "256", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) batch_size: u32,
    /// The signature to run [default: serving_default, else the only one]
    #[arg(long, value_name = "NAME")]
    pub(super) signature: Option<String>,
}
