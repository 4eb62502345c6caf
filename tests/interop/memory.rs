//! Only strings are copied into TensorFlow and out of it, and little of libtensorflow's files stays in memory.

use std::fs;

use tf_persist_core::runtime::Runtime;
use tf_persist_core::{DType, LoadOptions, LoadedModel, Tensor, release_library_pages};
use tf_persist_testing::{in_own_process, root};

use crate::recorded::Recorded;

/// Runs a signature that returns its inputs.
fn echo(input: Tensor) -> (Tensor, Tensor) {
    let recorded = Recorded::read(&root().join("models/dtypes"));
    let model = LoadedModel::load(&recorded.model, LoadOptions::default()).unwrap();
    let signature = model.signature("unknown_rank").unwrap();
    let wanted = input.dtype();
    let name = signature.inputs().find(|(_, dtype)| *dtype == wanted).unwrap().0.to_owned();
    // Every other input is one element.
    let inputs: Vec<(String, Tensor)> = signature
        .inputs()
        .map(|(other, dtype)| {
            let tensor = if other == name { input.clone() } else { Tensor::zeros(dtype, &[1]).unwrap() };
            (other.to_owned(), tensor)
        })
        .collect();
    let outputs = signature.run(inputs.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    let output = outputs.iter().find(|(_, tensor)| tensor.dtype() == wanted).unwrap().1.clone();
    (input, output)
}

#[test]
fn numbers_are_not_copied() {
    let mut input = Tensor::zeros(DType::Float32, &[16 << 20]).unwrap();
    let values = input.view_mut::<f32>().unwrap();
    (values[0], values[values.len() - 1]) = (1.0, 2.0);
    let filled = input.bytes().unwrap().as_ptr();
    let (input, output) = echo(input);
    assert_eq!(input.bytes().unwrap().as_ptr(), filled, "filling in place does not move the memory");
    assert_eq!(
        output.bytes().unwrap().as_ptr(),
        filled,
        "the graph echoes the very memory that it was given, and the answer is that memory"
    );
    assert_eq!(output.view::<f32>().unwrap().last(), Some(&2.0));
}

#[test]
fn outputs_can_be_fed_and_outlive_their_session() {
    let (input, output) = echo(Tensor::from_slice(&[3], &[1.5_f32, -2.0, f32::NAN]).unwrap());
    drop(input);
    let (_, again) = echo(output.clone());
    assert_eq!(again, output);
}

/// The MiB of files in memory of this process.
fn files_in_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[test]
fn pages_of_libtensorflow_are_given_back_and_come_again() {
    in_own_process("memory::pages_of_libtensorflow_are_given_back_and_come_again", || {
        let own = files_in_memory();
        // libtensorflow and its dynamic linking need 270 MiB.
        Runtime::open().unwrap();
        let opened = files_in_memory();
        assert!(opened < own + 64, "{opened} MiB, {own} of them before");
        let ask = || echo(Tensor::from_slice(&[3], &[1.5_f32, -2.0, 0.0]).unwrap()).1;
        let first = ask();
        let used = files_in_memory();
        release_library_pages();
        let released = files_in_memory();
        assert!(released + 8 < used, "{released} MiB, and {used} before");
        assert_eq!(ask(), first);
    });
}
