//! The messages inside a `SavedModel`, as a table: what the walk in `limits.rs` needs to know of them.
//!
//! It is written by hand, because asking protobuf's descriptors at run time would cost more than opening a model does.
//! A test compares it with them, field by field.

use std::mem::size_of;

use tf_persist_proto::protobuf::well_known_types::any::Any;
use tf_persist_proto::tensorflow as pb;

/// The type of a field, which determines its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// An integer, bool or enum.
    Int,
    /// A number of 4 bytes.
    Float,
    /// A number of 8 bytes.
    Double,
    /// Bytes that stay where they are, shared with the file.
    Bytes,
    /// Bytes that are copied.
    Copied,
    /// A string.
    Text,
    /// Strings.
    Texts,
    /// Byte strings that stay where they are.
    Blobs,
    /// Numbers of one to ten bytes each on disk, and of this size in memory.
    Varints(u8),
    /// Numbers of this size, on disk and in memory.
    Fixed(u8),
    /// A message in memory of its own.
    Boxed(Kind),
    /// A message inside its parent: of a `oneof`, or the value of a map.
    Inline(Kind),
    /// Messages.
    Many(Kind),
    /// Entries of a map.
    Map(Kind),
}

/// A kind of message.
pub(super) struct Message {
    /// The bytes it takes in memory, without what its fields point to.
    pub(super) size: usize,
    /// Its fields, by number.
    pub(super) fields: &'static [(u32, Field)],
}

macro_rules! schema {
    ($($kind:ident = $type:ty { $($number:literal $field:ident $(($argument:tt))?),* $(,)? })+) => {
        /// The kinds of messages; entries of maps are messages too.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(super) enum Kind { $($kind),+ }

        /// Every kind, in the order of the enum.
        pub(super) static MESSAGES: &[Message] = &[$(Message {
            size: size_of::<$type>(),
            fields: &[$(($number, schema!(@ $field $($argument)?))),*],
        }),+];
    };
    (@ Int) => { Field::Int };
    (@ Float) => { Field::Float };
    (@ Double) => { Field::Double };
    (@ Bytes) => { Field::Bytes };
    (@ Copied) => { Field::Copied };
    (@ Text) => { Field::Text };
    (@ Texts) => { Field::Texts };
    (@ Blobs) => { Field::Blobs };
    (@ Varints $size:literal) => { Field::Varints($size) };
    (@ Fixed $size:literal) => { Field::Fixed($size) };
    (@ $field:ident $kind:ident) => { Field::$field(Kind::$kind) };
}

impl Kind {
    pub(super) fn message(self) -> &'static Message {
        &MESSAGES[self as usize]
    }

    /// What a field of this number holds; `None` if the schema does not know it.
    pub(super) fn field(self, number: u32) -> Option<Field> {
        self.message().fields.iter().find(|(known, _)| *known == number).map(|(_, field)| *field)
    }
}

