//! The steps of a recipe: `y = gelu(matmul(x, kernel) + bias)`.

use serde_json::Value;

use crate::reason::{Result, refuse};

/// The nesting of an expression.
const MAX_DEPTH: usize = 100;

/// An expression of a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    /// A number, text, true, false or none.
    Plain(Value),
    /// An argument, a weight or the result of an earlier step.
    Name(String),
    /// `config.units`, by the keys behind `config`.
    Config(Vec<String>),
    /// `x.shape[-1]`.
    Size(String, i64),
    List(Vec<Self>),
    /// An operation or a layer, with its arguments by position and by name.
    Call {
        name: String,
        positional: Vec<Self>,
        keyword: Vec<(String, Self)>,
    },
}

/// A step: names for the results of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) names: Vec<String>,
    pub(crate) expression: Expression,
}

/// Reads a step.
pub(crate) fn step(text: &str) -> Result<Step> {
    let shown: String = text.chars().take(60).collect();
    let in_step =
        |reason: crate::reason::Reason| format!("the step `{}` cannot be read: {reason}", shown.escape_debug());
    let mut reader = Reader { rest: text, depth: 0 };
    let step = reader.step().map_err(in_step)?;
    if !reader.peek().is_empty() {
        return Err(in_step(format!("`{}` is unexpected", reader.peek()).into()).into());
    }
    Ok(step)
}

/// Reads an expression.
pub(crate) fn expression(text: &str) -> Result<Expression> {
    let mut reader = Reader { rest: text, depth: 0 };
    let expression = reader.sum()?;
    if !reader.peek().is_empty() {
        refuse!("`{}` is unexpected in `{}`", reader.peek(), text.escape_debug());
    }
    Ok(expression)
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// The next word, number, text or sign; empty at the end.
    fn peek(&self) -> &'a str {
        let rest = self.rest.trim_start();
        let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
        let Some(first) = rest.chars().next() else { return "" };
        let length = if first == '"' {
            rest[1..].find('"').map_or(rest.len(), |end| end + 2)
        } else if first.is_ascii_digit() {
            number_length(rest)
        } else if is_word(first) {
            rest.find(|it: char| !is_word(it)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        &rest[..length]
    }

    fn next(&mut self) -> &'a str {
        let token = self.peek();
        self.rest = &self.rest.trim_start()[token.len()..];
        token
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.peek() == sign;
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        if !self.take(sign) {
            refuse!("`{sign}` is missing before `{}`", self.peek());
        }
        Ok(())
    }

    fn name(&mut self) -> Result<String> {
        let token = self.next();
        if !token.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_') {
            refuse!("`{token}` is not a name");
        }
        Ok(token.to_owned())
    }

    fn step(&mut self) -> Result<Step> {
        let mut names = vec![self.name()?];
        while self.take(",") {
            names.push(self.name()?);
        }
        self.expect("=")?;
        Ok(Step { names, expression: self.sum()? })
    }

    fn sum(&mut self) -> Result<Expression> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            refuse!("it is nested more than {MAX_DEPTH} deep");
        }
        let mut left = self.product()?;
        loop {
            let operation = match self.peek() {
                "+" => "add",
                "-" => "subtract",
                _ => break,
            };
            self.next();
            left = call(operation, vec![left, self.product()?]);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn product(&mut self) -> Result<Expression> {
        let mut left = self.factor()?;
        loop {
            let operation = match self.peek() {
                "*" => "multiply",
                "/" => "true_divide",
                _ => return Ok(left),
            };
            self.next();
            left = call(operation, vec![left, self.factor()?]);
        }
    }

    fn factor(&mut self) -> Result<Expression> {
        let token = self.peek();
        match token {
            "-" => {
                self.next();
                Ok(match self.primary()? {
                    Expression::Plain(Value::Number(number)) => Expression::Plain(negative(&number)),
                    other => call("negative", vec![other]),
                })
            }
            _ => self.primary(),
        }
    }

    fn primary(&mut self) -> Result<Expression> {
        let token = self.next();
        match token {
            "(" => {
                let inner = self.sum()?;
                self.expect(")")?;
                Ok(inner)
            }
            "[" => Ok(Expression::List(self.list("]")?)),
            "true" => Ok(Expression::Plain(Value::Bool(true))),
            "false" => Ok(Expression::Plain(Value::Bool(false))),
            "none" => Ok(Expression::Plain(Value::Null)),
            _ if token.starts_with('"') && token.len() >= 2 && token.ends_with('"') => {
                Ok(Expression::Plain(Value::String(token[1..token.len() - 1].to_owned())))
            }
            _ if token.starts_with(|it: char| it.is_ascii_digit()) => number(token),
            "config" if self.peek() == "." => {
                let mut keys = Vec::new();
                while self.take(".") {
                    keys.push(self.name()?);
                }
                Ok(Expression::Config(keys))
            }
            _ if token.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_') => self.named(token),
            "" => refuse!("it ends too early"),
            _ => refuse!("`{token}` is unexpected"),
        }
    }

    /// What begins with a name: a call, a size, or the name alone.
    fn named(&mut self, name: &str) -> Result<Expression> {
        if self.take("(") {
            let (mut positional, mut keyword) = (Vec::new(), Vec::new());
            while !self.take(")") {
                let before = self.rest;
                let word = self.next();
                if self.peek() == "=" && !word.is_empty() {
                    self.next();
                    keyword.push((word.to_owned(), self.sum()?));
                } else {
                    self.rest = before;
                    positional.push(self.sum()?);
                }
                if self.peek() != ")" {
                    self.expect(",")?;
                }
            }
            return Ok(Expression::Call { name: name.to_owned(), positional, keyword });
        }
        if !self.take(".") {
            return Ok(Expression::Name(name.to_owned()));
        }
        self.expect("shape")?;
        self.expect("[")?;
        let is_negative = self.take("-");
        let index = self.next();
        self.expect("]")?;
        match index.parse::<i64>() {
            Ok(index) => Ok(Expression::Size(name.to_owned(), if is_negative { -index } else { index })),
            Err(_) => refuse!("`{index}` is not an axis"),
        }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expression>> {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(self.sum()?);
            if self.peek() != end {
                self.expect(",")?;
            }
        }
        Ok(items)
    }
}

