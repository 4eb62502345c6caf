//! Commands of the configuration: a process group of their own, a time limit, and the end of what they say.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::config::Length;
use crate::error::{LoopError, Result};
use crate::tools::Tools;

/// Environment variables.
type Variables<'a> = [(&'a str, &'a Path)];

/// The time between two looks at a process.
const LOOK: Duration = Duration::from_millis(20);

/// What of its output an error has, in bytes.
const SHOWN: u64 = 300;

/// Runs a command until it ends. What it writes to both outputs goes to a file.
///
/// The error is one of the attempt if the command fails or takes too long, and [`LoopError::Stopped`] after a stop.
pub(crate) fn run(
    words: &[String],
    variables: &Variables<'_>,
    log: &Path,
    within: Length,
    tools: &Tools,
) -> Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Err(LoopError::Other("no command".into())) };
    let output = File::create(log).map_err(LoopError::io("write", log))?;
    let errors = output.try_clone().map_err(LoopError::io("write", log))?;
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null()).stdout(output).stderr(errors);
    // Of its own, so that what it started is ended with it, and a Ctrl-C for the loop does not reach it.
    command.process_group(0);
    let mut child =
        command.spawn().map_err(|error| LoopError::Other(format!("the command `{program}` cannot start: {error}")))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let begun = Instant::now();
    let ended = loop {
        match child.try_wait().map_err(LoopError::io("wait for", Path::new(program)))? {
            Some(status) => break status,
            None if tools.is_stopping() || begun.elapsed() > within.duration() => {
                if let Some(group) = group {
                    // It may have ended meanwhile.
                    let _ = kill_process_group(group, Signal::KILL);
                }
                let _ = child.wait();
                if tools.is_stopping() {
                    return Err(LoopError::Stopped);
                }
                return Err(LoopError::Other(format!("the command `{program}` took longer than {within}")));
            }
            None => thread::sleep(LOOK),
        }
    };
    if let Some(group) = group {
        // What it left running could still write to the folder.
        let _ = kill_process_group(group, Signal::KILL);
    }
    if ended.success() {
        return Ok(());
    }
    let said = end_of(log);
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    Err(LoopError::Other(format!("the command `{program}` {}{said}", how(ended))))
}

fn how(ended: ExitStatus) -> String {
    match (ended.code(), ended.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}

/// The last words of a file, in one line.
fn end_of(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let size = fs::metadata(log)?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(SHOWN)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.last().map(|line| (*line).to_owned()).unwrap_or_default()
}