schema! {
    // The model and its meta graphs.
    SavedModel = pb::SavedModel { 1 Int, 2 Many(MetaGraphDef) }
    MetaGraphDef = pb::MetaGraphDef {
        1 Boxed(MetaInfoDef), 2 Boxed(GraphDef), 3 Boxed(SaverDef), 4 Map(TextToCollection), 5 Map(TextToSignature),
        6 Many(AssetFileDef), 7 Boxed(SavedObjectGraph),
    }
    MetaInfoDef = pb::meta_graph::meta_graph_def::MetaInfoDef {
        1 Text, 2 Boxed(OpList), 3 Boxed(Any), 4 Texts, 5 Text, 6 Text, 7 Int, 8 Map(TextToText),
    }
    SaverDef = pb::SaverDef { 1 Text, 2 Text, 3 Text, 4 Int, 5 Int, 6 Float, 7 Int }
    CollectionDef = pb::CollectionDef {
        1 Inline(NodeList), 2 Inline(BytesList), 3 Inline(Int64List), 4 Inline(FloatList), 5 Inline(AnyList),
    }
    NodeList = pb::meta_graph::collection_def::NodeList { 1 Texts }
    BytesList = pb::meta_graph::collection_def::BytesList { 1 Blobs }
    Int64List = pb::meta_graph::collection_def::Int64List { 1 Varints(8) }
    FloatList = pb::meta_graph::collection_def::FloatList { 1 Fixed(4) }
    AnyList = pb::meta_graph::collection_def::AnyList { 1 Many(Any) }
    Any = Any { 1 Text, 2 Copied }
    SignatureDef = pb::SignatureDef { 1 Map(TextToTensorInfo), 2 Map(TextToTensorInfo), 3 Text, 4 Map(TextToTensor) }
    TensorInfo = pb::TensorInfo {
        1 Text, 2 Int, 3 Boxed(TensorShapeProto), 4 Inline(CooSparse), 5 Inline(CompositeTensor),
    }
    CooSparse = pb::meta_graph::tensor_info::CooSparse { 1 Text, 2 Text, 3 Text }
    CompositeTensor = pb::meta_graph::tensor_info::CompositeTensor { 1 Boxed(TypeSpecProto), 2 Many(TensorInfo) }
    AssetFileDef = pb::AssetFileDef { 1 Boxed(TensorInfo), 2 Text }

    // Graphs.
    GraphDef = pb::GraphDef {
        1 Many(NodeDef), 2 Boxed(FunctionDefLibrary), 3 Int, 4 Boxed(VersionDef), 5 Boxed(GraphDebugInfo),
    }
    NodeDef = pb::NodeDef {
        1 Text, 2 Text, 3 Texts, 4 Text, 5 Map(TextToAttr), 6 Boxed(ExperimentalDebugInfo), 7 Boxed(FullTypeDef),
    }
    ExperimentalDebugInfo = pb::node_def::node_def::ExperimentalDebugInfo { 1 Texts, 2 Texts }
    FullTypeDef = pb::FullTypeDef { 1 Int, 2 Many(FullTypeDef), 3 Text, 4 Int }
    AttrValue = pb::AttrValue {
        1 Inline(AttrList), 2 Bytes, 3 Int, 4 Float, 5 Int, 6 Int, 7 Inline(TensorShapeProto),
        8 Inline(TensorProto), 9 Text, 10 Inline(NameAttrList),
    }
    AttrList = pb::attr_value::attr_value::ListValue {
        2 Blobs, 3 Varints(8), 4 Fixed(4), 5 Varints(1), 6 Varints(4), 7 Many(TensorShapeProto), 8 Many(TensorProto),
        9 Many(NameAttrList),
    }
    NameAttrList = pb::NameAttrList { 1 Text, 2 Map(TextToAttr) }
    VersionDef = pb::VersionDef { 1 Int, 2 Int, 3 Varints(4) }
    FunctionDefLibrary = pb::FunctionDefLibrary { 1 Many(FunctionDef), 2 Many(GradientDef), 3 Many(RegisteredGradient) }
    FunctionDef = pb::FunctionDef {
        1 Boxed(OpDef), 3 Many(NodeDef), 4 Map(TextToText), 5 Map(TextToAttr), 6 Map(TextToText), 7 Map(NumberToArgAttrs),
        8 Map(NumberToNumber),
    }
    ArgAttrs = pb::function::function_def::ArgAttrs { 1 Map(TextToAttr) }
    GradientDef = pb::GradientDef { 1 Text, 2 Text }
    RegisteredGradient = pb::RegisteredGradient { 1 Text, 2 Text }
    OpList = pb::OpList { 1 Many(OpDef) }
    OpDef = pb::OpDef {
        1 Text, 2 Many(ArgDef), 3 Many(ArgDef), 4 Many(AttrDef), 5 Text, 6 Text, 8 Boxed(OpDeprecation), 16 Int,
        17 Int, 18 Int, 19 Int, 20 Texts, 21 Int,
    }
    ArgDef = pb::op_def::op_def::ArgDef {
        1 Text, 2 Text, 3 Int, 4 Text, 5 Text, 6 Text, 7 Many(DtypeAndShape), 16 Int, 17 Boxed(FullTypeDef),
    }
    AttrDef = pb::op_def::op_def::AttrDef {
        1 Text, 2 Text, 3 Boxed(AttrValue), 4 Text, 5 Int, 6 Int, 7 Boxed(AttrValue),
    }
    OpDeprecation = pb::OpDeprecation { 1 Int, 2 Text }
    GraphDebugInfo = pb::GraphDebugInfo {
        1 Texts, 2 Map(TextToStackTrace), 4 Map(NumberToFileLine), 5 Map(TextToNumber), 6 Map(NumberToStackTrace),
    }
    FileLineCol = pb::graph_debug_info::graph_debug_info::FileLineCol { 1 Int, 2 Int, 3 Int, 4 Text, 5 Text }
    StackTrace = pb::graph_debug_info::graph_debug_info::StackTrace { 1 Many(FileLineCol), 2 Fixed(8) }

    // Tensors.
    TensorProto = pb::TensorProto {
        1 Int, 2 Boxed(TensorShapeProto), 3 Int, 4 Bytes, 5 Fixed(4), 6 Fixed(8), 7 Varints(4), 8 Blobs, 9 Fixed(4),
        10 Varints(8), 11 Varints(1), 12 Fixed(8), 13 Varints(4), 14 Many(ResourceHandleProto),
        15 Many(VariantTensorDataProto), 16 Varints(4), 17 Varints(8), 18 Bytes,
    }
    TensorShapeProto = pb::TensorShapeProto { 2 Many(Dim), 3 Int }
    Dim = pb::tensor_shape::tensor_shape_proto::Dim { 1 Int, 2 Text }
    ResourceHandleProto = pb::ResourceHandleProto { 1 Text, 2 Text, 3 Text, 4 Int, 5 Text, 6 Many(DtypeAndShape) }
    DtypeAndShape = pb::resource_handle::resource_handle_proto::DtypeAndShape { 1 Int, 2 Boxed(TensorShapeProto) }
    VariantTensorDataProto = pb::VariantTensorDataProto { 1 Text, 2 Bytes, 3 Many(TensorProto) }

    // The object graph.
    SavedObjectGraph = pb::SavedObjectGraph { 1 Many(SavedObject), 2 Map(TextToConcreteFunction) }
    SavedObject = pb::SavedObject {
        1 Many(ObjectReference), 3 Many(SlotVariableReference), 4 Inline(SavedUserObject), 5 Inline(SavedAsset),
        6 Inline(SavedFunction), 7 Inline(SavedVariable), 8 Inline(SavedBareConcreteFunction), 9 Inline(SavedConstant),
        10 Inline(SavedResource), 11 Map(TextToSaveableObject), 12 Inline(CapturedTensor), 13 Text, 14 Boxed(Any),
        15 Many(ObjectReference), 16 Text,
    }
    ObjectReference = pb::trackable_object_graph::trackable_object_graph::trackable_object::ObjectReference {
        1 Int, 2 Text,
    }
    SlotVariableReference = pb::trackable_object_graph::trackable_object_graph::trackable_object::SlotVariableReference {
        1 Int, 2 Text, 3 Int,
    }
    SavedUserObject = pb::SavedUserObject { 1 Text, 2 Boxed(VersionDef), 3 Text }
    SavedAsset = pb::SavedAsset { 1 Int }
    SavedFunction = pb::SavedFunction { 1 Texts, 2 Boxed(FunctionSpec) }
    SavedVariable = pb::SavedVariable {
        1 Int, 2 Boxed(TensorShapeProto), 3 Int, 4 Int, 5 Int, 6 Text, 7 Text, 8 Many(SavedVariable),
    }
    SavedBareConcreteFunction = pb::SavedBareConcreteFunction { 1 Text, 2 Texts, 3 Int, 4 Boxed(FunctionSpec) }
    SavedConstant = pb::SavedConstant { 1 Text }
    SavedResource = pb::SavedResource { 1 Text }
    CapturedTensor = pb::CapturedTensor { 1 Text, 2 Text }
    SaveableObject = pb::SaveableObject { 2 Int, 3 Int }
    SavedConcreteFunction = pb::SavedConcreteFunction { 2 Varints(4), 3 Boxed(StructuredValue), 4 Boxed(StructuredValue) }
    FunctionSpec = pb::FunctionSpec { 1 Boxed(StructuredValue), 2 Int, 5 Boxed(StructuredValue), 6 Int }
    StructuredValue = pb::StructuredValue {
        1 Inline(NoneValue), 11 Double, 12 Int, 13 Text, 14 Int, 31 Inline(TensorShapeProto), 32 Int,
        33 Inline(TensorSpecProto), 34 Inline(TypeSpecProto), 35 Inline(BoundedTensorSpecProto), 51 Inline(ListValue),
        52 Inline(TupleValue), 53 Inline(DictValue), 54 Inline(NamedTupleValue), 55 Inline(TensorProto),
        56 Inline(TensorProto),
    }
    NoneValue = pb::NoneValue {}
    ListValue = pb::ListValue { 1 Many(StructuredValue) }
    TupleValue = pb::TupleValue { 1 Many(StructuredValue) }
    DictValue = pb::DictValue { 1 Map(TextToStructuredValue) }
    NamedTupleValue = pb::NamedTupleValue { 1 Text, 2 Many(PairValue) }
    PairValue = pb::PairValue { 1 Text, 2 Boxed(StructuredValue) }
    TensorSpecProto = pb::TensorSpecProto { 1 Text, 2 Boxed(TensorShapeProto), 3 Int }
    BoundedTensorSpecProto = pb::BoundedTensorSpecProto {
        1 Text, 2 Boxed(TensorShapeProto), 3 Int, 4 Boxed(TensorProto), 5 Boxed(TensorProto),
    }
    TypeSpecProto = pb::TypeSpecProto { 1 Int, 2 Boxed(StructuredValue), 3 Text, 4 Int }

    // Entries of maps: 1 is the key, 2 the value.
    TextToAttr = (String, pb::AttrValue) { 1 Text, 2 Inline(AttrValue) }
    TextToCollection = (String, pb::CollectionDef) { 1 Text, 2 Inline(CollectionDef) }
    TextToConcreteFunction = (String, pb::SavedConcreteFunction) { 1 Text, 2 Inline(SavedConcreteFunction) }
    TextToNumber = (String, u64) { 1 Text, 2 Double }
    TextToSaveableObject = (String, pb::SaveableObject) { 1 Text, 2 Inline(SaveableObject) }
    TextToSignature = (String, pb::SignatureDef) { 1 Text, 2 Inline(SignatureDef) }
    TextToStackTrace = (String, pb::graph_debug_info::graph_debug_info::StackTrace) { 1 Text, 2 Inline(StackTrace) }
    TextToStructuredValue = (String, pb::StructuredValue) { 1 Text, 2 Inline(StructuredValue) }
    TextToTensor = (String, pb::TensorProto) { 1 Text, 2 Inline(TensorProto) }
    TextToTensorInfo = (String, pb::TensorInfo) { 1 Text, 2 Inline(TensorInfo) }
    TextToText = (String, String) { 1 Text, 2 Text }
    NumberToArgAttrs = (u32, pb::function::function_def::ArgAttrs) { 1 Int, 2 Inline(ArgAttrs) }
    NumberToFileLine = (u64, pb::graph_debug_info::graph_debug_info::FileLineCol) { 1 Double, 2 Inline(FileLineCol) }
    NumberToNumber = (u32, u32) { 1 Int, 2 Int }
    NumberToStackTrace = (u64, pb::graph_debug_info::graph_debug_info::StackTrace) { 1 Double, 2 Inline(StackTrace) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tf_persist_proto::protobuf::MessageFull;
    use tf_persist_proto::protobuf::descriptor::field_descriptor_proto::Type;
    use tf_persist_proto::protobuf::reflect::{MessageDescriptor, RuntimeFieldType, RuntimeType};

    use super::*;

    /// What the descriptor says of one value, with the kind that our table has for a message.
    fn value(of: &RuntimeType, number: u32, kind: Kind, inline: bool, seen: &mut HashSet<Kind>) -> Field {
        let fixed = [Kind::TextToNumber, Kind::NumberToFileLine, Kind::NumberToStackTrace];
        match of {
            RuntimeType::Message(message) => {
                let (Field::Boxed(child) | Field::Inline(child) | Field::Many(child)) = kind.field(number).unwrap()
                else {
                    panic!("{kind:?}.{number} is a {}", message.full_name())
                };
                compare(child, message, seen);
                if inline { Field::Inline(child) } else { Field::Boxed(child) }
            }
            RuntimeType::String => Field::Text,
            RuntimeType::VecU8 if kind == Kind::Any => Field::Copied,
            RuntimeType::VecU8 => Field::Bytes,
            RuntimeType::F32 => Field::Float,
            RuntimeType::F64 => Field::Double,
            // The one unsigned 64-bit type of these maps is `fixed64`.
            RuntimeType::U64 if fixed.contains(&kind) => Field::Double,
            _ => Field::Int,
        }
    }

    fn compare(kind: Kind, descriptor: &MessageDescriptor, seen: &mut HashSet<Kind>) {
        let compared = format!("{kind:?} and {}", descriptor.full_name());
        if !seen.insert(kind) {
            return;
        }
        let name = if kind == Kind::AttrList { "AttrValue.ListValue".to_owned() } else { format!(".{kind:?}") };
        assert!(descriptor.full_name().ends_with(&name), "{compared}");
        assert_eq!(kind.message().fields.len(), descriptor.fields().count(), "{compared}");
        for field in descriptor.fields() {
            let number = field.proto().number() as u32;
            let expected = match field.runtime_field_type() {
                RuntimeFieldType::Singular(of) => value(&of, number, kind, field.containing_oneof().is_some(), seen),
                RuntimeFieldType::Repeated(of @ RuntimeType::Message(_)) => {
                    let Field::Boxed(child) = value(&of, number, kind, false, seen) else { panic!("{compared}") };
                    Field::Many(child)
                }
                RuntimeFieldType::Repeated(_) => match field.proto().type_() {
                    Type::TYPE_STRING => Field::Texts,
                    Type::TYPE_BYTES => Field::Blobs,
                    Type::TYPE_FLOAT => Field::Fixed(4),
                    Type::TYPE_DOUBLE | Type::TYPE_FIXED64 => Field::Fixed(8),
                    Type::TYPE_INT32 | Type::TYPE_UINT32 | Type::TYPE_ENUM => Field::Varints(4),
                    Type::TYPE_INT64 | Type::TYPE_UINT64 => Field::Varints(8),
                    Type::TYPE_BOOL => Field::Varints(1),
                    other => panic!("{compared}: {other:?}"),
                },
                RuntimeFieldType::Map(key, of) => {
                    let Some(Field::Map(entry)) = kind.field(number) else { panic!("{compared}.{number}") };
                    assert_eq!(entry.message().fields.len(), 2);
                    assert_eq!(entry.field(1), Some(value(&key, 1, entry, true, seen)), "{compared}.{number}");
                    assert_eq!(entry.field(2), Some(value(&of, 2, entry, true, seen)), "{compared}.{number}");
                    seen.insert(entry);
                    Field::Map(entry)
                }
            };
            assert_eq!(kind.field(number), Some(expected), "{compared}.{number}");
        }
    }

    #[test]
    fn the_table_is_what_the_descriptors_say() {
        let mut seen = HashSet::new();
        compare(Kind::SavedModel, &pb::SavedModel::descriptor(), &mut seen);
        assert_eq!(seen.len(), MESSAGES.len());
    }

    #[test]
    fn field_numbers_fit_the_mask_of_fields_seen() {
        assert!(MESSAGES.iter().flat_map(|message| message.fields).all(|(number, _)| *number < 64));
    }
}
