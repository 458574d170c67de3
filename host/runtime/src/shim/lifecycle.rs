//! Processes on their way up and down: reports of those that start, and the burial of those that have ended.

use std::fs;
use std::io;

use super::Shim;
use super::container::{Container, Phase};
use super::exec::{Exec, ExecPhase};
use super::starting::Progress;
use crate::cgroups::Group;
use crate::error::{StartError, StartErrorKind};
use crate::sys::{self, Death};
use crate::wire::{Failure, Reply};

impl Shim {
    /// Looks at what a starting container reports.
    pub(super) fn advance_start(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Phase::Starting(starting) = &mut container.phase else { return };
        match starting.advance() {
            Progress::Pending => {}
            Progress::Running => match container.started() {
                Ok(Some((connection, started))) => {
                    self.reply(connection, &Reply::Started(started), Vec::new())
                }
                Ok(None) => {}
                Err(error) => {
                    if let Phase::Starting(starting) = &mut container.phase {
                        let message = format!("record the start of container {id}: {error}");
                        starting.fail(StartError::new(StartErrorKind::Internal, message));
                    }
                    drop(container.kill(&self.pod, libc::SIGKILL));
                }
            },
            // Answered when it has been reaped: then its id is free again.
            Progress::Failed(_) => drop(container.kill(&self.pod, libc::SIGKILL)),
        }
    }

    /// Looks at what a starting exec reports.
    pub(super) fn advance_exec(&mut self, number: u64) {
        let Some(exec) = self.execs.get_mut(&number) else { return };
        let ExecPhase::Starting(starting) = &mut exec.phase else { return };
        let progress = starting.advance();
        if let Some(pidfd) = starting.process.take()
            && let Err(error) = exec.adopt(pidfd)
        {
            eprintln!("recognise an exec'd process: {error}");
        }
        match progress {
            Progress::Pending => {}
            Progress::Running => {
                if let Some((reply, descriptors)) = exec.started() {
                    let connection = exec.connection;
                    match self.connections.contains_key(&connection) {
                        true => self.reply(connection, &reply, descriptors),
                        // It left while the process was being made.
                        false => exec.abandon(),
                    }
                }
            }
            Progress::Failed(error) => self.fail_exec(number, error),
        }
    }

    fn fail_exec(&mut self, number: u64, error: StartError) {
        if let Some(exec) = self.execs.remove(&number) {
            drop(exec.kill(libc::SIGKILL));
            self.reply(exec.connection, &Reply::Failed(Failure::Start(error)), Vec::new());
        }
    }

    /// Collects dead children, and orphans that the kernel has given us.
    pub(super) fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            // Looked at first, and collected when it is known who it was: an exec'd process may have been made, have
            // reported and have ended since the last look at the reports.
            let dead = match sys::dead_child() {
                Ok(Some(dead)) => dead,
                Ok(None) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return eprintln!("waitid: {error}"),
            };
            for number in self.execs.keys().copied().collect::<Vec<_>>() {
                self.advance_exec(number);
            }
            match sys::collect(dead) {
                Ok(death) => death.into_iter().for_each(|death| self.record_death(death)),
                Err(error) => return eprintln!("waitpid: {error}"),
            }
        }
    }

    fn record_death(&mut self, death: Death) {
        let pid = death.pid;
        // The number of one that has ended may be somebody else's by now.
        let is_it =
            |container: &Container| container.pid == pid && !matches!(container.phase, Phase::Exited(_));
        let container = self.containers.iter().find(|(_, container)| is_it(container));
        if let Some(id) = container.map(|(id, _)| id.clone()) {
            self.record_container_death(&id, death);
            return;
        }
        let exec = self.execs.iter().find(|(_, exec)| exec.pid == Some(pid));
        if let Some(number) = exec.map(|(number, _)| *number) {
            self.record_exec_death(number, death);
            return;
        }
        self.pod.sandbox.helpers.retain(|helper| *helper != pid);
    }

    fn record_exec_death(&mut self, number: u64, Death { code, signal, .. }: Death) {
        // One that never ran has been dealt with by its own report.
        if let Some(Exec { connection, phase: ExecPhase::Running, .. }) = self.execs.remove(&number) {
            self.reply(connection, &Reply::ExecExited { code, signal }, Vec::new());
        }
    }

    fn record_container_death(&mut self, id: &str, death: Death) {
        self.advance_start(id);
        let Some(container) = self.containers.get_mut(id) else { return };
        if let Phase::Starting(starting) = &mut container.phase {
            let error = match starting.advance() {
                Progress::Failed(error) => error,
                Progress::Pending | Progress::Running => {
                    StartError::new(StartErrorKind::Internal, "the process was killed while it was starting")
                }
            };
            let connection = starting.connection;
            self.forget(id);
            self.reply(connection, &Reply::Failed(Failure::Start(error)), Vec::new());
            return;
        }
        let exit = container.exited(&self.pod, death);
        for waiter in std::mem::take(&mut container.waiters) {
            self.reply(waiter, &Reply::Exited(exit.clone()), Vec::new());
        }
        for subscriber in self.subscribers.clone() {
            let event = Reply::Event { container: id.to_owned(), status: exit.clone() };
            self.reply(subscriber, &event, Vec::new());
        }
        // Only now: it may take milliseconds, and who is told can already go on.
        let synced = self.containers.get(id).map(|container| container.directory.sync_exit());
        if let Some(Err(error)) = synced {
            eprintln!("sync the exit record of {id}: {error}");
        }
    }

    /// Removes a dead container's cgroup and directory, and forgets it.
    pub(super) fn forget(&mut self, id: &str) {
        let group = Group::Container { pod: &self.pod.record.sandbox.id, container: id };
        let directory = self.pod.directory.container(id);
        if let Err(error) = self.pod.cgroups.remove(group) {
            eprintln!("remove {group}: {error}");
        }
        match fs::remove_dir_all(directory.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                eprintln!("remove {}: {error}", directory.path().display());
            }
            _ => {}
        }
        self.containers.remove(id);
    }
}
