//! Names and lists in messages.

/// The name as it can be printed: control characters escaped.
pub fn printable(name: &str) -> String {
    name.chars().fold(String::with_capacity(name.len()), |mut shown, character| {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        shown
    })
}

/// "`a`, `b` and `c`".
#[must_use]
pub fn names(names: &[String]) -> String {
    /// A message with more names than this is not read.
    const SHOWN: usize = 12;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match shown.split_last() {
        None => "none".into(),
        Some(_) if names.len() > SHOWN => format!("{} and {} more", shown.join(", "), names.len() - SHOWN),
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
    }
}

/// "it has `a` and `b`".
pub(super) fn list(verb: &str, all: &[String]) -> String {
    format!("{verb} {}", names(all))
}

pub(super) fn tag_set(tags: &[String]) -> String {
    if tags.is_empty() { "`` (empty)".into() } else { format!("`{}`", tags.join(",")) }
}

pub(super) fn tag_sets(sets: &[Vec<String>]) -> String {
    let sets: Vec<String> = sets.iter().map(|tags| tag_set(tags)).collect();
    if sets.is_empty() { "none".into() } else { sets.join(", ") }
}
