//! Copies of functions for arguments that are values instead of handles.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use tf_persist_proto::tensorflow as pb;

use super::{Frozen, body};
use crate::graph::{Graph, free_name};

/// The most copies per function, on average. Real models need one or two.
const MAX_PER_FUNCTION: usize = 20;

/// The functions of a graph, and their copies.
pub(super) struct Library {
    originals: Rc<Originals>,
    made: Vec<pb::FunctionDef>,
    names: HashSet<String>,
    /// The copy of a function for given arguments.
    known: HashMap<(String, Vec<(usize, i32)>), Specialised>,
}

/// The original functions.
pub(super) struct Originals(pb::GraphDef);

impl Originals {
    pub(super) fn graph(&self) -> Graph<'_> {
        Graph::new(&self.0)
    }
}

/// A copy of a function for given arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Specialised {
    pub(super) name: String,
    /// The names of its outputs.
    pub(super) outputs: Vec<String>,
    /// The outputs that are values instead of handles.
    pub(super) returned: Vec<(usize, Frozen)>,
}

impl Library {
    pub(super) fn new(functions: Vec<pb::FunctionDef>) -> Self {
        let names = functions.iter().map(|function| function.signature.name.clone()).collect();
        let library = pb::FunctionDefLibrary { function: functions, ..Default::default() };
        let originals = pb::GraphDef { library: Some(library).into(), ..Default::default() };
        Self { originals: Rc::new(Originals(originals)), made: Vec::new(), names, known: HashMap::new() }
    }

    pub(super) fn originals(&self) -> Rc<Originals> {
        self.originals.clone()
    }

    /// All functions, the copies included.
    pub(super) fn into_functions(self) -> Vec<pb::FunctionDef> {
        let mut functions = self.originals.0.library.function.clone();
        functions.extend(self.made);
        functions
    }

    /// Returns the copy of a function that takes values for these arguments.
    ///
    /// # Errors
    /// A sentence, if the function does something other than read one of them.
    pub(super) fn specialise(
        &mut self,
        name: &str,
        arguments: &BTreeMap<usize, Frozen>,
        depth: usize,
    ) -> Result<Specialised, String> {
        let key = (name.to_owned(), arguments.iter().map(|(index, frozen)| (*index, frozen.dtype.value())).collect());
        if let Some(known) = self.known.get(&key) {
            // The dtypes are the same; the variables may differ.
            let mut known = known.clone();
            for (_, frozen) in &mut known.returned {
                let same = arguments.values().find(|argument| argument.dtype == frozen.dtype);
                frozen.clone_from(same.unwrap_or(&frozen.clone()));
            }
            return Ok(known);
        }
        // The number of copies is bounded only by the sets of arguments.
        if self.made.len() >= MAX_PER_FUNCTION * self.originals.0.library.function.len() {
            return Err("its functions call each other in too many ways".to_owned());
        }
        let originals = self.originals.clone();
        let graph = originals.graph();
        let original = graph.function(name).ok_or_else(|| format!("it calls the function `{name}`, which it lacks"))?;
        let mut function = original.clone();
        let mut frozen = BTreeMap::new();
        let signature = function.signature.mut_or_insert_default();
        for (index, value) in arguments {
            let Some(argument) = signature.input_arg.get_mut(*index) else {
                return Err(format!("it calls the function `{name}` with more arguments than it takes"));
            };
            argument.type_ = value.dtype;
            argument.handle_data.clear();
            argument.experimental_full_type = None.into();
            frozen.insert(argument.name.clone(), value.clone());
            if let Ok(index) = u32::try_from(*index) {
                function.arg_attr.remove(&index);
                function.resource_arg_unique_id.remove(&index);
            }
        }
        function.attr.remove("_input_shapes");
        let body = body::rewrite(&original.node_def, true, frozen, self, depth + 1)?;
        function.node_def = body.nodes;
        let mut returned = Vec::new();
        for (index, output) in signature.output_arg.iter_mut().enumerate() {
            let Some(tensor) = function.ret.get_mut(&output.name) else { continue };
            if let Some(value) = body.frozen.get(tensor) {
                output.type_ = value.dtype;
                output.handle_data.clear();
                output.experimental_full_type = None.into();
                returned.push((index, value.clone()));
            }
            if let Some(new) = body.renamed.get(tensor) {
                tensor.clone_from(new);
            }
        }
        let outputs = signature.output_arg.iter().map(|output| output.name.clone()).collect();
        let wanted = format!("{name}_frozen");
        // Avoids trying every name that is taken.
        let wanted = if self.names.contains(&wanted) { format!("{wanted}_{}", self.made.len()) } else { wanted };
        signature.name = free_name(&wanted, |name| self.names.contains(name));
        let made = Specialised { name: signature.name.clone(), outputs, returned };
        self.names.insert(made.name.clone());
        self.known.insert(key, made.clone());
        self.made.push(function);
        Ok(made)
    }
}
