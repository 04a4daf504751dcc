//! Bytes as text that is shown.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use pytop::model::Text;

fuzz_target!(|input: &[u8]| {
    let text = Text::from(input);
    let shown = text.visible();
    pytop_fuzz::harmless(&shown);
    // What is plain stays as it is.
    assert_eq!(matches!(shown, Cow::Borrowed(_)), shown.as_bytes() == input);
    pytop_fuzz::harmless(&format!("{text:<20}{text:?}"));
});
