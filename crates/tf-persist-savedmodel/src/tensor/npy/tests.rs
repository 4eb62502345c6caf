//! .npy arrays as numpy writes them, as we do, and malformed ones.

use std::io::{self, Read};

use half::{bf16, f16};
use num_complex::Complex;
use proptest::prelude::*;

use super::*;
use crate::error::Error;

/// A file of version 1.0 with this literal, padded as numpy does, and these data.
pub(in crate::tensor) fn file(literal: &str, data: &[u8]) -> Vec<u8> {
    let mut header = literal.to_owned();
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn array(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    file(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"), data)
}

fn read_array(bytes: &[u8]) -> Tensor {
    from_bytes("a.npy", bytes).unwrap()
}

/// The message of what must be refused.
fn refusal(bytes: &[u8]) -> String {
    from_bytes("a.npy", bytes).unwrap_err().to_string()
}

fn written(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = Vec::new();
    write("a.npy", &mut bytes, tensor).unwrap();
    bytes
}

#[test]
fn reads_what_numpy_wrote() {
    // np.save of np.array([[1.5, -2.0, 0.25]], "f4"), numpy 2.4.6.
    let bytes = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }                                                          \n\x00\x00\xc0?\x00\x00\x00\xc0\x00\x00\x80>";
    let tensor = Tensor::from_slice(&[1, 3], &[1.5_f32, -2.0, 0.25]).unwrap();
    assert_eq!(read_array(bytes), tensor);
    assert_eq!(written(&tensor), bytes);
}

#[test]
fn writes_scalars_and_empty_arrays_as_numpy_does() {
    // np.save of np.array(7, "i8") and np.zeros((0, 5), "u1").
    let scalar = b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', 'fortran_order': False, 'shape': (), }                                                              \n\x07\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(written(&Tensor::scalar(7_i64).unwrap()), scalar);
    assert_eq!(read_array(scalar), Tensor::scalar(7_i64).unwrap());
    let empty = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (0, 5), }                                                          \n";
    assert_eq!(written(&Tensor::zeros(DType::UInt8, &[0, 5]).unwrap()), empty);
    assert_eq!(read_array(empty), Tensor::zeros(DType::UInt8, &[0, 5]).unwrap());
}

#[test]
fn reads_both_byte_orders() {
    assert_eq!(read_array(&array(">i2", "(2,)", &[1, 2, 0xff, 0xfe])).view::<i16>().unwrap(), [0x102, -2]);
    assert_eq!(read_array(&array("=u4", "(1,)", &[1, 2, 0, 0])).view::<u32>().unwrap(), [0x201]);
    assert_eq!(read_array(&array(">f8", "()", &1.5_f64.to_be_bytes())).view::<f64>().unwrap(), [1.5]);
    let complex: Vec<u8> = [1.0_f32.to_be_bytes(), 2.0_f32.to_be_bytes()].concat();
    assert_eq!(read_array(&array(">c8", "(1,)", &complex)).view::<Complex<f32>>().unwrap(), [Complex::new(1.0, 2.0)]);
}

#[test]
fn turns_fortran_order_around() {
    // np.asfortranarray(np.arange(24, dtype="u1").reshape(2, 3, 4)).tobytes("A")
    let data: Vec<u8> =
        (0..4).flat_map(|k| (0..3).flat_map(move |j| (0..2).map(move |i| i * 12 + j * 4 + k))).collect();
    let bytes = file("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4), }", &data);
    let tensor = read_array(&bytes);
    assert_eq!(tensor.shape(), [2, 3, 4]);
    assert_eq!(tensor.view::<u8>().unwrap(), (0..24).collect::<Vec<u8>>());
    let bytes = file("{'descr': '|S2', 'fortran_order': True, 'shape': (2, 2), }", b"a\0ccb\0d\0");
    assert_eq!(read_array(&bytes), Tensor::from_strings(&[2, 2], ["a", "b", "cc", "d"]).unwrap());
    let bytes = file("{'descr': '<i2', 'fortran_order': True, 'shape': (1, 2, 1), }", &[1, 0, 2, 0]);
    assert_eq!(read_array(&bytes).view::<i16>().unwrap(), [1, 2]);
    let bytes = file("{'descr': '<i2', 'fortran_order': True, 'shape': (3, 0, 2), }", &[]);
    assert_eq!(read_array(&bytes).shape(), [3, 0, 2]);
}

