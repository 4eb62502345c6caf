//! The commands that continue a stopped training.

use std::path::Path;

use tf_persist_core::train::{EVALUATE_SIGNATURE, TrainingState};

use super::TrainArgs;

/// Characters that need no quotes in a shell.
const PLAIN: &str = "-_./=:,+@%";

/// The words of a command line.
struct Words(Vec<String>);

impl Words {
    /// The command with the options that every continuation has.
    fn begin(args: &TrainArgs, flags: &[&str]) -> Self {
        let mut words = Self(["tf-persist", "train"].map(String::from).to_vec());
        words.0.push(file(&args.output));
        words.0.extend(flags.iter().map(|flag| (*flag).to_owned()));
        words.option("--data", Some(file(&args.data)));
        words.option("--validate", args.validate.as_deref().map(file));
        words.option("--output", Some(file(&args.output)));
        words.option("--checkpoint-every", args.checkpoint_every.map(|steps| steps.to_string()));
        words
    }

    fn option(&mut self, name: &str, value: Option<String>) {
        match value {
            // clap takes numbers alone for values that begin with a dash.
            Some(value) if value.starts_with('-') && value.parse::<i64>().is_err() => {
                self.0.push(format!("{name}={value}"));
            }
            Some(value) => self.0.extend([name.to_owned(), value]),
            None => {}
        }
    }

    /// A command line for a POSIX shell in the same folder.
    fn end(mut self, args: &TrainArgs) -> String {
        self.option("--intra-op-threads", args.load.intra_op_threads.map(|threads| threads.to_string()));
        self.option("--inter-op-threads", args.load.inter_op_threads.map(|threads| threads.to_string()));
        self.option("--libtensorflow", args.load.library.libtensorflow.as_deref().map(file));
        self.0.push("--overwrite".into());
        self.0.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// A path that cannot be taken for an option.
fn file(path: &Path) -> String {
    let path = path.display().to_string();
    if path.starts_with('-') { format!("./{path}") } else { path }
}

/// The command that continues where the training stopped.
pub(super) fn to_continue(args: &TrainArgs) -> String {
    let mut words = Words::begin(args, &["--resume"]);
    let evaluate = Some(args.evaluate_signature.clone());
    words.option("--evaluate-signature", evaluate.filter(|name| name != EVALUATE_SIGNATURE));
    words.option("--tags", args.load.tags.clone());
    for library in &args.load.op_library {
        words.option("--op-library", Some(file(library)));
    }
    words.end(args)
}

/// The command that trains a Keras file on, for the epochs that have not ended. Its signatures are always `train` and
/// `evaluate`, of one set of tags.
pub(super) fn to_train_on(args: &TrainArgs, state: &TrainingState) -> String {
    let mut words = Words::begin(args, &[]);
    words.option("--epochs", Some(state.epochs.saturating_sub(state.epoch).max(1).to_string()));
    words.option("--batch-size", Some(state.batch_size.to_string()));
    if state.shuffle {
        words.option("--seed", Some(state.seed.to_string()).filter(|seed| seed != "0"));
    } else {
        words.0.push("--no-shuffle".into());
    }
    #[cfg(feature = "keras")]
    for recipes in &args.keras.custom_objects {
        words.option("--custom-objects", Some(file(recipes)));
    }
    words.end(args)
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
    fn a_keras_file_is_trained_on_for_the_epochs_that_are_left() {
        let line = "tf-persist train m.keras --data a.npz --output=-c.keras --epochs 9 --batch-size 16 --seed 7 \
                    --checkpoint-every 5 --intra-op-threads 1";
        let args = parsed(&line.split_whitespace().collect::<Vec<_>>());
        let mut state = TrainingState::begin("train", 7, true, 16, 100, String::new());
        (state.epochs, state.epoch, state.step) = (9, 2, 3);
        let expected = "tf-persist train ./-c.keras --data a.npz --output ./-c.keras --checkpoint-every 5 --epochs 7 \
                        --batch-size 16 --seed 7 --intra-op-threads 1 --overwrite";
        let command = to_train_on(&args, &state);
        assert_eq!(command, expected);
        assert!(!parsed(&command.split(' ').collect::<Vec<_>>()).resume);
    }

    #[test]
    fn words_that_begin_with_a_dash_are_no_options() {
        let args = parsed(&["tf-persist", "train", "m", "--data=-d.npz", "--output", "./-c d", "--tags=-t"]);
        let again = to_continue(&args);
        assert_eq!(again, "tf-persist train './-c d' --resume --data ./-d.npz --output './-c d' --tags=-t --overwrite");
        let args = parsed(&["tf-persist", "train", "m", "--data", "a.npz", "--output=-c"]);
        let again = to_continue(&args);
        assert_eq!(parsed(&again.split(' ').collect::<Vec<_>>()).path, Path::new("./-c"));
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("a/b-1.npz"), "a/b-1.npz");
        assert_eq!(quoted("my data.npz"), "'my data.npz'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
