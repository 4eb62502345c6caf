//! Runs the commands on a store.

use std::io::{BufWriter, Write};

use anstream::eprintln;
use anyhow::{Context, bail};
use serde_json::{Value, json};
use tf_persist_store::signing::{Authorities, PublicKey, SigningKey, Trusted};
use tf_persist_store::{
    Folder, GcOptions, ModelName, Reference, Selector, Store, StoreError, Version, Why, report_waiting,
};

use super::args::{
    GcArgs, KeyArgs, KeyCommand, LabelArgs, ListArgs, PromoteArgs, RollbackArgs, ShowArgs, StoreArgs, StoreCommand,
    StoreDiffArgs, StoreVerifyArgs,
};
use super::place::Place;
#[cfg(feature = "remote")]
use super::transfer;
use super::{json, log, publish, text};
use crate::common_args::Format;
use crate::diff::{self, DiffArgs};
use crate::error::{Differs, PRINTING};
use crate::format::{bytes, count};
use crate::keras_args::KerasArgs;
use crate::stdout::{plain_stdout, stdout};
use crate::version_path::{check_here, folder};

pub(crate) fn run(args: &StoreArgs) -> anyhow::Result<()> {
    report_waiting(|waiting| eprintln!("note: {waiting}"));
    let folder = folder(args.store.as_deref());
    if matches!(args.command, StoreCommand::Init) {
        check_here(&folder)?;
        let store = Store::init(folder)?;
        return writeln!(stdout(), "`{}` is a store", store.path().display()).context(PRINTING);
    }
    if let StoreCommand::Key(KeyArgs { command: KeyCommand::New { file } }) = &args.command {
        SigningKey::create(file)?;
        return print(&format!("`{0}` signs, `{0}.pub` verifies", file.display()));
    }
    #[cfg(feature = "remote")]
    if let StoreCommand::Pull(pull) = &args.command {
        check_here(&folder)?;
        return transfer::pull(&folder, pull);
    }
    let store = Place::open(folder, args)?;
    if args.command.writes() {
        store.check_not_read_only()?;
    }
    match &args.command {
        StoreCommand::Init | StoreCommand::Key(_) => Ok(()),
        StoreCommand::List(args) => list(&store, args),
        StoreCommand::Show(args) => show(&store, args),
        StoreCommand::Label(args) => label(&store, args),
        StoreCommand::Promote(args) => promote(&store, args),
        StoreCommand::Rollback(args) => rollback(&store, args),
        StoreCommand::Log(args) => log::run(&store, args),
        StoreCommand::Remove(args) => {
            let version = store.remove(&args.reference)?;
            print(&format!("{}@{} is removed", version.model(), version.number()))
        }
        StoreCommand::Gc(args) => gc(&store, args),
        _ => run_here(&store.here()?, args),
    }
}

/// The commands that need the files of a store of this machine.
fn run_here(store: &Store, args: &StoreArgs) -> anyhow::Result<()> {
    match &args.command {
        StoreCommand::Publish(args) => publish::run(store, args),
        StoreCommand::Sign(args) => {
            let version = store.resolve(&args.reference)?;
            let key = SigningKey::read(&args.key)?;
            let before = match args.replace {
                true => store.replace_signature(&version, &key)?,
                false => store.sign(&version, &key).map(|()| None)?,
            };
            let before = before.map_or(String::new(), |signer| format!("; it was signed by {signer}"));
            print(&format!("{}@{} is signed{before}", version.model(), version.number()))
        }
        StoreCommand::Verify(args) => verify(store, args),
        StoreCommand::Diff(args) => compare(store, args),
        #[cfg(feature = "remote")]
        StoreCommand::Push(push) => transfer::push(store, push, args.unguarded),
        #[cfg(feature = "remote")]
        StoreCommand::Sync(sync) => transfer::sync(store, sync, args.unguarded),
        _ => Ok(()),
    }
}

pub(super) fn print(line: &str) -> anyhow::Result<()> {
    writeln!(stdout(), "{line}").context(PRINTING)
}

/// Prints a report in JSON, in which an escape sequence in a name is part of the name.
pub(super) fn print_json(report: &Value) -> anyhow::Result<()> {
    writeln!(plain_stdout(), "{report:#}").context(PRINTING)
}

