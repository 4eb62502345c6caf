//! Follows the labels of a model, by one small object.

use std::fmt;
use std::path::PathBuf;

use super::objects::{Answer, Tag, read_body};
use super::store::Remote;
use crate::error::Result;
use crate::follow::Heads;
use crate::labels::{self, Labels};
use crate::name::ModelName;

/// Watches the labels of a model. Each poll is one request for one small object, which is not sent again while it is
/// the same (`If-None-Match`).
#[derive(Clone)]
pub struct Watch {
    remote: Remote,
    model: ModelName,
    last: Option<(Tag, Heads)>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("remote", &self.remote.address).field("model", &self.model).finish()
    }
}

impl Remote {
    /// Watches the labels of a model.
    #[must_use]
    pub fn watch(&self, model: &ModelName) -> Watch {
        Watch { remote: self.clone(), model: model.clone(), last: None }
    }
}

impl Watch {
    /// The state of the model, if it is another than at the last poll. `latest` is 0 if it has no version.
    ///
    /// # Errors
    /// If there is no such model, or it cannot be read. The next poll may succeed.
    pub fn poll(&mut self) -> Result<Option<Heads>> {
        let model = self.remote.model(&self.model);
        let key = model.labels_key();
        let last = self.last.as_ref().map(|(tag, _)| tag);
        let body = match model.objects.get(&key, None, last)? {
            // Without a list of the models there are, which may cost money.
            Answer::Absent => return Err(model.absent()),
            Answer::Unchanged => return Ok(None),
            Answer::Found(body) => body,
        };
        let (bytes, tag) = read_body(model.objects, &key, body, labels::MAX_FILE)?;
        let labels = Labels::decode(&bytes, &PathBuf::from(model.objects.place(&key)))?;
        let latest = labels.versions.as_ref().map_or(labels.highest, |all| all.last().copied().unwrap_or_default());
        let heads = Heads { changes: labels.counter, labels: labels.labels, latest };
        // A server may not know conditions.
        let is_same = self.last.as_ref().is_some_and(|(_, last)| *last == heads);
        self.last = Some((tag, heads.clone()));
        Ok((!is_same).then_some(heads))
    }
}
