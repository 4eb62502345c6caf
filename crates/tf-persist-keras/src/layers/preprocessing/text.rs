//! `TextVectorization`.

use serde_json::Value;
use tf_persist_savedmodel::DType;

use super::encoding::OutputMode;
use super::lookup::Lookup;
use crate::config::{Config, int, shown};
use crate::graph::{Ragged, Slice, TensorRef};
use crate::layers::{Argument, Arguments, Context, Layer};
use crate::reason::{Result, refuse};

/// The punctuation of ASCII, which Keras takes away.
const PUNCTUATION: &str = "[[:punct:]]";

/// Texts to the indices of their words.
#[derive(Debug)]
pub(super) struct TextVectorization {
    lower: bool,
    strip_punctuation: bool,
    split: Option<Split>,
    /// The numbers of words that are taken together.
    n_grams: Option<Vec<i64>>,
    length: Option<u64>,
    /// Keras 2 may give the words themselves.
    gives_words: bool,
    lookup: Lookup,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    Words,
    Characters,
}

/// Words in rows of different lengths, or texts that were not split.
enum Words {
    Rows(Ragged),
    Whole(TensorRef),
}

impl TextVectorization {
    pub(super) fn new(config: &Config<'_>) -> Result<Self> {
        let (lower, strip_punctuation) = match named(config, "standardize", "lower_and_strip_punctuation")? {
            None => (false, false),
            Some("lower_and_strip_punctuation") => (true, true),
            Some("lower") => (true, false),
            Some("strip_punctuation") => (false, true),
            Some(other) => refuse!("`standardize` is `{}`, which is unknown", other.escape_debug()),
        };
        let split = match named(config, "split", "whitespace")? {
            None => None,
            Some("whitespace") => Some(Split::Words),
            Some("character") => Some(Split::Characters),
            Some(other) => refuse!("`split` is `{}`, which is unknown", other.escape_debug()),
        };
        if config.bool_or("ragged", false)? {
            refuse!("its result is ragged (`ragged` is true), which is not supported");
        }
        let n_grams = match config.get("ngrams") {
            None => None,
            Some(Value::Array(items)) => {
                Some(items.iter().map(|item| int("ngrams", item)).collect::<Result<Vec<_>>>()?)
            }
            Some(value) => Some((1..=int("ngrams", value)?.min(1000)).collect()),
        };
        if n_grams.as_ref().is_some_and(|widths| widths.is_empty() || widths.iter().any(|width| *width < 1)) {
            refuse!("`ngrams` has a width below 1");
        }
        let gives_words = config.is_keras2() && config.has("output_mode") && config.get("output_mode").is_none();
        let length = config.get("output_sequence_length");
        Ok(Self {
            lower,
            strip_punctuation,
            split,
            n_grams,
            length: length.map(|value| crate::config::size("output_sequence_length", value)).transpose()?,
            gives_words,
            lookup: Lookup::of_text(config)?,
        })
    }

    fn words(&self, cx: &Context<'_>, x: &TensorRef) -> Result<Words> {
        let g = cx.g;
        if x.dtype != DType::String {
            refuse!("its input is {}, and should be texts", x.dtype);
        }
        let mut x = x.clone();
        if self.lower {
            x = g.string_lower(&x)?;
        }
        if self.strip_punctuation {
            x = g.regex_replace(&x, PUNCTUATION, "")?;
        }
        let Some(split) = self.split else {
            return match &self.n_grams {
                Some(_) => refuse!("`ngrams` of texts that are not split are not supported"),
                None => Ok(Words::Whole(x)),
            };
        };
        if x.rank() > 1 {
            if x.dim(-1)? != Some(1) {
                refuse!("its input has shape {}, and the last size must be 1 to be split", x.shape);
            }
            x = g.squeeze(&x, &[-1])?;
        }
        if x.rank() != 1 {
            refuse!("its input has rank {}, and texts of rank 1 are split", x.rank());
        }
        let rows = match split {
            Split::Words => g.split_words(&x)?,
            Split::Characters => g.split_characters(&x)?,
        };
        Ok(Words::Rows(match &self.n_grams {
            Some(widths) => g.n_grams(&rows, widths)?,
            None => rows,
        }))
    }

    /// Cuts or fills the last dimension.
    fn with_length(&self, cx: &Context<'_>, x: &TensorRef) -> Result<TensorRef> {
        let Some(length) = self.length else { return Ok(x.clone()) };
        let g = cx.g;
        let Some(last) = x.rank().checked_sub(1) else { refuse!("a scalar has no length") };
        let end = i64::try_from(length).unwrap_or(i64::MAX);
        let mut slices = vec![Slice::ALL; last];
        slices.push(Slice::range(None, end));
        let cut = if x.dims()[last] == Some(length) { x.clone() } else { g.strided_slice(x, &slices)? };
        let Some(size) = cut.dims()[last] else {
            refuse!("the last size of its input is unknown, and must be known to be filled up")
        };
        let mut paddings = vec![(0, 0); x.rank()];
        paddings[last] = (0, length - size.min(length));
        if size == length { Ok(cut) } else { g.pad(&cut, &paddings, None) }
    }
}

impl Layer for TextVectorization {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let words = self.words(cx, &x)?;
        if self.gives_words {
            return match words {
                Words::Whole(texts) => Ok(texts.into()),
                Words::Rows(_) => refuse!("its result is ragged (`output_mode` is null), which is not supported"),
            };
        }
        // Its variables and its vocabulary are in a folder of this name, or directly in its own.
        let outer = cx;
        let cx = &cx.child(&["_lookup_layer"], "string_lookup");
        let y = match (words, self.lookup.mode) {
            (Words::Rows(rows), OutputMode::Int) => cx.g.dense_rows(&self.lookup.find_rows(cx, &rows)?, self.length)?,
            (Words::Rows(rows), _) => self.lookup.encode_rows(cx, &rows)?,
            (Words::Whole(texts), OutputMode::Int) => self.with_length(cx, &self.lookup.apply(cx, &texts)?)?,
            (Words::Whole(texts), _) => self.lookup.apply(cx, &texts)?,
        };
        outer.repeats_variables_of(cx);
        Ok(y.into())
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}

/// The name in a key, which may be null. A function is refused.
fn named<'a>(config: &Config<'a>, key: &str, default: &'a str) -> Result<Option<&'a str>> {
    match config.get(key) {
        None if config.has(key) => Ok(None),
        None => Ok(Some(default)),
        Some(Value::String(name)) => Ok(Some(name)),
        Some(value) => refuse!(
            "`{key}` is the function {}, which cannot be converted: do this before the model",
            shown(
                value
                    .get("registered_name")
                    .filter(|it| !it.is_null())
                    .or_else(|| value.get("config"))
                    .unwrap_or(value)
            )
        ),
    }
}
