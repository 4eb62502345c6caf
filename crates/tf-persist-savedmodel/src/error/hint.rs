//! What would help, for people and for programs.

use std::borrow::Cow;
use std::fmt;

/// What would help: a sentence, and the settings of this library that it is about.
///
/// `Display` is the sentence alone, and with `{:#}` the settings behind it, by their names. A program whose users do
/// not call this library translates [`Hint::settings`] into its own words: the command line says `--overwrite` for
/// `overwrite`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    text: Cow<'static, str>,
    settings: Vec<Setting>,
}

/// A change to a setting of this library, named after its method, such as `overwrite` for
/// `SaveOptions::overwrite`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// Set it.
    Set(&'static str),
    /// Set it to this value.
    SetTo(&'static str, String),
    /// Leave it out.
    Unset(&'static str),
}

impl Hint {
    /// A sentence without settings.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), settings: Vec::new() }
    }

    /// A setting that would help.
    #[must_use]
    pub fn set(mut self, name: &'static str) -> Self {
        self.settings.push(Setting::Set(name));
        self
    }

    /// A setting that would help, and its value.
    #[must_use]
    pub fn set_to(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push(Setting::SetTo(name, value.into()));
        self
    }

    /// A setting that is in the way.
    #[must_use]
    pub fn unset(mut self, name: &'static str) -> Self {
        self.settings.push(Setting::Unset(name));
        self
    }

    /// The same, with another sentence after a semicolon.
    #[must_use]
    pub fn and(mut self, text: impl fmt::Display) -> Self {
        self.text = format!("{}; {text}", self.text).into();
        self
    }

    /// The sentence.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The settings that the sentence is about; often none.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }
}

impl From<&'static str> for Hint {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() || self.settings.is_empty() {
            return f.pad(&self.text);
        }
        let settings: Vec<String> = self.settings.iter().map(ToString::to_string).collect();
        write!(f, "{} ({})", self.text, settings.join(", "))
    }
}

impl fmt::Display for Setting {
    /// `overwrite`, `tags = serve`, `without resume`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(name) => f.pad(name),
            Self::SetTo(name, value) => write!(f, "{name} = {value}"),
            Self::Unset(name) => write!(f, "without {name}"),
        }
    }
}
