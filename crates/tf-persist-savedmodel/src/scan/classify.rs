//! The severity of what an op does: it depends on the entry points that reach the op, and on where the name of its file
//! comes from.

use super::resolve_path::{PathResolver, PathSource, is_relative};
use super::{EntryPoint, Level};
use crate::graph::view::{AttrView, NodeView};
use crate::ops::OPS_VERSION;
use crate::ops::effects::{Effect, NameSource, OpEffect};

/// The assessment of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assessment {
    pub(super) level: Level,
    pub(super) what: String,
    pub(super) path: Option<String>,
}

/// Names are truncated to this many characters.
const MAX_NAME_CHARS: usize = 256;

/// Whether an effect is ever [`Level::Danger`].
pub(super) fn may_be_danger(effect: Effect) -> bool {
    !matches!(effect, Effect::Notable | Effect::Doubtful)
}

/// The assessment of an op that a library provides.
pub(super) fn custom_op() -> Assessment {
    let what = format!("is not an op of TensorFlow {OPS_VERSION}: it comes from a library and may do anything");
    Assessment { level: Level::Warning, what, path: None }
}

/// Assesses a node that an entry point reaches, or none does. Empty if the node only computes.
pub(super) fn classify<'a>(
    resolver: &mut PathResolver<'_, 'a>,
    body: usize,
    node: &NodeView<'a>,
    entry: &OpEffect,
) -> Vec<Assessment> {
    let entry_point = resolver.root.map(|root| &root.entry_point);
    let assessment =
        |level, what: String| vec![Assessment { level: unless_reached(level, entry_point), what, path: None }];
    match entry.effect {
        Effect::Notable => assessment(Level::Info, entry.does.to_owned()),
        Effect::Doubtful => assessment(Level::Warning, entry.does.to_owned()),
        Effect::Python => assessment(Level::Danger, format!("{}: a function that the process registered", entry.does)),
        Effect::Graph => assessment(Level::Danger, format!("{}, which cannot be inspected", entry.does)),
        Effect::Setting => assessment(Level::Danger, entry.does.to_owned()),
        Effect::Log => match url_path(node.bytes_attr("output_stream").unwrap_or_default()) {
            _ if node.is_placeholder("output_stream") => {
                assessment(Level::Danger, format!("{} to a place that the function's caller chooses", entry.does))
            }
            Some(path) => vec![write(Level::Danger, "appends to a file", path, entry_point)],
            None => assessment(Level::Info, entry.does.to_owned()),
        },
        Effect::Debugger => debug(node, entry, entry_point),
        Effect::Descriptor => {
            if node.is_placeholder("descriptor_source") {
                return vec![named(entry, &PathSource::Computed, entry_point)];
            }
            let source = node.bytes_attr("descriptor_source").unwrap_or_default();
            let is_inside = source.is_empty() || source.starts_with(b"local://") || source.starts_with(b"bytes://");
            if is_inside { Vec::new() } else { vec![named(entry, &PathSource::Constant(source.to_vec()), entry_point)] }
        }
        Effect::Read
        | Effect::Write
        | Effect::Restore
        | Effect::Save
        | Effect::Cache
        | Effect::Address
        | Effect::SummaryWriter => {
            let names = names(resolver, body, node, entry.name);
            let is_nothing = |name: &PathSource<'_>| {
                matches!(entry.effect, Effect::Read | Effect::Cache)
                    && matches!(name, PathSource::Constant(text) if text.is_empty())
            };
            names.iter().filter(|name| !is_nothing(name)).map(|name| named(entry, name, entry_point)).collect()
        }
    }
}

/// Where the names that an op uses come from.
fn names<'a>(
    resolver: &mut PathResolver<'_, 'a>,
    body: usize,
    node: &NodeView<'a>,
    source: NameSource,
) -> Vec<PathSource<'a>> {
    let inputs = match source {
        NameSource::Nowhere => return vec![PathSource::Computed],
        NameSource::Attr(name) if node.is_placeholder(name) => return vec![PathSource::Computed],
        NameSource::Attr(name) => {
            return vec![PathSource::Constant(node.bytes_attr(name).unwrap_or_default().to_vec())];
        }
        NameSource::Input(input) => &[input][..],
        NameSource::Inputs(inputs) => inputs,
    };
    let mut names: Vec<_> = inputs.iter().flat_map(|input| resolver.input(body, node, *input)).collect();
    names.sort();
    names.dedup();
    names
}

