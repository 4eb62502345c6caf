//! The effects of TensorFlow's ops besides computing.
//!
//! The table comes from a review of every op of TensorFlow [`OPS_VERSION`](crate::ops::OPS_VERSION). It has the ops
//! whose kernels (`tensorflow/core/kernels/`, `…/kernels/data/`, `…/kernels/summary_kernels.cc`,
//! `…/distributed_runtime/rpc_ops.cc`) use a text as the name of a file or the address of a machine, and those that run
//! something other than a graph. An op that is not in the table only computes. Ops that need a TPU are left out: they
//! have no kernel in a process without one.

use Effect::{
    Address, Cache, Debugger, Descriptor, Doubtful, Graph, Log, Notable, Python, Read, Restore, Save, Setting,
    SummaryWriter, Write,
};
use NameSource::{Attr, Input, Inputs, Nowhere};

/// What an op does outside its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It reads files, unless the name is empty.
    Read,
    /// It creates, replaces or deletes files.
    Write,
    /// It reads a checkpoint, as the saver does.
    Restore,
    /// It writes a checkpoint, as the saver does.
    Save,
    /// It writes files unless the name is empty.
    Cache,
    /// It prints, or appends to a file if its stream is `file://…`.
    Log,
    /// It sends tensors to the URLs that an attribute lists: `file://…` or `grpc://…`.
    Debugger,
    /// It reads a file of protobuf descriptors unless the attribute says `local://` or `bytes://…`.
    Descriptor,
    /// It opens a socket.
    Address,
    /// It calls Python.
    Python,
    /// It runs a graph that is the value of a tensor.
    Graph,
    /// It changes how the whole process reaches files.
    Setting,
    /// It creates event files.
    SummaryWriter,
    /// It does nothing harmful outside the process, but is worth knowing.
    Notable,
    /// It may end the process, or do something that the graph does not show.
    Doubtful,
}

/// Where an op finds the name of what it reads, writes or calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameSource {
    Input(usize),
    Inputs(&'static [usize]),
    Attr(&'static str),
    /// At run time, from a queue or a resource.
    Nowhere,
}

/// An op and its effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpEffect {
    pub(crate) op: &'static str,
    pub(crate) effect: Effect,
    pub(crate) name: NameSource,
    /// A description: the end of a sentence that begins with the op's name.
    pub(crate) does: &'static str,
}

/// The effect of an op; `None` if it only computes or belongs to a library.
pub(crate) fn effect(op: &str) -> Option<&'static OpEffect> {
    TABLE.binary_search_by(|entry| entry.op.cmp(op)).ok().map(|index| &TABLE[index])
}

macro_rules! table {
    ($($op:ident $effect:expr, $name:expr, $does:literal;)*) => {
        /// Sorted by name.
        pub(crate) static TABLE: &[OpEffect] =
            &[$(OpEffect { op: stringify!($op), effect: $effect, name: $name, does: $does }),*];
    };
}

