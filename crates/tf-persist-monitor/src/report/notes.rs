//! Sentences about what of a log could not be used.

use std::collections::BTreeMap;

use tf_persist_savedmodel::printable;

use crate::state::State;

/// The names that a sentence has.
const SHOWN: usize = 5;

/// The sentences of a state.
pub(crate) fn notes_of(state: &State) -> Vec<String> {
    let traffic = &state.traffic;
    let mut notes = state.notes.clone();
    let mut note = |count: u64, text: &str| {
        if count > 0 {
            let (subject, rest) = text.split_once('|').unwrap_or(("", text));
            let plural = if count == 1 { "" } else { "s" };
            notes.push(format!("{count} {subject}{plural} {rest}"));
        }
    };
    let first = traffic.first_flaw.as_deref().map(printable).unwrap_or_default();
    note(traffic.unreadable, &format!("record|could not be read; the first: {first}"));
    let all = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
    let of = |counts: &BTreeMap<String, u64>| names(counts);
    let (models, signatures) = (&traffic.other_models, &traffic.other_signatures);
    note(all(models), &format!("request|to other models left out: {}", of(models)));
    note(all(signatures), &format!("request|to other signatures left out: {}", of(signatures)));
    note(traffic.uneven, "request|left out, whose inputs do not have as many rows each");
    note(traffic.jumps, "time|more than a minute before the one logged before: a clock was set back, or logs overlap");
    note(traffic.without_time, "request|without a time");
    note(traffic.without_window, "request|outside of all windows, of which there are too many: give longer windows");
    let labels = &state.labels;
    note(labels.doubled, "label|given again");
    note(labels.unreadable, "line|of labels without an id or a label");
    note(labels.repeated_requests, "request|with the id of an earlier one, whose label counts for that one");
    note(labels.without_id, "request|without an id, which labels need: log JSON lines, and send X-Request-Id");
    note(state.quality.unusable, "label|unusable for this output, such as a class that it does not have");
    note(
        state.quality.not_probabilities,
        "row|whose scores are not probabilities, so that only the accuracy is given; if they are logits, say so",
    );
    if !traffic.differing.is_empty() {
        notes.push(format!(
            "tensors with another number of elements or another type, left out: {}",
            of(&traffic.differing)
        ));
    }
    if !traffic.unknown.is_empty() {
        notes.push(format!("tensors without a reference, left out: {}", of(&traffic.unknown)));
    }
    if traffic.rows > 0 {
        let gone: Vec<String> = state
            .plan
            .features
            .iter()
            .zip(&state.tallies)
            .filter(|(_, tally)| tally.rows() == 0)
            .map(|(feature, _)| format!("`{}`", printable(&feature.name)))
            .collect();
        if let Some(first) = gone.get(..SHOWN.min(gone.len())).filter(|first| !first.is_empty()) {
            let more = if gone.len() > SHOWN { ", …" } else { "" };
            notes.push(format!("features that no row of the log has: {}{more}", first.join(", ")));
        }
    }
    notes
}

/// `a` (3), `b` (1)
fn names(counts: &BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<(&String, &u64)> = counts.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(a.1));
    let shown: Vec<String> =
        sorted.iter().take(SHOWN).map(|(name, count)| format!("`{}` ({count})", printable(name))).collect();
    let more = if sorted.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