fn list(store: &Place, args: &ListArgs) -> anyhow::Result<()> {
    let Some(model) = &args.model else {
        let models = store.models()?;
        let models = models.iter().map(|model| store.overview(model)).filter(|it| !is_unknown(it));
        let models = models.collect::<Result<Vec<_>, _>>()?;
        return match args.format {
            Format::Json => print_json(&json!({ "models": models.iter().map(json::overview).collect::<Vec<_>>() })),
            Format::Text => text::models(&mut BufWriter::new(stdout()), &models).context(PRINTING),
        };
    };
    let overview = store.overview(model)?;
    let versions = text::published(&overview).map(|number| {
        let reference = Reference { model: model.clone(), selector: Selector::Number(number) };
        store.find(&reference)
    });
    let versions = versions.collect::<Result<Vec<_>, _>>()?;
    match args.format {
        Format::Json => print_json(&json::versions(&overview, &versions)),
        Format::Text => text::versions(&mut BufWriter::new(stdout()), &overview, &versions).context(PRINTING),
    }
}

fn show(store: &Place, args: &ShowArgs) -> anyhow::Result<()> {
    let mut reference = args.reference.clone();
    if let Some(time) = args.at {
        let Selector::Label(label) = &reference.selector else {
            bail!("--at is for a label: what `{reference}` is does not change");
        };
        match store.label_at(&reference.model, label, time)? {
            Some(number) => reference.selector = Selector::Number(number),
            None => bail!("`{label}` of `{}` pointed to no version at {time}", reference.model),
        }
    }
    let version = match store.find(&reference) {
        Err(StoreError::UnknownVersion { version, .. }) if args.at.is_some() => {
            bail!("`{}` pointed to version {version} then, which was removed since", args.reference)
        }
        version => version?,
    };
    let labels = store.overview(version.model())?.labels;
    let labels = labels.into_iter().filter(|(_, number)| *number == version.number());
    let labels: Vec<String> = labels.map(|(label, _)| label.to_string()).collect();
    match args.format {
        Format::Json => print_json(&json::version(&version, &labels)?),
        Format::Text => text::version(&mut BufWriter::new(stdout()), &version, &labels).context(PRINTING),
    }
}

fn moved(model: &ModelName, label: &str, from: Option<u64>, to: u64) -> String {
    match from {
        Some(from) if from == to => format!("{model}@{label} is {to}, as before"),
        Some(from) => format!("{model}@{label} is {to}; it was {from}"),
        None => format!("{model}@{label} is {to}; the label is new"),
    }
}

fn label(store: &Place, args: &LabelArgs) -> anyhow::Result<()> {
    let model = &args.reference.model;
    if args.remove {
        let from = store.unlabel(model, &args.label)?;
        return print(&format!("{model}@{} is gone; it was {from}", args.label));
    }
    let (to, from) = store.label(&args.reference, &args.label, Why::Label)?;
    print(&moved(model, args.label.as_str(), from, to))
}

fn promote(store: &Place, args: &PromoteArgs) -> anyhow::Result<()> {
    let version = store.find(&args.reference)?;
    let faults = store.faults(&version)?;
    let (model, number) = (version.model().clone(), version.number());
    if !faults.is_empty() {
        return Err(StoreError::Changed { model, version: number, faults }.into());
    }
    // The version that was checked, whatever a label means by now.
    let reference = Reference { model, selector: Selector::Number(number) };
    let (_, from) = store.label(&reference, &args.to, Why::Promote)?;
    print(&moved(version.model(), args.to.as_str(), from, number))
}

fn rollback(store: &Place, args: &RollbackArgs) -> anyhow::Result<()> {
    let (label, from, to) = store.rollback(&args.model, args.label.as_ref(), args.to.as_ref())?;
    print(&moved(&args.model, label.as_str(), Some(from), to))
}

fn gc(store: &Place, args: &GcArgs) -> anyhow::Result<()> {
    let options = GcOptions::default().keep(args.keep).keep_labelled(args.keep_labelled).dry_run(args.dry_run);
    let models = match &args.model {
        Some(model) => vec![model.clone()],
        None => store.models()?,
    };
    let mut out = stdout();
    let skips = |collected: &Result<_, _>| args.model.is_none() && is_unknown(collected);
    // Either all models or none.
    let dry_run = options.clone().dry_run(true);
    for model in &models {
        let collected = store.gc(model, &dry_run);
        if !skips(&collected) {
            collected?;
        }
    }
    for model in models {
        let collected = store.gc(&model, &options);
        if skips(&collected) {
            continue;
        }
        let collected = collected?;
        let verb = if args.dry_run { "would remove" } else { "removed" };
        let numbers: Vec<String> = collected.versions.iter().map(u64::to_string).collect();
        let what = if numbers.is_empty() {
            "nothing".to_owned()
        } else {
            format!("{} ({}), {}", count(numbers.len() as u64, "version"), numbers.join(", "), bytes(collected.bytes))
        };
        writeln!(out, "{model}: {verb} {what}").context(PRINTING)?;
    }
    Ok(())
}

