//! `einsum`, which Keras replaces by products of matrices for some equations.

use tf_persist_savedmodel::DType;

use super::dtypes::{Kind, is_integer, result_type};
use crate::graph::{Dim, Graph, Shape, TensorRef};
use crate::reason::{Result, refuse, shown_name};

/// As Keras's `einsum`.
pub(crate) fn einsum(g: &Graph, subscripts: &str, operands: &[TensorRef]) -> Result<TensorRef> {
    let subscripts = normalized(subscripts);
    let mut kinds: Vec<Kind> = operands.iter().map(|operand| Kind::Typed(operand.dtype)).collect();
    kinds.dedup();
    let all_int8 = kinds == [Kind::Typed(DType::Int8)];
    let dtype = if all_int8 { DType::Int32 } else { result_type(&kinds)? };
    let inner = if all_int8 { DType::Int8 } else { dtype };
    let floating = if is_integer(inner) { DType::Float32 } else { inner };
    if let [a, b] = operands
        && is_product(&subscripts, a, b)
    {
        let inner = if all_int8 { inner } else { floating };
        let y = product(g, &subscripts, &g.cast(a, inner)?, &g.cast(b, inner)?)?;
        return g.cast(&y, dtype);
    }
    let operands = operands.iter().map(|operand| g.cast(operand, floating)).collect::<Result<Vec<_>>>()?;
    let y = contraction(g, &subscripts, operands)?;
    g.cast(&y, dtype)
}

/// As TensorFlow's `einsum`, of tensors of one dtype.
pub(crate) fn contraction(g: &Graph, subscripts: &str, mut operands: Vec<TensorRef>) -> Result<TensorRef> {
    let equation = Equation::parse(subscripts, operands.len())?;
    let mut terms = equation.terms.clone();
    // More than two operands are contracted in order.
    while operands.len() > 2 {
        let [a, b] = [operands.remove(0), operands.remove(0)];
        let [term_a, term_b] = [terms.remove(0), terms.remove(0)];
        let needed = |label: &char| equation.output.contains(*label) || terms.iter().any(|term| term.contains(*label));
        let mut kept = String::new();
        for label in term_a.chars().chain(term_b.chars()) {
            if needed(&label) && !kept.contains(label) {
                kept.push(label);
            }
        }
        let y = node(g, &[&a, &b], &[&term_a, &term_b], &kept)?;
        operands.insert(0, y);
        terms.insert(0, kept);
    }
    let inputs: Vec<&TensorRef> = operands.iter().collect();
    node(g, &inputs, &terms.iter().map(String::as_str).collect::<Vec<_>>(), &equation.output)
}

/// The label that stands for an ellipsis.
const ELLIPSIS: char = '0';

struct Equation {
    terms: Vec<String>,
    output: String,
}

impl Equation {
    fn parse(subscripts: &str, count: usize) -> Result<Self> {
        let compact: String = subscripts.chars().filter(|it| *it != ' ').collect();
        let compact = compact.replace("...", &ELLIPSIS.to_string());
        let (inputs, output) = match compact.split_once("->") {
            Some((inputs, output)) => (inputs, Some(output.to_owned())),
            None => (compact.as_str(), None),
        };
        let allowed = |it: char| it.is_ascii_alphabetic() || it == ELLIPSIS;
        if !inputs.chars().all(|it| allowed(it) || it == ',') || !output.iter().all(|it| it.chars().all(allowed)) {
            refuse!("the equation `{}` is not one of `einsum`", shown_name(subscripts));
        }
        let terms: Vec<String> = inputs.split(',').map(str::to_owned).collect();
        if terms.len() != count {
            refuse!("the equation `{subscripts}` is called with {count} tensors");
        }
        let output = output.unwrap_or_else(|| {
            let mut labels: Vec<char> = inputs.chars().filter(|it| inputs.matches(*it).count() == 1).collect();
            labels.retain(|it| *it != ',');
            if inputs.contains(ELLIPSIS) && !labels.contains(&ELLIPSIS) {
                labels.push(ELLIPSIS);
            }
            labels.sort_unstable();
            labels.into_iter().collect()
        });
        Ok(Self { terms, output })
    }
}