#[test]
fn reads_strings_of_bytes_and_of_text() {
    let bytes = array("|S3", "(2,)", b"a\0\0\xff\0c");
    assert_eq!(read_array(&bytes), Tensor::from_strings(&[2], [&b"a"[..], b"\xff\0c"]).unwrap());
    let units: Vec<u32> = "zö\0x\0𝄞\0\0".chars().map(u32::from).collect();
    let expected = Tensor::from_strings(&[2], ["zö\0x", "\0𝄞"]).unwrap();
    let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    assert_eq!(read_array(&array("<U4", "(2,)", &little)), expected);
    let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    assert_eq!(read_array(&array(">U4", "(2,)", &big)), expected);
    assert_eq!(read_array(&array("|S0", "(2,)", b"")), Tensor::from_strings(&[2], ["", ""]).unwrap());
}

#[test]
fn reads_other_versions_and_spellings() {
    let literal = b"{\"shape\":(3L),\"fortran_order\":False,\"descr\":\"|i1\"}";
    for version in [2, 3] {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend_from_slice(&[version, 0]);
        bytes.extend_from_slice(&(literal.len() as u32).to_le_bytes());
        bytes.extend_from_slice(literal);
        bytes.extend_from_slice(&[1, 2, 255]);
        assert_eq!(read_array(&bytes).view::<i8>().unwrap(), [1, 2, -1]);
    }
}

#[test]
fn takes_uint16_for_bfloat16_but_converts_nothing() {
    let bits = Tensor::from_slice(&[1], &[0x3fc0_u16]).unwrap();
    let tensor = into_dtype(bits.clone(), DType::BFloat16).unwrap();
    assert_eq!(tensor.view::<bf16>().unwrap(), [bf16::from_f32(1.5)]);
    assert_eq!(read_array(&array("<V2", "(1,)", &[0xc0, 0x3f])), tensor);
    assert_eq!(read_array(&array("|V2", "(1,)", &[0xc0, 0x3f])), tensor);
    assert_eq!(into_dtype(bits, DType::Float16).unwrap_err(), DType::UInt16);
    let double = Tensor::scalar(1.0_f64).unwrap();
    assert_eq!(into_dtype(double.clone(), DType::Float32).unwrap_err(), DType::Float64);
    assert_eq!(into_dtype(double.clone(), DType::Float64).unwrap(), double);
    let quantised = into_dtype(Tensor::scalar(-1_i8).unwrap(), DType::QInt8).unwrap();
    assert_eq!((quantised.dtype(), quantised.view::<i8>().unwrap()), (DType::QInt8, &[-1][..]));
    assert_eq!(into_dtype(Tensor::scalar(1_i32).unwrap(), DType::Int64).unwrap_err(), DType::Int32);
    assert!(into_dtype(Tensor::scalar(1_i32).unwrap(), DType::String).is_err());
}

#[test]
fn refuses_what_no_tensor_holds_by_name() {
    let error = from_bytes("a.npy", &array("|O", "(1,)", b"\x80\x04")).unwrap_err();
    assert_eq!(error.to_string(), "a.npy: it holds pickled Python objects (`|O`), which no tensor can");
    assert!(error.hint().unwrap().text().contains("text as `array.astype(\"U\")`"));
    assert!(refusal(&array("<M8[s]", "(1,)", &[0; 8])).contains("dates"));
    assert!(refusal(&array("<m8[ns]", "(1,)", &[0; 8])).contains("dates"));
    assert!(refusal(&array("|V3", "(1,)", &[0; 3])).contains("raw bytes"));
    assert!(refusal(&array("<f16", "(1,)", &[0; 16])).contains("unknown type (`<f16`)"));
    assert!(refusal(&array("<f1", "(1,)", &[0])).contains("unknown type"));
    assert!(refusal(&array("", "(1,)", &[0])).contains("unknown type"));
    assert!(refusal(&array("S+1", "(1,)", &[0])).contains("unknown type"));
    assert!(refusal(&array("<U4611686018427387904", "(1,)", &[0])).contains("unknown type"));
    assert!(refusal(&array("ü4", "(1,)", &[0])).contains("unknown type"));
    let records = "{'descr': [('a', '<i4'), ('b', '<f4')], 'fortran_order': False, 'shape': (1,), }";
    assert!(refusal(&file(records, &[0; 8])).contains("records"));
}

