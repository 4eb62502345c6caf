//! The outputs of a run in batches, on disk until the run is complete.
//!
//! The folder `FILE.partial` has a file for each output, to which each batch appends: the elements as they are in
//! memory, or each string behind its length (u64, little-endian). The state beside them is written every few seconds;
//! what was appended after it is cut off when the run continues.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use tf_persist_core::{DType, Strings, Tensor, printable};

use super::super::output::is_text;
use super::state::{NEW_STATE_FILE, OutputState, STATE_FILE, State};
use crate::error::Hinted;
use crate::format::count;

/// The file whose lock marks the folder as in use.
const LOCK_FILE: &str = "lock";

/// The ending of the files of outputs.
const ROWS: &str = "rows";

/// The state is written at most this often: a killed run repeats what it did since the last time.
const INTERVAL: Duration = Duration::from_millis(100);

/// After a write, as many times its duration passes before the next one.
const DUTY: u32 = 20;

/// The bytes before each string, which are its length.
const LENGTH_BYTES: usize = 8;

/// The folder of a run that is not complete.
pub(super) struct Spool {
    folder: PathBuf,
    state: State,
    files: Vec<File>,
    /// When the state is to be written again.
    due: Instant,
    _lock: File,
}

impl Spool {
    /// Opens the folder beside a target, or creates it. A run of another request is refused; one that cannot be
    /// continued begins again.
    pub(super) fn open(target: &Path, request: Vec<(String, String)>, is_resumable: bool) -> anyhow::Result<Self> {
        let mut folder = target.as_os_str().to_owned();
        folder.push(".partial");
        let folder = PathBuf::from(folder);
        let lock = lock(&folder)?;
        check_contents(&folder)?;
        let found = State::read(&folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
        let mut spool = Self {
            state: State { request, rows: 0, digests: Vec::new(), outputs: Vec::new() },
            folder,
            files: Vec::new(),
            due: Instant::now() + INTERVAL,
            _lock: lock,
        };
        if let Some(found) = found.filter(|_| is_resumable) {
            spool.compare(&found.request)?;
            spool.resume(found)?;
        }
        spool.write_state()?;
        Ok(spool)
    }

    /// The rows that are done.
    pub(super) fn rows(&self) -> usize {
        self.state.rows
    }

    /// The digests of these rows.
    pub(super) fn digests(&self) -> &[u64] {
        &self.state.digests
    }

    /// The outputs; none before the first batch.
    pub(super) fn outputs(&self) -> &[OutputState] {
        &self.state.outputs
    }

    /// Refuses to continue a run with another request.
    fn compare(&self, found: &[(String, String)]) -> anyhow::Result<()> {
        let value = |request: &[(String, String)], name: &str| {
            request.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
        };
        let names = self.state.request.iter().chain(found).map(|(name, _)| name);
        for name in names {
            let (ours, theirs) = (value(&self.state.request, name), value(found, name));
            if ours != theirs {
                let shown = |value: Option<String>| value.map_or("none".to_owned(), |value| format!("`{value}`"));
                let reason = format!("{name} was {}, and is {}", shown(theirs), shown(ours));
                return Err(self.other_run(&reason));
            }
        }
        Ok(())
    }

    /// The error for a folder of another run.
    pub(super) fn other_run(&self, reason: &str) -> anyhow::Error {
        let folder = self.folder.display();
        let error = anyhow::anyhow!("`{folder}` is a started run of something else: {}", printable(reason));
        let hint = format!("repeat the command of that run, or delete `{folder}` to begin again");
        Hinted { error, hint }.into()
    }

    /// Takes up a state: cuts off what was appended after it.
    fn resume(&mut self, found: State) -> anyhow::Result<()> {
        for (index, output) in found.outputs.iter().enumerate() {
            let path = self.path(index);
            let file = OpenOptions::new().append(true).open(&path);
            let file = file.with_context(|| format!("cannot open `{}`", path.display()))?;
            let length = file.metadata().with_context(|| format!("cannot read `{}`", path.display()))?.len();
            let expected = output.row_bytes().and_then(|bytes| bytes.checked_mul(found.rows as u64));
            if length < output.bytes || output.dtype != DType::String && expected != Some(output.bytes) {
                let reason = format!("its file `{index}.{ROWS}` is shorter than its state says");
                return Err(self.other_run(&reason));
            }
            file.set_len(output.bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
            self.files.push(file);
        }
        self.state = found;
        Ok(())
    }

    fn path(&self, index: usize) -> PathBuf {
        self.folder.join(format!("{index}.{ROWS}"))
    }

    /// Appends the outputs of the next batch. The digests are those of all rows up to its last.
    pub(super) fn append(
        &mut self,
        rows: usize,
        outputs: &[(String, Tensor)],
        digests: Vec<u64>,
    ) -> anyhow::Result<()> {
        for (name, tensor) in outputs {
            check_rows(name, tensor, rows)?;
        }
        if self.files.is_empty() {
            self.create(outputs)?;
        }
        let mut text = Vec::new();
        // The state changes when all is written.
        let mut states = self.state.outputs.clone();
        for (index, (name, tensor)) in outputs.iter().enumerate() {
            let output = &mut states[index];
            let row_shape = &tensor.shape()[1..];
            if (output.dtype, output.row_shape.as_slice()) != (tensor.dtype(), row_shape) {
                let (name, done) = (printable(name), count(self.state.rows as u64, "row"));
                bail!(
                    "output `{name}` has rows of the shape {row_shape:?} after {done} of {:?}, and one file takes one shape",
                    output.row_shape
                );
            }
            let bytes = match tensor.strings() {
                Ok(strings) => {
                    text.clear();
                    output.is_text &= is_text(strings);
                    for string in strings.iter() {
                        output.longest = output.longest.max(string.len());
                        text.extend_from_slice(&(string.len() as u64).to_le_bytes());
                        text.extend_from_slice(string);
                    }
                    text.as_slice()
                }
                Err(_) => tensor.bytes()?,
            };
            output.bytes += bytes.len() as u64;
            let written = self.files[index].write_all(bytes);
            written.with_context(|| format!("cannot write `{}`", self.path(index).display()))?;
        }
        self.state.rows += rows;
        self.state.digests = digests;
        self.state.outputs = states;
        if Instant::now() >= self.due { self.save() } else { Ok(()) }
    }

    /// Creates the files of the outputs.
    fn create(&mut self, outputs: &[(String, Tensor)]) -> anyhow::Result<()> {
        for (index, (name, tensor)) in outputs.iter().enumerate() {
            let path = self.path(index);
            let file = File::create(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
            self.files.push(file);
            let row_shape = tensor.shape()[1..].to_vec();
            let (name, dtype) = (name.clone(), tensor.dtype());
            self.state.outputs.push(OutputState { name, dtype, row_shape, bytes: 0, longest: 0, is_text: true });
        }
        Ok(())
    }

    /// Makes what was appended durable, and writes the state.
    pub(super) fn save(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        for (index, file) in self.files.iter().enumerate() {
            file.sync_data().with_context(|| format!("cannot write `{}`", self.path(index).display()))?;
        }
        self.write_state()?;
        self.due = Instant::now() + INTERVAL.max(DUTY * started.elapsed());
        Ok(())
    }

    fn write_state(&self) -> anyhow::Result<()> {
        let state = self.state.write(&self.folder);
        state.with_context(|| format!("cannot write `{}`", self.folder.join(STATE_FILE).display()))
    }

    /// Reads the rows of one output again.
    pub(super) fn reader(&self, index: usize) -> anyhow::Result<SpoolReader<'_>> {
        let path = self.path(index);
        let file = File::open(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
        let output = &self.state.outputs[index];
        Ok(SpoolReader { path, file: BufReader::new(file.take(output.bytes)), output, left: self.state.rows })
    }

    /// Deletes the folder: the run is complete.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("cannot delete `{}`", self.folder.display()))
    }
}

impl OutputState {
    /// The bytes of a row of numbers; `None` for strings and for impossible sizes.
    pub(super) fn row_bytes(&self) -> Option<u64> {
        let size = self.dtype.size()? as u64;
        self.row_shape.iter().try_fold(size, |bytes, size| bytes.checked_mul(*size as u64))
    }
}

/// The rows of one output, in windows.
pub(super) struct SpoolReader<'a> {
    path: PathBuf,
    file: BufReader<io::Take<File>>,
    output: &'a OutputState,
    left: usize,
}

impl SpoolReader<'_> {
    /// Reads the next rows, at most `count`; `None` after the last one.
    pub(super) fn next(&mut self, count: usize) -> anyhow::Result<Option<Tensor>> {
        let count = count.min(self.left);
        if count == 0 {
            return Ok(None);
        }
        self.left -= count;
        let mut shape = vec![count];
        shape.extend(&self.output.row_shape);
        let tensor = if self.output.dtype == DType::String { self.strings(&shape) } else { self.numbers(&shape) };
        tensor.with_context(|| format!("cannot read `{}`", self.path.display())).map(Some)
    }

