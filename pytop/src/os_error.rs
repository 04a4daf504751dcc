//! What the kernel answered, in its own words.

use std::io;

use nix::errno::Errno;

/// The text of an error, without the number that `io::Error` adds: `Permission denied`, not
/// `Permission denied (os error 13)`.
pub(crate) fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

/// Whether the kernel refused for want of privilege.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_no_number() {
        for (number, words) in [
            (libc::EACCES, "Permission denied"),
            (libc::ENOSPC, "No space left on device"),
        ] {
            assert_eq!(describe(&io::Error::from_raw_os_error(number)), words);
        }
        assert_eq!(describe(&io::Error::other("no room")), "no room");
    }
}
