//! The command that continues a stopped training.

use std::path::Path;

use tf_persist_core::train::EVALUATE_SIGNATURE;

use super::TrainArgs;

/// Characters that need no quotes in a shell.
const PLAIN: &str = "-_./=:,+@%";

/// A command line for a POSIX shell in the same folder.
pub(super) fn to_continue(args: &TrainArgs) -> String {
    let path = |path: &Path| path.display().to_string();
    let mut words: Vec<String> = ["tf-persist", "train"].map(String::from).to_vec();
    words.push(path(&args.output));
    words.push("--resume".into());
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([name.to_owned(), value]);
        }
    };
    option("--data", Some(path(&args.data)));
    option("--validate", args.validate.as_deref().map(path));
    option("--output", Some(path(&args.output)));
    option("--checkpoint-every", args.checkpoint_every.map(|steps| steps.to_string()));
    let evaluate = Some(args.evaluate_signature.clone());
    option("--evaluate-signature", evaluate.filter(|name| name != EVALUATE_SIGNATURE));
    option("--tags", args.load.tags.clone());
    for library in &args.load.op_library {
        option("--op-library", Some(path(library)));
    }
    option("--intra-op-threads", args.load.intra_op_threads.map(|threads| threads.to_string()));
    option("--inter-op-threads", args.load.inter_op_threads.map(|threads| threads.to_string()));
    option("--libtensorflow", args.load.library.libtensorflow.as_deref().map(path));
    words.push("--overwrite".into());
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || PLAIN.contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(words: &[&str]) -> TrainArgs {
        match Cli::parse_from(words).command {
            Command::Train(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_what_the_model_does_not_record() {
        let args =
            parsed(&["tf-persist", "train", "m", "--data", "a.npz", "--output", "out", "--seed", "7", "--epochs", "9"]);
        let expected = "tf-persist train out --resume --data a.npz --output out --overwrite";
        assert_eq!(to_continue(&args), expected);
        let line = "tf-persist train m --data a.npz --output out --validate b.npz --checkpoint-every 10 \
                    --evaluate-signature test --tags train,serve --op-library a.so --op-library b.so \
                    --intra-op-threads 1 --inter-op-threads -1 --libtensorflow lib --plot c.svg --overwrite";
        let words: Vec<&str> = line.split_whitespace().collect();
        let again = to_continue(&parsed(&words));
        for option in [
            "--validate b.npz",
            "--checkpoint-every 10",
            "--evaluate-signature test",
            "--tags train,serve",
            "--op-library a.so --op-library b.so",
            "--intra-op-threads 1 --inter-op-threads -1",
            "--libtensorflow lib",
        ] {
            assert!(again.contains(option), "{again}");
        }
        let words: Vec<&str> = again.split(' ').collect();
        assert!(parsed(&words).resume);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("a/b-1.npz"), "a/b-1.npz");
        assert_eq!(quoted("my data.npz"), "'my data.npz'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
