//! How grave it is what an op does, by where it is reached from and by whose name it uses.

use super::names::{Name, Resolver, is_relative};
use super::{Entrance, Level};
use crate::graph::view::{AttrView, NodeView};
use crate::ops::OPS_VERSION;
use crate::ops::effects::{Effect, NameSource, OpEffect};

/// What is said of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) level: Level,
    pub(super) what: String,
    pub(super) path: Option<String>,
}

/// How much of a name is shown.
const SHOWN: usize = 256;

/// Whether an effect is ever [`Level::Danger`].
pub(super) fn may_be_danger(effect: Effect) -> bool {
    !matches!(effect, Effect::Notable | Effect::Doubtful)
}

/// What a library's op may do.
pub(super) fn custom() -> Verdict {
    let what = format!("is not in TensorFlow {OPS_VERSION}: a library brings it, and it may do anything");
    Verdict { level: Level::Warning, what, path: None }
}

/// What is to be said of a node, reached from an entrance or from none; nothing if it does no more than compute.
pub(super) fn judge<'a>(
    resolver: &mut Resolver<'_, 'a>,
    body: usize,
    node: &NodeView<'a>,
    entry: &OpEffect,
) -> Vec<Verdict> {
    let entrance = resolver.root.map(|root| &root.entrance);
    let verdict = |level, what: String| vec![Verdict { level: unless_reached(level, entrance), what, path: None }];
    match entry.effect {
        Effect::Notable => verdict(Level::Info, entry.does.to_owned()),
        Effect::Doubtful => verdict(Level::Warning, entry.does.to_owned()),
        Effect::Python => verdict(Level::Danger, format!("{}: a function that the process registered", entry.does)),
        Effect::Graph => verdict(Level::Danger, format!("{}, which cannot be looked into", entry.does)),
        Effect::Setting => verdict(Level::Danger, entry.does.to_owned()),
        Effect::Log => match url_path(node.bytes_attr("output_stream").unwrap_or_default()) {
            _ if node.is_placeholder("output_stream") => {
                verdict(Level::Danger, format!("{} to where its function's caller says", entry.does))
            }
            Some(path) => vec![write(Level::Danger, "appends to a file", path, entrance)],
            None => verdict(Level::Info, entry.does.to_owned()),
        },
        Effect::Debugger => debug(node, entry, entrance),
        Effect::Descriptor => {
            if node.is_placeholder("descriptor_source") {
                return vec![named(entry, &Name::Computed, entrance)];
            }
            let source = node.bytes_attr("descriptor_source").unwrap_or_default();
            let is_inside = source.is_empty() || source.starts_with(b"local://") || source.starts_with(b"bytes://");
            if is_inside { Vec::new() } else { vec![named(entry, &Name::Constant(source.to_vec()), entrance)] }
        }
        Effect::Read
        | Effect::Write
        | Effect::Restore
        | Effect::Save
        | Effect::Cache
        | Effect::Address
        | Effect::SummaryWriter => {
            let names = names(resolver, body, node, entry.name);
            let is_nothing = |name: &Name<'_>| {
                matches!(entry.effect, Effect::Read | Effect::Cache)
                    && matches!(name, Name::Constant(text) if text.is_empty())
            };
            names.iter().filter(|name| !is_nothing(name)).map(|name| named(entry, name, entrance)).collect()
        }
    }
}

/// The names that an op uses.
fn names<'a>(resolver: &mut Resolver<'_, 'a>, body: usize, node: &NodeView<'a>, source: NameSource) -> Vec<Name<'a>> {
    let inputs = match source {
        NameSource::Nowhere => return vec![Name::Computed],
        NameSource::Attr(name) if node.is_placeholder(name) => return vec![Name::Computed],
        NameSource::Attr(name) => return vec![Name::Constant(node.bytes_attr(name).unwrap_or_default().to_vec())],
        NameSource::Input(input) => &[input][..],
        NameSource::Inputs(inputs) => inputs,
    };
    let mut names: Vec<_> = inputs.iter().flat_map(|input| resolver.input(body, node, *input)).collect();
    names.sort();
    names.dedup();
    names
}