/// An `Einsum` of one or two tensors, each with its labels.
pub(super) fn node(g: &Graph, inputs: &[&TensorRef], terms: &[&str], output: &str) -> Result<TensorRef> {
    let written = |term: &str| term.replace(ELLIPSIS, "...");
    let equation = format!("{}->{}", terms.iter().map(|it| written(it)).collect::<Vec<_>>().join(","), written(output));
    let mut sizes: Vec<(char, Dim)> = Vec::new();
    let mut broadcast = Shape::scalar();
    for (input, term) in inputs.iter().zip(terms) {
        let named = term.chars().filter(|it| *it != ELLIPSIS).count();
        let Some(hidden) = input.rank().checked_sub(named).filter(|hidden| *hidden == 0 || term.contains(ELLIPSIS))
        else {
            refuse!("the equation `{equation}` does not fit a tensor of shape {}", input.shape)
        };
        let mut dims = input.dims();
        for label in term.chars() {
            let count = if label == ELLIPSIS { hidden } else { 1 };
            let (mine, rest) = dims.split_at(count.min(dims.len()));
            dims = rest;
            match (label, mine) {
                (ELLIPSIS, mine) => broadcast = broadcast.broadcast(&Shape::new(mine))?,
                (label, [dim]) => match sizes.iter_mut().find(|(known, _)| *known == label) {
                    Some((_, known)) => match (*known, *dim) {
                        (Some(a), Some(b)) if a != b => {
                            refuse!("the equation `{equation}` has sizes {a} and {b} for `{label}`")
                        }
                        (_, dim) => *known = known.or(dim),
                    },
                    None => sizes.push((label, *dim)),
                },
                _ => refuse!("the equation `{equation}` does not fit a tensor of shape {}", input.shape),
            }
        }
    }
    let mut dims = Vec::new();
    for label in output.chars() {
        match (label, sizes.iter().find(|(known, _)| *known == label)) {
            (ELLIPSIS, _) => dims.extend_from_slice(broadcast.dims()),
            (_, Some((_, dim))) => dims.push(*dim),
            (label, None) => refuse!("the equation `{equation}` has no size for `{label}`"),
        }
    }
    let Some(first) = inputs.first() else { refuse!("the equation `{equation}` has no tensors") };
    let attrs =
        vec![("T", first.dtype.into()), ("N", (inputs.len() as i64).into()), ("equation", equation.as_str().into())];
    g.add("Einsum", inputs, attrs, first.dtype, Shape::new(dims))
}

/// The equation with its letters in the order of their first use: a, b, c, and so on.
fn normalized(subscripts: &str) -> String {
    const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut seen: Vec<char> = Vec::new();
    let mut rename = |letter: char| {
        if !letter.is_ascii_alphabetic() {
            return letter;
        }
        let index = seen.iter().position(|it| *it == letter).unwrap_or_else(|| {
            seen.push(letter);
            seen.len() - 1
        });
        char::from(LETTERS[index % LETTERS.len()])
    };
    subscripts.chars().map(&mut rename).collect()
}

/// Whether Keras computes an equation by a product of matrices.
fn is_product(subscripts: &str, a: &TensorRef, b: &TensorRef) -> bool {
    const ALWAYS: [&str; 12] = [
        "a,b->ab",
        "ab,b->a",
        "ab,bc->ac",
        "ab,cb->ac",
        "abc,cd->abd",
        "abc,dc->abd",
        "abcd,abde->abce",
        "abcd,abed->abce",
        "abcd,acbe->adbe",
        "abcd,adbe->acbe",
        "abcd,aecd->acbe",
        "abcd,aecd->aceb",
    ];
    // With known sizes of all labels but the first.
    const SIZED: [&str; 8] = [
        "abc,cde->abde",
        "abc,dce->abde",
        "abc,dec->abde",
        "abcd,cde->abe",
        "abcd,ced->abe",
        "abcd,ecd->abe",
        "abcde,aebf->adbcf",
        "abcde,afce->acdbf",
    ];
    let Some((inputs, _)) = subscripts.split_once("->") else { return false };
    let Some((term_a, term_b)) = inputs.split_once(',') else { return false };
    if term_a.len() != a.rank() || term_b.len() != b.rank() {
        return false;
    }
    ALWAYS.contains(&subscripts)
        || SIZED.contains(&subscripts) && {
            let labels = term_a.chars().chain(term_b.chars()).filter(|it| *it != 'a');
            labels.into_iter().all(|label| size(term_a, term_b, a, b, label).is_some())
        }
}

/// The size of a label, from either tensor.
fn size(term_a: &str, term_b: &str, a: &TensorRef, b: &TensorRef, label: char) -> Dim {
    let of = |term: &str, x: &TensorRef| term.find(label).and_then(|index| x.dims()[index]);
    of(term_a, a).or_else(|| of(term_b, b))
}

