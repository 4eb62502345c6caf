//! For `fuzz/`: what reads the files of strangers.

use crate::log::read_line;
use crate::plan::{Inference, Views};
use crate::{Reference, State};

/// Arbitrary bytes as a line of a log, as a reference and as a state.
pub fn read(bytes: &[u8]) {
    if let Ok(exchange) = read_line(bytes) {
        for is_batched in [None, Some(true), Some(false)] {
            let mut inference = Inference::new(is_batched);
            inference.see(&exchange);
            let Ok((plan, _)) = inference.plan() else { continue };
            let Some(views) = Views::new(&plan, &exchange) else { continue };
            let mut cells = Vec::new();
            for row in 0..views.rows().min(4) {
                views.row(&plan, row, &mut cells);
                assert_eq!(cells.len(), plan.features.len());
            }
        }
    }
    if let Ok(reference) = Reference::parse(bytes) {
        let again = Reference::parse(reference.to_json().as_bytes());
        assert!(again.is_ok_and(|again| again.to_json() == reference.to_json()));
    }
    if let Ok(mut state) = State::parse(bytes, None) {
        let other = state.clone();
        assert!(state.merge(&other).is_ok());
    }
}