/// What an op does with a name.
fn named(entry: &OpEffect, name: &Name<'_>, entrance: Option<&Entrance>) -> Verdict {
    let (what, path) = match name {
        Name::Constant(text) => {
            let path = shown(text);
            (format!("{}: `{path}`", entry.does), Some(path))
        }
        Name::Asset(file) => (format!("{}: the asset `{}`", entry.does, shown(file.as_bytes())), None),
        Name::Prefix => (format!("{}: the one that it is told", entry.does), None),
        Name::Input(key) => (format!("{}: whatever the input `{}` names", entry.does, shown(key.as_bytes())), None),
        Name::Variable(_) | Name::Computed => (format!("{} whose name is computed", entry.does), None),
    };
    Verdict { level: unless_reached(level(entry.effect, name, entrance), entrance), what, path }
}

/// How grave it is to use a name in this way.
fn level(effect: Effect, name: &Name<'_>, entrance: Option<&Entrance>) -> Level {
    let by_name = match name {
        Name::Asset(_) => Level::Info,
        Name::Constant(text) if is_relative(text) => Level::Warning,
        Name::Prefix => Level::Warning,
        Name::Constant(_) | Name::Input(_) | Name::Variable(_) | Name::Computed => Level::Danger,
    };
    match (effect, entrance, name) {
        // Where checkpoints are read and written: their place.
        (Effect::Save, Some(Entrance::Save), Name::Prefix)
        | (Effect::Restore, Some(Entrance::Restore), Name::Prefix)
        // Savers that are left over stand in many models of TensorFlow 1.
        | (Effect::Save | Effect::Restore, None, _) => Level::Info,
        (Effect::Read | Effect::Restore | Effect::Descriptor, ..) => by_name,
        _ => Level::Danger,
    }
}

/// What nothing reaches runs only for those who ask for it by its node's name.
fn unless_reached(level: Level, entrance: Option<&Entrance>) -> Level {
    if entrance.is_none() { level.min(Level::Warning) } else { level }
}

fn write(level: Level, does: &str, path: &[u8], entrance: Option<&Entrance>) -> Verdict {
    let path = shown(path);
    Verdict { level: unless_reached(level, entrance), what: format!("{does}: `{path}`"), path: Some(path) }
}

/// TensorFlow's debugger: it sends tensors to files and sockets, or, with neither, nowhere.
fn debug(node: &NodeView<'_>, entry: &OpEffect, entrance: Option<&Entrance>) -> Vec<Verdict> {
    let NameSource::Attr(attribute) = entry.name else { return Vec::new() };
    if node.is_placeholder(attribute) {
        let what = "is TensorFlow's debugger, and writes to where its function's caller says".to_owned();
        return vec![Verdict { level: unless_reached(Level::Danger, entrance), what, path: None }];
    }
    let mut verdicts = Vec::new();
    // A spec of `Copy` is `DebugIdentity;grpc://host:port,file:///tmp`.
    let urls = node
        .attr(attribute)
        .into_iter()
        .flat_map(AttrView::byte_list)
        .flat_map(|list| list.split(|byte| matches!(byte, b';' | b',')));
    for url in urls.filter(|url| url.windows(3).any(|window| window == b"://")) {
        verdicts.push(match url_path(url) {
            Some(path) => write(Level::Danger, "writes files to a folder", path, entrance),
            None => write(Level::Danger, "opens a socket", url, entrance),
        });
    }
    if verdicts.is_empty() {
        let level = unless_reached(Level::Info, entrance);
        verdicts.push(Verdict { level, what: entry.does.to_owned(), path: None });
    }
    verdicts
}

/// The path in `file://PATH`. The debugger takes `FILE://` as well.
fn url_path(url: &[u8]) -> Option<&[u8]> {
    let (scheme, path) = url.split_at_checked(b"file://".len())?;
    scheme.eq_ignore_ascii_case(b"file://").then_some(path)
}

/// A name as it is shown: text, and not too much of it.
pub(super) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    if text.chars().count() <= SHOWN {
        return text.into_owned();
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start}…")
}
