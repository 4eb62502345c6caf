//! Layers that a model has at several places, such as in two nested models.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

/// The next number of a layer at several places. No two models have the same numbers, because one may be in another.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What the entries of one layer have in common. It may become known after the first entry was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity(Arc<AtomicU64>);

impl Identity {
    /// A number that only entries of this layer have. `None` if there is one entry.
    pub(crate) fn shared(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|number| *number != 0)
    }

    fn share(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }
}

/// The layers that were read so far.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    /// By the number that the file gives them.
    shared: HashMap<u64, Identity>,
    /// Those without a number, by class and name.
    named: HashMap<(String, String), Vec<Identity>>,
}

impl Identities {
    /// The identity of an entry, and whether an earlier one is of the same layer.
    ///
    /// Keras numbers a layer (`shared_object_id`) when it meets it again, in both entries, unless a nested model with
    /// the first one was copied before. Then the first one is that of the same class and name.
    pub(crate) fn of(&mut self, entry: &Value, class: &str, name: &str) -> (Identity, bool) {
        let named = self.named.entry((class.to_owned(), name.to_owned())).or_default();
        let Some(number) = entry.get("shared_object_id").and_then(Value::as_u64) else {
            let identity = Identity::default();
            named.push(identity.clone());
            return (identity, false);
        };
        if let Some(known) = self.shared.get(&number) {
            return (known.clone(), true);
        }
        let (identity, is_repeated) = match named.as_slice() {
            [only] => (only.clone(), true),
            _ => (Identity::default(), false),
        };
        named.clear();
        self.shared.insert(number, identity.clone());
        identity.share(NEXT.fetch_add(1, Ordering::Relaxed));
        (identity, is_repeated)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_with_the_same_number_are_the_same_layer() {
        let mut identities = Identities::default();
        let (first, repeated) = identities.of(&json!({"shared_object_id": 7}), "Dense", "a");
        let (second, repeated_too) = identities.of(&json!({"shared_object_id": 7}), "Dense", "a");
        let (other, _) = identities.of(&json!({"shared_object_id": 8}), "Dense", "a");
        assert_eq!((repeated, repeated_too), (false, true));
        assert!(first.shared().is_some() && first.shared() == second.shared());
        assert_ne!(first.shared(), other.shared());
    }

    #[test]
    fn a_first_entry_without_a_number_is_found_by_its_name() {
        let mut identities = Identities::default();
        let (first, _) = identities.of(&json!({}), "Dense", "a");
        let (other, _) = identities.of(&json!({}), "Dense", "b");
        let (second, repeated) = identities.of(&json!({"shared_object_id": 7}), "Dense", "a");
        assert!(repeated && first.shared().is_some());
        assert_eq!((first.shared(), other.shared()), (second.shared(), None));
    }
}
