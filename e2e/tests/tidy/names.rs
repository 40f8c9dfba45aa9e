//! Rules for names: words that say nothing, and words for which the glossary has another one.

use super::source::{Source, shipped};

/// Words that say that something is there, not what it is. No name has them.
const EMPTY: [&str; 9] =
    ["manager", "managers", "helper", "helpers", "util", "utils", "common", "handler", "misc"];

/// Words that a type may not end with.
const EMPTY_AT_END: [&str; 2] = ["data", "info"];

/// Types that are called so on the wire or by a trait that we implement, and by whom.
const GIVEN: [(&str, &str); 4] = [
    ("CreationData", "the disk's `creationData` in Azure Resource Manager"),
    ("LocationInfo", "the SKU's `locationInfo` in Azure Resource Manager"),
    ("ShareInfo", "the disk's `shareInfo` in Azure Resource Manager"),
    ("type Data", "the associated type of http_body::Body"),
];

/// Words of identifiers that the glossary replaces.
const GLOSSARY: [(&str, &str); 4] =
    [("disk_uri", "the id of a disk is a DiskId"), ("pv", "volume"), ("vol", "volume"), ("lro", "operation")];

/// Where what touches the operating system has one home, and which files that is.
const NO_SYSTEM: [(&str, &str); 3] =
    [("node/src/", "node/src/host"), ("controller/src/", ""), ("proto/src/", "")];

const SYSTEM: [&str; 8] =
    ["std::fs", "std::process", "std::net", "tokio::fs", "tokio::process", "nix", "rustix", "libc"];

/// Methods of a path that ask the operating system.
const ASKING: [&str; 6] =
    [".exists()", ".try_exists()", ".canonicalize()", ".read_dir()", ".read_link()", ".symlink_metadata()"];

/// The words of a name: `NodeGetInfo` and `node_get_info` have the same three.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_upper = true;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && !was_upper) {
            words.push(String::new());
        }
        was_upper = letter.is_uppercase();
        if letter != '_' {
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Each identifier of `code` with its place.
fn identifiers(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr().addr() - code.as_ptr().addr(), word))
}

/// What is defined here: the keyword, the name and its place.
fn definitions(code: &str) -> Vec<(&str, &str, usize)> {
    const KEYWORDS: [&str; 9] = ["struct", "enum", "union", "trait", "type", "mod", "fn", "const", "static"];
    let all: Vec<_> = identifiers(code).collect();
    all.windows(2)
        .filter(|pair| KEYWORDS.contains(&pair[0].1))
        .filter(|pair| code[pair[0].0 + pair[0].1.len()..pair[1].0].trim().is_empty())
        .map(|pair| (pair[0].1, pair[1].1, pair[1].0))
        .collect()
}

pub(crate) fn empty_names(source: &Source) -> Vec<String> {
    if !source.is_rust {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    let file = source.path.trim_end_matches(".rs");
    for part in file.split('/').filter(|part| words(part).iter().any(|word| EMPTY.contains(&word.as_str()))) {
        complaints.push(format!("{}: `{part}` says nothing", source.path));
    }
    for (keyword, name, at) in definitions(&source.code) {
        let words = words(name);
        let is_type = ["struct", "enum", "union", "trait", "type"].contains(&keyword);
        let given = format!("{keyword} {name}");
        let is_given = GIVEN.iter().any(|(wire, _)| *wire == name || *wire == given);
        let empty_end = is_type && words.last().is_some_and(|word| EMPTY_AT_END.contains(&word.as_str()));
        // The name of a test is a sentence: it may speak of a handler, but not be one.
        let spoken = if keyword == "fn" { &words[words.len().saturating_sub(1)..] } else { &words[..] };
        if spoken.iter().any(|word| EMPTY.contains(&word.as_str())) || (empty_end && !is_given) {
            complaints.push(source.place(&source.code, at, &format!("`{name}` does not say what it is")));
        }
    }
    complaints
}

pub(crate) fn glossary(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, name) in identifiers(&source.code) {
        // A constant may be called after the wire word that it holds.
        if name.chars().all(|letter| !letter.is_lowercase()) {
            continue;
        }
        let spelled = format!("_{}_", words(name).join("_"));
        for (word, instead) in GLOSSARY {
            if spelled.contains(&format!("_{word}_")) {
                complaints.push(source.place(&source.code, at, &format!("`{name}`: {instead}")));
            }
        }
    }
    complaints
}

/// The paths that `tree` (what follows `use`, up to its `;`) brings in.
fn used_paths(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let (mut depth, mut branches) = (0_usize, vec![String::new()]);
    for letter in rest.trim_end().trim_end_matches('}').chars() {
        match letter {
            ',' if depth == 0 => branches.push(String::new()),
            _ => branches.last_mut().unwrap().push(letter),
        }
        depth = if letter == '{' { depth + 1 } else { depth.saturating_sub(usize::from(letter == '}')) };
    }
    let below = branches.iter().flat_map(|branch| used_paths(branch.trim()));
    below.map(|path| format!("{}{path}", prefix.trim())).collect()
}

/// Whether `path` is `system` or lies below it. The number of an error (`libc::EPERM`) asks nothing of it.
fn is_below(path: &str, system: &str) -> bool {
    let last = path.rsplit("::").next().unwrap_or_default();
    if last.starts_with('E') && last.chars().all(|letter| !letter.is_lowercase()) {
        return false;
    }
    path.strip_prefix(system).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

pub(crate) fn system_calls(source: &Source) -> Vec<String> {
    let is_kept = |(within, home): &&(&str, &str)| {
        source.path.starts_with(within) && (home.is_empty() || !source.path.starts_with(home))
    };
    if !NO_SYSTEM.iter().any(|row| is_kept(&row)) || source.path.ends_with("tests.rs") {
        return Vec::new();
    }
    let code = shipped(&source.code);
    let mut complaints = Vec::new();
    for (at, word) in identifiers(&code) {
        let paths = if word == "use" {
            used_paths(code[at + 3..].split(';').next().unwrap_or_default())
        } else if code[..at].ends_with("::") {
            continue;
        } else {
            vec![code[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect()]
        };
        for path in paths.iter().filter(|path| word == "use" || path.contains("::")) {
            if SYSTEM.iter().any(|system| is_below(path.trim_start_matches("::"), system)) {
                complaints.push(source.place(&code, at, &format!("`{path}` outside the host")));
            }
        }
    }
    complaints.extend(ASKING.iter().flat_map(|asking| {
        source.places(&code, asking, &format!("`{asking}` asks the operating system outside the host"))
    }));
    complaints.sort();
    complaints.dedup();
    complaints
}
