//! Texts that are nearly valid: what parsers are given in the property tests of all crates, each of which includes this
//! file. Noise alone is refused at the first character and proves little.

// Each crate uses its part.
#![allow(dead_code)]

use proptest::{prelude::*, sample::Index};

/// What parsers stumble over.
const STUMBLES: &[&str] = &[
    "",
    " ",
    "\t",
    "\n",
    "\0",
    "\u{1b}[31m",
    "\u{202e}",
    "\u{feff}",
    "-",
    "--",
    ":",
    "::",
    "/",
    "//",
    ".",
    "..",
    ",",
    "*",
    "+",
    "=",
    "_",
    "@",
    "%",
    "%00",
    "\\",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    "&",
    "&amp;",
    "0",
    "9",
    "-1",
    "1e9",
    "4294967296",
    "18446744073709551616",
    "99999999999999999999",
    "a",
    "Z",
    "é",
    "ß",
    "İ",
    "１",
    "💥",
    "null",
    "true",
    "NaN",
];

/// One change of a text; positions are in characters, and taken as near as there are any.
#[derive(Clone, Debug)]
enum Edit {
    Put(Index, &'static str),
    Replace(Index, &'static str),
    Cut(Index, Index),
    Double(Index, Index),
    Shout,
    Flood(Index, usize),
}

fn edits() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), proptest::sample::select(STUMBLES)).prop_map(|(at, what)| Edit::Put(at, what)),
        3 => (at(), proptest::sample::select(STUMBLES)).prop_map(|(at, what)| Edit::Replace(at, what)),
        3 => (at(), at()).prop_map(|(from, to)| Edit::Cut(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Edit::Double(from, to)),
        1 => Just(Edit::Shout),
        1 => (at(), 1_usize..3000).prop_map(|(at, times)| Edit::Flood(at, times)),
    ]
}

impl Edit {
    fn apply(&self, text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let place = |at: &Index| at.index(chars.len() + 1);
        let span = |a: &Index, b: &Index| (place(a).min(place(b)), place(a).max(place(b)));
        let part = |from: usize, to: usize| chars[from..to].iter().collect::<String>();
        let whole = chars.len();
        match self {
            Self::Put(at, what) => part(0, place(at)) + what + &part(place(at), whole),
            Self::Replace(at, what) => part(0, place(at)) + what + &part((place(at) + 1).min(whole), whole),
            Self::Cut(a, b) => part(0, span(a, b).0) + &part(span(a, b).1, whole),
            Self::Double(a, b) => part(0, span(a, b).1) + &part(span(a, b).0, whole),
            Self::Shout => text.to_uppercase(),
            Self::Flood(at, times) => {
                let one = chars.get(place(at)).or(chars.last()).copied().unwrap_or('x');
                part(0, place(at)) + &one.to_string().repeat(*times) + &part(place(at), whole)
            }
        }
    }
}

/// A text with up to four changes.
pub fn edited(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (text, proptest::collection::vec(edits(), 0..=4))
        .prop_map(|(text, edits)| edits.iter().fold(text, |text, edit| edit.apply(&text)))
}

/// One of these texts, whole, with some changes, or, now and then, something else altogether.
pub fn near(examples: &'static [&'static str]) -> impl Strategy<Value = String> {
    let example = || proptest::sample::select(examples).prop_map(str::to_owned);
    prop_oneof![2 => example(), 12 => edited(example()), 1 => any::<String>(), 1 => "\\PC{0,40}"]
}
