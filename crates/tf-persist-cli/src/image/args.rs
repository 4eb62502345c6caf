//! The arguments of `tf-persist image`.

use std::path::PathBuf;

use clap::Args;
use tf_persist_store::ModelName;
use tf_persist_store::image::Platform;

use crate::common_args::{Format, LibraryArgs};

#[derive(Debug, Args)]
#[command(
    allow_missing_positional = true,
    after_help = "The image serves its models with `tf-persist serve-local`, gRPC on port 8500 and REST on 8501, as the user 65532. \
                  SageMaker and Vertex AI start it with `serve`. The same models, libraries and program always give the same \
                  image; SOURCE_DATE_EPOCH sets its time."
)]
pub(crate) struct ImageArgs {
    /// Versions of a store, MODEL@REF; or the folder of a SavedModel or a Keras file, which is version 1 unless the
    /// folder has a number as its name. Without any, the image serves what its arguments or a platform name
    #[arg(value_name = "MODEL")]
    pub(crate) models: Vec<PathBuf>,
    /// Where the image is written: oci:DIR or oci:DIR:TAG, a folder, which is an OCI image layout afterwards; or
    /// oci://HOST/REPO:TAG, a registry, with credentials from docker's config.json
    #[arg(value_name = "IMAGE", required = true)]
    pub(super) to: String,
    /// The name of a model that is not in a store [default: that of its folder]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<ModelName>,
    /// Put the layers on this image instead of this machine's C library: oci:DIR:TAG, oci://HOST/REPO:TAG or a name
    /// such as debian:12-slim. It needs glibc and libstdc++ of this machine's age or newer
    #[arg(long, value_name = "IMAGE")]
    pub(super) base: Option<String>,
    /// Compress the layers: a quarter of the bytes for a registry, but half a minute more the first time
    #[arg(long)]
    pub(super) gzip: bool,
    /// The platform of the image, which must be that of this program
    #[arg(long, value_name = "OS/ARCH")]
    pub(super) platform: Option<Platform>,
    /// Add a library of further ops, or those of an installed pip package; repeatable; also TF_PERSIST_OP_LIBRARIES,
    /// separated by colons
    #[arg(long, value_name = "FILE.so|PACKAGE")]
    pub(super) op_library: Vec<PathBuf>,
    /// Set an environment variable in the image, such as TF_PERSIST_MAX_BATCH_SIZE=64 for --max_batch_size of
    /// `serve-local`; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(super) env: Vec<(String, String)>,
    /// Refuse models that were not signed with the private key of this public one (`model.sig` in their folders)
    #[arg(long, value_name = "KEY.pub")]
    pub(super) require_signature: Option<PathBuf>,
    /// Talk to the registry without TLS; one on this machine is talked to so in any case
    #[arg(long)]
    pub(super) plain_http: bool,
    /// The format of the report
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    #[command(flatten)]
    pub(super) library: LibraryArgs,
}

fn variable(text: &str) -> Result<(String, String), &'static str> {
    let is_name = |name: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.is_empty() && name.bytes().all(is_part) && !name.as_bytes()[0].is_ascii_digit()
    };
    match text.split_once('=') {
        Some((name, value)) if is_name(name) && !value.contains('\0') => Ok((name.to_owned(), value.to_owned())),
        _ => Err("not an environment variable as NAME=VALUE"),
    }
}