table! {
    Abort Doubtful, Nowhere, "ends the process";
    Assert Notable, Nowhere, "may fail, with tensors in its message";
    CSVDataset Read, Input(0), "reads a file";
    CSVDatasetV2 Read, Input(0), "reads a file";
    CacheDataset Cache, Input(1), "writes a file and reads it again";
    CacheDatasetV2 Cache, Input(1), "writes a file and reads it again";
    CalibrationStatisticsSaver Write, Attr("output_file_path"), "writes a file";
    CollectiveAllToAllV2 Notable, Nowhere, "sends tensors to other devices";
    CollectiveAllToAllV3 Notable, Nowhere, "sends tensors to other devices";
    CollectiveBcastRecv Notable, Nowhere, "receives tensors from other devices";
    CollectiveBcastRecvV2 Notable, Nowhere, "receives tensors from other devices";
    CollectiveBcastSend Notable, Nowhere, "sends tensors to other devices";
    CollectiveBcastSendV2 Notable, Nowhere, "sends tensors to other devices";
    CollectiveGather Notable, Nowhere, "sends tensors to other devices";
    CollectiveGatherV2 Notable, Nowhere, "sends tensors to other devices";
    CollectiveInitializeCommunicator Notable, Nowhere, "sends tensors to other devices";
    CollectivePermute Notable, Nowhere, "sends tensors to other devices";
    CollectiveReduce Notable, Nowhere, "sends tensors to other devices";
    CollectiveReduceScatterV2 Notable, Nowhere, "sends tensors to other devices";
    CollectiveReduceV2 Notable, Nowhere, "sends tensors to other devices";
    CollectiveReduceV3 Notable, Nowhere, "sends tensors to other devices";
    Copy Debugger, Attr("debug_ops_spec"), "is TensorFlow's debugger";
    CopyHost Debugger, Attr("debug_ops_spec"), "is TensorFlow's debugger";
    CreateSummaryDbWriter SummaryWriter, Input(1), "creates a database of events";
    CreateSummaryFileWriter SummaryWriter, Input(1), "creates a file of events in a folder";
    DTensorRestoreV2 Restore, Input(0), "reads a checkpoint";
    DataServiceDataset Address, Input(2), "opens a socket to a data service";
    DataServiceDatasetV2 Address, Input(2), "opens a socket to a data service";
    DataServiceDatasetV3 Address, Input(2), "opens a socket to a data service";
    DataServiceDatasetV4 Address, Input(2), "opens a socket to a data service";
    DatasetFromGraph Graph, Nowhere, "runs a graph that is the value of a tensor";
    DatasetToTFRecord Write, Input(1), "writes a file";
    DebugIdentity Debugger, Attr("debug_urls"), "is TensorFlow's debugger";
    DebugIdentityV2 Debugger, Attr("debug_urls"), "is TensorFlow's debugger";
    DebugIdentityV3 Debugger, Attr("debug_urls"), "is TensorFlow's debugger";
    DebugNanCount Debugger, Attr("debug_urls"), "is TensorFlow's debugger";
    DebugNumericSummary Debugger, Attr("debug_urls"), "is TensorFlow's debugger";
    DecodeProtoV2 Descriptor, Attr("descriptor_source"), "reads a file";
    DeserializeIterator Doubtful, Nowhere, "restores the state of a data pipeline, which is not inspected";
    DistributedSave Address, Input(2), "makes a data service write files";
    DumpTensor Write, Attr("log_dir_path"), "writes files to a folder";
    EagerPyFunc Python, Nowhere, "calls Python";
    EncodeProto Descriptor, Attr("descriptor_source"), "reads a file";
    ExperimentalCSVDataset Read, Input(0), "reads a file";
    ExperimentalDatasetToTFRecord Write, Input(1), "writes a file";
    ExperimentalLMDBDataset Read, Input(0), "reads a file";
    ExperimentalMatchingFilesDataset Read, Input(0), "lists files";
    ExperimentalSleepDataset Notable, Nowhere, "waits";
    ExperimentalSqlDataset Read, Input(1), "reads a database";
    FileSystemSetConfiguration Setting, Nowhere, "changes how the process reaches a file system";
    FixedLengthRecordDataset Read, Input(0), "reads a file";
    FixedLengthRecordDatasetV2 Read, Input(0), "reads a file";
    FixedLengthRecordReader Read, Nowhere, "reads files";
    FixedLengthRecordReaderV2 Read, Nowhere, "reads files";
    FixedUnigramCandidateSampler Read, Attr("vocab_file"), "reads a file";
    FlushSummaryWriter Notable, Nowhere, "writes to a file of events";
    GenerateVocabRemapping Read, Inputs(&[0, 1]), "reads a file";
    ImmutableConst Read, Attr("memory_region_name"), "reads a file";
    ImportEvent Doubtful, Nowhere, "writes to a file of events";
    InitializeTableFromTextFile Read, Input(1), "reads a file";
    InitializeTableFromTextFileV2 Read, Input(1), "reads a file";
    LMDBDataset Read, Input(0), "reads a file";
    LMDBReader Read, Nowhere, "reads files";
    ListSnapshotChunksDataset Read, Input(0), "reads a folder";
    LoadAndRemapMatrix Read, Input(0), "reads a checkpoint";
    LoadDataset Read, Input(0), "reads a folder";
    MatchingFiles Read, Input(0), "lists files";
    MatchingFilesDataset Read, Input(0), "lists files";
    MergeV2Checkpoints Save, Inputs(&[0, 1]), "moves and deletes checkpoints";
    MlirPassthroughOp Doubtful, Nowhere, "runs a program that is not inspected";
    Print Notable, Nowhere, "prints tensors";
    PrintV2 Log, Attr("output_stream"), "prints tensors";
    PyFunc Python, Nowhere, "calls Python";
    PyFuncStateless Python, Nowhere, "calls Python";
    ReadFile Read, Input(0), "reads a file";
    RecordInput Read, Attr("file_pattern"), "reads files";
    Recv Doubtful, Nowhere, "receives a tensor from a device, which may be on another machine";
    RegisterDataset Address, Input(1), "opens a socket to a data service";
    RegisterDatasetV2 Address, Input(1), "opens a socket to a data service";
    RemoteCall Doubtful, Nowhere, "calls a function on a device, which may be on another machine";
    Restore Restore, Input(0), "reads a checkpoint";
    RestoreSlice Restore, Input(0), "reads a checkpoint";
    RestoreV2 Restore, Input(0), "reads a checkpoint";
    RpcCall Address, Nowhere, "calls another process";
    RpcClient Address, Input(0), "opens a socket";
    RpcServer Address, Input(0), "listens on a socket";
    RpcServerStart Address, Nowhere, "listens on a socket";
    Save Save, Input(0), "writes a checkpoint";
    SaveDataset Write, Input(1), "writes a folder";
    SaveDatasetV2 Write, Input(1), "writes a folder";
    SaveSlices Save, Input(0), "writes a checkpoint";
    SaveV2 Save, Input(0), "writes a checkpoint";
    Send Doubtful, Nowhere, "sends a tensor to a device, which may be on another machine";
    Skipgram Read, Attr("filename"), "reads a file";
    SleepDataset Notable, Nowhere, "waits";
    SnapshotChunkDataset Read, Input(0), "reads a file";
    SnapshotDataset Write, Input(1), "writes a folder and reads it again";
    SnapshotDatasetReader Read, Input(0), "reads a folder";
    SnapshotDatasetV2 Write, Input(1), "writes a folder and reads it again";
    SqlDataset Read, Input(1), "reads a database";
    StatsAggregatorSetSummaryWriter Doubtful, Nowhere, "writes to a file of events";
    TFRecordDataset Read, Input(0), "reads a file";
    TFRecordDatasetV2 Read, Input(0), "reads a file";
    TFRecordReader Read, Nowhere, "reads files";
    TFRecordReaderV2 Read, Nowhere, "reads files";
    TextLineDataset Read, Input(0), "reads a file";
    TextLineReader Read, Nowhere, "reads files";
    TextLineReaderV2 Read, Nowhere, "reads files";
    WholeFileReader Read, Nowhere, "reads files";
    WholeFileReaderV2 Read, Nowhere, "reads files";
    WorkerHeartbeat Doubtful, Nowhere, "may end the process";
    WriteAudioSummary Doubtful, Nowhere, "writes to a file of events";
    WriteFile Write, Input(0), "writes a file";
    WriteGraphSummary Doubtful, Nowhere, "writes to a file of events";
    WriteHistogramSummary Doubtful, Nowhere, "writes to a file of events";
    WriteImageSummary Doubtful, Nowhere, "writes to a file of events";
    WriteRawProtoSummary Doubtful, Nowhere, "writes to a file of events";
    WriteScalarSummary Doubtful, Nowhere, "writes to a file of events";
    WriteSummary Doubtful, Nowhere, "writes to a file of events";
    XlaCallModule Doubtful, Nowhere, "runs a program that is not inspected";
    XlaCustomCall Doubtful, Nowhere, "runs a program that is not inspected";
    XlaCustomCallV2 Doubtful, Nowhere, "runs a program that is not inspected";
    _HostRecv Doubtful, Nowhere, "receives a tensor from a device, which may be on another machine";
    _HostSend Doubtful, Nowhere, "sends a tensor to a device, which may be on another machine";
    _Recv Doubtful, Nowhere, "receives a tensor from a device, which may be on another machine";
    _Send Doubtful, Nowhere, "sends a tensor to a device, which may be on another machine";
}