/// The products that Keras computes for an equation.
fn product(g: &Graph, subscripts: &str, x: &TensorRef, y: &TensorRef) -> Result<TensorRef> {
    let (inputs, _) = subscripts.split_once("->").unwrap_or_default();
    let (term_x, term_y) = inputs.split_once(',').unwrap_or_default();
    let sizes: Vec<Dim> = ('a'..='f').map(|label| size(term_x, term_y, x, y, label)).collect();
    let [_, b, c, d, e, f] = sizes[..] else { refuse!("the equation `{subscripts}` is not known") };
    let times = |a: Dim, b: Dim| a.zip(b).and_then(|(a, b)| a.checked_mul(b));
    let mul = |x: &TensorRef, y: &TensorRef| match (x.dtype, x.rank(), y.rank()) {
        (DType::Int8, ..) => g.batch_mat_mul_int8(x, y),
        (_, 2, 2) => g.mat_mul(x, y),
        _ => g.batch_mat_mul(x, y, false, false),
    };
    match subscripts {
        "a,b->ab" => mul(&g.expand_dims(x, -1)?, &g.expand_dims(y, 0)?),
        "ab,b->a" => g.squeeze(&mul(x, &g.expand_dims(y, -1)?)?, &[-1]),
        "ab,bc->ac" | "abc,cd->abd" | "abcd,abde->abce" => mul(x, y),
        "ab,cb->ac" | "abc,dc->abd" => mul(x, &g.transpose(y, &[1, 0])?),
        "abcd,abed->abce" => mul(x, &g.transpose(y, &[0, 1, 3, 2])?),
        "abc,cde->abde" => {
            let rows = g.reshape(y, &[c, None])?;
            g.reshape(&mul(x, &rows)?, &[None, b, d, e])
        }
        "abc,dce->abde" => {
            let rows = g.reshape(&g.transpose(y, &[1, 0, 2])?, &[c, None])?;
            g.reshape(&mul(x, &rows)?, &[None, b, d, e])
        }
        "abc,dec->abde" => {
            let rows = g.reshape(&g.transpose(y, &[2, 0, 1])?, &[c, None])?;
            g.reshape(&mul(x, &rows)?, &[None, b, d, e])
        }
        "abcd,acbe->adbe" => {
            let z = mul(&g.transpose(x, &[0, 1, 3, 2])?, &g.transpose(y, &[0, 2, 1, 3])?)?;
            g.transpose(&z, &[0, 2, 1, 3])
        }
        "abcd,adbe->acbe" => g.transpose(&mul(x, &g.transpose(y, &[0, 2, 1, 3])?)?, &[0, 2, 1, 3]),
        "abcd,aecd->acbe" => mul(&g.transpose(x, &[0, 2, 1, 3])?, &g.transpose(y, &[0, 2, 3, 1])?),
        "abcd,aecd->aceb" => {
            let z = mul(&g.transpose(x, &[0, 2, 1, 3])?, &g.transpose(y, &[0, 2, 3, 1])?)?;
            g.transpose(&z, &[0, 1, 3, 2])
        }
        "abcd,cde->abe" | "abcd,ced->abe" | "abcd,ecd->abe" => {
            let rows = g.reshape(x, &[None, b, times(c, d)])?;
            let y = match subscripts {
                "abcd,cde->abe" => y.clone(),
                "abcd,ced->abe" => g.transpose(y, &[0, 2, 1])?,
                _ => g.transpose(y, &[1, 2, 0])?,
            };
            mul(&rows, &g.reshape(&y, &[None, e])?)
        }
        "abcde,aebf->adbcf" => {
            let rows = g.reshape(x, &[None, b, times(c, d), e])?;
            let z = mul(&rows, &g.transpose(y, &[0, 2, 1, 3])?)?;
            g.transpose(&g.reshape(&z, &[None, b, c, d, f])?, &[0, 3, 1, 2, 4])
        }
        "abcde,afce->acdbf" => {
            let rows = g.reshape(&g.transpose(x, &[0, 2, 3, 1, 4])?, &[None, c, times(d, b), e])?;
            let z = mul(&rows, &g.transpose(y, &[0, 2, 3, 1])?)?;
            g.reshape(&z, &[None, c, d, b, f])
        }
        _ => refuse!("the equation `{subscripts}` is not known"),
    }
}
