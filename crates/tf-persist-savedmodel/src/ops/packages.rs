//! Packages that provide ops which TensorFlow does not have, and ops that TensorFlow dropped.
//!
//! Only common packages are listed, with the names that they register (`REGISTER_OP`).

/// A package of ops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct OpPackage {
    /// Its name on PyPI; the first one if there are several.
    pub name: &'static str,
    /// Further information.
    pub note: Option<&'static str>,
}

impl OpPackage {
    /// Whether it is a build of TensorFlow itself, whose ops need no library.
    #[must_use]
    pub fn is_tensorflow(&self) -> bool {
        matches!(self.name, "tensorflow" | "intel-tensorflow")
    }
}

/// A package and the names of its ops: prefixes and whole names.
struct Row {
    package: OpPackage,
    prefixes: &'static [&'static str],
    names: &'static [&'static str],
}

const fn package(name: &'static str) -> OpPackage {
    OpPackage { name, note: None }
}

const fn noted(name: &'static str, note: &'static str) -> OpPackage {
    OpPackage { name, note: Some(note) }
}

/// The first row that matches an op counts.
const PACKAGES: &[Row] = &[
    Row {
        package: noted(
            "tf-sentencepiece",
            "for TensorFlow up to 2.2 alone; tensorflow-text took its place, with other ops",
        ),
        prefixes: &["SentencepieceEncode", "SentencepieceGetPiece"],
        names: &["SentencepieceDecode", "SentencepieceIdToPiece", "SentencepiecePieceToId"],
    },
    Row {
        package: package("tensorflow-text"),
        prefixes: &["TFText>", "Sentencepiece"],
        names: &[
            "CaseFoldUTF8",
            "ConstrainedSequence",
            "FastBertNormalize",
            "FastWordpieceTokenizeWithOffsets",
            "FindSourceOffsets",
            "MaxSpanningTree",
            "NormalizeUTF8",
            "NormalizeUTF8WithOffsetsMap",
            "PhraseTokenize",
            "RegexSplitWithOffsets",
            "RougeL",
            "SentenceFragments",
            "SentenceFragmentsV2",
            "SplitMergeTokenizeWithOffsets",
            "TokenizerFromLogits",
            "UnicodeScriptTokenizeWithOffsets",
            "WhitespaceTokenizeWithOffsets",
            "WordpieceTokenizeWithOffsets",
        ],
    },
    Row {
        package: noted("ydf-tf", "for older TensorFlows: tensorflow-decision-forests"),
        prefixes: &["SimpleML"],
        names: &[],
    },
    Row { package: package("tensorflow-addons"), prefixes: &["Addons>"], names: &[] },
    Row { package: package("tensorflow-io"), prefixes: &["IO>"], names: &[] },
    Row { package: package("tensorflow-recommenders-addons"), prefixes: &["TFRA>"], names: &[] },
    Row { package: package("scann"), prefixes: &["Scann>"], names: &[] },
    Row {
        package: package("struct2tensor"),
        prefixes: &["DecodeProtoMap", "DecodeProtoSparse", "EquiJoin"],
        names: &["RunLengthBefore"],
    },
    Row {
        package: package("tensorflow-compression"),
        prefixes: &["EntropyEncode", "EntropyDecode"],
        names: &[
            "CreateRangeDecoder",
            "CreateRangeEncoder",
            "PmfToQuantizedCdf",
            "RangeDecode",
            "RangeEncode",
            "RunLengthDecode",
            "RunLengthEncode",
            "RunLengthGammaDecode",
            "RunLengthGammaEncode",
            "StochasticRound",
            "UnboundedIndexRangeDecode",
            "UnboundedIndexRangeEncode",
            "Y4MDataset",
        ],
    },
    Row { package: package("horovod"), prefixes: &["Horovod"], names: &[] },
    Row {
        package: noted("nvidia-dali-tf-plugin", "the name ends with the version of CUDA, as in -cuda120"),
        prefixes: &["DALIDataset"],
        names: &["Dali"],
    },
    Row {
        package: noted("tensorflow", "a build for Linux with GPUs and TensorRT, before 2.18"),
        prefixes: &["TRTEngine", "CreateTRTResourceHandle", "InitializeTRTResource", "SerializeTRTResource"],
        names: &["GetCalibrationDataOp"],
    },
    Row {
        package: noted(
            "tensorflow",
            "and load its op library, lite/experimental/microfrontend/python/ops/_audio_microfrontend_op.so",
        ),
        prefixes: &[],
        names: &["AudioMicrofrontend"],
    },
    Row {
        package: noted("tensorflow", "up to 1.15: it was part of tf.contrib"),
        prefixes: &[],
        names: &[
            "GatherTree",
            "GradientTreesPrediction",
            "ImageProjectiveTransform",
            "PeriodicResample",
            "Resampler",
            "SparseFeatureCross",
            "SparseFeatureCrossV2",
            "TreePredictionsV4",
        ],
    },
    Row {
        package: noted("intel-tensorflow", "a build with MKL; the graph was optimised for it"),
        prefixes: &["_Mkl"],
        names: &[],
    },
];

