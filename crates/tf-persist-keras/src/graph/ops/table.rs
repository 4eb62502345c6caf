//! Lookups in tables.

use tf_persist_savedmodel::DType;

#[cfg(test)]
use super::super::Shape;
use super::super::{Graph, Resource, TensorRef};
use crate::reason::{Result, refuse};

impl Graph {
    /// The values of these keys in a table; `default` where a key is missing.
    pub(crate) fn table_find(&self, table: Resource, keys: &TensorRef, default: &TensorRef) -> Result<TensorRef> {
        let (key_dtype, value_dtype) = self.table_dtypes(table)?;
        if (keys.dtype, default.dtype) != (key_dtype, value_dtype) {
            refuse!("a table from {key_dtype} to {value_dtype} cannot map {} to {}", keys.dtype, default.dtype);
        }
        let handle = self.handle(table)?;
        let attrs = vec![("Tin", key_dtype.into()), ("Tout", value_dtype.into())];
        self.add("LookupTableFindV2", &[&handle, keys, default], attrs, value_dtype, keys.shape.clone())
    }

    /// The number of keys in a table, an int64 scalar.
    #[cfg(test)]
    pub(crate) fn table_size(&self, table: Resource) -> Result<TensorRef> {
        self.table_dtypes(table)?;
        let handle = self.handle(table)?;
        self.add("LookupTableSizeV2", &[&handle], Vec::new(), DType::Int64, Shape::scalar())
    }

    fn table_dtypes(&self, table: Resource) -> Result<(DType, DType)> {
        let tables = self.program.tables.borrow();
        match table {
            Resource::Table(index) if index < tables.len() => {
                Ok((tables[index].keys.dtype(), tables[index].values.dtype()))
            }
            _ => refuse!("a variable is not a table"),
        }
    }
}
