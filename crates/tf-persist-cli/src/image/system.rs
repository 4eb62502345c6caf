//! What an image without a base has of this machine: its C library, its certificates, and a user.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tf_persist_store::image::{LayerEntry, with_folders};

use super::contents::{GROUP_NAME, HOME, USER};
use super::libraries::Needed;

/// Where distributions keep the certificates of authorities, and where the image has them.
const CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];
const CERTIFICATES_IN_IMAGE: &str = "etc/ssl/certs/ca-certificates.crt";

/// The file of the C library, beside which its dynamic linker looks for the others.
const C_LIBRARY: &str = "libc.so.6";

/// The layer.
pub(super) fn entries(needed: &Needed) -> anyhow::Result<Vec<LayerEntry>> {
    let Some(interpreter) = &needed.interpreter else {
        bail!("this program has no dynamic linker, and libtensorflow needs one");
    };
    let c_library = needed.system.get(C_LIBRARY).and_then(|path| path.parent());
    let folder = c_library.context("this machine's C library is not glibc: use --base with an image that has it")?;
    let mut entries = vec![program(interpreter, interpreter)?];
    for (name, path) in &needed.system {
        entries.push(program(&folder.join(name), path)?);
    }
    if let Some(certificates) = CERTIFICATES.iter().map(Path::new).find(|path| path.is_file()) {
        entries.push(LayerEntry::file(CERTIFICATES_IN_IMAGE, 0o644, real(certificates)?));
    }
    entries.extend([
        LayerEntry::bytes("etc/passwd", 0o644, passwd()),
        LayerEntry::bytes("etc/group", 0o644, format!("root:x:0:\n{GROUP_NAME}:x:{USER}:\n")),
        // Names of hosts are in `/etc/hosts`, which a runtime writes, and at servers.
        LayerEntry::bytes("etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nhosts: files dns\n"),
        LayerEntry::folder("tmp", 0o1777),
        // Runtimes mount something there, also if the rest is read-only.
        LayerEntry::folder("dev", 0o755),
        LayerEntry::folder("mnt", 0o755),
        LayerEntry::folder("proc", 0o555),
        LayerEntry::folder("run", 0o755),
        LayerEntry::folder("sys", 0o555),
    ]);
    Ok(with_folders(entries))
}

fn passwd() -> String {
    format!("root:x:0:0:root:/:/sbin/nologin\n{GROUP_NAME}:x:{USER}:{USER}:{GROUP_NAME}:/{HOME}:/sbin/nologin\n")
}

/// A file under a path of the image, which is that of this machine.
fn program(name: &Path, path: &Path) -> anyhow::Result<LayerEntry> {
    let name = name.to_str().and_then(|name| name.strip_prefix('/'));
    let name = name.with_context(|| format!("`{}` has no path that an image can have", path.display()))?;
    Ok(LayerEntry::file(name, 0o755, real(path)?))
}

fn real(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))
}
