//! Copies one file to or from a bucket of S3 in parts of 8 MiB, eight at once, and does nothing else: the measure for
//! `tf-persist store push` and `pull` in `scripts/bench store`.
//!
//! `plain_multipart put FILE BUCKET KEY`, `plain_multipart get BUCKET KEY FILE`. The usual variables of AWS's tools say
//! where the server is.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};

const PART: usize = 8 << 20;
const AT_ONCE: usize = 8;

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // Another provider is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match args.as_slice() {
        ["put", file, bucket, key] => runtime.block_on(put(file, bucket, key)),
        ["get", bucket, key, file] => runtime.block_on(get(bucket, key, file)),
        _ => Err("plain_multipart put FILE BUCKET KEY, or get BUCKET KEY FILE".into()),
    }
}

fn open(bucket: &str) -> Result<impl ObjectStore, object_store::Error> {
    AmazonS3Builder::from_env().with_bucket_name(bucket).with_allow_http(true).build()
}

async fn put(file: &str, bucket: &str, key: &str) -> Done {
    let store = open(bucket)?;
    let upload = store.put_multipart(&Path::parse(key)?).await?;
    let mut writer = WriteMultipart::new_with_chunk_size(upload, PART);
    let mut file = File::open(file)?;
    let mut buffer = vec![0; PART];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        writer.wait_for_capacity(AT_ONCE).await?;
        writer.write(&buffer[..read]);
    }
    writer.finish().await?;
    Ok(())
}

async fn get(bucket: &str, key: &str, file: &str) -> Done {
    let (store, key, file) = (open(bucket)?, Path::parse(key)?, File::create(file)?);
    let size = store.head(&key).await?.size;
    let parts = (0..size).step_by(PART).map(|start| start..size.min(start + PART as u64));
    let fetched = stream::iter(parts).map(|part| {
        let (store, key) = (&store, &key);
        async move { Ok::<_, Box<dyn Error>>((part.start, store.get_range(key, part).await?)) }
    });
    let written = fetched.buffer_unordered(AT_ONCE).try_for_each(|(start, bytes)| {
        let written = file.write_all_at(&bytes, start).map_err(Into::into);
        async move { written }
    });
    written.await?;
    file.sync_all()?;
    Ok(())
}
