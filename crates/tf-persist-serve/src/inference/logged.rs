//! What inference leaves for the request log. Clones of tensors share their memory.

use std::sync::Arc;

use tf_persist_core::Tensor;

use super::examples::INPUTS;
use crate::models::ServedSignature;
use crate::request_log::{Exchange, ModelLog, Record, SignatureId, Tensors};
use crate::request_scope::RequestScope;

/// A request that is logged, while it runs.
pub(super) struct Logged {
    scope: Arc<RequestScope>,
    log: Arc<ModelLog>,
    signature_id: Arc<SignatureId>,
    signature: String,
    inputs: Tensors,
    output_filter: Vec<String>,
    redacted: Vec<String>,
}

/// Begins the record of a request, if it is to be logged. Values of inputs that the signature does not have are left
/// out: one may be a redacted input under a wrong name.
pub(super) fn begin(
    scope: Option<&Arc<RequestScope>>,
    served: &ServedSignature,
    inputs: &Tensors,
    output_filter: &[String],
) -> Option<Logged> {
    let mut logged = begin_without_inputs(scope?, served)?;
    let is_known = |name: &str| served.signature.inputs().any(|(input, _)| input == name);
    for (name, tensor) in inputs.iter().filter(|(name, _)| is_known(name)) {
        logged.add(name, tensor);
    }
    logged.output_filter = output_filter.to_vec();
    Some(logged)
}

/// Begins the record of a request with `tf.Example`s, if it is to be logged.
pub(super) fn begin_examples(served: &ServedSignature, examples: &Tensor) -> Option<Logged> {
    let mut logged = begin_without_inputs(&RequestScope::current()?, served)?;
    logged.add(INPUTS, examples);
    Some(logged)
}

fn begin_without_inputs(scope: &Arc<RequestScope>, served: &ServedSignature) -> Option<Logged> {
    let signature = &served.signature.definition().name;
    scope.set_model(&served.id.model, served.id.version, signature);
    let log = scope.log().sample(&served.id.model)?;
    Some(Logged {
        scope: Arc::clone(scope),
        log,
        signature_id: served.id.clone(),
        signature: signature.clone(),
        inputs: Vec::new(),
        output_filter: Vec::new(),
        redacted: Vec::new(),
    })
}

impl Logged {
    fn add(&mut self, name: &str, tensor: &Tensor) {
        if self.scope.log().redacts(name) {
            self.redacted.push(name.to_owned());
        } else {
            self.inputs.push((name.to_owned(), tensor.clone()));
        }
    }

    /// Completes the record with the outcome. It gets the inputs and the requested outputs.
    pub(super) fn end(self, exchange: impl FnOnce(Tensors, Vec<String>) -> Exchange) {
        let Self { scope, log, signature_id, signature, inputs, output_filter, redacted } = self;
        let exchange = exchange(inputs, output_filter);
        let call = scope.call();
        scope.add_record(Record::new(log, signature_id, signature, exchange, redacted, call));
    }

    /// The same for a request with examples.
    pub(super) fn end_examples(self, exchange: impl FnOnce(Option<Tensor>) -> Exchange) {
        self.end(|inputs, _| exchange(inputs.into_iter().next().map(|(_, examples)| examples)));
    }
}
