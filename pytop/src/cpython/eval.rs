//! The method for 3.6 to 3.10: the function that every entry of a frame calls.
//!
//! ```text
//! 3.6 to 3.8   PyObject *_PyEval_EvalFrameDefault(PyFrameObject *f, int throwflag);
//! 3.9, 3.10    PyObject *_PyEval_EvalFrameDefault(PyThreadState *tstate, PyFrameObject *f, int);
//! ```
//!
//! The address of the function is stored in the state of the interpreter and called from there
//! (`PyInterpreterState.eval_frame`, PEP 523). A compiler that guesses who is called may still make
//! a copy of a function for one caller, but not of this one: it saves addresses of its own labels
//! in a static table (`opcode_targets`), which neither GCC nor Clang copies or inlines.

use super::block::Path;
use super::code::{EvalSite, Failure};
use super::elf::Elf;
use super::jumps::{self, code_at};
use super::site::{self, MAX_BLOCK};
use super::symbols::{Dynamic, MAX_TABLE, Symbol, in_full_table};
use super::{NotCountable, Version, layout};
use crate::cpython::block::Block;

const EVALUATOR: &str = "_PyEval_EvalFrameDefault";
/// Their numbers in instructions: the first and the second argument of a function.
const RDI: u8 = 7;
const RSI: u8 = 6;

fn bad(why: &'static str) -> Failure {
    NotCountable::BadEvaluator(why).into()
}

/// The function that evaluates a frame.
pub(super) fn evaluator(elf: &Elf<'_>, dynamic: &Dynamic) -> Result<Symbol, Failure> {
    function(elf, dynamic, EVALUATOR)?.ok_or_else(|| bad("is not among its symbols"))
}

/// A function of the interpreter; `None` when the file does not tell of it.
pub(super) fn function(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    name: &str,
) -> Result<Option<Symbol>, Failure> {
    let symbol = match dynamic.find(elf, name)? {
        Some(symbol) => symbol,
        None => match in_full_table(elf, &[name], MAX_TABLE)?.as_slice() {
            [(_, symbol)] => *symbol,
            [] => return Ok(None),
            _ => return Err(bad("is there several times")),
        },
    };
    if !symbol.is_function {
        return Err(bad("is no function"));
    }
    Ok(Some(symbol))
}

/// The site in an interpreter of 3.6 to 3.10, at none of these offsets in the file.
pub(super) fn site(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    version: Version,
    but_for: &[u64],
) -> Result<EvalSite, Failure> {
    let layout = layout::read(elf, dynamic, version)?;
    let symbol = evaluator(elf, dynamic)?;
    let code = code_at(elf, symbol.address, MAX_BLOCK)?;
    let Some(block) = Block::follow(&code, symbol.address) else {
        return Err(bad("does not begin with instructions that pytop knows"));
    };
    let piece = symbol.address..block.end();
    let Some(references) = jumps::search(elf, std::slice::from_ref(&piece), None)? else {
        return Err(bad(
            "is in a file too large to be searched for jumps into it",
        ));
    };
    // Calls of the function, among them those of itself, are entries.
    let inner: Vec<u64> = references
        .jumps
        .iter()
        .map(|jump| jump.to)
        .filter(|to| *to != symbol.address)
        .collect();
    let argument = if version.minor() < (3, 9) { RDI } else { RSI };
    let frame = Path::start(argument);
    let mut steps = site::by_cost(&block, &code, symbol.address, &inner);
    let found = steps.find_map(|step| {
        let file_offset = site::file_offset(elf, step)?;
        let frame = block.locate(step, frame)?;
        (!but_for.contains(&file_offset)).then_some((step, file_offset, frame))
    });
    let Some((step, file_offset, frame)) = found else {
        return Err(bad("does not begin with instructions that pytop knows"));
    };
    Ok(EvalSite {
        address: step.instruction.ip(),
        file_offset,
        instruction: site::mnemonic(step),
        stepping: site::stepping_of(step, &code, symbol.address),
        frame,
        layout,
    })
}
