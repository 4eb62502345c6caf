//! Tables: the functions that make and fill them, and the text files that they are filled from.

use std::rc::Rc;

use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::tensorflow::meta_graph::tensor_info::Encoding;
use tf_persist_proto::tensorflow::{AssetFileDef, StructuredValue, TensorInfo};
use tf_persist_savedmodel::internals::attr::const_node;
use tf_persist_savedmodel::tensor::proto::to_proto;
use tf_persist_savedmodel::{DType, Tensor};

use super::attributes::{keyword_arguments, tensor_spec};
use super::function::{Defined, Interface, define};
use super::meta_graph::Builder;
use super::objects::Callable;
use crate::graph::{Attr, Attrs, Graph, Program, Resource, Shape, Table, TensorRef};
use crate::reason::{Result, refuse};

/// The op of a table that is filled once.
pub(super) const OP: &str = "HashTableV2";

/// The attributes of the node of a table.
pub(super) fn attrs(table: &Table, shared_name: &str) -> Attrs {
    vec![
        ("key_dtype", table.keys.dtype().into()),
        ("value_dtype", table.values.dtype().into()),
        ("shared_name", shared_name.into()),
    ]
}

impl Builder<'_> {
    /// Adds the functions by which Python makes and fills each table, and calls that fill the tables of sessions.
    pub(super) fn add_tables(&mut self, assets: &[(String, Vec<u8>)]) -> Result<()> {
        let program = self.program;
        for (index, table) in program.tables.borrow().iter().enumerate() {
            check(table)?;
            let resource = Resource::Table(index);
            let object = self.objects.resource(resource)?;
            let handle = self.handles.get(&resource).cloned().unwrap_or_default();

            let name = self.function_name("create_table");
            let graph = Graph::new(program);
            let made = graph.add(OP, &[], attrs(table, &handle), DType::Resource, Shape::scalar())?;
            let create = define_with_output(program, &graph, &name, made)?;
            self.add_function(create.definition)?;
            let create = self.objects.add_function(callable(&name, Vec::new(), DType::Resource));
            self.objects.link(object, "_create_resource".to_owned(), create);

            let name = self.function_name("fill_table");
            let asset = match line_numbers(table, assets) {
                Some((file, offset)) => Some((self.asset(object, file)?, offset)),
                None => None,
            };
            let (inputs, mut bound) = match &asset {
                Some((asset, _)) => (vec![(asset.node.clone(), DType::String)], vec![asset.object]),
                None => (Vec::new(), Vec::new()),
            };
            let fill = define_filling(program, table, resource, &name, asset.map(|(_, offset)| offset))?;
            let call = self.add_call(fill, inputs, &[DType::Int32])?;
            bound.extend(call.bound);
            self.initializers.push(call.node);
            let fill = self.objects.add_function(callable(&name, bound, DType::Int32));
            self.objects.link(object, "_initialize".to_owned(), fill);
        }
        Ok(())
    }

    /// Adds an asset file, which an object reads.
    fn asset(&mut self, reader: i32, file: &str) -> Result<Asset> {
        let known = self.assets.iter().position(|asset| asset.filename == file);
        let index = known.unwrap_or(self.assets.len());
        if known.is_none() {
            let node = self.names.node("asset_path");
            self.add_node(&const_node(&node, to_proto(&Tensor::from_strings(&[], [file])?)))?;
            let encoding = Some(Encoding::Name(format!("{node}:0")));
            let tensor_info = MessageField::some(TensorInfo { encoding, ..TensorInfo::default() });
            self.assets.push(AssetFileDef { tensor_info, filename: file.to_owned(), ..AssetFileDef::default() });
        }
        let node = self.assets[index].tensor_info.name().trim_end_matches(":0").to_owned();
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        Ok(Asset { node, object: self.objects.add_asset(reader, "_asset", index) })
    }
}

/// An asset file in the graph.
struct Asset {
    /// The node that holds its path.
    node: String,
    object: i32,
}

/// The function that fills a table: with constants, or with the line numbers of a text file from `offset` on.
fn define_filling(
    program: &Rc<Program>,
    table: &Table,
    resource: Resource,
    name: &str,
    offset: Option<i64>,
) -> Result<Defined> {
    /// The whole line, and its number (`tensorflow/core/kernels/lookup_util.h`).
    const WHOLE_LINE: i64 = -2;
    const LINE_NUMBER: i64 = -1;
    let graph = Graph::new(program);
    let path = match offset {
        Some(_) => Some(graph.argument("asset_path", DType::String, Shape::scalar())?),
        None => None,
    };
    let handle = graph.handle(resource)?;
    match (&path, offset) {
        (Some(path), Some(offset)) => {
            let attrs: Attrs = vec![
                ("key_index", WHOLE_LINE.into()),
                ("value_index", LINE_NUMBER.into()),
                ("offset", Attr::Int(offset)),
            ];
            graph.add_many("InitializeTableFromTextFileV2", &[&handle, path], attrs, Vec::new())?;
        }
        _ => {
            let (keys, values) = (graph.constant(table.keys.clone())?, graph.constant(table.values.clone())?);
            let attrs = vec![("Tin", keys.dtype.into()), ("Tout", values.dtype.into())];
            graph.add_many("LookupTableImportV2", &[&handle, &keys, &values], attrs, Vec::new())?;
        }
    }
    // Sessions fetch tensors, so there is one to fetch.
    let done = graph.scalar_i32(1)?;
    let interface = Interface {
        name,
        arguments: path.map(|path| ("asset_path", path)).into_iter().collect(),
        outputs: vec![("output", done)],
        copies_arguments: true,
    };
    define(program, &graph, &interface)
}

fn define_with_output(program: &Program, graph: &Graph, name: &str, output: TensorRef) -> Result<Defined> {
    let interface =
        Interface { name, arguments: Vec::new(), outputs: vec![("output", output)], copies_arguments: true };
    define(program, graph, &interface)
}

/// A function without arguments that returns a scalar.
fn callable(function: &str, bound: Vec<i32>, returns: DType) -> Callable<'_> {
    let returns: StructuredValue = tensor_spec("output", returns, &Shape::scalar());
    Callable { function, arguments: Vec::new(), bound, takes: keyword_arguments([]), returns }
}

fn check(table: &Table) -> Result<()> {
    match (table.keys.shape(), table.values.shape()) {
        (&[keys], &[values]) if keys == values => Ok(()),
        _ => refuse!("the table `{}` does not have a value for each key", table.name),
    }
}

/// The file whose lines are the keys of a table and whose line numbers are the values, and the number of the first
/// line. Other tables are filled with constants.
fn line_numbers<'t>(table: &'t Table, assets: &[(String, Vec<u8>)]) -> Option<(&'t str, i64)> {
    let name = table.asset.as_deref()?;
    let (_, contents) = assets.iter().find(|(asset, _)| asset == name)?;
    let keys = table.keys.strings().ok()?;
    let values = table.values.view::<i64>().ok()?;
    let first = *values.first()?;
    let are_consecutive = values.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]));
    // TensorFlow refuses empty lines, and drops carriage returns.
    let lines = contents.strip_suffix(b"\n").unwrap_or(contents).split(|byte| *byte == b'\n');
    let are_allowed = !contents.contains(&b'\r') && keys.iter().all(|key| !key.is_empty());
    let are_lines = are_allowed && keys.iter().eq(lines);
    (are_consecutive && are_lines).then_some((name, first))
}
