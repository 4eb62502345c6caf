//! The body of a loop that takes many steps of an LSTM layer at once.

use tf_persist_proto::tensorflow as pb;

use super::cell::Next;
use super::layer::{Layer, Limit};
use crate::dtype::DType;
use crate::graph::attr;

/// The most steps at once. The op keeps seven numbers for each unit, row and step; with more steps, they would not stay
/// near the processor where a step has many rows.
const STEPS: i32 = 16;

/// The body of a loop over this layer.
pub(super) fn body(layer: &Layer<'_>, name: String) -> Option<pb::FunctionDef> {
    let cell = &layer.cell;
    let mut body = pb::FunctionDef { signature: layer.body.definition.signature.clone(), ..Default::default() };
    let signature = body.signature.mut_or_insert_default();
    signature.name = name;
    signature.control_output.clear();
    signature.input_arg[cell.input].type_ = attr::proto_dtype(DType::Float32);
    signature.output_arg[cell.input].type_ = attr::proto_dtype(DType::Float32);
    let argument = |index: usize| layer.body.definition.signature.input_arg[index].name.as_str();

    let mut nodes = counting(layer, argument)?;
    nodes.extend(stepping(layer, argument)?);
    for (index, next) in cell.next.iter().enumerate() {
        let list = format!("lstm/list_{index}");
        let returned = match next {
            Next::Same => argument(index).to_owned(),
            Next::Counted => {
                let name = format!("lstm/next_{index}");
                nodes.push(attr::node(&name, "AddV2", &[argument(index), "lstm/steps:z:0"], [int("T")]));
                format!("{name}:z:0")
            }
            Next::Hidden => "lstm/hidden:output:0".to_owned(),
            Next::Carry => "lstm/carry:output:0".to_owned(),
            Next::LastInList(set) => {
                let mut set = pb::NodeDef { name: list.clone(), ..(*set).clone() };
                set.attr.retain(|name, _| !name.starts_with('_'));
                set.input = [argument(index), "lstm/zero:output:0", "lstm/hidden:output:0"].map(str::to_owned).into();
                nodes.push(set);
                format!("{list}:output_handle:0")
            }
            Next::EachInList => {
                let types = [("element_dtype", attr::dtype(DType::Float32))];
                nodes.push(attr::node(&list, "TensorListPushBack", &[argument(index), "lstm/layer:h:0"], types));
                format!("{list}:output_handle:0")
            }
        };
        body.ret.insert(signature.output_arg[index].name.clone(), returned);
    }
    body.node_def = nodes;
    Some(body)
}

fn int(name: &str) -> (&str, pb::AttrValue) {
    (name, attr::dtype(DType::Int32))
}

fn float(name: &str) -> (&str, pb::AttrValue) {
    (name, attr::dtype(DType::Float32))
}

/// The nodes of `lstm/steps`, the number of steps at once: what is left to each bound of the loop, or the most.
fn counting<'l>(layer: &'l Layer<'_>, argument: impl Fn(usize) -> &'l str) -> Option<Vec<pb::NodeDef>> {
    let scalar = |name: &str, value: i32| attr::values_node(name, &[], &[value]);
    let mut nodes = vec![scalar("lstm/zero", 0)?, scalar("lstm/all", -1)?, scalar("lstm/most", STEPS)?];
    let mut least = "lstm/most:output:0".to_owned();
    for (number, (counter, limit)) in layer.bounds.iter().enumerate() {
        let left = format!("lstm/left_{number}");
        let constant = format!("lstm/limit_{number}");
        let value = format!("{constant}:output:0");
        let limit = match limit {
            Limit::Variable(limit) => argument(*limit),
            Limit::Number(limit) => {
                nodes.push(scalar(&constant, *limit)?);
                &value
            }
        };
        nodes.push(attr::node(&left, "Sub", &[limit, argument(*counter)], [int("T")]));
        let is_last = number + 1 == layer.bounds.len();
        let name = if is_last { "lstm/steps".to_owned() } else { format!("lstm/least_{number}") };
        nodes.push(attr::node(&name, "Minimum", &[&least, &format!("{left}:z:0")], [int("T")]));
        least = format!("{name}:z:0");
    }
    Some(nodes)
}

/// The nodes that take the steps, and `lstm/hidden` and `lstm/carry`, the states behind them.
fn stepping<'l>(layer: &'l Layer<'_>, argument: impl Fn(usize) -> &'l str) -> Option<Vec<pb::NodeDef>> {
    let (cell, units) = (&layer.cell, layer.units);
    let pack = |name: &str, first: &str, other: &str| {
        let types = [int("T"), ("N", attr::integer(3)), ("axis", attr::integer(0))];
        attr::node(name, "Pack", &[first, other, other], types)
    };
    let zeros = |name: &str, length: usize| attr::values_node(name, &[length], &vec![0_f32; length]);
    let vector = |name: &str, value: i32| attr::values_node(name, &[1], &[value]);
    let last = |name: &str, states: &str| {
        let inputs = [states, "lstm/last:output:0", "lstm/end:output:0", "lstm/one:output:0"];
        attr::node(name, "StridedSlice", &inputs, [float("T"), int("Index"), ("shrink_axis_mask", attr::integer(1))])
    };
    let lengths = [("SrcT", attr::dtype(DType::Int32)), ("DstT", attr::dtype(DType::Int64))];
    let part = [argument(cell.input), "lstm/begin:output:0", "lstm/size:output:0"];
    let mut nodes = vec![
        pack("lstm/begin", argument(cell.time), "lstm/zero:output:0"),
        pack("lstm/size", "lstm/steps:z:0", "lstm/all:output:0"),
        // `BlockLSTMV2` believes the number of steps. A slice of as many is refused where there are fewer.
        attr::node("lstm/part", "Slice", &part, [float("T"), int("Index")]),
        attr::node("lstm/length", "Cast", &["lstm/steps:z:0"], lengths),
        // The op would add these weights of the carry to the gates, if it were told to.
        zeros("lstm/peephole", units)?,
        vector("lstm/last", -1)?,
        vector("lstm/end", 0)?,
        vector("lstm/one", 1)?,
        last("lstm/hidden", "lstm/layer:h:0"),
        last("lstm/carry", "lstm/layer:cs:0"),
    ];
    let bias = match cell.bias {
        Some(bias) => argument(bias),
        None => {
            nodes.push(zeros("lstm/no_bias", 4 * units)?);
            "lstm/no_bias:output:0"
        }
    };
    let peephole = "lstm/peephole:output:0";
    let states = [argument(cell.carry), argument(cell.hidden), argument(cell.kernel)];
    let inputs = ["lstm/length:y:0", "lstm/part:output:0"].into_iter().chain(states).chain([peephole; 3]).chain([bias]);
    nodes.push(attr::node("lstm/layer", "BlockLSTMV2", &inputs.collect::<Vec<_>>(), [float("T")]));
    Some(nodes)
}
