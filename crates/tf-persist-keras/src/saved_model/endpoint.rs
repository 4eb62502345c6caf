//! The method `serve` of a loaded model, which Keras's exports have beside the signatures: it takes and returns tensors
//! as the model itself does, where a signature takes them by name and returns a dictionary.

use tf_persist_proto::protobuf::MessageField;
use tf_persist_proto::tensorflow::op_def::op_def::ArgDef;
use tf_persist_proto::tensorflow::struct_::structured_value::Kind;
use tf_persist_proto::tensorflow::{FunctionDef, NamedTupleValue, NoneValue, OpDef, PairValue, StructuredValue};
use tf_persist_savedmodel::internals::attr::{dtype, dtypes, node, proto_dtype};

use super::attributes::{dict, list, structured, tensor_spec, tuple};
use super::meta_graph::SignatureInterface;
use super::names::Names;
use super::objects::{Callable, Method};
use crate::graph::{Signature, TensorRef};
use crate::reason::{Result, refuse};

/// The name of the method.
pub(super) const SERVE: &str = "serve";

/// How Python passes several tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Structure {
    /// One tensor, by itself.
    Tensor,
    /// In the order of the signature.
    List,
    /// By the names in the signature.
    Dict,
}

/// The method `serve`: one argument, and what it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) inputs: Structure,
    pub(crate) outputs: Structure,
}

impl Endpoint {
    /// Defines the method: a function that calls `called`, that of a signature.
    pub(super) fn define(self, interface: &SignatureInterface<'_>, called: &OpDef, name: &str) -> Result<FunctionDef> {
        let mut names = Names::default();
        let call = names.take("call");
        let passed: Vec<String> = called.input_arg.iter().map(|argument| names.argument(&argument.name)).collect();
        let argument = |index: usize| ArgDef { name: passed[index].clone(), ..called.input_arg[index].clone() };
        let (inputs, outputs) = (interface.inputs.len(), interface.outputs.len());
        let order = self.inputs.order(&interface.signature.inputs, &interface.inputs)?;
        let mut signature = OpDef { name: name.to_owned(), is_stateful: true, ..OpDef::default() };
        signature.input_arg = order.into_iter().chain(inputs..passed.len()).map(argument).collect();
        let types = |arguments: &[ArgDef]| dtypes(arguments.iter().map(|argument| argument.type_));
        let given: Vec<&str> = passed.iter().map(String::as_str).collect();
        let attributes = [
            ("Tin", types(&called.input_arg)),
            ("Tout", types(&called.output_arg)),
            ("f", super::attributes::function(called.name.clone())),
        ];
        let mut definition = FunctionDef::default();
        definition.node_def.push(node(&call, "StatefulPartitionedCall", &given, attributes));
        // What the call does besides computing its outputs happens although no output may be used.
        signature.control_output.push(call.clone());
        definition.control_ret.insert(call.clone(), call.clone());
        let order = self.outputs.order(&interface.signature.outputs, &interface.outputs)?;
        for (position, index) in order.into_iter().enumerate() {
            let output = names.argument(&format!("output_{position}"));
            let copy = names.take(&format!("Identity_{position}"));
            let of = interface.outputs[index].1.dtype;
            let source = format!("{call}:output:{index}");
            definition.node_def.push(node(&copy, "Identity", &[&source], [("T", dtype(of))]));
            signature.output_arg.push(ArgDef { name: output.clone(), type_: proto_dtype(of), ..ArgDef::default() });
            definition.ret.insert(output, format!("{copy}:output:0"));
        }
        debug_assert_eq!(definition.ret.len(), outputs);
        definition.signature = MessageField::some(signature);
        Ok(definition)
    }

    /// The method as Python calls it. The first tensor of several has the name `inputs`.
    pub(super) fn method<'n>(
        self,
        interface: &SignatureInterface<'_>,
        function: &'n str,
        bound: Vec<i32>,
    ) -> Result<Method<'n>> {
        let Signature { inputs, outputs, .. } = interface.signature;
        let takes = self.inputs.value(inputs, &interface.inputs)?;
        let returns = self.outputs.value(outputs, &interface.outputs)?;
        let callable = Callable {
            function,
            arguments: Vec::new(),
            bound,
            takes: tuple(vec![tuple(vec![takes.clone()]), dict([])]),
            returns,
        };
        Ok(Method { callable, argument_names: argument_names(), input_signature: tuple(vec![takes]) })
    }
}

impl Structure {
    /// The tensors in the order in which TensorFlow flattens the structure, as indices of `sorted`, which is in the
    /// order of the names.
    fn order(self, names: &[String], sorted: &[(&str, TensorRef)]) -> Result<Vec<usize>> {
        if self == Self::Tensor && sorted.len() != 1 {
            refuse!("{} tensors are not one", sorted.len());
        }
        if self == Self::Dict {
            return Ok((0..sorted.len()).collect());
        }
        let place = |name: &String| sorted.binary_search_by(|(other, _)| (*other).cmp(name)).unwrap_or_default();
        Ok(names.iter().map(place).collect())
    }

    /// The structure with the dtype and shape of each tensor.
    fn value(self, names: &[String], sorted: &[(&str, TensorRef)]) -> Result<StructuredValue> {
        let spec = |(name, tensor): &(&str, TensorRef)| tensor_spec(name, tensor.dtype, &tensor.shape);
        let order = self.order(names, sorted)?;
        Ok(match self {
            Self::Tensor => spec(&sorted[0]),
            Self::List => list(order.into_iter().map(|index| spec(&sorted[index])).collect()),
            Self::Dict => dict(sorted.iter().map(|item| (item.0.to_owned(), spec(item)))),
        })
    }
}

/// The arguments of the Python function: one, called `inputs`.
fn argument_names() -> StructuredValue {
    let none = || structured(Kind::NoneValue(NoneValue::default()));
    let fields = [
        ("args", list(vec![structured(Kind::StringValue("inputs".to_owned()))])),
        ("varargs", none()),
        ("varkw", none()),
        ("defaults", none()),
        ("kwonlyargs", list(Vec::new())),
        ("kwonlydefaults", none()),
        ("annotations", dict([])),
    ];
    let pair = |(key, value): (&str, StructuredValue)| PairValue {
        key: key.to_owned(),
        value: MessageField::some(value),
        ..PairValue::default()
    };
    let values = fields.into_iter().map(pair).collect();
    let name = "FullArgSpec".to_owned();
    structured(Kind::NamedTupleValue(NamedTupleValue { name, values, ..NamedTupleValue::default() }))
}