/// Whether a folder that was listed is not a model, or the first push to it is not done.
fn is_unknown<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::UnknownModel { .. }))
}

/// The versions that `verify` is to check, and those whose folders are gone.
fn chosen(store: &Store, what: Option<&str>) -> anyhow::Result<(Vec<Version>, Vec<Version>)> {
    let models = match what {
        Some(what) if what.contains('@') => return Ok((vec![store.find(&what.parse()?)?], Vec::new())),
        Some(model) => vec![model.parse()?],
        None => store.models()?,
    };
    let (mut versions, mut lost) = (Vec::new(), Vec::new());
    for model in models {
        let overview = store.overview(&model)?;
        let find = |number| store.find(&Reference { model: model.clone(), selector: Selector::Number(number) });
        for name in text::foreign(&overview) {
            eprintln!("note: `{model}/{name}` was not published, and cannot be checked");
        }
        for folder in &overview.folders {
            match folder {
                Folder::Published(number) => versions.push(find(*number)?),
                Folder::Missing(number) => lost.push(find(*number)?),
                _ => {}
            }
        }
    }
    Ok((versions, lost))
}

fn verify(store: &Store, args: &StoreVerifyArgs) -> anyhow::Result<()> {
    let (versions, lost) = chosen(store, args.what.as_deref())?;
    if versions.is_empty() && lost.is_empty() {
        bail!("there is no version to check");
    }
    let trusted = match (&args.public_key, &args.certificate_chain) {
        (Some(key), _) => Some(Trusted::Key(PublicKey::read(key)?)),
        (None, Some(chain)) => Some(Trusted::Authorities(Authorities::read(chain)?)),
        (None, None) => None,
    };
    let mut reports = Vec::new();
    let (mut out, mut is_whole) = (stdout(), true);
    let versions = versions.into_iter().map(|version| (version, true));
    for (version, is_there) in versions.chain(lost.into_iter().map(|version| (version, false))) {
        let mut faults: Vec<String> = match is_there {
            true => store.verify(&version)?.iter().map(ToString::to_string).collect(),
            false => vec!["its folder is gone".to_owned()],
        };
        if let Some(trusted) = trusted.as_ref().filter(|_| faults.is_empty()) {
            faults.extend(signature_fault(version.verify_signature(trusted, args.like_model_signing))?);
        }
        is_whole &= faults.is_empty();
        let signer = if is_there { version.signer()? } else { None };
        match args.format {
            Format::Json => reports.push(json!({
                "model": version.model().as_str(),
                "version": version.number(),
                "manifest": version.digest(),
                "signed": trusted.as_ref().map(|_| faults.is_empty()),
                "signed_by": signer.map(|signer| signer.to_string()),
                "faults": faults,
            })),
            Format::Text => {
                let signed = match (&trusted, signer) {
                    (Some(_), _) => ", signed".to_owned(),
                    (None, Some(signer)) => format!(", signed by {signer} (not checked)"),
                    (None, None) => String::new(),
                };
                text::verified(&mut out, &version, &signed, &faults).context(PRINTING)?;
            }
        }
    }
    if args.format == Format::Json {
        print_json(&json!({ "versions": reports }))?;
    }
    if is_whole { Ok(()) } else { bail!(Differs) }
}

/// What is wrong with a signature; other errors are errors.
fn signature_fault(checked: Result<(), StoreError>) -> Result<Option<String>, StoreError> {
    match checked {
        Ok(()) => Ok(None),
        Err(
            error @ (StoreError::NotSigned { .. }
            | StoreError::InvalidSignature { .. }
            | StoreError::NotWhatWasSigned { .. }
            | StoreError::OtherVersion { .. }),
        ) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

fn compare(store: &Store, args: &StoreDiffArgs) -> anyhow::Result<()> {
    let b = match args.b.contains('@') {
        true => args.b.parse()?,
        false => Reference { model: args.a.model.clone(), selector: args.b.parse()? },
    };
    let (a, b) = (store.resolve(&args.a)?, store.resolve(&b)?);
    diff::run(&DiffArgs {
        a: a.path().to_path_buf(),
        b: b.path().to_path_buf(),
        tags: None,
        variables: false,
        tolerance: args.tolerance,
        format: args.format,
        keras: KerasArgs::default(),
    })
}
