//! Commands, and checks whose failures print everything about the run.

use std::env;
use std::ffi::OsStr;
use std::fmt::{self, Display, Write as _};
use std::fs;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tf_persist_testing::libtensorflow;

use crate::support::Dir;

/// The folder of a libtensorflow that cannot be opened: a command that succeeds with it has not used TensorFlow.
pub(crate) const NO_TENSORFLOW: &str = "/nonexistent";

/// A process that runs longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A command to run.
pub(crate) struct Cmd<'d> {
    dir: &'d Dir,
    command: Command,
    stdin: Vec<u8>,
    colours: bool,
}

impl<'d> Cmd<'d> {
    /// Clears the environment. Backtraces are enabled, and none may be printed.
    pub(crate) fn new(dir: &'d Dir, mut command: Command) -> Self {
        command.env_clear().current_dir(dir.path(""));
        command.env("PATH", env::var_os("PATH").unwrap_or_default());
        command.env("HOME", dir.home()).env("TMPDIR", dir.tmp()).env("RUST_BACKTRACE", "1");
        command.env("TF_PERSIST_LIBTENSORFLOW", libtensorflow());
        Self { dir, command, stdin: Vec::new(), colours: false }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(self.dir.path(folder));
        self
    }

    pub(crate) fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    /// Without TensorFlow.
    pub(crate) fn without_tensorflow(self) -> Self {
        self.env("TF_PERSIST_LIBTENSORFLOW", NO_TENSORFLOW)
    }

    /// With colours, as on a terminal, and so with every escape sequence that is printed.
    pub(crate) fn in_colour(mut self) -> Self {
        self.colours = true;
        self.env("CLICOLOR_FORCE", "1")
    }

    /// With colours if the command finds a terminal.
    pub(crate) fn in_colour_if_any(mut self) -> Self {
        self.colours = true;
        self
    }

    /// Starts it, and leaves it running.
    pub(crate) fn start(mut self) -> Child {
        self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.command.spawn().unwrap()
    }

    /// Starts it, and lets the test read its standard error.
    pub(crate) fn spawn_with_stderr(mut self) -> Child {
        self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        self.command.spawn().unwrap()
    }

