//! The emulator against recorded sessions with the real Azure: same status, same header names, same body keys.
//!
//! Opt-in: `ARM_RECORDINGS=DIR` names a directory of recordings (`*.yaml`). Each file is one session, replayed in order
//! on a fresh emulator. Operation guids in recorded poll URLs were wiped by the recorder, so a poll goes to the
//! operation that the session started last. Counted apart: Compute, resource groups, and the network stub.
#![expect(clippy::unwrap_used, reason = "what fails in a test's own steps fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use azure_emulator::{Emulator, Options};
use bytes::Bytes;
use http::{Request, Response};
use serde::Deserialize;
use serde_json::Value;

const WIPED: &str = "00000000-0000-0000-0000-000000000000";

/// What the recorder removed, so that its absence proves nothing; and what the HTTP layer below the door adds.
const NOT_COMPARED: &[&str] = &[
    "retry-after",
    "x-ms-request-id",
    "x-ms-correlation-request-id",
    "x-ms-ratelimit-remaining-resource",
    "x-ms-ratelimit-remaining-subscription-reads",
    "x-ms-ratelimit-remaining-subscription-writes",
    "x-ms-ratelimit-remaining-subscription-deletes",
    "x-ms-served-by",
    "date",
    "content-length",
];

#[derive(Deserialize)]
struct Recording {
    interactions: Vec<Exchange>,
}

#[derive(Deserialize)]
struct Exchange {
    request: RecordedRequest,
    response: RecordedResponse,
}

#[derive(Deserialize)]
struct RecordedRequest {
    method: String,
    url: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    headers: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct RecordedResponse {
    code: u16,
    #[serde(default)]
    body: String,
    headers: BTreeMap<String, Vec<String>>,
}

/// Which count an exchange belongs to.
fn family(url: &str) -> &'static str {
    if url.contains("/providers/Microsoft.Compute/") {
        "Microsoft.Compute"
    } else if url.contains("/providers/Microsoft.Network/") {
        "Microsoft.Network"
    } else {
        "resource groups"
    }
}

fn is_poll(url: &str) -> bool {
    url.contains(&format!("perations/{WIPED}")) || url.contains("/operationresults/")
}

/// The paths of all keys in a document; items of a list share one path.
fn keys(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = format!("{at}/{name}");
                keys(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, &format!("{at}[]"), found)),
        _ => {}
    }
}

fn key_set(body: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if !body.is_empty() {
        keys(&serde_json::from_str(body).unwrap(), "", &mut found);
    }
    found
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    names.map(str::to_lowercase).filter(|name| !NOT_COMPARED.contains(&name.as_str())).collect()
}

/// What of an answer differs from the recorded one; empty if nothing.
fn differences(recorded: &RecordedResponse, answer: &Response<Bytes>) -> Vec<String> {
    let mut differences = Vec::new();
    if answer.status().as_u16() != recorded.code {
        differences.push(format!("status {} instead of {}", answer.status(), recorded.code));
    }
    let ours = std::str::from_utf8(answer.body()).unwrap();
    let pairs = [
        (
            "headers",
            names(recorded.headers.keys().map(String::as_str)),
            names(answer.headers().keys().map(http::HeaderName::as_str)),
        ),
        ("body", key_set(&recorded.body), key_set(ours)),
    ];
    for (what, theirs, ours) in pairs {
        let missing: Vec<_> = theirs.difference(&ours).collect();
        let extra: Vec<_> = ours.difference(&theirs).collect();
        if !missing.is_empty() || !extra.is_empty() {
            differences.push(format!("{what}: missing {missing:?}, too many {extra:?}"));
        }
    }
    differences
}

async fn replay(
    path: &Path,
    counts: &mut BTreeMap<&'static str, (usize, usize)>,
    failures: &mut Vec<String>,
) {
    let recording: Recording = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let options = Options { subscription: WIPED.to_owned(), groups: Vec::new(), ..Options::default() };
    let emulator = Emulator::new(options).unwrap();
    let mut last_operation = String::new();
    for (number, Exchange { request, response }) in recording.interactions.iter().enumerate() {
        let url = if is_poll(&request.url) { last_operation.clone() } else { request.url.clone() };
        let mut sent =
            Request::builder().method(request.method.as_str()).uri(&url).header("authorization", "Bearer t");
        for (name, values) in &request.headers {
            if name.to_lowercase().starts_with("if-") {
                sent = sent.header(name, &values[0]);
            }
        }
        let answer = emulator.handle(sent.body(request.body.clone().into()).unwrap()).await;
        let accepted =
            answer.headers().get("azure-asyncoperation").or_else(|| answer.headers().get("location"));
        if let Some(accepted) = accepted {
            accepted.to_str().unwrap().clone_into(&mut last_operation);
        }
        let count = counts.entry(family(&request.url)).or_default();
        count.1 += 1;
        let differences = differences(response, &answer);
        if differences.is_empty() {
            count.0 += 1;
        } else {
            let file = path.file_name().unwrap().display();
            failures.push(format!(
                "{file} #{number} {} {}\n  {}",
                request.method,
                request.url,
                differences.join("\n  ")
            ));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn recorded_sessions_are_answered_as_azure_did() {
    let Some(directory) = std::env::var_os("ARM_RECORDINGS") else {
        let _ = writeln!(std::io::stderr(), "skipped: ARM_RECORDINGS is not set");
        return;
    };
    let entries = std::fs::read_dir(&directory).expect("ARM_RECORDINGS is not a directory");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "no recordings in {}", Path::new(&directory).display());
    let mut counts = BTreeMap::new();
    let mut failures = Vec::new();
    for file in &files {
        replay(file, &mut counts, &mut failures).await;
    }
    for (family, (same, all)) in &counts {
        let _ = writeln!(std::io::stderr(), "{family}: {same} of {all}");
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}
