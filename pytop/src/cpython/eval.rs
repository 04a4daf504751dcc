//! The method for 3.6 to 3.10: the function that every entry of a frame calls.

use super::code::EvalSite;
use super::elf::Elf;
use super::source::Fault;
use super::symbols::Dynamic;
use super::{NotCountable, Version};

/// The site in an interpreter of 3.6 to 3.10.
pub(super) fn site(
    _elf: &Elf<'_>,
    _dynamic: &Dynamic,
    version: Version,
) -> Result<Result<EvalSite, NotCountable>, Fault> {
    Ok(Err(NotCountable::UnknownOpcodes { version }))
}
