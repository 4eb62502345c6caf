//! `StringLookup` and `IntegerLookup`.

use serde_json::Value;
use tf_persist_savedmodel::{DType, Tensor};

use super::encoding::{OutputMode, encode, encode_rows};
use super::vocabulary::{self, Token, Tokens};
use crate::config::{Config, shown};
use crate::graph::{Ragged, Resource, Table, TensorRef};
use crate::layers::{Argument, Arguments, Context, Layer};
use crate::reason::{Result, refuse};

/// Tokens to indices, or back.
#[derive(Debug)]
pub(super) struct Lookup {
    integers: bool,
    /// None if the vocabulary was learned from data.
    tokens: Option<Tokens>,
    mask: Option<Token>,
    unknown: Option<Token>,
    unknowns: u64,
    invert: bool,
    pub(super) mode: OutputMode,
    max_tokens: Option<u64>,
    pad_to_max_tokens: bool,
    /// The size of the vocabulary with special tokens, if the config tells.
    size: Option<u64>,
    idf_weights: Option<Vec<f64>>,
    /// The key for hashes of unknown tokens.
    salt: Option<[i64; 2]>,
    /// Whether unknown integers are hashed, and not divided.
    hashes_integers: bool,
}

/// What a call of the layer uses.
struct Prepared {
    table: Resource,
    /// The number of tokens, special ones included.
    size: u64,
    /// Whether the vocabulary had the special tokens.
    had_special: bool,
}

impl Lookup {
    pub(super) fn strings(config: &Config<'_>) -> Result<Self> {
        let mask = Token::of(config, "mask_token", false)?;
        let unknown = if config.has("oov_token") { Token::of(config, "oov_token", false)? } else { unknown_text() };
        Self::new(config, false, mask, unknown)
    }

    pub(super) fn integers(config: &Config<'_>) -> Result<Self> {
        // Names of before TensorFlow 2.4.
        let key = |new: &'static str, old: &'static str| if config.has(old) { old } else { new };
        let mask = Token::of(config, key("mask_token", "mask_value"), true)?;
        let key = key("oov_token", "oov_value");
        let unknown = if config.has(key) { Token::of(config, key, true)? } else { Some(Token::Integer(-1)) };
        if let Some(dtype) = config.get("vocabulary_dtype").filter(|dtype| *dtype != "int64") {
            refuse!("`vocabulary_dtype` is {}, and only `int64` is supported", shown(dtype));
        }
        Self::new(config, true, mask, unknown)
    }

    /// The lookup in a `TextVectorization`.
    pub(super) fn of_text(config: &Config<'_>) -> Result<Self> {
        let lookup = Self::new(config, false, Some(Token::String(String::new())), unknown_text())?;
        Ok(Self { invert: false, unknowns: 1, ..lookup })
    }

    fn new(config: &Config<'_>, integers: bool, mask: Option<Token>, unknown: Option<Token>) -> Result<Self> {
        config.without_effect(&["encoding", "has_input_vocabulary", "has_static_table"]);
        let idf_weights = if config.get("idf_weights").is_some() { Some(config.floats("idf_weights")?) } else { None };
        let salt = match config.get("salt") {
            None => None,
            Some(value) => Some(salt(value)?),
        };
        let method = config.str_or("oov_method", "floormod")?;
        if !["floormod", "farmhash"].contains(&method) {
            refuse!("`oov_method` is `{}`, which is unknown", method.escape_debug());
        }
        let size = |key: &str| config.get(key).map(|value| crate::config::size(key, value)).transpose();
        let max_tokens = match size("max_tokens")? {
            None => size("max_values")?,
            max_tokens => max_tokens,
        };
        let modes = [OutputMode::Int, OutputMode::OneHot, OutputMode::MultiHot, OutputMode::Count, OutputMode::TfIdf];
        let lookup = Self {
            integers,
            tokens: vocabulary::of_config(config, integers)?,
            mask,
            unknown,
            unknowns: config.size_or("num_oov_indices", 1)?,
            invert: config.bool_or("invert", false)?,
            mode: OutputMode::of(config, "int", &modes)?,
            max_tokens,
            pad_to_max_tokens: config.bool_or("pad_to_max_tokens", false)?,
            size: size("vocabulary_size")?,
            idf_weights,
            salt,
            hashes_integers: method == "farmhash",
        };
        if lookup.invert && lookup.mode != OutputMode::Int {
            refuse!("`invert` is true, and `output_mode` is not `int`");
        }
        Ok(lookup)
    }

    /// The number of special tokens before those of unknown tokens.
    fn masks(&self) -> u64 {
        u64::from(self.mask.is_some() && self.mode == OutputMode::Int)
    }

    /// The dtype of the tokens.
    fn token_dtype(&self) -> DType {
        if self.integers { DType::Int64 } else { DType::String }
    }