/// The package that usually provides an op which TensorFlow does not have; `None` if unknown.
#[must_use]
pub fn usual_package(op: &str) -> Option<OpPackage> {
    let fits = |row: &&Row| row.names.contains(&op) || row.prefixes.iter().any(|prefix| op.starts_with(prefix));
    PACKAGES.iter().find(fits).map(|row| row.package)
}

/// Ops that TensorFlow still registers but can no longer run, with the last release that could.
///
/// The wheels of 2.8.4 have the kernels of the boosted trees and those of 2.9.3 do not.
const REMOVED_KERNELS: &[(&str, &str)] = &[("BoostedTrees", "2.8")];

/// The last TensorFlow with a kernel for an op that later ones register without a kernel; `None` if unknown.
#[must_use]
pub fn last_tensorflow_with_kernel(op: &str) -> Option<&'static str> {
    REMOVED_KERNELS.iter().find(|(prefix, _)| op.starts_with(prefix)).map(|(_, version)| *version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::is_known_op;

    #[test]
    fn ops_have_packages() {
        let name = |op| usual_package(op).map(|package| package.name);
        assert_eq!(name("TFText>WhitespaceTokenizeWithOffsetsV2"), Some("tensorflow-text"));
        assert_eq!(name("SentencepieceTokenizeOp"), Some("tensorflow-text"));
        assert_eq!(name("WordpieceTokenizeWithOffsets"), Some("tensorflow-text"));
        assert_eq!(name("SentencepieceEncodeSparse"), Some("tf-sentencepiece"));
        assert_eq!(name("SentencepieceIdToStringOp"), Some("tensorflow-text"));
        assert_eq!(name("DecodeProtoMapV2"), Some("struct2tensor"));
        assert_eq!(name("RunLengthBefore"), Some("struct2tensor"));
        assert_eq!(name("RunLengthGammaDecode"), Some("tensorflow-compression"));
        assert_eq!(name("SimpleMLInferenceOpWithHandle"), Some("ydf-tf"));
        assert_eq!(name("Addons>CorrelationCost"), Some("tensorflow-addons"));
        assert_eq!(name("IO>DecodeAvroV"), Some("tensorflow-io"));
        assert_eq!(name("DecodeProtoSparseV4"), Some("struct2tensor"));
        assert_eq!(name("EntropyEncodeChannel"), Some("tensorflow-compression"));
        assert_eq!(name("HorovodAllreduce"), Some("horovod"));
        assert_eq!(name("DALIDatasetV2"), Some("nvidia-dali-tf-plugin"));
        assert_eq!(name("TRTEngineOp"), Some("tensorflow"));
        assert_eq!(name("_MklConv2D"), Some("intel-tensorflow"));
        assert!(usual_package("GatherTree").unwrap().note.unwrap().contains("tf.contrib"));
        assert_eq!(name("MyOp"), None);
    }

    #[test]
    fn packages_have_no_op_of_tensorflow() {
        // Prefixes may match ops of TensorFlow, which are never looked up.
        for row in PACKAGES {
            assert!(row.names.iter().all(|name| !is_known_op(name)), "{}", row.package.name);
        }
        assert!(is_known_op("BoostedTreesBucketize"));
        assert_eq!(last_tensorflow_with_kernel("BoostedTreesBucketize"), Some("2.8"));
        assert_eq!(last_tensorflow_with_kernel("MatMul"), None);
    }
}