/// Whether an op runs Python code: its kernel is in Python's TensorFlow, and the code in the process that made the
/// graph.
pub fn runs_python(op: &str) -> bool {
    effect(op).is_some_and(|entry| entry.effect == Effect::Python)
}

/// Whether the purpose of an op is to read files other than checkpoints.
pub(crate) fn reads_files(op: &str) -> bool {
    effect(op).is_some_and(|entry| entry.effect == Effect::Read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{is_known_op, names};

    #[test]
    fn table_is_sorted_and_known_to_tensorflow() {
        assert!(TABLE.windows(2).all(|pair| pair[0].op < pair[1].op));
        for entry in TABLE {
            assert!(is_known_op(entry.op), "{}", entry.op);
        }
        assert_eq!(effect("ReadFile").map(|entry| entry.name), Some(Input(0)));
        assert!(effect("MatMul").is_none());
    }

    /// Ops whose names suggest an effect. This fails when a newer TensorFlow adds some.
    #[test]
    fn ops_with_suggestive_names_are_in_the_table() {
        let words =
            ["File", "Reader", "Save", "Restore", "Checkpoint", "Rpc", "PyFunc", "Sql", "LMDB", "Record", "Snapshot"];
        // They make names of files, or read what another op of the table opened, or neither.
        let computes = [
            "IdentityReader",
            "IdentityReaderV2",
            "ReaderNumRecordsProduced",
            "ReaderNumRecordsProducedV2",
            "ReaderNumWorkUnitsCompleted",
            "ReaderNumWorkUnitsCompletedV2",
            "ReaderRead",
            "ReaderReadUpTo",
            "ReaderReadUpToV2",
            "ReaderReadV2",
            "ReaderReset",
            "ReaderResetV2",
            "ReaderRestoreState",
            "ReaderRestoreStateV2",
            "ReaderSerializeState",
            "ReaderSerializeStateV2",
            "RpcCheckStatus",
            "RpcGetValue",
            "RpcServerRegister",
            "DeleteRpcFutureResource",
            "ShardedFilename",
            "ShardedFilespec",
            "Snapshot",
            "SnapshotNestedDatasetReader",
        ];
        let suggestive = |op: &&str| words.iter().any(|word| op.contains(word)) && !computes.contains(op);
        let missing: Vec<&str> = names().filter(suggestive).filter(|op| effect(op).is_none()).collect();
        assert_eq!(missing, [""; 0]);
    }
}
