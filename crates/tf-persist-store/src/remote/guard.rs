//! Whether a bucket keeps preconditions. Servers that know none acknowledge them all the same.

use std::path::PathBuf;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::error::RemoteErrorKind;
use super::objects::{Objects, Tag, Written, read};
use crate::durable;
use crate::error::Result;
use crate::layout::STORE_FILE;
use crate::manifest::hex;

/// The contents of `store.json`, the same at each write.
const CONTENTS: &[u8] = b"{\"format\":1}\n";

/// Whether an object can be replaced by whoever knows its state. Another process that finds out the same may be faster.
fn can_replace(objects: &dyn Objects, mut tag: Tag, contents: &Bytes) -> Result<bool> {
    const TRIES: usize = 16;
    for _ in 0..TRIES {
        if objects.replace(STORE_FILE, contents.clone(), &tag)? == Written::Yes {
            return Ok(true);
        }
        if let Some((_, now)) = read(objects, STORE_FILE, 1 << 20)? {
            tag = now;
        }
    }
    Ok(false)
}

/// Finds out, once for each place and machine, whether a bucket keeps preconditions, by writes of `store.json` that do
/// not change it. `cache` has a file for each place where it does.
pub(crate) fn check(objects: &dyn Objects, cache: Option<PathBuf>) -> Result<()> {
    let place = objects.place("");
    let known = cache.map(|cache| cache.join("remotes").join(hex(&Sha256::digest(&place))));
    if known.as_ref().is_some_and(|known| known.exists()) {
        return Ok(());
    }
    let unguarded = |reason| Err(objects.refuse("", RemoteErrorKind::Unguarded { reason }));
    let contents = Bytes::from_static(CONTENTS);
    if read(objects, STORE_FILE, 1 << 20)?.is_none() {
        objects.create(STORE_FILE, contents.clone())?;
    }
    let Some((_, tag)) = read(objects, STORE_FILE, 1 << 20)? else {
        return unguarded("an object that was written is not there");
    };
    if objects.create(STORE_FILE, contents.clone())? == Written::Yes {
        return unguarded("it overwrote an object that should not exist");
    }
    // Google compares the number, the others the tag.
    let stale = Tag {
        e_tag: tag.e_tag.as_ref().map(|_| "\"00000000000000000000000000000000\"".to_owned()),
        version: tag.version.as_ref().map(|_| "1".to_owned()),
    };
    if objects.replace(STORE_FILE, contents.clone(), &stale)? == Written::Yes {
        return unguarded("it overwrote an object of which another state was expected");
    }
    if !can_replace(objects, tag, &contents)? {
        return unguarded("it refuses to replace an object of which nothing has changed");
    }
    if let Some(known) = known {
        // It is found out again if this cannot be written.
        let parent = known.parent().map(std::fs::create_dir_all);
        if parent.is_some_and(|made| made.is_ok()) {
            let _ = durable::write(&known, place.as_bytes());
        }
    }
    Ok(())
}
