//! A process on its way to `execve`, seen from the shim.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::error::{StartError, StartErrorKind};
use crate::init::Report;
use crate::wire;

/// The shim's end of a process's reports.
pub(super) struct Starting {
    pub(super) socket: UnixStream,
    /// Whom to answer.
    pub(super) connection: u64,
    deadline: Instant,
    inbox: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    executing: bool,
    failure: Option<StartError>,
    pub(super) warnings: Vec<String>,
    pub(super) terminal: Option<OwnedFd>,
    /// Of the real process, when an intermediate one has made it.
    pub(super) process: Option<OwnedFd>,
}

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing new.
    Pending,
    /// Its program runs.
    Running,
    /// It will not run.
    Failed(StartError),
}

impl Starting {
    /// The shim's side, and the process's.
    pub(super) fn pair(connection: u64, timeout_ms: u64) -> io::Result<(Starting, UnixStream)> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let starting = Starting {
            socket,
            connection,
            deadline: Instant::now() + Duration::from_millis(timeout_ms),
            inbox: Vec::new(),
            descriptors: Vec::new(),
            executing: false,
            failure: None,
            warnings: Vec::new(),
            terminal: None,
            process: None,
        };
        Ok((starting, theirs))
    }

    /// When it will have taken too long; one that has failed is only waited for to die.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.failure.is_none().then_some(self.deadline)
    }

    /// The shim itself knows why it cannot succeed. The first reason is the one that counts.
    pub(super) fn fail(&mut self, error: StartError) {
        self.failure.get_or_insert(error);
    }

    /// Reads reports.
    pub(super) fn advance(&mut self) -> Progress {
        let alive = wire::fill(&self.socket, &mut self.inbox, &mut self.descriptors).unwrap_or(false);
        loop {
            match wire::take::<Report>(&mut self.inbox) {
                Ok(Some(report)) => self.note(report),
                Ok(None) => break,
                Err(error) => {
                    self.fail(StartError::new(StartErrorKind::Internal, error.to_string()));
                    break;
                }
            }
        }
        match (&self.failure, alive) {
            (Some(failure), _) => Progress::Failed(failure.clone()),
            (None, true) if Instant::now() >= self.deadline => {
                let message = "the container did not start in time; one of its mounts may not answer";
                self.fail(StartError::new(StartErrorKind::TimedOut, message));
                self.advance()
            }
            (None, true) => Progress::Pending,
            (None, false) if self.executing => Progress::Running,
            (None, false) => {
                let message = "the process was killed before its program was executed";
                self.fail(StartError::new(StartErrorKind::Internal, message));
                self.advance()
            }
        }
    }

    fn note(&mut self, report: Report) {
        let take = |descriptors: &mut Vec<OwnedFd>| (!descriptors.is_empty()).then(|| descriptors.remove(0));
        match report {
            Report::Process => self.process = take(&mut self.descriptors),
            Report::Terminal => self.terminal = take(&mut self.descriptors),
            Report::Warning(warning) => self.warnings.push(warning),
            Report::Executing => self.executing = true,
            Report::Failed(error) => self.fail(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(reports: &[Report], closed: bool) -> Progress {
        let (mut starting, theirs) = Starting::pair(0, 60_000).unwrap();
        for report in reports {
            wire::send(&theirs, report, &[]).unwrap();
        }
        if closed {
            drop(theirs);
            return starting.advance();
        }
        starting.advance()
    }

    #[test]
    fn only_a_closed_connection_after_the_announcement_means_success() {
        assert_eq!(after(&[], false), Progress::Pending);
        assert_eq!(after(&[Report::Executing], false), Progress::Pending);
        assert_eq!(after(&[Report::Executing], true), Progress::Running);
        assert!(matches!(after(&[], true), Progress::Failed(_)));
        let error = StartError::new(StartErrorKind::CommandNotFound, "exec");
        let reports = [Report::Executing, Report::Failed(error.clone())];
        assert_eq!(after(&reports, true), Progress::Failed(error));
    }

    #[test]
    fn starts_do_not_hang() {
        let (mut starting, _theirs) = Starting::pair(0, 0).unwrap();
        let Progress::Failed(error) = starting.advance() else { panic!("still waiting") };
        assert_eq!(error.kind, StartErrorKind::TimedOut);
        assert_eq!(starting.deadline(), None, "once is enough");
    }
}
