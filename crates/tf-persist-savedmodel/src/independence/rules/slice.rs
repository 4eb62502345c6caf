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
    fn places(&self, count: i64) -> Option<Vec<i64>> {
        let stride = self.stride?.number().filter(|stride| *stride != 0)?;
        let (least, most) = if stride > 0 { (0, count) } else { (-1, count - 1) };
        let at = |size: Option<&Size>| {
            let at = size?.number()?;
            Some((if at < 0 { at.checked_add(count)? } else { at }).clamp(least, most))
        };
        let begin = if self.begin_masked { if stride > 0 { 0 } else { count - 1 } } else { at(self.begin)? };
        let end = if self.end_masked { if stride > 0 { count } else { -1 } } else { at(self.end)? };
        let mut places = Vec::new();
        let mut place = begin;
        while if stride > 0 { place < end } else { place > end } {
            places.push(place);
            place = place.checked_add(stride)?;
        }
        Some(places)
    }
}

/// `x[begin:end:stride, …]` (`tensorflow/core/util/strided_slice_op.cc`).
pub(super) fn strided_slice(call: &mut Call<'_, '_>) -> Found {
    const LONGEST: i64 = 1 << 16;
    let mask = |name| attributes::int(call.node, name).unwrap_or(0);
    let [begin_mask, end_mask, ellipsis, new_axis, shrink] =
        ["begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"].map(mask);
    (1..4).try_for_each(|place| match call.input(place)? {
        Value::Ints { .. } => Ok(()),
        _ => call.need_fixed(place),
    })?;
    let parts = [1, 2, 3].map(|place| call.inputs[place].ints().map(<[Size]>::to_vec));
    let count = call.inputs[1..4].iter().find_map(|value| match value.dims()?.as_slice() {
        [count] => count.number(),
        _ => None,
    });
    let count = count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count <= 32);
    let count = count.ok_or("it is not known how many dimensions it indexes")?;
    let has = |mask: i64, place: usize| mask >> place & 1 == 1;
    let part = |place: usize| Part {
        begin: parts[0].as_ref().and_then(|all| all.get(place)),
        end: parts[1].as_ref().and_then(|all| all.get(place)),
        stride: parts[2].as_ref().and_then(|all| all.get(place)),
        begin_masked: has(begin_mask, place),
        end_masked: has(end_mask, place),
    };
    if let Value::Ints { shape, items } = &call.inputs[0]
        && shape.len() == 1
        && count == 1
        && ellipsis | new_axis == 0
    {
        return of_sizes(items, &part(0), has(shrink, 0));
    }
    let tensor = call.tensor(0)?;
    let used = (0..count).filter(|place| !has(ellipsis, *place) && !has(new_axis, *place)).count();
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
    for place in 0..count {
        if has(ellipsis, place) {
            if std::mem::replace(&mut seen_ellipsis, true) {
                return Err("it leaves out dimensions twice".to_owned());
            }
            for _ in 0..rest {
                let size = tensor.dims[from].clone();
                keep(&mut found, &mut from, size);
            }
        } else if has(new_axis, place) {
            found.dims.push(Size::known(1));
        } else if has(shrink, place) {
            tensor.need_apart(from)?;
            need_fixed(&part(place))?;
            from += 1;
        } else {
            let (size, part) = (&tensor.dims[from], part(place));
            let size = if part.is_whole(size) {
                size.clone()
            } else {
                tensor.need_apart(from)?;
                need_fixed(&part)?;
                let places = size.number().filter(|size| *size <= LONGEST).and_then(|size| part.places(size));
                let places = places.and_then(|places| i64::try_from(places.len()).ok());
                places.map_or_else(|| call.symbol(), Size::known)
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
    let at = |place: i64| usize::try_from(place).ok().and_then(|place| items.get(place)).cloned().ok_or_else(lost);
    if shrink {
        let place = part.begin.and_then(Size::number).filter(|_| !part.begin_masked).ok_or_else(lost)?;
        let place = if place < 0 { place + count } else { place };
        return Ok(Outputs::Each(vec![Value::scalar(at(place)?)]));
    }
    let places = part.places(count).ok_or_else(lost)?;
    Ok(Outputs::Each(vec![Value::vector(places.into_iter().map(at).collect::<Result<_, _>>()?)]))
}

/// `size` elements of each dimension from `begin`; -1 takes the rest.
pub(super) fn slice(call: &mut Call<'_, '_>) -> Found {
    let mut tensor = call.tensor(0)?;
    for place in [1, 2] {
        if call.input(place)?.ints().is_none() {
            call.need_fixed(place)?;
        }
    }
    for axis in 0..tensor.rank() {
        let part = |place: usize| call.inputs[place].ints().and_then(|all| all.get(axis));
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