/// Assesses the use of one name.
fn named(entry: &OpEffect, name: &PathSource<'_>, entry_point: Option<&EntryPoint>) -> Assessment {
    let (what, path) = match name {
        PathSource::Constant(text) => {
            let path = truncated(text);
            (format!("{}: `{path}`", entry.does), Some(path))
        }
        PathSource::Asset(file) => (format!("{}: the asset `{}`", entry.does, truncated(file.as_bytes())), None),
        PathSource::Prefix => (format!("{}: the one that the caller gives", entry.does), None),
        PathSource::Input(key) => {
            (format!("{}: whatever the input `{}` names", entry.does, truncated(key.as_bytes())), None)
        }
        PathSource::Variable(_) | PathSource::Computed => (format!("{} whose name is computed", entry.does), None),
    };
    Assessment { level: unless_reached(level(entry.effect, name, entry_point), entry_point), what, path }
}

/// The severity of using a name in this way.
fn level(effect: Effect, name: &PathSource<'_>, entry_point: Option<&EntryPoint>) -> Level {
    let by_name = match name {
        PathSource::Asset(_) => Level::Info,
        PathSource::Constant(text) if is_relative(text) => Level::Warning,
        PathSource::Prefix => Level::Warning,
        PathSource::Constant(_) | PathSource::Input(_) | PathSource::Variable(_) | PathSource::Computed => {
            Level::Danger
        }
    };
    match (effect, entry_point, name) {
        // The saver is where checkpoints are read and written.
        (Effect::Save, Some(EntryPoint::Save), PathSource::Prefix)
        | (Effect::Restore, Some(EntryPoint::Restore), PathSource::Prefix)
        // Many models of TensorFlow 1 contain savers that nothing uses.
        | (Effect::Save | Effect::Restore, None, _) => Level::Info,
        (Effect::Read | Effect::Restore | Effect::Descriptor, ..) => by_name,
        _ => Level::Danger,
    }
}

/// A node that nothing reaches runs only if someone fetches it by name: at most a warning.
fn unless_reached(level: Level, entry_point: Option<&EntryPoint>) -> Level {
    if entry_point.is_none() { level.min(Level::Warning) } else { level }
}

fn write(level: Level, does: &str, path: &[u8], entry_point: Option<&EntryPoint>) -> Assessment {
    let path = truncated(path);
    Assessment { level: unless_reached(level, entry_point), what: format!("{does}: `{path}`"), path: Some(path) }
}

/// TensorFlow's debugger sends tensors to files, to sockets or nowhere.
fn debug(node: &NodeView<'_>, entry: &OpEffect, entry_point: Option<&EntryPoint>) -> Vec<Assessment> {
    let NameSource::Attr(attribute) = entry.name else { return Vec::new() };
    if node.is_placeholder(attribute) {
        let what = "is TensorFlow's debugger, and writes to a place that the function's caller chooses".to_owned();
        return vec![Assessment { level: unless_reached(Level::Danger, entry_point), what, path: None }];
    }
    let mut assessments = Vec::new();
    // A spec of `Copy` is `DebugIdentity;grpc://host:port,file:///tmp`.
    let urls = node
        .attr(attribute)
        .into_iter()
        .flat_map(AttrView::byte_list)
        .flat_map(|list| list.split(|byte| matches!(byte, b';' | b',')));
    for url in urls.filter(|url| url.windows(3).any(|window| window == b"://")) {
        assessments.push(match url_path(url) {
            Some(path) => write(Level::Danger, "writes files to a folder", path, entry_point),
            None => write(Level::Danger, "opens a socket", url, entry_point),
        });
    }
    if assessments.is_empty() {
        let level = unless_reached(Level::Info, entry_point);
        assessments.push(Assessment { level, what: entry.does.to_owned(), path: None });
    }
    assessments
}

/// The path in `file://PATH`. The debugger accepts `FILE://` as well.
fn url_path(url: &[u8]) -> Option<&[u8]> {
    let (scheme, path) = url.split_at_checked(b"file://".len())?;
    scheme.eq_ignore_ascii_case(b"file://").then_some(path)
}

/// A name as text, truncated to a readable length.
pub(super) fn truncated(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    if text.chars().count() <= MAX_NAME_CHARS {
        return text.into_owned();
    }
    let start: String = text.chars().take(MAX_NAME_CHARS).collect();
    format!("{start}…")
}
