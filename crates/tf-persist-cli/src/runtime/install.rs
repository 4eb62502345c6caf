//! `tf-persist runtime install`: libtensorflow out of Python's wheel, into the user's cache.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anstream::eprintln;
use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use tf_persist_core::runtime::cache_folder;
use tf_persist_core::scratch::Scratch;
use tf_persist_savedmodel::internals::push_hex;
use zip::ZipArchive;

use super::args::InstallArgs;
use crate::common_args::env_var;
use crate::stdout::stdout;

/// The TensorFlow that is fetched.
const VERSION: &str = "2.21.0";

/// A wheel on the package index. The library in it is the same whatever Python it was built for, so one Python's wheel
/// is pinned, and the Python that fetches it may be another.
struct Wheel {
    package: &'static str,
    platform: &'static str,
    sha256: &'static str,
    files: [&'static str; 2],
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const WHEEL: Option<Wheel> = Some(Wheel {
    package: "tensorflow-cpu",
    platform: "manylinux_2_27_x86_64",
    sha256: "dcc8afd32930e42d5296b6ee19078b773706830af4ea97fbe503b9f5e0f820cb",
    files: ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"],
});
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
const WHEEL: Option<Wheel> = Some(Wheel {
    package: "tensorflow",
    platform: "manylinux_2_27_aarch64",
    sha256: "b07d15737406533898e36c7ef7944b1be18e9028dc521b9229952c537bbc5552",
    files: ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"],
});
#[cfg(all(target_os = "macos", target_arch = "aarch64"))]
const WHEEL: Option<Wheel> = Some(Wheel {
    package: "tensorflow",
    platform: "macosx_12_0_arm64",
    sha256: "56ecd7d47429acbe1df2694d50b75bf9fc3995ac92cb367cd9af6c4780ead712",
    files: ["libtensorflow_cc.2.dylib", "libtensorflow_framework.2.dylib"],
});
#[cfg(not(any(
    all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")),
    all(target_os = "macos", target_arch = "aarch64")
)))]
const WHEEL: Option<Wheel> = None;

pub(super) fn install(args: &InstallArgs) -> anyhow::Result<()> {
    let wheel = WHEEL.context("TensorFlow has no wheel for this machine: build libtensorflow and name its folder")?;
    let cache = cache_folder().context("neither XDG_CACHE_HOME nor HOME names a folder for the cache")?;
    let installed = wheel.files.iter().all(|file| cache.join(file).is_file());
    if installed && !args.force {
        writeln!(stdout(), "libtensorflow {VERSION} is already in `{}`", cache.display())?;
        return Ok(());
    }
    let parent = cache.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
    // Beside the target, so that the finished folder is moved, not copied, and is deleted if anything fails.
    let work = Scratch::beside(&cache).with_context(|| format!("cannot create a folder in `{}`", parent.display()))?;
    eprintln!("downloading {} {VERSION} with pip (about 270 MB)", wheel.package);
    let python = args.python.clone().or_else(|| env_var("TF_PERSIST_PYTHON").map(PathBuf::from));
    let file = fetch(&wheel, &python.unwrap_or_else(|| "python3".into()), work.path())?;
    eprintln!("checking its SHA-256");
    check(&file, wheel.sha256)?;
    let folder = work.path().join("libtensorflow");
    fs::create_dir(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    for name in wheel.files {
        unpack(&file, name, &folder)?;
    }
    put_in_place(&folder, &cache, &work)?;
    writeln!(stdout(), "libtensorflow {VERSION} is in `{}`", cache.display())?;
    Ok(())
}

/// Downloads the wheel with pip, which shows its own progress.
fn fetch(wheel: &Wheel, python: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"])
        .args(["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"])
        .args(["--platform", wheel.platform, "--progress-bar", progress_bar()])
        .arg("--dest")
        .arg(folder)
        .arg(format!("{}=={VERSION}", wheel.package))
        // Keeps pip's report out of standard output.
        .stdout(Stdio::from(io::stderr().as_fd_clone()?));
    let status = pip.status().with_context(|| {
        format!("cannot run `{}`: install Python 3 with pip, or name one with --python", python.display())
    })?;
    ensure!(status.success(), "pip could not download {} {VERSION}; its messages are above", wheel.package);
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    let wheel =
        entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "whl"));
    wheel.context("pip succeeded, but there is no wheel")
}

fn progress_bar() -> &'static str {
    if io::stderr().is_terminal() { "on" } else { "off" }
}

/// A second handle of standard error.
trait FdClone {
    fn as_fd_clone(&self) -> io::Result<std::os::fd::OwnedFd>;
}

impl FdClone for io::Stderr {
    fn as_fd_clone(&self) -> io::Result<std::os::fd::OwnedFd> {
        use std::os::fd::AsFd;
        self.as_fd().try_clone_to_owned()
    }
}

fn check(wheel: &Path, expected: &str) -> anyhow::Result<()> {
    let mut file = File::open(wheel).with_context(|| format!("cannot read `{}`", wheel.display()))?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block).with_context(|| format!("cannot read `{}`", wheel.display()))? {
            0 => break,
            len => hasher.update(&block[..len]),
        }
    }
    let mut found = String::new();
    push_hex(&mut found, &hasher.finalize());
    if found != expected {
        bail!("the wheel has the SHA-256 {found}, not {expected}; nothing was installed");
    }
    Ok(())
}

fn unpack(wheel: &Path, name: &str, folder: &Path) -> anyhow::Result<()> {
    let unpacking = || format!("cannot unpack `{name}`");
    let archive = File::open(wheel).with_context(unpacking)?;
    let mut archive = ZipArchive::new(archive).with_context(unpacking)?;
    let member = archive.by_name(&format!("tensorflow/{name}")).with_context(unpacking)?;
    let bar = ProgressBar::new(member.size()).with_style(
        ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}").unwrap_or(ProgressStyle::default_bar()),
    );
    bar.set_message(name.to_owned());
    let mut target = File::create(folder.join(name)).with_context(unpacking)?;
    io::copy(&mut bar.wrap_read(member), &mut target).with_context(unpacking)?;
    target.sync_all().with_context(unpacking)?;
    bar.finish_and_clear();
    Ok(())
}

/// Moves the finished folder to its place. The old one is deleted with the working folder.
fn put_in_place(folder: &Path, cache: &Path, work: &Scratch) -> anyhow::Result<()> {
    if cache.exists() {
        fs::rename(cache, work.path().join("old")).with_context(|| format!("cannot replace `{}`", cache.display()))?;
    }
    fs::rename(folder, cache).with_context(|| format!("cannot move libtensorflow to `{}`", cache.display()))
}
