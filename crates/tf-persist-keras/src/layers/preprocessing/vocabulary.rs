//! The vocabulary of a lookup layer: in its config, or in a text file of the archive.

use std::collections::HashSet;

use serde_json::Value;
use tf_persist_savedmodel::Tensor;

use crate::config::{Config, int, shown};
use crate::layers::Context;
use crate::reason::{Result, refuse};

/// The most tokens of a vocabulary.
const MAX_TOKENS: usize = 1 << 28;

/// Tokens in the order of their indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tokens {
    Strings(Vec<String>),
    Integers(Vec<i64>),
}

impl Tokens {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Strings(tokens) => tokens.len(),
            Self::Integers(tokens) => tokens.len(),
        }
    }

    pub(super) fn tensor(&self) -> Result<Tensor> {
        Ok(match self {
            Self::Strings(tokens) => Tensor::from_strings(&[tokens.len()], tokens)?,
            Self::Integers(tokens) => Tensor::from_slice(&[tokens.len()], tokens)?,
        })
    }

    /// The same without the first tokens.
    fn without_first(self, count: usize) -> Self {
        match self {
            Self::Strings(tokens) => Self::Strings(tokens.into_iter().skip(count).collect()),
            Self::Integers(tokens) => Self::Integers(tokens.into_iter().skip(count).collect()),
        }
    }

    fn token(&self, index: usize) -> Option<Token> {
        match self {
            Self::Strings(tokens) => tokens.get(index).cloned().map(Token::String),
            Self::Integers(tokens) => tokens.get(index).copied().map(Token::Integer),
        }
    }

    /// A token that occurs twice.
    fn repeated(&self) -> Option<String> {
        fn first<T: std::hash::Hash + Eq + std::fmt::Display>(tokens: &[T]) -> Option<String> {
            let mut seen = HashSet::with_capacity(tokens.len());
            tokens.iter().find(|token| !seen.insert(*token)).map(ToString::to_string)
        }
        match self {
            Self::Strings(tokens) => first(tokens),
            Self::Integers(tokens) => first(tokens),
        }
    }
}

/// One token, such as that of the mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    String(String),
    Integer(i64),
}

impl Token {
    /// The token in a key of a config; None if it is null.
    pub(super) fn of(config: &Config<'_>, key: &str, integers: bool) -> Result<Option<Self>> {
        match config.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !integers => Ok(Some(Self::String(text.clone()))),
            Some(value) if integers => Ok(Some(Self::Integer(int(key, value)?))),
            Some(value) => refuse!("`{key}` is {}, and should be a text", shown(value)),
        }
    }

    pub(super) fn scalar(&self) -> Result<Tensor> {
        Ok(match self {
            Self::String(text) => Tensor::from_strings(&[], [text])?,
            Self::Integer(value) => Tensor::scalar(*value)?,
        })
    }
}

/// The tokens in the config; None if the vocabulary was learned from data.
pub(super) fn of_config(config: &Config<'_>, integers: bool) -> Result<Option<Tokens>> {
    match config.get("vocabulary") {
        None => Ok(None),
        Some(Value::Array(items)) if integers => {
            Ok(Some(Tokens::Integers(items.iter().map(|item| int("vocabulary", item)).collect::<Result<_>>()?)))
        }
        Some(Value::Array(items)) => {
            let token = |item: &Value| match item {
                Value::String(token) => Ok(token.clone()),
                item => refuse!("`vocabulary` has the token {}, which is not a text", shown(item)),
            };
            Ok(Some(Tokens::Strings(items.iter().map(token).collect::<Result<_>>()?)))
        }
        Some(Value::String(_)) => refuse!(
            "its vocabulary is in a file that is not part of the model: \
             save the model with the list of tokens in place of the file"
        ),
        Some(value) => refuse!("`vocabulary` is {}, and should be a list", shown(value)),
    }
}

/// The tokens that the layer learned, from the text file that a `.keras` file has of them.
pub(super) fn of_archive(cx: &Context<'_>, integers: bool) -> Result<Tokens> {
    let Some((path, bytes)) = cx.vocabulary_file() else {
        refuse!(
            "its vocabulary was learned by `adapt`, and an `.h5` file does not keep it: save the model as `.keras`, \
             or give the layer its vocabulary (`vocabulary=layer.get_vocabulary()`) before saving"
        )
    };
    let path = tf_persist_savedmodel::printable(path).to_string();
    let Ok(text) = std::str::from_utf8(bytes) else { refuse!("its vocabulary `{path}` is not a text in UTF-8") };
    let mut lines: Vec<&str> = text.split('\n').collect();
    // Windows ends lines by two characters.
    if lines.len() > 1 && lines[..lines.len() - 1].iter().all(|line| line.ends_with('\r')) {
        lines = lines.into_iter().map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    }
    while lines.last() == Some(&"") {
        lines.pop();
    }
    if lines.len() > MAX_TOKENS {
        refuse!("its vocabulary `{path}` has {} tokens, which are too many", lines.len());
    }
    if !integers {
        return Ok(Tokens::Strings(lines.into_iter().map(str::to_owned).collect()));
    }
    let token = |line: &&str| match line.trim().parse::<i64>() {
        Ok(token) => Ok(token),
        Err(_) => refuse!("its vocabulary `{path}` has the line `{}`, which is no integer", line.escape_debug()),
    };
    Ok(Tokens::Integers(lines.iter().map(token).collect::<Result<_>>()?))
}

/// The tokens behind the special ones: `masks` times that of the mask, then `unknowns` times that of unknown tokens.
/// The list may have them or not. Also gives whether it had them.
pub(super) fn without_special(
    tokens: Tokens,
    mask: Option<&Token>,
    masks: usize,
    unknown: Option<&Token>,
    unknowns: usize,
) -> Result<(Tokens, bool)> {
    let special = masks + unknowns;
    let wanted = |index: usize| if index < masks { mask } else { unknown };
    let found = special <= tokens.len()
        && (0..special).all(|index| wanted(index).is_some() && tokens.token(index).as_ref() == wanted(index));
    let tokens = if found { tokens.without_first(special) } else { tokens };
    if let Some(token) = tokens.repeated() {
        refuse!("its vocabulary has the token `{}` twice", token.escape_debug());
    }
    if tokens.len() == 0 {
        refuse!("its vocabulary is empty: the layer was saved before `adapt`");
    }
    Ok((tokens, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(tokens: &[&str]) -> Tokens {
        Tokens::Strings(tokens.iter().map(|token| (*token).to_owned()).collect())
    }

    #[test]
    fn special_tokens_are_taken_away_if_all_are_there() {
        let (mask, unknown) = (Token::String(String::new()), Token::String("[UNK]".into()));
        let split = |tokens: &[&str], unknowns| {
            without_special(strings(tokens), Some(&mask), 1, Some(&unknown), unknowns).map_err(|it| it.to_string())
        };
        assert_eq!(split(&["", "[UNK]", "a"], 1), Ok((strings(&["a"]), true)));
        assert_eq!(split(&["a", "b"], 1), Ok((strings(&["a", "b"]), false)));
        assert_eq!(split(&["", "[UNK]", "a"], 2), Ok((strings(&["", "[UNK]", "a"]), false)));
        assert_eq!(split(&["a", "b", "a"], 1), Err("its vocabulary has the token `a` twice".to_owned()));
        assert!(split(&["", "[UNK]"], 1).unwrap_err().contains("empty"));
    }
}