    /// Runs it to its end, and checks what holds of every command.
    #[track_caller]
    pub(crate) fn run(mut self) -> Ran {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        let mut stdin = child.stdin.take().unwrap();
        let written = self.stdin;
        // A command need not read all that it is given.
        let writer = thread::spawn(move || drop(stdin.write_all(&written)));
        let stdout = reader(child.stdout.take().unwrap());
        let stderr = reader(child.stderr.take().unwrap());
        let (status, hangs) = wait(&mut child, started);
        let took = started.elapsed();
        let ran = Ran {
            line: format!("{:?}", self.command),
            status,
            took,
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
            listing: self.dir.listing(),
        };
        writer.join().unwrap();
        ran.check(!hangs, format_args!("it took longer than {LIMIT:?}, and was killed"));
        let said = format!("{}{}", ran.out_lossy(), ran.err());
        for trace in ["panicked", "RUST_BACKTRACE", "stack backtrace", "this is a bug"] {
            ran.check(!said.contains(trace), format_args!("it panicked: `{trace}`"));
        }
        ran.check(self.colours || !said.contains('\x1b'), "there are escape sequences where there is no terminal");
        let left: Vec<_> = fs::read_dir(self.dir.tmp()).unwrap().map(|entry| entry.unwrap().path()).collect();
        ran.check(left.is_empty(), format_args!("temporary files are left behind: {left:?}"));
        ran
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// The exit status, and whether the process had to be killed.
fn wait(child: &mut Child, started: Instant) -> (ExitStatus, bool) {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status, false);
        }
        if started.elapsed() > LIMIT {
            child.kill().unwrap();
            return (child.wait().unwrap(), true);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A command that has run.
pub(crate) struct Ran {
    line: String,
    pub(crate) status: ExitStatus,
    took: Duration,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    listing: Vec<String>,
}

impl Ran {
    /// What it printed; that is always text.
    #[track_caller]
    pub(crate) fn out(&self) -> &str {
        let text = std::str::from_utf8(&self.stdout);
        self.check(text.is_ok(), "standard output is not UTF-8");
        text.unwrap_or_default()
    }

    fn out_lossy(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Fails the test, with all there is to see, unless this holds.
    #[track_caller]
    pub(crate) fn check(&self, holds: bool, what: impl Display) {
        assert!(holds, "{what}\n{self}");
    }

    /// It was done, and there was nothing to complain about.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.check(self.status.code() == Some(0), "it should have succeeded");
        self.check(self.errors().is_empty(), "it succeeded, and printed an error");
        self
    }

    /// Checks that it fails with exit code 1 and one sentence.
    #[track_caller]
    pub(crate) fn fails(self) -> Self {
        self.check(self.status.code() == Some(1), "it should have failed with 1");
        let errors = self.errors();
        self.check(errors.len() == 1, format_args!("{} lines begin with `error: `, instead of one", errors.len()));
        let begins_well = !errors[0].starts_with(char::is_uppercase) || errors[0].starts_with("TensorFlow");
        self.check(begins_well, "the sentence should begin in lower case");
        self.check(!errors[0].trim_end().ends_with([':', '.']), "the sentence should end without a colon or full stop");
        self
    }

    /// It was not understood.
    #[track_caller]
    pub(crate) fn misused(self) -> Self {
        self.check(self.status.code() == Some(2), "it should have failed with 2");
        self.check(self.stdout.is_empty(), "wrong usage is told on standard error");
        self.check(self.err().starts_with("error: ") || self.err().contains("Usage:"), "it should say what is wrong");
        self
    }

    /// It ended with this code, which is none of the usual ones.
    #[track_caller]
    pub(crate) fn exits_with(self, code: i32) -> Self {
        self.check(self.status.code() == Some(code), format_args!("it should have ended with {code}"));
        self
    }

    /// Standard output has this.
    #[track_caller]
    pub(crate) fn prints(self, text: impl AsRef<str>) -> Self {
        self.check(self.out().contains(text.as_ref()), format_args!("it should print `{}`", text.as_ref()));
        self
    }

    /// Standard output is this.
    #[track_caller]
    pub(crate) fn prints_only(self, text: &str) -> Self {
        self.check(self.out() == text, format_args!("it should print `{text}` and nothing else"));
        self
    }

    /// The sentence of the error has this.
    #[track_caller]
    pub(crate) fn says(self, text: impl AsRef<str>) -> Self {
        let errors = self.errors();
        let said = errors.iter().any(|error| error.contains(text.as_ref()));
        self.check(said, format_args!("the error should say `{}`", text.as_ref()));
        self
    }

    /// The hint has this.
    #[track_caller]
    pub(crate) fn hints(self, text: impl AsRef<str>) -> Self {
        let err = self.err();
        let hinted = err.lines().any(|line| line.starts_with("hint: ") && line.contains(text.as_ref()));
        self.check(hinted, format_args!("the hint should say `{}`", text.as_ref()));
        self
    }

    /// Standard output, which is one JSON value and nothing else.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.stdout);
        if let Err(error) = &parsed {
            self.check(false, format_args!("standard output is not JSON: {error}"));
        }
        parsed.unwrap_or_default()
    }

    /// Standard output, which is one JSON value a line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let line = |line: &str| {
            let parsed = serde_json::from_str(line);
            self.check(parsed.is_ok(), format_args!("not JSON: {line}"));
            parsed.unwrap_or_default()
        };
        self.out().lines().map(line).collect()
    }

    fn errors(&self) -> Vec<String> {
        self.err().lines().filter_map(|line| line.strip_prefix("error: ")).map(str::to_owned).collect()
    }
}

impl Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More of each output is cut.
        const SHOWN: usize = 4000;
        writeln!(f, "\n$ {}\n{} after {:?}", self.line, self.status, self.took)?;
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).replace('\x1b', "\\x1b");
            writeln!(f, "--- {name}, {} bytes\n{shown}", bytes.len())?;
        }
        let mut folder = String::new();
        self.listing.iter().try_for_each(|entry| writeln!(folder, "{entry}"))?;
        write!(f, "--- folder\n{folder}---")
    }
}

/// Commands that must all say the same.
pub(crate) struct All(pub(crate) Vec<Ran>);

impl All {
    /// The sentence of each error has this.
    #[track_caller]
    pub(crate) fn say(self, text: impl AsRef<str>) -> Self {
        Self(self.0.into_iter().map(|ran| ran.says(text.as_ref())).collect())
    }

    /// Each hint has this.
    #[track_caller]
    pub(crate) fn hint(self, text: impl AsRef<str>) -> Self {
        Self(self.0.into_iter().map(|ran| ran.hints(text.as_ref())).collect())
    }
}
