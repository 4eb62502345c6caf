//! Lists of tensors, which loops read and write.

use tf_persist_savedmodel::DType;

use super::super::{Attr, Dim, Graph, Shape, TensorRef};
use crate::reason::{Result, refuse};

impl Graph {
    /// The list of a tensor's slices along its first dimension.
    pub(crate) fn list_from_tensor(&self, x: &TensorRef) -> Result<TensorRef> {
        let Some((_, element)) = x.dims().split_first() else { refuse!("a scalar has no slices") };
        let element = self.element_shape(&Shape::new(element))?;
        let attrs = vec![("element_dtype", x.dtype.into()), ("shape_type", DType::Int32.into())];
        self.add("TensorListFromTensor", &[x, &element], attrs, DType::Variant, Shape::scalar())
    }

    /// A list of `count` elements of this shape that are not set.
    pub(crate) fn list_reserve(&self, dtype: DType, element: &Shape, count: &TensorRef) -> Result<TensorRef> {
        let element = self.element_shape(element)?;
        let attrs = vec![("element_dtype", dtype.into()), ("shape_type", DType::Int32.into())];
        self.add("TensorListReserve", &[&element, count], attrs, DType::Variant, Shape::scalar())
    }

    /// A list without elements, for elements of this shape.
    pub(crate) fn list_empty(&self, dtype: DType, element: &Shape) -> Result<TensorRef> {
        let (element, most) = (self.element_shape(element)?, self.scalar_i32(-1)?);
        let attrs = vec![("element_dtype", dtype.into()), ("shape_type", DType::Int32.into())];
        self.add("EmptyTensorList", &[&element, &most], attrs, DType::Variant, Shape::scalar())
    }

    /// The list with one more element.
    pub(crate) fn list_push(&self, list: &TensorRef, item: &TensorRef) -> Result<TensorRef> {
        let attrs = vec![("element_dtype", item.dtype.into())];
        self.add("TensorListPushBack", &[list, item], attrs, DType::Variant, Shape::scalar())
    }

    /// The list without its last element, and the element, which has this shape.
    pub(crate) fn list_pop(&self, list: &TensorRef, dtype: DType, element: &Shape) -> Result<[TensorRef; 2]> {
        let sizes = self.element_shape(element)?;
        let outputs = vec![(DType::Variant, Shape::scalar()), (dtype, element.clone())];
        let made =
            self.add_many("TensorListPopBack", &[list, &sizes], vec![("element_dtype", dtype.into())], outputs)?;
        match <[TensorRef; 2]>::try_from(made) {
            Ok(made) => Ok(made),
            Err(_) => refuse!("a list gives its last element"),
        }
    }

    /// The number of elements of a list.
    pub(crate) fn list_length(&self, list: &TensorRef) -> Result<TensorRef> {
        self.add("TensorListLength", &[list], Vec::new(), DType::Int32, Shape::scalar())
    }

    /// An element of a list with elements of this shape.
    pub(crate) fn list_get(
        &self,
        list: &TensorRef,
        index: &TensorRef,
        dtype: DType,
        element: &Shape,
    ) -> Result<TensorRef> {
        let sizes = self.element_shape(element)?;
        let attrs = vec![("element_dtype", dtype.into())];
        self.add("TensorListGetItem", &[list, index, &sizes], attrs, dtype, element.clone())
    }

    /// The list with another element.
    pub(crate) fn list_set(&self, list: &TensorRef, index: &TensorRef, item: &TensorRef) -> Result<TensorRef> {
        let attrs = vec![("element_dtype", item.dtype.into())];
        self.add("TensorListSetItem", &[list, index, item], attrs, DType::Variant, Shape::scalar())
    }

    /// The elements of a list, stacked along a new first dimension.
    pub(crate) fn list_stack(&self, list: &TensorRef, dtype: DType, element: &Shape, count: Dim) -> Result<TensorRef> {
        let sizes = self.element_shape(element)?;
        let number = count.and_then(|count| i64::try_from(count).ok()).unwrap_or(-1);
        let attrs = vec![("element_dtype", dtype.into()), ("num_elements", Attr::Int(number))];
        let shape = Shape::new([&[count], element.dims()].concat());
        self.add("TensorListStack", &[list, &sizes], attrs, dtype, shape)
    }

    /// A shape as these ops take it, with -1 for what is unknown.
    fn element_shape(&self, shape: &Shape) -> Result<TensorRef> {
        let size = |dim: &Dim| dim.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX));
        self.vector_i32(&shape.dims().iter().map(size).collect::<Vec<_>>())
    }
}
