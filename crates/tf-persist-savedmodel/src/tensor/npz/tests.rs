//! .npz archives as numpy writes them, as we do, and malformed ones.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::dtype::DType;
use crate::tensor::npy;
use crate::tensor::npy::tests::{any_tensor, file};

fn open(bytes: &[u8]) -> Result<Npz<Cursor<&[u8]>>> {
    Npz::open("a.npz", Cursor::new(bytes))
}

fn read_all(bytes: &[u8]) -> Result<Vec<(String, Tensor)>> {
    open(bytes)?.read_all()
}

fn refusal(bytes: &[u8]) -> String {
    read_all(bytes).unwrap_err().to_string()
}

/// An archive of these members.
fn archive(method: CompressionMethod, members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, SimpleFileOptions::DEFAULT.compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn npy(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = Vec::new();
    npy::write("a.npy", &mut bytes, tensor).unwrap();
    bytes
}

fn written(arrays: &[(&str, &Tensor)]) -> Vec<u8> {
    write("a.npz", Cursor::new(Vec::new()), arrays.iter().copied()).unwrap().into_inner()
}

/// The places of the local and the central header of the first member.
fn headers(bytes: &[u8]) -> (usize, usize) {
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    (0, central)
}

#[test]
fn reads_what_numpy_stored() {
    // np.savez(file, x=np.arange(3, dtype="f4")), numpy 2.4.6.
    let bytes = b"PK\x03\x04-\x00\x00\x00\x00\x00\x00\x00!\x00\xb6\x8c\x86S\xff\xff\xff\xff\xff\xff\xff\xff\x05\x00\x14\x00x.npy\x01\x00\x10\x00\x8c\x00\x00\x00\x00\x00\x00\x00\x8c\x00\x00\x00\x00\x00\x00\x00\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }                                                            \n\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@PK\x01\x02-\x03-\x00\x00\x00\x00\x00\x00\x00!\x00\xb6\x8c\x86S\x8c\x00\x00\x00\x8c\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x01\x00\x00\x00\x00x.npyPK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x003\x00\x00\x00\xc3\x00\x00\x00\x00\x00";
    let expected = Tensor::from_slice(&[3], &[0.0_f32, 1.0, 2.0]).unwrap();
    assert_eq!(read_all(bytes).unwrap(), [("x".to_owned(), expected)]);
}

#[test]
fn reads_what_numpy_compressed() {
    // np.savez_compressed(file, x=np.zeros(3, "f4"), y=np.array([b"a"])), numpy 2.4.6.
    let bytes = b"PK\x03\x04-\x00\x00\x00\x08\x00\x00\x00!\x00\xa9\xf6\x9b\x18\xff\xff\xff\xff\xff\xff\xff\xff\x05\x00\x14\x00x.npy\x01\x00\x10\x00\x8c\x00\x00\x00\x00\x00\x00\x00G\x00\x00\x00\x00\x00\x00\x00\x9b\xec\x17\xea\x1b\x10\xc9\xc8P\xc6P\xad\x9e\x92Z\x9c\\\xa4n\xa5\xa0n\x93f\xa2\xae\xa3\xa0\x9e\x96_TR\x94\x98\x17\x9f_\x94\x92\n\x12wK\xcc)N\x05\x8a\x17g$\x16\xa4\x02\xf9\x1a\xc6:\x9a:\n\xb5\n\x14\x00.\x06$\x00\x00PK\x03\x04-\x00\x00\x00\x08\x00\x00\x00!\x00\xf3\x83/l\xff\xff\xff\xff\xff\xff\xff\xff\x05\x00\x14\x00y.npy\x01\x00\x10\x00\x81\x00\x00\x00\x00\x00\x00\x00E\x00\x00\x00\x00\x00\x00\x00\x9b\xec\x17\xea\x1b\x10\xc9\xc8P\xc6P\xad\x9e\x92Z\x9c\\\xa4n\xa5\xa0^\x13l\xa8\xae\xa3\xa0\x9e\x96_TR\x94\x98\x17\x9f_\x94\x92\n\x12wK\xcc)N\x05\x8a\x17g$\x16\xa4\x02\xf9\x1a\x86:\x9a:\n\xb5\n\x14\x00\xaeD\x00PK\x01\x02-\x03-\x00\x00\x00\x08\x00\x00\x00!\x00\xa9\xf6\x9b\x18G\x00\x00\x00\x8c\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x01\x00\x00\x00\x00x.npyPK\x01\x02-\x03-\x00\x00\x00\x08\x00\x00\x00!\x00\xf3\x83/lE\x00\x00\x00\x81\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x01~\x00\x00\x00y.npyPK\x05\x06\x00\x00\x00\x00\x02\x00\x02\x00f\x00\x00\x00\xfa\x00\x00\x00\x00\x00";
    let x = Tensor::zeros(DType::Float32, &[3]).unwrap();
    let y = Tensor::from_strings(&[1], ["a"]).unwrap();
    assert_eq!(read_all(bytes).unwrap(), [("x".to_owned(), x), ("y".to_owned(), y)]);
}

#[test]
fn reads_an_archive_of_nothing() {
    assert!(read_all(b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").unwrap().is_empty());
}

#[test]
fn reads_only_what_is_asked_for() {
    let tensor = Tensor::scalar(1_u8).unwrap();
    let bytes = archive(CompressionMethod::Stored, &[("bad.npy", b"nonsense"), ("dir/good.npy", &npy(&tensor))]);
    let mut archive = open(&bytes).unwrap();
    assert_eq!(archive.names().collect::<Vec<_>>(), ["bad", "dir/good"]);
    assert_eq!(archive.read("dir/good").unwrap(), Some(tensor));
    assert_eq!(archive.read("other").unwrap(), None);
    let error = archive.read("bad").unwrap_err().to_string();
    assert_eq!(error, "a.npz, array `bad`: it is not a .npy file");
}

#[test]
fn the_same_arrays_give_the_same_bytes() {
    let (x, y) = (Tensor::scalar(1.0_f32).unwrap(), Tensor::from_strings(&[1], ["zwölf"]).unwrap());
    let bytes = written(&[("x", &x), ("ü:0", &y)]);
    assert_eq!(bytes, written(&[("x", &x), ("ü:0", &y)]));
    // 1980-01-01 00:00, in both headers.
    let (local, central) = headers(&bytes);
    assert_eq!(
        (&bytes[local + 10..local + 14], &bytes[central + 12..central + 16]),
        (&b"\0\0\x21\0"[..], &b"\0\0\x21\0"[..])
    );
    assert_eq!(read_all(&bytes).unwrap(), [("x".to_owned(), x), ("ü:0".to_owned(), y)]);
}

#[test]
fn refuses_to_write_before_the_first_byte() {
    let tensor = Tensor::scalar(1_u8).unwrap();
    let mut file = Cursor::new(Vec::new());
    let error = write("a.npz", &mut file, [("x", &tensor), ("x", &tensor)]).unwrap_err();
    assert_eq!(error.to_string(), "a.npz: array `x` is to be written twice");
    let string = Tensor::from_strings(&[], ["\0"]).unwrap();
    let error = write("a.npz", &mut file, [("x", &tensor), ("s", &string)]).unwrap_err();
    assert!(error.to_string().starts_with("a.npz, array `s`: string 0 ends in NUL"));
    assert!(file.into_inner().is_empty());
}

#[test]
fn refuses_members_that_are_no_arrays() {
    let bytes = archive(CompressionMethod::Stored, &[("readme.txt", b"hello")]);
    assert!(refusal(&bytes).contains("`readme.txt` is not a .npy array"));
    let objects = file("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"\x80\x04");
    let error = refusal(&archive(CompressionMethod::Deflated, &[("x.npy", &objects)]));
    assert!(error.starts_with("a.npz, array `x`: it holds pickled Python objects"), "{error}");
}

#[test]
fn refuses_what_is_no_archive() {
    let whole = written(&[("x", &Tensor::scalar(1_u8).unwrap())]);
    for bytes in [&b""[..], b"hello", b"\x93NUMPY\x01\x00", &whole[..whole.len() - 1], &whole[..30]] {
        let error = open(bytes).err().unwrap();
        assert!(error.to_string().contains("not a .npz archive"), "{error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn refuses_encrypted_members() {
    let mut bytes = written(&[("x", &Tensor::scalar(1_u8).unwrap())]);
    let (local, central) = headers(&bytes);
    bytes[local + 6] |= 1;
    bytes[central + 8] |= 1;
    assert_eq!(refusal(&bytes), "a.npz: its array `x` is encrypted");
}

#[test]
fn refuses_a_name_that_is_there_twice() {
    let tensor = Tensor::scalar(1_u8).unwrap();
    let mut bytes = written(&[("x", &tensor), ("y", &tensor)]);
    for at in 0..bytes.len() - 5 {
        if &bytes[at..at + 5] == b"y.npy" {
            bytes[at] = b'x';
        }
    }
    assert!(refusal(&bytes).contains("in it twice"));
}

#[test]
fn refuses_damage() {
    let tensor = Tensor::from_slice(&[100], &[7_u8; 100]).unwrap();
    let stored = archive(CompressionMethod::Stored, &[("x.npy", &npy(&tensor))]);
    let mut changed = stored.clone();
    let (_, central) = headers(&stored);
    changed[central - 1] ^= 1;
    assert!(refusal(&changed).contains("Invalid checksum"), "{}", refusal(&changed));
    // A method that is not compiled in.
    let mut method = stored.clone();
    method[8] = 12;
    method[central + 10] = 12;
    assert!(refusal(&method).contains("method"), "{}", refusal(&method));
    // A member that is shorter than its header says.
    let short = npy(&tensor);
    let short = archive(CompressionMethod::Stored, &[("x.npy", &short[..short.len() - 1])]);
    assert!(refusal(&short).contains("array `x`: it is cut short"));
}

#[test]
fn refuses_sizes_that_lie() {
    // The directory claims 16 MiB for a member of 1 MiB, and so does the array's own header.
    let claimed: u32 = 1 << 24;
    let literal = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({},), }}", claimed - 128);
    let member = file(&literal, &vec![0; 1 << 20]);
    let mut bytes = archive(CompressionMethod::Deflated, &[("x.npy", &member)]);
    let (_, central) = headers(&bytes);
    bytes[central + 24..central + 28].copy_from_slice(&claimed.to_le_bytes());
    assert!(refusal(&bytes).contains("cut short"), "{}", refusal(&bytes));
    // More than may be decoded together, as zip64 says it; nothing is read for that.
    let mut archive = open(&bytes).unwrap();
    archive.members[0].size = MAX_DECODED + 1;
    assert!(archive.read("x").unwrap_err().to_string().contains("above the limit"));
}

#[test]
fn refuses_members_that_share_their_data() {
    let tensor = Tensor::scalar(1_u8).unwrap();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("x.npy", SimpleFileOptions::DEFAULT).unwrap();
    writer.write_all(&npy(&tensor)).unwrap();
    writer.shallow_copy_file("x.npy", "y.npy").unwrap();
    let bytes = writer.finish().unwrap().into_inner();
    assert_eq!(refusal(&bytes), "a.npz: two of its arrays share their data");
}

/// The arrays of an archive, read through [`open_arrays`] in windows of this many rows.
fn read_in_windows(bytes: &[u8], rows: usize) -> Result<Vec<(String, Tensor)>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let windows = |mut array: ArrayReader<MemberReader>| {
        if array.shape().is_empty() {
            return array.read_all();
        }
        let mut parts = vec![array.read_rows(rows)?];
        while parts.last().is_some_and(|part| part.row_count() == Some(rows)) {
            parts.push(array.read_rows(rows)?);
        }
        Tensor::concatenate(&parts.iter().collect::<Vec<_>>())
    };
    open_arrays(file.path())?.into_iter().map(|(name, array)| Ok((name, windows(array)?))).collect()
}

#[test]
fn arrays_are_read_in_windows_of_rows() {
    let numbers: Vec<i32> = (0..70_000).collect();
    let x = Tensor::from_slice(&[1000, 7, 10], &numbers).unwrap();
    let y = Tensor::from_strings(&[5], ["a", "bc", "", "d", "e"]).unwrap();
    let z = Tensor::scalar(2.5_f64).unwrap();
    let members = [("x.npy", &*npy(&x)), ("y.npy", &*npy(&y)), ("z.npy", &*npy(&z))];
    let expected = [("x".to_owned(), x), ("y".to_owned(), y), ("z".to_owned(), z)];
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let bytes = archive(method, &members);
        for rows in [1, 3, 1000, 5000] {
            assert_eq!(read_in_windows(&bytes, rows).unwrap(), expected);
        }
        // The last byte of the first array, in the archive.
        let mut changed = bytes.clone();
        let end = bytes.windows(4).skip(1).position(|window| window == b"PK\x03\x04").unwrap();
        changed[end] ^= 1;
        let error = read_in_windows(&changed, 64).unwrap_err().to_string();
        // A changed byte of deflate may stand for more elements.
        let (damaged, longer) = ("array `x`: it is damaged", "array `x`: it goes on after its last element");
        assert!(error.contains(damaged) || error.contains(longer), "{error}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(tensors in proptest::collection::vec(any_tensor(), 0..4)) {
        let names: Vec<String> = (0..tensors.len()).map(|number| format!("input {number}")).collect();
        let arrays: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&tensors).collect();
        let read = read_all(&written(&arrays)).unwrap();
        let read: Vec<(&str, &Tensor)> = read.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        prop_assert_eq!(read, arrays);
    }

    #[test]
    fn no_changed_bytes_make_it_panic(
        tensor in any_tensor(),
        deflated in any::<bool>(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let method = if deflated { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        let mut bytes = archive(method, &[("x.npy", &npy(&tensor)), ("y.npy", &npy(&tensor))]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(read) = read_all(&bytes) {
            prop_assert_eq!(read_in_windows(&bytes, 2).unwrap(), read);
        } else {
            let _ = read_in_windows(&bytes, 2);
        }
    }
}
