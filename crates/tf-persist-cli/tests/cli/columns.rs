//! `run` with Parquet and Arrow files: columns in and out, whole and in batches.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use tf_persist_savedmodel::Tensor;
use tf_persist_savedmodel::tensor::npz;

use crate::disk::full_disk;
use crate::support::Dir;

/// Writes columns as a file of the format that its name tells, in batches of 100 rows.
pub(crate) fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let parts = (0..batch.num_rows()).step_by(100).map(|start| batch.slice(start, 100.min(batch.num_rows() - start)));
    let file = File::create(path).unwrap();
    if path.extension().unwrap() == "parquet" {
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        parts.for_each(|part| writer.write(&part).unwrap());
        writer.close().unwrap();
    } else {
        let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
        parts.for_each(|part| writer.write(&part).unwrap());
        writer.finish().unwrap();
    }
}

fn read(path: &Path) -> Vec<RecordBatch> {
    let file = File::open(path).unwrap();
    if path.extension().unwrap() == "parquet" {
        ParquetRecordBatchReader::try_new(file, 1000).unwrap().map(Result::unwrap).collect()
    } else {
        FileReader::try_new(file, None).unwrap().map(Result::unwrap).collect()
    }
}

/// The digits that the model was not trained on, as rows of nested lists.
fn images(dir: &Dir) -> (Tensor, ArrayRef) {
    let arrays = npz::read_file(dir.path("models/digits/held_out.npz")).unwrap();
    let images = arrays.into_iter().find(|(name, _)| name == "image").unwrap().1;
    let mut column: ArrayRef = Arc::new(Float32Array::from(images.view::<f32>().unwrap().to_vec()));
    for size in [1, 8, 8] {
        let item = Arc::new(Field::new("item", column.data_type().clone(), true));
        column = Arc::new(FixedSizeListArray::new(item, size, column, None));
    }
    (images, column)
}

#[test]
fn shards_are_the_files_of_a_folder() {
    let dir = Dir::new();
    let (tensor, column) = images(&dir);
    npz::write("in.npz", File::create(dir.path("in.npz")).unwrap(), [("image", &tensor)]).unwrap();
    let line = "run models/digits/model --batch-size 64";
    dir.cmd(&format!("{line} --inputs in.npz --output whole.parquet")).run().ok();
    fs::create_dir(dir.path("in")).unwrap();
    for (index, start) in [0, 150, 300].into_iter().enumerate() {
        write(&dir.path(format!("in/part-{index:05}.parquet")), vec![("image", column.slice(start, 150))]);
    }
    fs::write(dir.path("in/_SUCCESS"), "").unwrap();
    let shards = format!("{line} --inputs in --output out");
    dir.cmd(&format!("{shards} --shard 0")).run().ok();
    dir.cmd(&shards).env("JOB_COMPLETION_INDEX", "1").run().ok();
    // What the flag says counts.
    dir.cmd(&format!("{shards} --shard 2")).env("JOB_COMPLETION_INDEX", "0").run().ok();
    let values = |batches: Vec<RecordBatch>| -> Vec<f32> {
        let rows = batches.iter().map(|batch| batch.column(0).as_any().downcast_ref::<FixedSizeListArray>().unwrap());
        rows.flat_map(|rows| rows.values().as_any().downcast_ref::<Float32Array>().unwrap().values().to_vec()).collect()
    };
    let parts = (0..3).flat_map(|index| values(read(&dir.path(format!("out/part-{index:05}.parquet")))));
    let (parts, whole) = (parts.collect::<Vec<f32>>(), values(read(&dir.path("whole.parquet"))));
    assert_eq!(parts.len(), whole.len());
    // Batches of other sizes may differ in the last digits.
    assert!(parts.iter().zip(&whole).all(|(part, whole)| (part - whole).abs() < 1e-5));
    dir.cmd(&format!("{shards} --shard 3")).run().fails().says("has 3 files, and no number 3");
    dir.cmd(&shards).run().misused().says("choose one of its files with --shard N");
    dir.cmd(&shards).env("JOB_COMPLETION_INDEX", "one").run().misused().says("JOB_COMPLETION_INDEX is `one`");
    dir.cmd(&format!("{line} --inputs in --output in --shard 0")).run().fails().says("which the outputs would replace");
    dir.cmd(&format!("{line} --inputs in.npz --output out.npz --shard 0")).run().misused().says("--shard is for a");
}

