//! Rules for the text of a file: its length, its head, what it may not say.

use super::source::Source;

/// Lines a Rust file may have, tests included.
const LINES: usize = 500;

/// Files that may hold `unsafe`, and why.
const UNSAFE: [(&str, &str); 2] = [
    ("emulator/src/devices/ioctl.rs", "loop devices are set up by ioctl"),
    ("node/src/host/ioctl.rs", "a mounted file system grows by ioctl"),
];

/// Files that may use `allow` (its lints do not all fire, so `expect` can't be kept), and why.
const ALLOW: [(&str, &str); 1] = [("proto/src/lib.rs", "what the generator writes changes with its version")];

/// Words of the place where this was written; they mean nothing to a reader. Split, or they'd match here.
const ELSEWHERE: [&str; 13] = [
    concat!("../", "shared"),
    concat!("/research", "/"),
    concat!("style", "-anchors"),
    concat!("arm", "-semantics"),
    concat!("upstream-azure", "disk.md"),
    concat!("rust", "-crates.md"),
    concat!("user", "-pain"),
    concat!("seed", "-systems"),
    concat!("kubernetes", "-e2e.md"),
    concat!("vm", "-e2e.md"),
    concat!("csi-1.13", "-final"),
    concat!("Anth", "ropic"),
    concat!("sub", "agent"),
];

/// May name a folder beside the checkout: it looks there for recordings, and does without them.
const MAY_LOOK_OUTSIDE: [&str; 1] = [".ci/run"];

pub(crate) fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if source.is_rust && lines > LINES {
        return vec![format!("{}: {lines} lines, at most {LINES}: split it by purpose", source.path)];
    }
    Vec::new()
}

pub(crate) fn head(source: &Source) -> Vec<String> {
    if source.is_rust && !source.text.starts_with("//! ") {
        return vec![format!("{}: opens without `//!`: why does it exist, what does it own?", source.path)];
    }
    Vec::new()
}

pub(crate) fn stubs(source: &Source) -> Vec<String> {
    ["todo!", "unimplemented!", "dbg!"]
        .iter()
        .flat_map(|word| source.places(&source.code, word, &format!("{word}(…) is not done")))
        .collect()
}

pub(crate) fn ignored_tests(source: &Source) -> Vec<String> {
    source.places(&source.code, "#[ignore]", "a test that never runs, without a reason")
}

/// A module that several tests share is used in part by each, so `expect(dead_code)` can't hold for all.
fn may_allow(path: &str) -> bool {
    let is_shared_by_tests = path.contains("/tests/") && path.ends_with("/mod.rs");
    is_shared_by_tests || ALLOW.iter().any(|(listed, _)| *listed == path)
}

/// A lint is put aside by `expect`, with a reason.
pub(crate) fn put_aside(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, word) in ["expect(", "allow("].iter().flat_map(|word| source.code.match_indices(word)) {
        let before = source.code[..at].trim_end();
        let Some(attribute) = before.strip_suffix('[').map(|_| &source.code[at..]) else { continue };
        let end = attribute.find(")]").unwrap_or(attribute.len());
        if !attribute[..end].contains("reason") {
            complaints.push(source.place(&source.code, at, "a lint put aside without a reason"));
        } else if word == "allow(" && !may_allow(&source.path) {
            complaints.push(source.place(&source.code, at, "`allow` stays when its cause is gone; `expect`"));
        }
    }
    complaints
}

pub(crate) fn unsafe_code(source: &Source) -> Vec<String> {
    if UNSAFE.iter().any(|(path, _)| *path == source.path) {
        return Vec::new();
    }
    let word = |c: char| c.is_alphanumeric() || c == '_';
    source
        .code
        .match_indices("unsafe")
        .filter(|(at, found)| {
            !source.code[..*at].ends_with(word) && !source.code[at + found.len()..].starts_with(word)
        })
        .map(|(at, _)| source.place(&source.code, at, "unsafe code in a file that is not listed"))
        .collect()
}

/// Work left over names who does it: `TODO(name)`.
pub(crate) fn ownerless(source: &Source) -> Vec<String> {
    let (todo, fixme) = (concat!("TO", "DO"), concat!("FIX", "ME"));
    let open = |text: &str| text.starts_with('(') && !text.starts_with("()");
    [todo, fixme]
        .iter()
        .flat_map(|word| source.text.match_indices(word))
        .filter(|(at, word)| !open(&source.text[at + word.len()..]))
        .map(|(at, word)| source.place(&source.text, at, &format!("{word} without an owner")))
        .collect()
}

pub(crate) fn elsewhere(source: &Source) -> Vec<String> {
    if MAY_LOOK_OUTSIDE.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let folder = concat!("/wo", "rk/");
    let mut complaints = source.text.match_indices(folder).filter(|(at, _)| {
        !source.text[..*at].ends_with(|c: char| c.is_alphanumeric() || "._-$}".contains(c))
    });
    let first = complaints.next().map(|(at, _)| source.place(&source.text, at, "a path of one machine"));
    let words = ELSEWHERE
        .iter()
        .flat_map(|word| source.places(&source.text, word, &format!("`{word}` means nothing to a reader")));
    first.into_iter().chain(words).collect()
}