#[test]
fn refuses_data_that_are_cut_short_or_go_on() {
    let bytes = array("<f4", "(2,)", &[0; 8]);
    assert!(
        refusal(&bytes[..bytes.len() - 1])
            .contains("it is cut short: shape [2] takes 8 bytes of data, and there are 7")
    );
    assert!(refusal(&[&bytes[..], &[0]].concat()).contains("goes on after its last element"));
    for length in 0..bytes.len() {
        assert!(from_bytes("a.npy", &bytes[..length]).is_err());
    }
    // The same from readers that lie about their length, or do not know it.
    let unknown = Length { declared: None, present: 0 };
    assert!(read_sized("a.npy", &mut &bytes[..], unknown).is_ok());
    assert!(read_sized("a.npy", &mut &bytes[..bytes.len() - 1], unknown).is_err());
    assert!(read_sized("a.npy", &mut [&bytes[..], &[0]].concat().as_slice(), unknown).is_err());
    assert!(read("a.npy", &bytes[..bytes.len() - 1], bytes.len() as u64).is_err());
    assert!(read("a.npy", [&bytes[..], &[0]].concat().as_slice(), bytes.len() as u64).is_err());
}

#[test]
fn memory_grows_with_the_data_and_not_with_the_claim() {
    // Four pebibytes that are declared, and do not come.
    let bytes = array("<f4", "(1125899906842624,)", &[0; 4]);
    let claim = Length { declared: Some((bytes.len() as u64 - 4) + (1 << 52)), present: 4 };
    assert!(read_sized("a.npy", &mut &bytes[..], claim).unwrap_err().to_string().contains("cut short"));
    assert!(refusal(&bytes).contains("cut short"));
    // Data that come are taken, over several growths.
    let large = array("|u1", "(3000000,)", &vec![7; 3_000_000]);
    let tensor = read_sized("a.npy", &mut &large[..], Length { declared: None, present: 0 }).unwrap();
    assert!(tensor.len() == 3_000_000 && tensor.view::<u8>().unwrap().iter().all(|byte| *byte == 7));
}

#[test]
fn refuses_impossible_shapes() {
    assert!(refusal(&array("<f4", "(4611686018427387904, 4, 0)", b"")).contains("63 bits"));
    assert!(refusal(&array("<f4", "(4611686018427387904,)", b"")).contains("63 bits"));
    assert!(refusal(&array("<f4", "(99999999999999999999,)", b"")).contains("tuple of sizes"));
    assert!(refusal(&array("<f4", "(-1,)", b"")).contains("tuple of sizes"));
    assert!(refusal(&array("<f4", "(1 2)", b"")).contains("should be"));
    assert!(refusal(&array("<f4", "[1]", b"")).contains("should be"));
    assert!(refusal(&array("<f4", &format!("({})", "1,".repeat(255)), &[0; 4])).contains("254 dimensions"));
    assert!(from_bytes("a.npy", &array("<f4", &format!("({})", "1,".repeat(254)), &[0; 4])).is_ok());
    assert!(refusal(&array("|S0", "(1099511627776,)", b"")).contains("elements of no bytes"));
}