#[test]
fn columns_are_inputs_and_outputs() {
    let dir = Dir::new();
    let (tensor, column) = images(&dir);
    npz::write("in.npz", File::create(dir.path("in.npz")).unwrap(), [("image", &tensor)]).unwrap();
    let line = "run models/digits/model";
    dir.cmd(&format!("{line} --inputs in.npz --output whole.npz")).run().ok();
    dir.cmd(&format!("{line} --inputs in.npz --batch-size 64 --output parts.npz")).run().ok();
    let answers = |name: &str| npz::read_file(dir.path(name)).unwrap().remove(0).1;
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..450));
    for name in ["in.parquet", "in.arrow"] {
        write(&dir.path(name), vec![("id", ids.clone()), ("image", column.clone())]);
        for (batches, expected) in [("", "whole.npz"), ("--batch-size 64", "parts.npz")] {
            let ran = dir.cmd(&format!("{line} --inputs {name} {batches} --output out.npz")).run().ok();
            assert_eq!(answers("out.npz"), answers(expected), "{name} {batches}");
            ran.check(ran.err().contains("warning: signature `serving_default` does not read `id`"), "which columns?");
        }
    }
    for name in ["out.parquet", "out.arrow"] {
        for (batches, expected) in [("", "whole.npz"), ("--batch-size 64", "parts.npz")] {
            dir.cmd(&format!("{line} --inputs in.npz {batches} --output {name}")).run().ok();
            let batches = read(&dir.path(name));
            let item = DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, true)), 10);
            assert_eq!(batches[0].schema().field_with_name("probabilities").unwrap().data_type(), &item);
            let mut values: Vec<f32> = Vec::new();
            for batch in &batches {
                let lists = batch.column(0).as_any().downcast_ref::<FixedSizeListArray>().unwrap();
                values.extend(lists.values().as_any().downcast_ref::<Float32Array>().unwrap().values());
            }
            assert_eq!(values, answers(expected).view::<f32>().unwrap());
        }
    }
}

#[test]
fn single_values_are_a_column_of_a_matrix() {
    let dir = Dir::new();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a good film", "a bad one", ""]));
    for name in ["text.parquet", "text.arrow"] {
        write(&dir.path(name), vec![("text", text.clone())]);
        // `padded_text` takes [-1, 1], and `text` takes [-1].
        let shape = dir.cmd(&format!("run models/padded_text/model --inputs {name} --format json")).run().ok().json();
        assert_eq!(shape["outputs"].as_object().unwrap().values().next().unwrap().as_array().unwrap().len(), 3);
        dir.cmd(&format!("run models/text/model --inputs {name} --batch-size 2 --output out.parquet")).run().ok();
        let batches = read(&dir.path("out.parquet"));
        let labels = batches[0].column_by_name("label").unwrap().as_any().downcast_ref::<StringArray>().unwrap();
        assert!(labels.iter().all(|label| ["good", "bad"].contains(&label.unwrap())));
    }
}

#[test]
fn what_no_tensor_holds_is_refused_by_row_and_column() {
    let dir = Dir::new();
    let null: ArrayRef = Arc::new(Float32Array::from(vec![Some(1.0), Some(2.0), None]));
    let wide: ArrayRef = Arc::new(arrow_array::Float64Array::from(vec![1.0]));
    let date: ArrayRef = Arc::new(arrow_array::Date32Array::from(vec![1]));
    for ending in ["parquet", "arrow"] {
        for (column, reason) in [(&null, "column `x`, row 2: a null"), (&wide, "float64"), (&date, "Date32")] {
            write(&dir.path(format!("x.{ending}")), vec![("x", column.clone())]);
            for batches in ["", "--batch-size 2"] {
                let line = format!("run models/half_plus_two/model --inputs x.{ending} {batches} --output y.{ending}");
                dir.cmd(&line).run().fails().says(reason);
                assert!(!dir.path(format!("y.{ending}")).exists());
                let _ = fs::remove_dir_all(dir.path(format!("y.{ending}.partial")));
            }
        }
        write(&dir.path(format!("z.{ending}")), vec![("z", null.clone())]);
        let line = format!("run models/half_plus_two/model --inputs z.{ending} --batch-size 2 --output y.{ending}");
        dir.cmd(&line).run().fails().says("`x`");
        dir.write(format!("cut.{ending}"), &fs::read(dir.path(format!("z.{ending}"))).unwrap()[..300]);
        dir.cmd(&line.replace("z.", "cut.")).run().fails().says("`cut.");
        dir.write(format!("empty.{ending}"), "");
        dir.cmd(&line.replace("z.", "empty.")).run().fails().says("`empty.");
    }
    // A dtype that columns do not have.
    let ran = dir.cmd("run models/dtypes/model --input complex64=[] --outputs complex64 --output y.parquet").run();
    ran.fails().says("output `complex64` is complex64");
}

#[test]
fn interrupted_columns_have_the_same_bytes() {
    let dir = Dir::new();
    let x: ArrayRef = Arc::new(Float32Array::from_iter_values((0..20_480).map(|index| index as f32 / 3.0)));
    write(&dir.path("x.parquet"), vec![("x", x)]);
    for ending in ["parquet", "arrow"] {
        let line = |name: &str| {
            format!("run models/half_plus_two/model --inputs x.parquet --batch-size 100 --output {name}.{ending}")
        };
        dir.cmd(&line("whole")).run().ok();
        // The outputs alone take 80 KiB.
        dir.bash(&full_disk(64), &line("out")).run().fails().says("File too large");
        let ran = dir.cmd(&line("out")).run().ok();
        ran.check(ran.err().contains("note: continuing after"), "it should continue");
        let bytes = |name: &str| fs::read(dir.path(format!("{name}.{ending}"))).unwrap();
        assert!(bytes("out") == bytes("whole"));
    }
}
