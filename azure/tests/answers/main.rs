//! Answers that Azure should not give, and might: the corpus of the fuzz target, thousands of seeded mutations of
//! it, and the rows that matter most. The same as `make fuzz`, without its tools and without its hours.

#![expect(clippy::unwrap_used, reason = "also outside of #[test] functions, a test that cannot go on panics")]

mod exchanges;

use std::path::Path;

use azure::ErrorKind;
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

/// How many mutations are tried.
const MUTATIONS: usize = 4000;

/// What often goes wrong in the place of a value, and between the parts of an input.
const PIECES: [&str; 22] = [
    "null",
    "-1",
    "64",
    "1000",
    "4294967296",
    "18446744073709551616",
    "1e400",
    "1.5",
    "\"\"",
    "\"é\\u0000\"",
    "[]",
    "{}",
    "true",
    "[null]",
    "{\"id\":7}",
    ",",
    "\n\n",
    "\n%%\n",
    "429",
    "retry-after: 99999999999",
    "\"Succeeded\"",
    "[[[[[[[[",
];

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/arm");
    let mut inputs: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// `input` with one to three small changes.
fn mutated(input: &[u8], chance: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..chance.usize(1..=3) {
        let at = chance.usize(0..=bytes.len());
        let end = (at + chance.usize(0..24)).min(bytes.len());
        let piece = PIECES[chance.usize(0..PIECES.len())].bytes();
        match chance.u8(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.u8(0..8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(end..end, copy));
            }
            3 => drop(bytes.splice(at..at, piece)),
            // A value of JSON: from a colon to the next comma or bracket.
            _ => {
                let Some(start) =
                    bytes[at..].iter().position(|byte| *byte == b':').map(|colon| at + colon + 1)
                else {
                    continue;
                };
                let length = bytes[start..].iter().position(|byte| b",]}\n".contains(byte));
                let end = length.map_or(bytes.len(), |length| start + length);
                drop(bytes.splice(start..end, piece));
            }
        }
    }
    bytes
}

#[test]
fn the_corpus_holds_an_input_for_every_call() {
    let inputs = corpus();
    for call in exchanges::CALLS {
        let line = format!("call: {call}\n");
        assert!(inputs.iter().any(|(_, input)| String::from_utf8_lossy(input).contains(&line)), "{call}");
    }
    for (name, input) in inputs {
        println!("{name}");
        exchanges::run(&input);
    }
}

#[test]
fn mutated_answers_are_read_or_refused() {
    let inputs = corpus();
    let mut chance = fastrand::Rng::with_seed(20_261_121);
    for number in 0..MUTATIONS {
        let (name, input) = &inputs[number % inputs.len()];
        let input = mutated(input, &mut chance);
        let outcome = std::panic::catch_unwind(|| exchanges::run(&input));
        assert!(outcome.is_ok(), "mutation {number}, of {name}:\n{}", String::from_utf8_lossy(&input));
    }
}

fn vm_with(disk: &Value) -> Vec<Response<Bytes>> {
    let vm = json!({ "id": "vm", "name": "vm", "location": "x", "etag": "\"1\"",
        "properties": { "storageProfile": { "dataDisks": [disk] } } });
    vec![Response::new(vm.to_string().into())]
}

#[test]
fn a_lun_is_one_of_sixty_four_or_none() {
    for lun in -1..=1000 {
        let told = exchanges::make("vm", vm_with(&json!({ "lun": lun }))).unwrap();
        assert_eq!(told.contains(&format!("Some(Lun({lun}))")), (0..64).contains(&lun), "{told}");
    }
    for lun in [json!(null), json!("1"), json!(1.5), json!(1_u64 << 40), json!([]), json!({})] {
        let refused = exchanges::make("vm", vm_with(&json!({ "lun": lun })));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Protocol, "{lun}");
    }
    let missing = exchanges::make("vm", vm_with(&json!({ "name": "a" })));
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::Protocol);
}

#[test]
fn a_list_of_many_mebibytes_is_read() {
    let disk = json!({ "id": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/disks/d", "name": "d",
        "location": "x", "tags": { "k": "v".repeat(1000) },
        "properties": { "creationData": { "createOption": "Empty" } } });
    let page = json!({ "value": vec![disk; 4000] }).to_string();
    assert!(page.len() > 4 << 20);
    assert!(exchanges::make("disks", vec![Response::new(page.into())]).is_ok());
}
