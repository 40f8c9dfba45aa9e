//! The files of the repository as the rules see them: a path, the text, and for Rust the code alone.
//!
//! `code` is the text with comments and the insides of literals blanked, lines kept: a rule that looks for
//! a word in code can't be fooled by prose, and can be written down in a string without matching itself.

use std::path::Path;

/// One text file.
pub(crate) struct Source {
    /// Below the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Empty for anything but Rust.
    pub(crate) code: String,
    pub(crate) is_rust: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let is_rust = path.rsplit_once('.').is_some_and(|(_, ending)| ending == "rs");
        let code = if is_rust { code(text) } else { String::new() };
        Self { path: path.to_owned(), text: text.to_owned(), code, is_rust }
    }

    /// `path:line: what` for each place in `text` where `word` starts.
    pub(crate) fn places(&self, text: &str, word: &str, what: &str) -> Vec<String> {
        text.match_indices(word).map(|(at, _)| self.place(text, at, what)).collect()
    }

    /// `path:line: what` for the byte `at` of `text`.
    pub(crate) fn place(&self, text: &str, at: usize, what: &str) -> String {
        let line = text[..at].matches('\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }
}

/// Every text file below `root`, without build output and hidden folders (`.ci` is ours).
pub(crate) fn walk(root: &Path) -> Vec<Source> {
    let (mut folders, mut sources) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && name != "target" && (!name.starts_with('.') || name == ".ci") {
                folders.push(path);
            } else if kind.is_file()
                && name != ".git" // a worktree's pointer
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                let below = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                sources.push(Source::new(&below, &text));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// `text` with comments and the insides of string and character literals as blanks.
pub(crate) fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = (!after_word).then(|| raw_string(rest)).flatten() {
            length
        } else if first == '"' {
            quoted(rest)
        } else if first == '\'' {
            character(rest)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (gone, left) = rest.split_at(length);
        // What a literal was stays visible by its quotes: `#[ignore = ""]` still has a reason.
        let quote = if first == '"' || first == 'r' || first == 'b' { "\"\"" } else { "" };
        code.push_str(quote);
        code.extend(gone.chars().filter(|c| *c == '\n'));
        rest = left;
    }
    code
}

/// The bytes of the block comment that `text` starts with; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        let step = match (here.starts_with(b"/*"), here.starts_with(b"*/")) {
            (true, _) => (depth + 1, 2),
            (_, true) => (depth - 1, 2),
            _ => (depth, 1),
        };
        (depth, at) = (step.0, at + step.1);
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The bytes of a raw string (`r"…"`, `br#"…"#`) if `text` starts with one.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = if text.starts_with("br") { 2 } else { usize::from(text.starts_with('r')) };
    let hashes = text.get(prefix..)?.bytes().take_while(|byte| *byte == b'#').count();
    let open = prefix + hashes + 1;
    if prefix == 0 || text.as_bytes().get(open - 1) != Some(&b'"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    Some(text[open..].find(&close).map_or(text.len(), |at| open + at + close.len()))
}

/// The bytes of the string literal that `text` starts with.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The bytes of a character literal, or just the tick of a lifetime.
fn character(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(text.len(), |at| at + 4),
        Some(_) => match letters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// `code` without the items under `#[cfg(test)]`: what ships.
pub(crate) fn shipped(code: &str) -> String {
    let mut shipped = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        shipped.push_str(&rest[..at]);
        let item = &rest[at..];
        let (mut depth, mut end) = (0_usize, item.len());
        for (at, byte) in item.bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' if depth <= 1 => end = at + 1,
                b'}' => depth -= 1,
                b';' if depth == 0 => end = at + 1,
                _ => continue,
            }
            if end == at + 1 {
                break;
            }
        }
        shipped.extend(item[..end].chars().filter(|c| *c == '\n'));
        rest = &item[end..];
    }
    shipped + rest
}

#[test]
fn prose_and_literals_are_not_code() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(code(text), expected, "{text}");
    }
    check("a // todo\nb", "a \nb");
    check("a /* x /* y */ z\n */ b", "a \n b");
    check(r#"f("a \" b\\", c)"#, r#"f("", c)"#);
    check("f(r#\"a \" b\"#, c)", "f(\"\", c)");
    check("f(br\"a\\\", c)", "f(\"\", c)");
    check("four\"x\"", "four\"\"");
    check("f('\"', '\\'', b'\\\\', '\\u{1F600}', 'é')", "f(, , b, , )");
    check("fn f<'a>(x: &'a str) {}", "fn f<a>(x: &a str) {}");
    check("\"never closed\nx", "\"\"\n");
}

#[test]
fn what_is_under_cfg_test_does_not_ship() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(shipped(text), expected, "{text}");
    }
    check("a\n#[cfg(test)]\nmod tests {\n fn f() { x }\n}\nb", "a\n\n\n\n\nb");
    check("#[cfg(test)]\nmod tests;\nb", "\n\nb");
    check("#[cfg(test)] use a; c #[cfg(test)] fn f() {} d", " c  d");
    check("no tests", "no tests");
}
