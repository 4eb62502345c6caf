//! Attributes of HDF5 groups and datasets, as Keras's files have them.

#[cfg(test)]
use tf_persist_savedmodel::DType;
use tf_persist_savedmodel::Tensor;

/// The value of an attribute.
///
/// h5py gives texts of a fixed length to Python as `bytes`, and those of a variable length as `str`; Keras takes both.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attribute {
    /// A text of a variable length. It may be longer than 64 kB.
    Text(String),
    /// A text of a fixed length.
    FixedText(String),
    /// A list of texts of a variable length.
    Texts(Vec<String>),
    /// A list of texts of the same fixed length, which are padded with NUL.
    FixedTexts(Vec<String>),
    /// A number, or an array of numbers.
    Numbers(Tensor),
}

impl Attribute {
    /// The only text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::FixedText(text) => Some(text),
            Self::Texts(texts) | Self::FixedTexts(texts) => match texts.as_slice() {
                [text] => Some(text),
                _ => None,
            },
            Self::Numbers(_) => None,
        }
    }

    /// The texts, if it is one or a list of them. A list without texts has no type to tell that: h5py writes an empty
    /// array of 64-bit floats for it.
    pub(crate) fn texts(&self) -> Option<&[String]> {
        match self {
            Self::Text(text) | Self::FixedText(text) => Some(std::slice::from_ref(text)),
            Self::Texts(texts) | Self::FixedTexts(texts) => Some(texts),
            Self::Numbers(numbers) => numbers.is_empty().then_some(&[]),
        }
    }

    /// The number, if it is one integer.
    #[cfg(test)]
    pub(crate) fn integer(&self) -> Option<i64> {
        let Self::Numbers(numbers) = self else { return None };
        fn one<T: tf_persist_savedmodel::Element + TryInto<i64>>(numbers: &Tensor) -> Option<i64> {
            match numbers.view::<T>().ok()? {
                [value] => (*value).try_into().ok(),
                _ => None,
            }
        }
        match numbers.dtype() {
            DType::Int8 => one::<i8>(numbers),
            DType::Int16 => one::<i16>(numbers),
            DType::Int32 => one::<i32>(numbers),
            DType::Int64 => one::<i64>(numbers),
            DType::UInt8 => one::<u8>(numbers),
            DType::UInt16 => one::<u16>(numbers),
            DType::UInt32 => one::<u32>(numbers),
            DType::UInt64 => one::<u64>(numbers),
            _ => None,
        }
    }

    /// The number, if it is one float of 32 or 64 bits.
    #[cfg(test)]
    pub(crate) fn float(&self) -> Option<f64> {
        let Self::Numbers(numbers) = self else { return None };
        match numbers.dtype() {
            DType::Float32 => numbers.view::<f32>().ok().filter(|view| view.len() == 1).map(|view| f64::from(view[0])),
            DType::Float64 => numbers.view::<f64>().ok().filter(|view| view.len() == 1).map(|view| view[0]),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_fit_the_value() {
        let text = Attribute::Text("a".into());
        assert_eq!(
            (text.text(), text.texts(), text.integer(), text.float()),
            (Some("a"), Some(&["a".to_owned()][..]), None, None)
        );
        let none = Attribute::Numbers(Tensor::zeros(DType::Float64, &[0]).unwrap());
        assert_eq!((none.text(), none.texts(), none.integer()), (None, Some(&[][..]), None));
        let number = Attribute::Numbers(Tensor::scalar(7_u16).unwrap());
        assert_eq!((number.integer(), number.float(), number.texts()), (Some(7), None, None));
        assert_eq!(Attribute::Numbers(Tensor::scalar(u64::MAX).unwrap()).integer(), None);
        assert_eq!(Attribute::Numbers(Tensor::from_slice(&[1], &[0.5_f32]).unwrap()).float(), Some(0.5));
    }
}
