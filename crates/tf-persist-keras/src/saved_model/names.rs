//! Names of nodes, arguments and functions.

use std::collections::HashSet;

use tf_persist_savedmodel::internals::free_name;

/// The names in a graph or a function. They differ in more than case, which TensorFlow ignores in places.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Takes a name for a node: the wanted one with valid characters, and a number if necessary.
    pub(super) fn node(&mut self, wanted: &str) -> String {
        let allowed = |it: char| it.is_ascii_alphanumeric() || "_.-/".contains(it);
        let mut wanted: String = wanted.chars().map(|it| if allowed(it) { it } else { '_' }).collect();
        if !wanted.starts_with(|it: char| it.is_ascii_alphanumeric()) {
            wanted.insert(0, 'n');
        }
        self.take(&wanted)
    }

    /// Takes a name for an argument or output of a function: lower case, digits and `_`, as of those of ops.
    pub(super) fn argument(&mut self, wanted: &str) -> String {
        let allowed = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '_' };
        let mut wanted: String = wanted.chars().map(allowed).collect();
        if !wanted.starts_with(|it: char| it.is_ascii_lowercase()) {
            wanted.insert_str(0, "arg_");
        }
        self.take(&wanted)
    }

    /// A name with which no other name begins.
    pub(super) fn scope(&self, wanted: &str) -> String {
        let taken: HashSet<&str> = self.0.iter().filter_map(|name| name.split('/').next()).collect();
        free_name(wanted, |name| taken.contains(name))
    }

    /// Takes a name that is free and valid.
    pub(super) fn take(&mut self, wanted: &str) -> String {
        let name = free_name(wanted, |name| self.0.contains(&name.to_ascii_lowercase()));
        self.0.insert(name.to_ascii_lowercase());
        name
    }
}

/// The name in the file of a function of the library.
pub(super) fn library_name(name: &str) -> String {
    let allowed = |it: char| if it.is_ascii_alphanumeric() || "_.-/".contains(it) { it } else { '_' };
    // Python's loader shows the name without prefix and number.
    format!("__inference_{}", name.chars().map(allowed).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn names_are_valid_and_free() {
        let mut names = Names::default();
        assert_eq!(names.node("weights/Dense 1/kernel"), "weights/Dense_1/kernel");
        assert_eq!(names.node("weights/dense_1/kernel"), "weights/dense_1/kernel_1");
        assert_eq!(names.node("_ä"), "n__");
        assert_eq!(names.argument("Input:0"), "input_0");
        assert_eq!(names.argument("1"), "arg_1");
        assert_eq!(names.argument("_x"), "arg__x");
    }
}
