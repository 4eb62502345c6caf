//! Writes an image.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::json;
use tf_persist_store::image::{Image, ImageAddress, ImageOptions, ImageWritten, Platform};
use tf_persist_store::remote::{Cache, RemoteOptions, traffic};

use super::ImageArgs;
use super::contents::Files;
use super::models::{Model, models};
use crate::common_args::{Format, env_var};
use crate::error::{PRINTING, UsageError};
use crate::format::{bytes, count};
use crate::stdout::plain_stdout;
use crate::transfer_bar::TransferBar;

/// The variable with the time of things that are built to be the same each time, in seconds since 1970.
const BUILD_TIME: &str = "SOURCE_DATE_EPOCH";

pub(crate) fn run(args: &ImageArgs) -> anyhow::Result<()> {
    let misused = |error: tf_persist_store::StoreError| UsageError(error.to_string());
    let to: ImageAddress = args.to.parse().map_err(misused)?;
    let base = args.base.as_deref().map(ImageAddress::image).transpose().map_err(misused)?;
    let platform = platform(args)?;
    let op_libraries = op_libraries(args);
    let models = models(args, !op_libraries.is_empty())?;
    let created = created(&models)?;
    let runtime = args.library.open()?;
    let files = Files::find(&runtime, &op_libraries)?;
    let mut config = files.config(&models, &args.env, base.is_some());
    config.labels.insert("org.opencontainers.image.created".to_owned(), created.to_string());
    if let Some(base) = &base {
        config.labels.insert("org.opencontainers.image.base.name".to_owned(), base.to_string());
    }
    let image = Image { layers: files.layers(&models, base.is_some())?, config, platform, created };

    let bar = Arc::new(TransferBar::new("writing"));
    let remote = RemoteOptions::default().plain_http(args.plain_http).progress(Arc::clone(&bar) as _);
    let mut options = ImageOptions::default().gzip(args.gzip);
    if let Ok(cache) = Cache::of_user() {
        options = options.cache(cache.layers());
    }
    if let Some(base) = base {
        options = options.base(base);
    }
    let written = image.write(&to, &options, &remote);
    bar.finish();
    report(args, &to, &models, &written?).context(PRINTING)
}

/// The platform of the image, which is that of this program.
fn platform(args: &ImageArgs) -> anyhow::Result<Platform> {
    let own = Platform::of_this_program();
    if let Some(other) = args.platform.as_ref().filter(|platform| **platform != own) {
        bail!("this program and its libtensorflow are for {own}: an image for {other} is made by a tf-persist for it");
    }
    match own.os() {
        "linux" => Ok(own),
        other => bail!("this program is for {other}, and images run on Linux"),
    }
}

/// The op libraries of the arguments or the environment.
fn op_libraries(args: &ImageArgs) -> Vec<PathBuf> {
    if !args.op_library.is_empty() {
        return args.op_library.clone();
    }
    let listed = env_var("TF_PERSIST_OP_LIBRARIES");
    let listed = listed.iter().flat_map(std::env::split_paths);
    listed.filter(|path| !path.as_os_str().is_empty()).collect()
}

/// The time of the image: that of the environment, or that of the newest version, or 1970.
fn created(models: &[Model]) -> anyhow::Result<Timestamp> {
    if let Some(value) = env_var(BUILD_TIME) {
        let seconds = value.to_str().and_then(|text| text.parse().ok());
        let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let refusal = || UsageError(format!("{BUILD_TIME} is `{}`, which is not a number of seconds", value.display()));
        return time.ok_or_else(|| refusal().into());
    }
    let newest = models.iter().filter_map(Model::published_at).max();
    Ok(newest.unwrap_or(Timestamp::UNIX_EPOCH))
}

fn report(args: &ImageArgs, to: &ImageAddress, models: &[Model], written: &ImageWritten) -> anyhow::Result<()> {
    let mut out = plain_stdout();
    let names: Vec<String> = models.iter().map(Model::reference).collect();
    if args.format == Format::Json {
        let report = json!({
            "image": to.to_string(),
            "digest": written.digest,
            "models": names,
            "layers": written.layers,
            "written": written.written,
            "bytes": written.bytes,
            "moved_from": written.moved_from,
        });
        writeln!(out, "{report:#}")?;
        return Ok(());
    }
    let (layers, size) = (count(written.layers as u64, "layer"), bytes(written.bytes));
    let new = match (written.written, to) {
        (0, _) => "all of them there already".to_owned(),
        (new, ImageAddress::Registry(_)) => format!("{new} of them sent, {}", bytes(traffic().0)),
        (new, _) => format!("{new} of them new"),
    };
    let what = match names.len() {
        0 => "a server without models is".to_owned(),
        1 => format!("{} is", names.join(", ")),
        _ => format!("{} are", names.join(", ")),
    };
    writeln!(out, "{what} an image at `{to}` now: {layers}, {size}, {new}")?;
    if let Some(before) = &written.moved_from {
        writeln!(out, "the tag pointed to {before} before")?;
    }
    writeln!(out, "{}", written.digest)?;
    Ok(())
}
