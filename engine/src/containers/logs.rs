//! Reading what a container has written, and what it goes on to write.

use super::{log_files, monitor::OutputStream};
use crate::{ContainerError, Engine, Error};
use rbuild_cache::{Container, ContainerState};
use rbuild_oci::Timestamp;
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::Path,
    thread,
    time::Duration,
};

/// How often a log is looked at that may grow.
const PAUSE: Duration = Duration::from_millis(20);

/// The part of a log that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// True to wait for what comes until the container ends.
    pub follow: bool,
    /// Only so many of the last lines; all when absent.
    pub tail: Option<usize>,
    /// Only what was written at this moment or later.
    pub since: Option<Timestamp>,
    /// Only what was written before this moment.
    pub until: Option<Timestamp>,
}

/// A line of a log, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When it was written.
    pub time: Timestamp,
    /// Where.
    pub stream: OutputStream,
    /// The bytes, with the end of the line if it is there.
    pub bytes: Vec<u8>,
}

impl LogEntry {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.strip_suffix(b"\n")?.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let stream = match fields.next()? {
            b"stdout" => OutputStream::Stdout,
            b"stderr" => OutputStream::Stderr,
            _ => return None,
        };
        let is_whole = match fields.next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        let mut bytes = fields.next()?.to_vec();
        if is_whole {
            bytes.push(b'\n');
        }
        Some(Self { time, stream, bytes })
    }

    /// True if it ends a line.
    #[must_use]
    pub fn ends_line(&self) -> bool {
        self.bytes.ends_with(b"\n")
    }
}

impl Engine {
    /// Hands each entry of a container's log that `request` asks for to `take`, until there are no more or it returns false.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`ContainerError::LogNotKept`], [`Error::Io`].
    pub fn logs(
        &self,
        name: &str,
        request: &LogRequest,
        mut take: impl FnMut(LogEntry) -> bool,
    ) -> Result<(), Error> {
        let container = self.container(name)?;
        if container.settings.as_ref().is_some_and(|settings| !settings.log.is_kept) {
            return Err(ContainerError::LogNotKept(container.name).into());
        }
        let path = self.store.container(&container.id).log();
        let fail = |source| Error::Io { action: "read", path: path.clone(), source };
        let Some(files) = self.opened(&container, request, &path)? else { return Ok(()) };
        let mut files: VecDeque<_> = files.into_iter().map(BufReader::new).collect();
        if let Some(count) = request.tail {
            keep_last_lines(&mut files, count, request).map_err(fail)?;
        }
        let mut line = Vec::new();
        while let Some(mut log) = files.pop_front() {
            loop {
                // both asked before the file is read to its end
                let may_grow = request.follow && files.is_empty() && self.runs(&container)?;
                let newer = if files.is_empty() {
                    log_files::newer_than(&path, log.get_ref())
                } else {
                    Ok(VecDeque::new())
                };
                let newer = newer.map_err(fail)?;
                while log.read_until(b'\n', &mut line).map_err(fail)? > 0 && line.ends_with(b"\n") {
                    let entry = LogEntry::parse(&line);
                    line.clear();
                    let Some(entry) = entry else { continue };
                    if request.until.is_some_and(|until| entry.time >= until) {
                        return Ok(());
                    }
                    if request.since.is_none_or(|since| entry.time >= since) && !take(entry) {
                        return Ok(());
                    }
                }
                files.extend(newer.into_iter().map(BufReader::new));
                if !may_grow || !files.is_empty() {
                    break;
                }
                if request.until.is_some_and(|until| Timestamp::from(self.store.now()) >= until) {
                    return Ok(());
                }
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// The files of the log, once there are some; `None` when there will be none.
    fn opened(
        &self,
        container: &Container,
        request: &LogRequest,
        path: &Path,
    ) -> Result<Option<VecDeque<File>>, Error> {
        loop {
            let runs = self.runs(container)?;
            let files = log_files::open_all(path);
            let files =
                files.map_err(|source| Error::Io { action: "open", path: path.to_owned(), source })?;
            if !files.is_empty() {
                return Ok(Some(files));
            }
            if !runs || !request.follow {
                return Ok(None);
            }
            thread::sleep(PAUSE);
        }
    }

    fn runs(&self, container: &Container) -> Result<bool, Error> {
        let now = self.store.container(&container.id).read()?;
        Ok(now.is_some_and(|now| now.state == ContainerState::Running))
    }
}

/// Leaves the files where the last `count` lines begin that `request` asks for, without those before.
fn keep_last_lines(
    files: &mut VecDeque<BufReader<File>>,
    count: usize,
    request: &LogRequest,
) -> io::Result<()> {
    let (mut starts, mut line, mut is_new) = (VecDeque::new(), Vec::new(), [true; 2]);
    let mut end = (0, 0);
    for (index, log) in files.iter_mut().enumerate() {
        let mut at = 0;
        loop {
            line.clear();
            let length = log.read_until(b'\n', &mut line)? as u64;
            let Some(entry) = LogEntry::parse(&line) else {
                // what is not whole yet is read again
                if length == 0 || !line.ends_with(b"\n") {
                    break;
                }
                at += length;
                continue;
            };
            let is_asked_for = request.since.is_none_or(|since| entry.time >= since)
                && request.until.is_none_or(|until| entry.time < until);
            // a line begins where none of its stream is open
            let stream = usize::from(entry.stream == OutputStream::Stderr);
            if is_asked_for && is_new[stream] {
                starts.push_back((index, at));
                if starts.len() > count {
                    starts.pop_front();
                }
            }
            is_new[stream] = entry.ends_line();
            at += length;
        }
        end = (index, at);
    }
    let (index, at) = starts.front().copied().unwrap_or(end);
    drop(files.drain(..index));
    for (place, log) in files.iter_mut().enumerate() {
        log.seek(SeekFrom::Start(if place == 0 { at } else { 0 }))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_written() {
        let entry = LogEntry::parse(b"2026-01-02T03:04:05.6Z stderr F a b \xff\n").unwrap();
        assert_eq!((entry.stream, entry.bytes.as_slice()), (OutputStream::Stderr, b"a b \xff\n".as_slice()));
        let entry = LogEntry::parse(b"2026-01-02T03:04:05Z stdout P \n").unwrap();
        assert_eq!((entry.stream, entry.bytes.as_slice()), (OutputStream::Stdout, b"".as_slice()));
        for damaged in
            [b"".as_slice(), b"x\n", b"2026-01-02T03:04:05Z stdout F", b"2026-01-02T03:04:05Z x F y\n"]
        {
            assert_eq!(LogEntry::parse(damaged), None);
        }
    }

    #[test]
    fn the_last_lines_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let (old, path) = (directory.path().join("log.1"), directory.path().join("log"));
        let time = "2026-01-02T03:04:05Z";
        let lines = ["stdout F a", "stdout P b", "stderr F c", "stdout F d", "stdout F e"];
        let text: String = lines.iter().map(|line| format!("{time} {line}\n")).collect();
        // the line that has two parts is in two files
        let (first, second) = text.split_at(text.find("stderr").unwrap() - time.len() - 1);
        std::fs::write(&old, first).unwrap();
        std::fs::write(&path, second).unwrap();
        let from = |count| {
            let files = [&old, &path].map(|path| BufReader::new(File::open(path).unwrap()));
            let mut files = VecDeque::from(files);
            keep_last_lines(&mut files, count, &LogRequest::default()).unwrap();
            files.into_iter().map(|file| file.lines().count()).sum::<usize>()
        };
        assert_eq!([from(0), from(1), from(2), from(3), from(9)], [0, 1, 3, 4, 5]);
    }
}
