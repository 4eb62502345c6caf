//! The parameters of a request and of its tensors.

use std::time::{Duration, Instant};

use tf_persist_core::Code;

use super::no_shared_memory;
use crate::status::Status;

/// The value of a parameter: of JSON, or an `InferParameter`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Parameter<'a> {
    Bool(bool),
    /// A number without a fraction. Its sign and size are those of the text or of the field.
    Integer(i128),
    Text(&'a str),
    /// A fraction, a list, an object, null, or a field without a value.
    Other,
}

/// What the parameters of a request ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// The signature to run; `None` for the default one.
    pub(crate) signature: Option<String>,
    /// How long the client waits.
    pub(crate) timeout: Option<Duration>,
    /// Whether outputs are sent in binary unless they say otherwise. For REST alone.
    pub(crate) binary_outputs: bool,
}

impl Parameters {
    /// Notes a parameter of the request. Unknown ones are left aside, as in Triton, where they are for the model.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if a known one has a value of another kind; `UNIMPLEMENTED` for a sequence, whose state no
    /// model here keeps.
    pub(crate) fn set(&mut self, name: &str, value: Parameter<'_>) -> Result<(), Status> {
        match (name, value) {
            ("signature_name", Parameter::Text(text)) => {
                self.signature = Some(text.to_owned()).filter(|it| !it.is_empty())
            }
            ("signature_name", _) => return Err(wrong(name, "a string")),
            ("binary_data_output", Parameter::Bool(value)) => self.binary_outputs = value,
            ("binary_data_output", _) => return Err(wrong(name, "true or false")),
            ("timeout", Parameter::Integer(micros)) => {
                let micros = u64::try_from(micros).map_err(|_| wrong(name, "a number of microseconds"))?;
                self.timeout = (micros > 0).then(|| Duration::from_micros(micros));
            }
            ("timeout", _) => return Err(wrong(name, "a number of microseconds")),
            // What clients send for no sequence.
            ("sequence_id", Parameter::Integer(0) | Parameter::Text("")) => {}
            ("sequence_id", _) => {
                let reason = "sequences are not supported: a model keeps no state between requests";
                return Err(Status::new(Code::Unimplemented, reason));
            }
            _ => {}
        }
        Ok(())
    }

    /// The deadline of a request that was received at this time, not later than another one.
    pub(crate) fn deadline(&self, received: Instant, other: Option<Instant>) -> Option<Instant> {
        let own = self.timeout.and_then(|timeout| received.checked_add(timeout));
        match (own, other) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        }
    }
}

/// Refuses the parameters of a tensor that is in shared memory: it has no data.
///
/// # Errors
/// `INVALID_ARGUMENT` if the parameter belongs to shared memory.
pub(crate) fn refuse_shared_memory(name: &str) -> Result<(), Status> {
    if name.starts_with("shared_memory_") { Err(no_shared_memory()) } else { Ok(()) }
}

/// How many classes the parameter `classification` of an output asks for; `None` for the tensor itself.
///
/// # Errors
/// `INVALID_ARGUMENT` if it is not a number.
pub(crate) fn classes(value: Parameter<'_>) -> Result<Option<usize>, Status> {
    let Parameter::Integer(count) = value else { return Err(wrong("classification", "a number of classes")) };
    let count = usize::try_from(count).map_err(|_| wrong("classification", "a number of classes"))?;
    Ok((count > 0).then_some(count))
}

/// The error of a parameter whose value has another kind.
fn wrong(name: &str, wanted: &str) -> Status {
    Status::invalid_argument(format!("the parameter `{name}` must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parameters_have_one_kind() {
        let mut parameters = Parameters::default();
        let mut set = |name: &str, value| parameters.set(name, value);
        set("signature_name", Parameter::Text("s")).unwrap();
        set("binary_data_output", Parameter::Bool(true)).unwrap();
        set("timeout", Parameter::Integer(5)).unwrap();
        set("sequence_id", Parameter::Integer(0)).unwrap();
        set("sequence_id", Parameter::Text("")).unwrap();
        set("priority", Parameter::Integer(1)).unwrap();
        set("their_own", Parameter::Other).unwrap();
        for (name, value) in [
            ("signature_name", Parameter::Bool(true)),
            ("binary_data_output", Parameter::Integer(1)),
            ("timeout", Parameter::Integer(-1)),
            ("timeout", Parameter::Other),
        ] {
            assert_eq!(set(name, value).unwrap_err().code, Code::InvalidArgument, "{name}");
        }
        assert_eq!(set("sequence_id", Parameter::Integer(7)).unwrap_err().code, Code::Unimplemented);
        let timeout = Some(Duration::from_micros(5));
        assert_eq!(parameters, Parameters { signature: Some("s".into()), timeout, binary_outputs: true });
    }

    #[test]
    fn earlier_deadline_counts() {
        let now = Instant::now();
        let later = now.checked_add(Duration::from_secs(1));
        let five = Parameters { timeout: Some(Duration::from_micros(5)), ..Parameters::default() };
        assert_eq!(five.deadline(now, later), now.checked_add(Duration::from_micros(5)));
        assert_eq!(five.deadline(now, None), now.checked_add(Duration::from_micros(5)));
        assert_eq!(Parameters::default().deadline(now, later), later);
        assert_eq!(Parameters { timeout: Some(Duration::MAX), ..five }.deadline(now, None), None);
    }
}