    fn numbers(&mut self, shape: &[usize]) -> anyhow::Result<Tensor> {
        let mut tensor = Tensor::zeros(self.output.dtype, shape)?;
        self.file.read_exact(tensor.bytes_mut()?)?;
        Ok(tensor)
    }

    fn strings(&mut self, shape: &[usize]) -> anyhow::Result<Tensor> {
        let all = shape.iter().product();
        let mut strings = Strings::with_capacity(all, 0);
        let mut string = Vec::new();
        for _ in 0..all {
            let mut length = [0; LENGTH_BYTES];
            self.file.read_exact(&mut length)?;
            string.clear();
            let length = u64::from_le_bytes(length);
            if (&mut self.file).take(length).read_to_end(&mut string)? as u64 != length {
                bail!("it is cut off");
            }
            strings.push(&string);
        }
        Ok(Tensor::from_string_array(shape, strings)?)
    }
}

/// Creates the folder and takes its lock.
fn lock(folder: &Path) -> anyhow::Result<File> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot create `{}`", folder.display()));
        }
        _ => {}
    }
    let path = folder.join(LOCK_FILE);
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let lock = lock.with_context(|| format!("cannot open `{}`", path.display()))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => bail!("another process runs for `{}`", folder.display()),
        // File systems without locks.
        _ => Ok(lock),
    }
}

/// Refuses a folder that something else has made.
fn check_contents(folder: &Path) -> anyhow::Result<()> {
    let reading = || format!("cannot read `{}`", folder.display());
    for entry in fs::read_dir(folder).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        let name = name.to_string_lossy();
        let is_rows = name.strip_suffix(ROWS).and_then(|rest| rest.strip_suffix('.'));
        let is_rows = is_rows.is_some_and(|index| index.parse::<usize>().is_ok());
        if !is_rows && ![LOCK_FILE, STATE_FILE, NEW_STATE_FILE].contains(&&*name) {
            bail!("`{}` is not a started run: it has the file `{}`", folder.display(), printable(&name));
        }
    }
    Ok(())
}

/// Checks that an output has a row for each row of the inputs.
fn check_rows(name: &str, tensor: &Tensor, rows: usize) -> anyhow::Result<()> {
    if tensor.row_count() == Some(rows) {
        return Ok(());
    }
    let (name, shape, rows) = (printable(name), tensor.shape(), count(rows as u64, "row"));
    let error = anyhow::anyhow!("output `{name}` has the shape {shape:?} for {rows}, and not a row for each");
    Err(Hinted { error, hint: "choose other outputs with --outputs, or run without --batch-size".to_owned() }.into())
}
