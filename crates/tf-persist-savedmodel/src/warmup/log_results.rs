//! The results of classifications and regressions in a line of a request log.

use jiter::{Jiter, JiterError, Peek};

/// Where labels and numbers go as they are read.
pub trait ResultsSink {
    /// A label of a class, whose score is the next number.
    fn label(&mut self, label: &[u8]);

    /// A score or a value, and the text that it is written as; "" for `null`, which old logs have for numbers that are
    /// not finite.
    fn number(&mut self, number: f64, text: &[u8]);
}

/// What results are, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggedResults {
    /// `[[["label", score], …], …]`: as many classes for each example.
    Classes {
        /// The number of examples.
        examples: usize,
        /// The number of classes of each.
        classes: usize,
    },
    /// `[value, …]`: as many values. An empty list is this.
    Values(usize),
}

/// Reads results as a server writes them.
///
/// # Errors
/// The end of a sentence that begins with `results`.
pub fn read_results(json: &mut Jiter<'_>, sink: &mut impl ResultsSink) -> Result<LoggedResults, String> {
    let bad = |_: JiterError| "is not as a server writes it".to_owned();
    let (mut values, mut examples, mut width) = (0, 0, None);
    let mut next = json.next_array().map_err(bad)?;
    while let Some(peek) = next {
        if peek == Peek::Array {
            let count = read_classes(json, sink)?;
            if *width.get_or_insert(count) != count {
                return Err("has not as many classes for each example".to_owned());
            }
            examples += 1;
        } else {
            number(json, peek, sink).map_err(bad)?;
            values += 1;
        }
        next = json.array_step().map_err(bad)?;
    }
    match width {
        None => Ok(LoggedResults::Values(values)),
        Some(_) if values > 0 => Err("has classes and numbers".to_owned()),
        Some(classes) => Ok(LoggedResults::Classes { examples, classes }),
    }
}

/// The classes of an example. Returns how many there are.
fn read_classes(json: &mut Jiter<'_>, sink: &mut impl ResultsSink) -> Result<usize, String> {
    let bad = |_: JiterError| "is not as a server writes it".to_owned();
    let mut count = 0;
    let mut class = json.known_array().map_err(bad)?;
    while class.is_some() {
        json.next_array().map_err(bad)?;
        sink.label(json.next_str().map_err(bad)?.as_bytes());
        json.array_step().map_err(bad)?;
        let peek = json.peek().map_err(bad)?;
        number(json, peek, sink).map_err(bad)?;
        if json.array_step().map_err(bad)?.is_some() {
            return Err("has a class with more than a label and a score".to_owned());
        }
        count += 1;
        class = json.array_step().map_err(bad)?;
    }
    Ok(count)
}

fn number(json: &mut Jiter<'_>, peek: Peek, sink: &mut impl ResultsSink) -> Result<(), JiterError> {
    if peek == Peek::Null {
        json.known_null()?;
        sink.number(f64::NAN, b"");
        return Ok(());
    }
    let start = json.current_index();
    let number = json.known_number(peek)?;
    sink.number(number.into(), json.slice_to_current(start));
    Ok(())
}
