use proptest::prelude::*;
use tf_persist_proto::bytes::Bytes;
use tf_persist_proto::protobuf::{EnumOrUnknown, Message, MessageField};
use tf_persist_proto::tensorflow as pb;

use super::*;
use crate::tensor::Tensor;
use crate::tensor::proto::from_proto;

const LIMIT: usize = 1 << 20;

fn message(dtype: DType, dims: &[i64]) -> pb::TensorProto {
    let dim = |size: &i64| pb::tensor_shape::tensor_shape_proto::Dim { size: *size, ..Default::default() };
    let shape = pb::TensorShapeProto { dim: dims.iter().map(dim).collect(), ..Default::default() };
    pb::TensorProto {
        dtype: EnumOrUnknown::from_i32(dtype.number()),
        tensor_shape: MessageField::some(shape),
        ..Default::default()
    }
}

/// What both ways of decoding make of bytes: the tensor, or nothing.
fn both(bytes: &[u8]) -> (Option<Tensor>, Option<Tensor>) {
    let parsed = tf_persist_proto::parse::<pb::TensorProto>(&Bytes::copy_from_slice(bytes)).ok();
    (decode(bytes, LIMIT).ok(), parsed.and_then(|proto| from_proto(&proto, LIMIT).ok()))
}

#[test]
fn every_dtype_goes_there_and_back_in_both_forms() {
    for number in 0..=33 {
        let dtype = DType::from_number(number);
        if !dtype.is_supported() {
            assert!(decode(&message(dtype, &[2]).write_to_bytes().unwrap(), LIMIT).is_err());
            continue;
        }
        let tensors = [vec![], vec![3], vec![2, 0], vec![2, 150]].map(|shape: Vec<usize>| match dtype.size() {
            Some(size) => {
                let count = shape.iter().product::<usize>() * size;
                let bytes: Vec<u8> =
                    (0..count).map(|at| if dtype == DType::Bool { at % 2 } else { at * 37 } as u8).collect();
                Tensor::from_bytes(dtype, &shape, &bytes).unwrap()
            }
            None => {
                let count = shape.iter().product::<usize>();
                Tensor::from_strings(&shape, (0..count).map(|at| "ä\0".repeat(at))).unwrap()
            }
        });
        for tensor in tensors {
            for form in [Form::Fields, Form::Content] {
                let mut bytes = Vec::new();
                encode(&tensor, form, &mut bytes);
                assert_eq!(bytes.len(), encoded_len(&tensor, form), "{tensor:?} {form:?}");
                let (ours, theirs) = both(&bytes);
                assert_eq!(ours.as_ref(), Some(&tensor), "{form:?}");
                assert_eq!(theirs, Some(tensor.clone()), "{form:?}");
                let proto: pb::TensorProto = tf_persist_proto::parse(&bytes.into()).unwrap();
                assert_eq!(proto.tensor_content.is_empty(), form == Form::Fields || tensor.is_empty());
            }
        }
    }
}

#[test]
fn unpacked_values_and_several_pieces_are_one_list() {
    // float_val twice unpacked, then packed: 1, 2, 3.
    let mut bytes = message(DType::Float32, &[5]).write_to_bytes().unwrap();
    for value in [1.0_f32, 2.0] {
        bytes.push(5 << 3 | 5);
        bytes.extend(value.to_le_bytes());
    }
    put_head(5, 4, &mut bytes);
    bytes.extend(3.0_f32.to_le_bytes());
    let (ours, theirs) = both(&bytes);
    assert_eq!(ours.unwrap().view::<f32>().unwrap(), [1.0, 2.0, 3.0, 3.0, 3.0]);
    assert!(theirs.is_some());
    let mut bytes = message(DType::Int64, &[3]).write_to_bytes().unwrap();
    bytes.extend([10 << 3, 7, 10 << 3 | 2, 2, 8, 9]);
    assert_eq!(both(&bytes).0.unwrap().view::<i64>().unwrap(), [7, 8, 9]);
}

#[test]
fn refuses_what_cannot_be() {
    let reason = |proto: pb::TensorProto| decode(&proto.write_to_bytes().unwrap(), LIMIT).unwrap_err().to_string();
    assert!(
        reason(pb::TensorProto { float_val: vec![1.0], ..message(DType::Float32, &[1 << 40]) }).contains("its limit")
    );
    let text = pb::TensorProto { string_val: vec![Bytes::from_static(b"a")], ..message(DType::String, &[1 << 40]) };
    assert!(reason(text).contains("its limit"));
    assert!(reason(message(DType::Float32, &[1 << 40, 1 << 40])).contains("63 bits"));
    assert!(reason(message(DType::Float32, &[-1])).contains("not known"));
    assert!(reason(message(DType::Float32, &[1; 300])).contains("limit of 254"));
    assert!(reason(message(DType::Other(77), &[1])).contains("unknown dtype 77"));
    let mut unknown = message(DType::Float32, &[]);
    unknown.tensor_shape.mut_or_insert_default().unknown_rank = true;
    assert!(reason(unknown).contains("rank is not known"));
    let content = pb::TensorProto { tensor_content: Bytes::from_static(b"abc"), ..message(DType::Float32, &[1]) };
    assert!(reason(content).contains("4 bytes, 3 were given"));
    assert!(decode(&[5 << 3 | 2, 3, 0, 0, 0, 8, 1], LIMIT).unwrap_err().to_string().contains("end inside a number"));
    assert!(decode(&[0x80], LIMIT).is_err());
}

proptest! {
    #[test]
    fn what_the_message_gives_this_gives(
        dtype in 0..26_i32,
        dims in prop::collection::vec(-1_i64..4, 0..4),
        floats in prop::collection::vec(any::<f32>(), 0..6),
        ints in prop::collection::vec(any::<i32>(), 0..6),
        longs in prop::collection::vec(any::<i64>(), 0..6),
        strings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..6),
        content in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let proto = pb::TensorProto {
            float_val: floats.clone(),
            scomplex_val: floats.clone(),
            double_val: floats.iter().map(|value| f64::from(*value)).collect(),
            dcomplex_val: floats.iter().map(|value| f64::from(*value)).collect(),
            int_val: ints.clone(),
            half_val: ints.clone(),
            uint32_val: ints.iter().map(|value| value.cast_unsigned()).collect(),
            bool_val: ints.iter().map(|value| value % 2 == 0).collect(),
            int64_val: longs.clone(),
            uint64_val: longs.iter().map(|value| value.cast_unsigned()).collect(),
            string_val: strings.into_iter().map(Bytes::from).collect(),
            tensor_content: if content.len() > 6 { content.into() } else { Bytes::new() },
            ..message(DType::from_number(dtype), &dims)
        };
        let (ours, theirs) = both(&proto.write_to_bytes().unwrap());
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn noise_is_harmless(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&bytes, LIMIT);
    }
}