#[test]
fn refuses_headers_that_are_none() {
    assert!(refusal(b"").contains("not a .npy file"));
    assert!(refusal(b"PK\x03\x04and so on and on").contains("not a .npy file"));
    assert!(refusal(b"\x93NUMPY\x09\x00\x00\x00").contains("version 9.0"));
    assert!(refusal(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").contains("claims 4294967295 bytes"));
    let shape = "'fortran_order': False, 'shape': (), }";
    assert!(refusal(&file(&format!("{{'descr': 5, {shape}"), b"")).contains("should begin a string"));
    assert!(refusal(&file(&format!("{{'descr': '<f4', 'descr': '<f4', {shape}"), b"")).contains("`descr` twice"));
    assert!(refusal(&file(&format!("{{'x': '<f4', {shape}"), b"")).contains("a key other than"));
    assert!(refusal(&file(&format!("{{{shape}"), b"")).contains("no `descr`"));
    assert!(refusal(&file(&format!("{{'descr': '<f4', {shape} x"), b"")).contains("goes on after the dict"));
    assert!(refusal(&file("{'descr': '<f4'", b"")).contains("should be `}`"));
    assert!(refusal(&file("{'descr': '<f4", b"")).contains("should be `'`"));
    assert!(refusal(&file("{'descr': '\\x3cf4'", b"")).contains("should be `'`"));
    assert!(refusal(&file("{'fortran_order': 1, }", b"")).contains("neither True nor False"));
    assert!(refusal(&file("[[[[[[", b"")).contains("should be `{`"));
    assert!(refusal(&array("\u{ff}", "(1,)", &[0])).contains("unknown type"));
    let mut latin = file("{'descr': '<f4'}", b"");
    latin[20] = 0xff;
    assert!(from_bytes("a.npy", &latin).is_err());
}

#[test]
fn refuses_bytes_that_are_not_of_their_type() {
    assert!(refusal(&array("|b1", "(2,)", &[1, 2])).contains("the byte 2 as a bool"));
    assert!(refusal(&array("<U1", "(2,)", &[65, 0, 0, 0, 0, 0xd8, 0, 0])).contains("element 1 holds 0xd800"));
    assert!(refusal(&array("<U1", "(1,)", &[0, 0, 0x11, 0])).contains("no Unicode character"));
}

#[test]
fn an_error_of_the_reader_is_passed_on() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let error = read("a.npy", Broken, 100).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `a.npy`: the disk is gone");
    assert!(matches!(read_file("/nowhere/a.npy").unwrap_err(), Error::Io { .. }));
}

#[test]
fn reads_files() {
    let tensor = Tensor::from_slice(&[3], &[1_i32, 2, 3]).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write("a.npy", &mut file, &tensor).unwrap();
    assert_eq!(read_file(file.path()).unwrap(), tensor);
}

#[test]
fn refuses_strings_that_the_form_cannot_say() {
    let tensor = Tensor::from_strings(&[2], ["a", "b\0"]).unwrap();
    let error = write("a.npy", &mut Vec::new(), &tensor).unwrap_err();
    assert_eq!(error.to_string(), "a.npy: string 1 ends in NUL, which numpy would take for filling");
    assert!(error.hint().unwrap().text().contains("JSON"));
    let long = "x".repeat(1 << 20);
    let many = std::iter::repeat_n("", 1 << 15).chain([long.as_str()]);
    let tensor = Tensor::from_strings(&[(1 << 15) + 1], many).unwrap();
    assert!(write("a.npy", &mut Vec::new(), &tensor).unwrap_err().to_string().contains("filled up"));
}

#[test]
fn writes_types_that_numpy_lacks_by_their_bits() {
    let tensor = Tensor::from_slice(&[1], &[bf16::from_f32(1.5)]).unwrap();
    assert_eq!(into_dtype(read_array(&written(&tensor)), DType::BFloat16).unwrap(), tensor);
    let dtypes = [DType::QInt8, DType::QUInt8, DType::QInt16, DType::QUInt16, DType::QInt32];
    for dtype in dtypes {
        let tensor = Tensor::from_bytes(dtype, &[2], &vec![200; 2 * dtype.size().unwrap()]).unwrap();
        assert_eq!(into_dtype(read_array(&written(&tensor)), dtype).unwrap(), tensor);
    }
    let empty = Tensor::from_strings(&[0], [""; 0]).unwrap();
    assert_eq!(read_array(&written(&empty)), empty);
}

#[test]
fn half_floats_keep_their_bits() {
    let tensor = Tensor::from_slice(&[3], &[f16::from_f32(0.1), f16::NAN, f16::NEG_INFINITY]).unwrap();
    assert_eq!(read_array(&written(&tensor)), tensor);
}

/// Tensors of any dtype that is written under its own name, and of any small shape.
pub(in crate::tensor) fn any_tensor() -> impl Strategy<Value = Tensor> {
    use DType::*;
    let dtypes = vec![
        Bool, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Float16, Float32, Float64, Complex64,
        Complex128, String,
    ];
    (proptest::sample::select(dtypes), proptest::collection::vec(0_usize..4, 0..4)).prop_flat_map(|(dtype, shape)| {
        let count: usize = shape.iter().product();
        if dtype == String {
            let string = proptest::collection::vec(any::<u8>(), 0..6);
            return proptest::collection::vec(string, count)
                .prop_map(move |mut strings| {
                    // What the form cannot say.
                    for string in &mut strings {
                        while string.last() == Some(&0) {
                            string.pop();
                        }
                    }
                    Tensor::from_strings(&shape, strings).unwrap()
                })
                .boxed();
        }
        let byte = if dtype == Bool { (0_u8..2).boxed() } else { any::<u8>().boxed() };
        proptest::collection::vec(byte, count * dtype.size().unwrap())
            .prop_map(move |bytes| Tensor::from_bytes(dtype, &shape, &bytes).unwrap())
            .boxed()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(tensor in any_tensor()) {
        prop_assert_eq!(read_array(&written(&tensor)), tensor);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = from_bytes("a.npy", &bytes);
    }

    #[test]
    fn no_header_makes_it_panic(
        literal in r#"[\{\(]?('(descr|shape|fortran_order)'|[<>|=]?[a-zA-Z][0-9]{1,3}|[ '":,(){}LTF]|True|False|[0-9]{1,20}){0,20}"#,
        data in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let _ = from_bytes("a.npy", &file(&literal, &data));
    }

    #[test]
    fn no_changed_byte_makes_it_panic(tensor in any_tensor(), at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = written(&tensor);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = from_bytes("a.npy", &bytes);
    }
}