fn call(name: &str, positional: Vec<Expression>) -> Expression {
    Expression::Call { name: name.to_owned(), positional, keyword: Vec::new() }
}

/// The length of a number at the beginning of a text.
fn number_length(text: &str) -> usize {
    let mut length = 0;
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(length) {
        let after_exponent = length > 0 && matches!(bytes[length - 1], b'e' | b'E');
        match byte {
            b'0'..=b'9' | b'.' | b'e' | b'E' => length += 1,
            b'+' | b'-' if after_exponent => length += 1,
            _ => break,
        }
    }
    length
}

fn number(token: &str) -> Result<Expression> {
    match serde_json::from_str::<Value>(token) {
        Ok(value @ Value::Number(_)) => Ok(Expression::Plain(value)),
        _ => refuse!("`{token}` is not a number"),
    }
}

fn negative(number: &serde_json::Number) -> Value {
    match number.as_i64() {
        Some(number) => Value::from(-number),
        None => Value::from(-number.as_f64().unwrap_or(f64::NAN)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_steps() {
        let step = step("y, z = gelu(matmul(x, kernel) * 2.5e-1 - bias, approximate=true)").unwrap();
        assert_eq!(step.names, ["y", "z"]);
        let Expression::Call { name, positional, keyword } = step.expression else { panic!() };
        assert_eq!((name.as_str(), positional.len()), ("gelu", 1));
        assert_eq!(keyword, [("approximate".to_owned(), Expression::Plain(Value::Bool(true)))]);
        let Expression::Call { name, positional, .. } = &positional[0] else { panic!() };
        assert_eq!((name.as_str(), &positional[1]), ("subtract", &Expression::Name("bias".into())));
    }

    #[test]
    fn reads_values() {
        assert_eq!(expression("x.shape[-1]").unwrap(), Expression::Size("x".into(), -1));
        assert_eq!(expression("config.a.b").unwrap(), Expression::Config(vec!["a".into(), "b".into()]));
        assert_eq!(expression("-3").unwrap(), Expression::Plain(Value::from(-3)));
        let list = expression("[1, \"a b\", none]").unwrap();
        let plain = [Value::from(1), Value::from("a b"), Value::Null].map(Expression::Plain);
        assert_eq!(list, Expression::List(plain.to_vec()));
    }

    #[test]
    fn refuses_what_is_no_step() {
        for text in
            ["", "y", "y = ", "y = f(", "y = f(x", "y = 1 2", "= x", "y = x.size", "y = \"open", "y = 1..2", "y = é"]
        {
            assert!(step(text).is_err(), "{text}");
        }
        let deep = format!("y = {}x", "(".repeat(10_000));
        assert!(step(&deep).unwrap_err().to_string().contains("nested"));
    }
}
