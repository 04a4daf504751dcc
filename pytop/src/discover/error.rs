//! Why a process or a file could not be looked at.

use std::error::Error;
use std::io;

use crate::model::Text;
use crate::os_error::{describe, is_refusal};

/// Why a process cannot be counted, said to someone who asked for this very process.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is none, or it has just ended.
    #[error("there is no process with the pid {pid}; it may have ended")]
    NoSuchProcess {
        /// The pid that was asked for.
        pid: u32,
    },
    /// It ended, and its parent has not taken notice.
    #[error("process {pid} ({comm}) has ended; its parent has not waited for it yet")]
    Ended {
        /// The process.
        pid: u32,
        /// The kernel's name of it.
        comm: Text,
    },
    /// The number is that of a thread.
    #[error("{thread} is the id of a thread, not of a process; try its process, --pid {process}")]
    Thread {
        /// What was asked for.
        thread: u32,
        /// The process that has this thread.
        process: u32,
    },
    /// It runs in the kernel.
    #[error("process {pid} ({comm}) is a thread of the kernel and runs no program")]
    KernelThread {
        /// The process.
        pid: u32,
        /// The kernel's name of it.
        comm: Text,
    },
    /// Nothing that it executes is a CPython interpreter.
    #[error(
        "process {pid} ({exe}) is not a CPython process: neither its program nor a library that it \
         has loaded holds a CPython interpreter; if it starts some, count them with --children"
    )]
    NotCPython {
        /// The process.
        pid: u32,
        /// Its executable.
        exe: Text,
    },
    /// None was found, and one of its files could not be examined.
    #[error("cannot tell whether process {pid} runs CPython: {file}")]
    File {
        /// The process.
        pid: u32,
        /// Which file, and why.
        file: std::sync::Arc<FileError>,
    },
    /// It belongs to someone else.
    #[error(
        "not permitted to look at process {pid}: {}; {}",
        describe(source),
        if nix::unistd::geteuid().is_root() {
            "root is kept from it too, by a security module, or for want of CAP_SYS_PTRACE"
        } else {
            "run pytop as root (sudo pytop), or with the capability CAP_SYS_PTRACE too"
        }
    )]
    NotPermitted {
        /// The process.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel's account of it could not be read.
    #[error(
        "cannot read the kernel's account of process {pid}: {}",
        describe(source)
    )]
    Unreadable {
        /// The process.
        pid: u32,
        /// What went wrong.
        source: io::Error,
    },
}

/// Why it is not known whether a file holds a CPython interpreter.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be opened. That takes `CAP_DAC_READ_SEARCH` when only its owner may read it.
    #[error(
        "cannot open {path}: {}{}", describe(source),
        if is_refusal(source) && !nix::unistd::geteuid().is_root() {
            "; run pytop as root (sudo pytop), or with the capability CAP_DAC_READ_SEARCH too"
        } else {
            ""
        }
    )]
    Unreadable {
        /// The file, as the process that maps it sees it.
        path: Text,
        /// What the kernel said.
        source: io::Error,
    },
    /// It could not be read, or is not what it should be.
    #[error(transparent)]
    Damaged(
        /// Which file, and what is wrong with it.
        Box<dyn Error + Send + Sync>,
    ),
}
