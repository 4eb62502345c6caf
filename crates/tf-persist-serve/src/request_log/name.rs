//! Names of the files of request logs: `PREFIX-20261129T051028.123Z.tfrecord`, with `.part` while a file is written.

use std::time::SystemTime;

use jiff::Timestamp;

use super::rules::Destination;
use super::settings::RequestLogFormat;

/// The ending of a file that is being written.
pub(super) const PART: &str = ".part";

/// The form of the time in a name. Names of one log sort by time.
const TIME: &str = "%Y%m%dT%H%M%S.%3fZ";

/// The length of such a time.
const TIME_LEN: usize = 20;

/// What the name of a file of a log says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogName<'n> {
    /// The time at which it was begun.
    pub(super) time: &'n str,
    pub(super) format: RequestLogFormat,
    /// Whether it is being written, or was when its server ended.
    pub(super) is_part: bool,
}

impl<'n> LogName<'n> {
    /// Reads the name of a file; `None` if the file is not part of a log.
    pub(super) fn parse(name: &'n str) -> Option<Self> {
        let (rest, is_part) = name.strip_suffix(PART).map_or((name, false), |rest| (rest, true));
        let (rest, extension) = rest.rsplit_once('.')?;
        let format = RequestLogFormat::from_type(extension)?;
        let start = rest.len().checked_sub(TIME_LEN)?;
        let (before, time) = rest.split_at_checked(start)?;
        let is_time = time.bytes().enumerate().all(|(index, byte)| match index {
            8 => byte == b'T',
            15 => byte == b'.',
            19 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
        (is_time && before.ends_with('-')).then_some(Self { time, format, is_part })
    }
}

/// The name of a file that is begun at this time, without [`PART`].
pub(super) fn file_name(destination: &Destination, time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default().strftime(TIME);
    format!("{}-{time}.{}", destination.prefix, destination.format.extension())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn names_are_read_back() {
        let destination = Destination { folder: "/".into(), prefix: "m-1".into(), format: RequestLogFormat::JsonLines };
        let name = file_name(&destination, UNIX_EPOCH + Duration::from_millis(1_700_000_000_007));
        assert_eq!(name, "m-1-20231114T221320.007Z.jsonl");
        let read = LogName { time: "20231114T221320.007Z", format: RequestLogFormat::JsonLines, is_part: false };
        assert_eq!(LogName::parse(&name), Some(read));
        assert!(LogName::parse(&format!("{name}{PART}")).unwrap().is_part);
    }

    #[test]
    fn other_files_are_no_logs() {
        for name in ["", "m.jsonl", "-20231114T221320.007Z.gz", "20231114T221320.007Z.jsonl", "é-20231114T221320.007Z"]
        {
            assert_eq!(LogName::parse(name), None, "{name}");
        }
        assert_eq!(LogName::parse("m-20231114T22132é.007Z.jsonl"), None);
    }
}
