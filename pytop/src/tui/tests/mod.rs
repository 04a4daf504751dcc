//! The screen, as it is seen and as it behaves.

mod behaviour;
mod durations;
mod fixture;
mod pictures;
mod styles;
mod terminal;
