//! What is waited for, for a person at a terminal: services answer within a second, or nobody knows when.

use std::io::{self, IsTerminal, Write};

/// A line on standard error until the work is done; nothing if that is no terminal.
pub(super) fn waiting<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let seen = io::stderr().is_terminal();
    if seen {
        // If it can't be written, nobody is looking.
        let _ = write!(io::stderr().lock(), "{what} ...");
    }
    let done = work();
    if seen {
        let _ = write!(io::stderr().lock(), "\r\x1b[K");
    }
    done
}
