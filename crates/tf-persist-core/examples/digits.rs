//! Handwritten digits, classified by a Keras model, with Python's own probabilities beside ours.
//!
//! ```sh
//! cargo run --example digits -- models/digits_keras/digits.keras models/digits_keras/held_out.npz
//! ```
//!
//! The first file may be a Keras file or a SavedModel.
//!
//! The second file has what the model was not trained on: `image` (float32, n × 8 × 8 × 1, 0 to 1), `label` (int64, n)
//! and `probabilities` (float32, n × 10), as Python computed them.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::env;
use std::error::Error;

use tf_persist_core::tensor::npz;
use tf_persist_core::{LoadOptions, LoadSavedModel, SavedModel, Tensor};
use tf_persist_keras::find_keras_file;

/// Shades of a pixel, from white to black.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
/// Digits drawn side by side.
const DRAWN: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let model = args.next().unwrap_or_else(|| "models/digits_keras/digits.keras".into());
    let held_out = args.next().unwrap_or_else(|| "models/digits_keras/held_out.npz".into());
    let (mut image, mut label, mut expected) = (None, None, None);
    for (name, tensor) in npz::read_file(&held_out)? {
        match name.as_str() {
            "image" => image = Some(tensor),
            "label" => label = Some(tensor),
            "probabilities" => expected = Some(tensor),
            _ => {}
        }
    }
    let (Some(image), Some(label), Some(expected)) = (image, label, expected) else {
        return Err(format!("{held_out} lacks image, label or probabilities").into());
    };

    // A Keras file becomes a SavedModel in memory.
    let saved_model = match find_keras_file(&model) {
        Some(file) => tf_persist_keras::open(file)?.to_saved_model()?,
        None => SavedModel::open(&model)?,
    };
    let signature = saved_model.signature("serving_default")?;
    println!("{signature}");
    let output = signature.outputs[0].0.clone();
    let model = saved_model.load(LoadOptions::default())?;
    let answer = model.signature("serving_default")?.run([("image", &image)])?;
    let probabilities = answer[output.as_str()].view::<f32>()?;

    let labels = label.view::<i64>()?;
    let answers: Vec<usize> = probabilities.chunks_exact(10).map(most_likely).collect();
    let right = answers.iter().zip(labels).filter(|(answer, label)| **answer as i64 == **label).count();
    let difference = probabilities
        .iter()
        .zip(expected.view::<f32>()?)
        .map(|(ours, python)| (ours - python).abs())
        .fold(0.0, f32::max);
    draw(&image, &answers, probabilities)?;
    println!(
        "{right} of {} held-out digits right ({:.1} %); largest difference to Python's probabilities: {difference:e}",
        labels.len(),
        100.0 * right as f64 / labels.len() as f64
    );
    Ok(())
}

fn most_likely(probabilities: &[f32]) -> usize {
    let mut best = 0;
    for (digit, probability) in probabilities.iter().enumerate() {
        if *probability > probabilities[best] {
            best = digit;
        }
    }
    best
}

/// Draws the first digits side by side, two characters a pixel, and the answers below.
fn draw(image: &Tensor, answers: &[usize], probabilities: &[f32]) -> Result<(), Box<dyn Error>> {
    let pixels = image.view::<f32>()?;
    let drawn = DRAWN.min(answers.len());
    for row in 0..8 {
        let mut line = String::new();
        for digit in 0..drawn {
            for pixel in &pixels[digit * 64 + row * 8..][..8] {
                let shade = SHADES[((pixel * SHADES.len() as f32) as usize).min(SHADES.len() - 1)];
                line.extend([shade, shade]);
            }
            line.push_str("  ");
        }
        println!("{}", line.trim_end());
    }
    let answer =
        |digit: usize| format!("{} ({:.1} %)", answers[digit], 100.0 * probabilities[digit * 10 + answers[digit]]);
    let line: String = (0..drawn).map(|digit| format!("{:^18}", answer(digit))).collect();
    println!("{}\n", line.trim_end());
    Ok(())
}