    /// The dtype of the indices: int64, or what a layer of Keras 2 has.
    fn index_dtype(&self, cx: &Context<'_>) -> Result<DType> {
        match cx.policy.compute {
            DType::Int32 if cx.is_keras2() && self.mode == OutputMode::Int => Ok(DType::Int32),
            _ => Ok(DType::Int64),
        }
    }

    /// The table of the layer, made once.
    fn prepared(&self, cx: &Context<'_>) -> Result<Prepared> {
        let tokens = match &self.tokens {
            Some(tokens) => tokens.clone(),
            None => vocabulary::of_archive(cx, self.integers)?,
        };
        let (masks, unknowns) = (self.masks(), self.unknowns);
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        if masks.saturating_add(unknowns) > 1 << 30 {
            refuse!("`num_oov_indices` is {unknowns}, which is too large");
        }
        let (tokens, had_special) = vocabulary::without_special(
            tokens,
            self.mask.as_ref(),
            count(masks),
            self.unknown.as_ref(),
            count(unknowns),
        )?;
        let first = masks + unknowns;
        let size = first + tokens.len() as u64;
        if let Some(known) = self.size.filter(|known| *known != size) {
            refuse!("its vocabulary has {size} tokens, and `vocabulary_size` is {known}");
        }
        if let Some(most) = self.max_tokens.filter(|most| *most < size) {
            refuse!("its vocabulary has {size} tokens, and `max_tokens` is {most}");
        }
        let dtype = self.index_dtype(cx)?;
        let table = cx.table(|name| {
            let indices = indices(first, size, dtype)?;
            let tokens = tokens.tensor()?;
            let (keys, values) = if self.invert { (indices, tokens) } else { (tokens, indices) };
            Ok(Table { name, keys, values, asset: None })
        })?;
        Ok(Prepared { table, size, had_special })
    }

    /// What a missing key gives.
    fn default(&self, cx: &Context<'_>) -> Result<TensorRef> {
        if self.invert {
            let Some(unknown) = &self.unknown else { refuse!("`invert` is true, and `oov_token` is null") };
            return cx.g.constant(unknown.scalar()?);
        }
        let value = if self.unknowns == 1 { self.masks() as f64 } else { -1.0 };
        cx.g.scalar(value, self.index_dtype(cx)?)
    }

    fn find(&self, cx: &Context<'_>, table: Resource, x: &TensorRef) -> Result<TensorRef> {
        let g = cx.g;
        let index = self.index_dtype(cx)?;
        let default = self.default(cx)?;
        let mut found = g.table_find(table, x, &default)?;
        if let Some(mask) = &self.mask {
            let (key, value) = match (self.invert, self.mode) {
                (true, _) => (g.scalar(0.0, index)?, g.constant(mask.scalar()?)?),
                (false, OutputMode::Int) => (g.constant(mask.scalar()?)?, g.scalar(0.0, index)?),
                // Beyond all indices, so that it is not counted.
                (false, _) => (g.constant(mask.scalar()?)?, g.constant(Tensor::scalar(i64::MAX)?)?),
            };
            found = g.select(&g.equal(x, &key)?, &value, &found)?;
        }
        if self.invert {
            return Ok(found);
        }
        match self.unknowns {
            0 => {
                let missing = g.indices_of_true(&g.equal(&found, &g.scalar(-1.0, index)?)?)?;
                let tokens = g.gather_nd(x, &missing)?;
                let template = "When `num_oov_indices=0` all inputs should be in vocabulary, found OOV values {}, \
                                consider setting `num_oov_indices=1`.";
                let message = g.format_text(template, &tokens)?;
                let none = g.equal(&g.dim_of(&missing, 0)?, &g.scalar_i32(0)?)?;
                g.asserted(&none, &message, &found)
            }
            1 => Ok(found),
            unknowns => {
                let unknowns = i64::try_from(unknowns).unwrap_or(i64::MAX);
                let hashed = if self.integers && !self.hashes_integers {
                    g.floor_mod(x, &g.scalar(unknowns as f64, x.dtype)?)?
                } else {
                    let texts = if self.integers { g.as_string(x)? } else { x.clone() };
                    g.hash_bucket(&texts, unknowns, self.salt)?
                };
                let hashed = g.cast(&hashed, index)?;
                let hashed = g.add_v2(&hashed, &g.scalar(self.masks() as f64, index)?)?;
                g.select(&g.equal(&found, &g.scalar(-1.0, index)?)?, &hashed, &found)
            }
        }
    }

    /// The depth of the encoding.
    fn depth(&self, size: u64) -> Result<u64> {
        match (self.pad_to_max_tokens, self.max_tokens) {
            (true, Some(most)) => Ok(most),
            (true, None) => refuse!("`pad_to_max_tokens` is true, and `max_tokens` is missing"),
            (false, _) => Ok(size),
        }
    }

    /// The dtype of encoded indices.
    fn encoded_dtype(&self, cx: &Context<'_>) -> DType {
        match cx.policy.compute {
            compute if cx.is_keras2() && compute.is_floating() => compute,
            _ if cx.is_keras2() => DType::Float32,
            _ => DType::Int64,
        }
    }

