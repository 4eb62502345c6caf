//! Parts of tensors.

use super::{Call, Found, Outputs, Shaped};
use crate::independence::attributes;
use crate::independence::size::Size;
use crate::independence::value::Value;

/// The part that is taken along one dimension.
struct Part<'p> {
    begin: Option<&'p Size>,
    end: Option<&'p Size>,
    stride: Option<&'p Size>,
    begin_masked: bool,
    end_masked: bool,
}

impl Part<'_> {
    /// Whether it is the whole dimension.
    fn is_whole(&self, size: &Size) -> bool {
        let starts = self.begin_masked || self.begin.is_some_and(|begin| begin.is(0));
        let ends = self.end_masked || self.end == Some(size);
        starts && ends && self.stride.is_some_and(|stride| stride.is(1))
    }

    /// Whether the part is independent of the number of rows.
    fn is_fixed(&self) -> bool {
        [self.begin, self.end, self.stride].into_iter().flatten().all(|size| !size.is_batch())
    }

    /// The indices among `count` elements, if they are known.
    fn indices(&self, count: i64) -> Option<Vec<i64>> {
        let stride = self.stride?.number().filter(|stride| *stride != 0)?;
        let (least, most) = if stride > 0 { (0, count) } else { (-1, count - 1) };
        let at = |size: Option<&Size>| {
            let at = size?.number()?;
            Some((if at < 0 { at.checked_add(count)? } else { at }).clamp(least, most))
        };
        let begin = if self.begin_masked { if stride > 0 { 0 } else { count - 1 } } else { at(self.begin)? };
        let end = if self.end_masked { if stride > 0 { count } else { -1 } } else { at(self.end)? };
        let mut indices = Vec::new();
        let mut index = begin;
        while if stride > 0 { index < end } else { index > end } {
            indices.push(index);
            index = index.checked_add(stride)?;
        }
        Some(indices)
    }
}

/// `x[begin:end:stride, …]` (`tensorflow/core/util/strided_slice_op.cc`).
pub(super) fn strided_slice(call: &mut Call<'_, '_>) -> Found {
    const LONGEST: i64 = 1 << 16;
    let mask = |name| attributes::int(call.node, name).unwrap_or(0);
    let [begin_mask, end_mask, ellipsis, new_axis, shrink] =
        ["begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"].map(mask);
    (1..4).try_for_each(|index| match call.input(index)? {
        Value::Ints { .. } => Ok(()),
        _ => call.need_fixed(index),
    })?;
    let parts = [1, 2, 3].map(|index| call.inputs[index].ints().map(<[Size]>::to_vec));
    let count = call.inputs[1..4].iter().find_map(|value| match value.dims()?.as_slice() {
        [count] => count.number(),
        _ => None,
    });
    let count = count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count <= 32);
    let count = count.ok_or("it is not known how many dimensions it indexes")?;
    let has = |mask: i64, index: usize| mask >> index & 1 == 1;
    let part = |index: usize| Part {
        begin: parts[0].as_ref().and_then(|all| all.get(index)),
        end: parts[1].as_ref().and_then(|all| all.get(index)),
        stride: parts[2].as_ref().and_then(|all| all.get(index)),
        begin_masked: has(begin_mask, index),
        end_masked: has(end_mask, index),
    };
    if let Value::Ints { shape, items } = &call.inputs[0]
        && shape.len() == 1
        && count == 1
        && ellipsis | new_axis == 0
    {
        return of_sizes(items, &part(0), has(shrink, 0));
    }
    let tensor = call.tensor(0)?;
    let used = (0..count).filter(|index| !has(ellipsis, *index) && !has(new_axis, *index)).count();
    let rest = tensor.rank().checked_sub(used).ok_or("it indexes more dimensions than there are")?;
    let mut found = Shaped { axis: None, dims: Vec::new() };
    let mut from = 0;
    let keep = |found: &mut Shaped, from: &mut usize, size: Size| {
        if tensor.axis == Some(*from) {
            found.axis = Some(found.dims.len());
        }
        found.dims.push(size);
        *from += 1;
    };
    let mut seen_ellipsis = false;
    for index in 0..count {
        if has(ellipsis, index) {
            if std::mem::replace(&mut seen_ellipsis, true) {
                return Err("it leaves out dimensions twice".to_owned());
            }
            for _ in 0..rest {
                let size = tensor.dims[from].clone();
                keep(&mut found, &mut from, size);
            }
        } else if has(new_axis, index) {
            found.dims.push(Size::known(1));
        } else if has(shrink, index) {
            tensor.need_apart(from)?;
            need_fixed(&part(index))?;
            from += 1;
        } else {
            let (size, part) = (&tensor.dims[from], part(index));
            let size = if part.is_whole(size) {
                size.clone()
            } else {
                tensor.need_apart(from)?;
                need_fixed(&part)?;
                let indices = size.number().filter(|size| *size <= LONGEST).and_then(|size| part.indices(size));
                let indices = indices.and_then(|indices| i64::try_from(indices.len()).ok());
                indices.map_or_else(|| call.symbol(), Size::known)
            };
            keep(&mut found, &mut from, size);
        }
    }
    while from < tensor.rank() {
        let size = tensor.dims[from].clone();
        keep(&mut found, &mut from, size);
    }
    found.out()
}

fn need_fixed(part: &Part<'_>) -> Result<(), String> {
    if part.is_fixed() { Ok(()) } else { Err("what it takes depends on the number of rows".to_owned()) }
}

/// Part of a vector of sizes.
fn of_sizes(items: &[Size], part: &Part<'_>, shrink: bool) -> Found {
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let lost = || "it is not known which sizes it takes".to_owned();
    let at = |index: i64| usize::try_from(index).ok().and_then(|index| items.get(index)).cloned().ok_or_else(lost);
    if shrink {
        let index = part.begin.and_then(Size::number).filter(|_| !part.begin_masked).ok_or_else(lost)?;
        let index = if index < 0 { index + count } else { index };
        return Ok(Outputs::Each(vec![Value::scalar(at(index)?)]));
    }
    let indices = part.indices(count).ok_or_else(lost)?;
    Ok(Outputs::Each(vec![Value::vector(indices.into_iter().map(at).collect::<Result<_, _>>()?)]))
}

/// `size` elements of each dimension from `begin`; -1 takes the rest.
pub(super) fn slice(call: &mut Call<'_, '_>) -> Found {
    let mut tensor = call.tensor(0)?;
    for index in [1, 2] {
        if call.input(index)?.ints().is_none() {
            call.need_fixed(index)?;
        }
    }
    for axis in 0..tensor.rank() {
        let part = |index: usize| call.inputs[index].ints().and_then(|all| all.get(axis));
        let (begin, size) = (part(1), part(2));
        let is_all = size.is_some_and(|size| size.is(-1) || *size == tensor.dims[axis]);
        if begin.is_some_and(|begin| begin.is(0)) && is_all {
            continue;
        }
        tensor.need_apart(axis)?;
        if begin.into_iter().chain(size).any(Size::is_batch) {
            return Err("what it takes depends on the number of rows".to_owned());
        }
        let size = size.filter(|size| size.number() != Some(-1)).cloned();
        tensor.dims[axis] = size.unwrap_or_else(|| call.symbol());
    }
    tensor.out()
}
