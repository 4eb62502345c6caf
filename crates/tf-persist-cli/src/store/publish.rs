//! Publishes a model.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Map, Value};
#[cfg(feature = "runtime")]
use tf_persist_core::warmup::{Outcome, Records};
use tf_persist_savedmodel::SaveOptions;
#[cfg(feature = "runtime")]
use tf_persist_savedmodel::SavedModel;
use tf_persist_store::signing::SigningKey;
use tf_persist_store::{PublishOptions, Store};

use super::args::PublishArgs;
use crate::error::PRINTING;
use crate::stdout::stdout;
use crate::version_path;

/// The most bytes of the file with metadata.
const MAX_METADATA: u64 = 1 << 20;

type CheckError = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn run(store: &Store, args: &PublishArgs) -> anyhow::Result<()> {
    let path = version_path::resolve(args.path.clone())?;
    #[cfg(feature = "runtime")]
    if let Some(key) = &args.load.require_signature {
        version_path::check_signature(&path, key)?;
    }
    let mut options = PublishOptions::default().link(args.link).plain(args.plain);
    if let Some(version) = args.version {
        options = options.version(version);
    }
    if args.timestamp {
        options = options.timestamp();
    }
    if let Some(note) = &args.note {
        options = options.note(note);
    }
    if let Some(file) = &args.metadata {
        options = options.metadata(metadata(file)?);
    }
    if let Some(key) = &args.sign {
        options = options.sign(SigningKey::read(key)?);
    }
    options = args.label.iter().fold(options, |options, label| options.label(label.clone()));
    let check = |folder: &Path| check(args, folder).map_err(CheckError::from);
    let keras = args.keras.open_keras(&path, false)?;
    let version = match keras {
        None if path.is_dir() => store.publish_checked(&args.model, &path, options, check)?,
        keras => {
            if args.link {
                bail!("`{}` is a file, and only the files of a folder can be linked", path.display());
            }
            let model = match keras {
                Some(keras) => keras.to_saved_model()?,
                None => tf_persist_savedmodel::SavedModel::open(&path)?,
            };
            let source = std::path::absolute(&path).unwrap_or(path);
            let write = |folder: &Path| -> Result<(), CheckError> {
                model.save(folder, SaveOptions::default().plain(args.plain))?;
                Ok(())
            };
            store.publish_with(&args.model, options.source(source.display().to_string()), write, check)?
        }
    };
    writeln!(stdout(), "{}@{}", version.model(), version.number()).context(PRINTING)
}

/// The JSON object in a file.
fn metadata(file: &Path) -> anyhow::Result<Map<String, Value>> {
    let reading = || format!("cannot read `{}`", file.display());
    if fs::metadata(file).with_context(reading)?.len() > MAX_METADATA {
        bail!("`{}` has more than {MAX_METADATA} bytes", file.display());
    }
    let value = serde_json::from_slice(&fs::read(file).with_context(reading)?).with_context(reading)?;
    match value {
        Value::Object(metadata) => Ok(metadata),
        _ => bail!("`{}` is not a JSON object", file.display()),
    }
}

/// Replays the recorded requests, if that is asked for.
#[cfg(feature = "runtime")]
fn check(args: &PublishArgs, folder: &Path) -> anyhow::Result<()> {
    if !args.check {
        return Ok(());
    }
    let saved_model = SavedModel::open(folder)?;
    let mut compared = 0;
    for open in [Records::open, Records::open_sequence] {
        let Some(records) = open(&saved_model)? else { continue };
        let model = args.load.load(&saved_model)?;
        for record in records {
            let record = record?;
            let replay = model.replay(&record, tf_persist_core::tensor::Tolerance::Rounding)?;
            if replay.is_different() {
                bail!("its answer to recorded request {} differs", compared + 1);
            }
            compared += usize::from(matches!(replay.outcome, Outcome::Compared(_)));
        }
    }
    if compared == 0 {
        bail!("it has no recorded answers to compare with");
    }
    Ok(())
}

#[cfg(not(feature = "runtime"))]
#[expect(clippy::unnecessary_wraps, reason = "with the runtime it can fail")]
fn check(_args: &PublishArgs, _folder: &Path) -> anyhow::Result<()> {
    Ok(())
}