    /// Multiplies counts by the inverse document frequencies.
    fn weighted(&self, cx: &Context<'_>, counts: &TensorRef, prepared: &Prepared, depth: u64) -> Result<TensorRef> {
        if self.mode != OutputMode::TfIdf {
            return Ok(counts.clone());
        }
        let g = cx.g;
        // Weights in the file are those of the config, unless somebody assigned others. Keras 2 does not name them in
        // `.h5` files.
        let in_file =
            cx.early_value("idf_weights")?.is_some() || (cx.is_keras2() && cx.early_value("Variable")?.is_some());
        let weights = match &self.idf_weights {
            Some(weights) if !in_file => {
                let first = if prepared.had_special { 0 } else { self.masks() + self.unknowns };
                g.constant(padded(weights, first, depth)?)?
            }
            _ => cx.state("idf_weights", &[depth], DType::Float32)?,
        };
        g.mul(&g.cast(counts, weights.dtype)?, &weights)
    }

    /// The indices of tokens, or what they are encoded as.
    pub(super) fn apply(&self, cx: &Context<'_>, x: &TensorRef) -> Result<TensorRef> {
        let g = cx.g;
        let prepared = self.prepared(cx)?;
        let key_dtype = if self.invert { self.index_dtype(cx)? } else { self.token_dtype() };
        if (x.dtype == DType::String) != (key_dtype == DType::String) {
            refuse!("its input is {}, and should be {key_dtype}", x.dtype);
        }
        let found = self.find(cx, prepared.table, &g.cast(x, key_dtype)?)?;
        if self.mode == OutputMode::Int {
            return Ok(found);
        }
        let depth = self.depth(prepared.size)?;
        let mode = if self.mode == OutputMode::TfIdf { OutputMode::Count } else { self.mode };
        let counts = encode(cx, &found, mode, depth, self.encoded_dtype(cx), None)?;
        self.weighted(cx, &counts, &prepared, depth)
    }

    /// The indices of the tokens of each row.
    pub(super) fn find_rows(&self, cx: &Context<'_>, x: &Ragged) -> Result<Ragged> {
        let prepared = self.prepared(cx)?;
        Ok(x.with_values(self.find(cx, prepared.table, &x.values)?))
    }

    /// What the tokens of each row are encoded as.
    pub(super) fn encode_rows(&self, cx: &Context<'_>, x: &Ragged) -> Result<TensorRef> {
        let prepared = self.prepared(cx)?;
        let found = x.with_values(self.find(cx, prepared.table, &x.values)?);
        let depth = self.depth(prepared.size)?;
        let counts = encode_rows(cx, &found, self.mode, depth, self.encoded_dtype(cx))?;
        self.weighted(cx, &counts, &prepared, depth)
    }
}

impl Layer for Lookup {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        Ok(self.apply(cx, &x)?.into())
    }

    fn casts_inputs(&self) -> bool {
        false
    }
}

fn unknown_text() -> Option<Token> {
    Some(Token::String("[UNK]".to_owned()))
}

/// The key of strong hashes: two integers, or one for both.
pub(super) fn salt(value: &Value) -> Result<[i64; 2]> {
    let int = |value: &Value| crate::config::int("salt", value);
    match value {
        Value::Array(items) => match items.as_slice() {
            [first, second] => Ok([int(first)?, int(second)?]),
            _ => refuse!("`salt` has {} integers, and should have 2", items.len()),
        },
        value => Ok([int(value)?; 2]),
    }
}

/// The integers from `first` to `end`.
fn indices(first: u64, end: u64, dtype: DType) -> Result<Tensor> {
    let count = usize::try_from(end - first).unwrap_or(usize::MAX);
    let range = first as i64..end as i64;
    Ok(match dtype {
        DType::Int32 => {
            let narrow = |index: i64| i32::try_from(index).map_err(|_| "its vocabulary is too large for int32");
            Tensor::from_slice(&[count], &range.map(narrow).collect::<std::result::Result<Vec<_>, _>>()?)?
        }
        _ => Tensor::from_slice(&[count], &range.collect::<Vec<_>>())?,
    })
}

/// Weights with their mean for special tokens before them, and zeros behind them.
fn padded(weights: &[f64], first: u64, depth: u64) -> Result<Tensor> {
    let (first, depth) = (usize::try_from(first).unwrap_or(usize::MAX), usize::try_from(depth).unwrap_or(usize::MAX));
    let length = first.saturating_add(weights.len());
    if weights.is_empty() || length > depth || depth > 1 << 30 {
        refuse!("`idf_weights` has {} numbers, which do not fit a vocabulary of {depth} tokens", weights.len());
    }
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    let mut all = vec![mean as f32; first];
    all.extend(weights.iter().map(|weight| *weight as f32));
    all.resize(depth, 0.0);
    Ok(Tensor::from_slice(&[depth], &all)?)
}
