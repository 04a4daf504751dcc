//! The options of `pytop doctor`.

use clap::Args;

use super::AnswerFormat;

/// Tell whether pytop can count here, and what is missing
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    max_term_width = 100,
    long_about = "Tell whether pytop can count here, and what is missing.\n\n\
        Tries everything that counting takes of this kernel and this user, says of each whether it \
        is there, why not, and what to do about it, and lists the interpreters with the method \
        that counts each. It needs no root to explain why root is needed. Nothing is probed, and \
        nothing stays behind.",
    after_long_help = AFTER_HELP
)]
pub struct Doctor {
    /// How to print the findings
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: AnswerFormat,
}

const AFTER_HELP: &str = "\
Findings:
  yes      it is there
  limited  it is not, and pytop counts without it, but less, later, or not everything
  no       it is not, and pytop cannot count
  unknown  it could not be tried, because something before it is missing

Exit status:
  0  counting works
  1  it does not
  2  wrong usage";
