//! The wire facts of a compiled contract, one line for each, in the form of `data/csi-1.13.tsv`.
//!
//! The tests beside it compare two sets of such lines, so that what is missing and what is too much
//! reads the same whichever side it comes from. **Invariant:** whatever the contract says and the table
//! has no column for (another option, a reserved name, an explicit `optional`) still makes a line or
//! changes one: an unknown fact is a difference, never silence.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use protox::prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind,
    MessageDescriptor, ServiceDescriptor, Value,
};

/// The package of the contract.
pub(crate) const PACKAGE: &str = "csi.v1";

/// The facts of package `csi.v1` in `pool`.
pub(crate) fn facts(pool: &DescriptorPool) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in pool.files().filter(|file| file.package_name() == PACKAGE) {
        let mut options = options(&file.options());
        let go_package = options.remove("go_package").unwrap_or_default();
        let others: Vec<String> = options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let syntax = format!("{:?}", file.syntax());
        lines.insert(line(&["file", PACKAGE, &syntax, go_package.trim_matches('"'), &others.join(" ")]));
    }
    pool.all_extensions()
        .filter(|extension| extension.package_name() == PACKAGE)
        .for_each(|extension| _ = lines.insert(extension_fact(&extension)));
    pool.services()
        .filter(|service| service.package_name() == PACKAGE)
        .for_each(|service| lines.extend(service_facts(&service)));
    pool.all_messages()
        .filter(|message| message.package_name() == PACKAGE && !message.is_map_entry())
        .for_each(|message| lines.extend(message_facts(&message)));
    pool.all_enums()
        .filter(|found| found.package_name() == PACKAGE)
        .for_each(|found| lines.extend(enum_facts(&found)));
    lines
}

/// What `ours` lacks and what it has too much against `theirs`; empty when both say the same.
pub(crate) fn compare(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> Vec<String> {
    let missing = theirs.difference(ours).map(|fact| format!("missing: {}", fact.replace('\t', " ")));
    let extra = ours.difference(theirs).map(|fact| format!("extra: {}", fact.replace('\t', " ")));
    missing.chain(extra).collect()
}

/// How many facts there are of each kind: `10 enum, 7 extension, …`.
pub(crate) fn counts(facts: &BTreeSet<String>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for fact in facts {
        *counts.entry(fact.split('\t').next().unwrap_or_default()).or_default() += 1;
    }
    counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

/// Says something that a passing test must say too (the harness swallows what `eprintln!` writes).
#[expect(clippy::explicit_write, reason = "the harness captures the macro, not the stream")]
pub(crate) fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").unwrap();
}

/// The options set in `options`, each with its value as text.
pub(crate) fn options(options: &DynamicMessage) -> BTreeMap<String, String> {
    let plain = options.fields().map(|(field, value)| (field.name().to_owned(), value.to_string()));
    let own = options.extensions().map(|(mark, value)| (mark.full_name().to_owned(), value.to_string()));
    plain.chain(own).collect()
}

/// The marks column: `csi_secret`, `alpha`, both, or any other option as `name=value`.
fn marks(options: &DynamicMessage) -> String {
    let mut marks = Vec::new();
    for (mark, value) in options.extensions() {
        match (mark.name(), value) {
            ("csi_secret", Value::Bool(true)) => marks.insert(0, "csi_secret".to_owned()),
            (name, Value::Bool(true)) if name.starts_with("alpha_") => marks.push("alpha".to_owned()),
            (name, value) => marks.push(format!("{name}={value}")),
        }
    }
    marks.extend(options.fields().map(|(field, value)| format!("{}={value}", field.name())));
    marks.join(" ")
}

fn line(columns: &[&str]) -> String {
    columns.join("\t")
}

/// A name as the table spells it: without our package.
fn short(full_name: &str) -> &str {
    full_name.strip_prefix("csi.v1.").unwrap_or(full_name)
}

fn kind(kind: &Kind) -> String {
    short(&format!("{kind:?}")).to_owned()
}

fn extension_fact(extension: &ExtensionDescriptor) -> String {
    let extended = format!(".{}", extension.containing_message().full_name());
    let number = extension.number().to_string();
    line(&["extension", extension.name(), &number, &kind(&extension.kind()), &extended])
}

fn service_facts(service: &ServiceDescriptor) -> Vec<String> {
    let mut lines = vec![line(&["service", service.name(), &marks(&service.options())])];
    for method in service.methods() {
        let stream = match (method.is_client_streaming(), method.is_server_streaming()) {
            (false, false) => "",
            (false, true) => "stream",
            (true, _) => "client stream",
        };
        let (input, output) = (method.input(), method.output());
        let (request, response) = (short(input.full_name()), short(output.full_name()));
        let marks = marks(&method.options());
        lines.push(line(&["rpc", service.name(), method.name(), request, response, stream, &marks]));
    }
    lines
}

fn message_facts(message: &MessageDescriptor) -> Vec<String> {
    let name = short(message.full_name());
    let mut lines = vec![line(&["message", name, &marks(&message.options())])];
    lines.extend(message.fields().map(|field| field_fact(name, &field)));
    lines.extend(message.reserved_ranges().map(|range| {
        line(&["reserved", name, &range.start.to_string(), &(range.end.saturating_sub(1)).to_string()])
    }));
    lines.extend(message.reserved_names().map(|reserved| line(&["reserved", name, reserved])));
    lines
}

fn field_fact(message: &str, field: &FieldDescriptor) -> String {
    let (kind, label) = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let key = kind(&entry.map_entry_key_field().kind());
            (format!("map<{key},{}>", kind(&entry.map_entry_value_field().kind())), "")
        }
        other => match field.cardinality() {
            Cardinality::Repeated => (kind(&other), "repeated"),
            Cardinality::Required => (kind(&other), "required"),
            Cardinality::Optional => (kind(&other), ""),
        },
    };
    let oneof = match field.containing_oneof() {
        Some(oneof) if oneof.is_synthetic() => "(optional)".to_owned(),
        Some(oneof) => oneof.name().to_owned(),
        None => String::new(),
    };
    let (number, marks) = (field.number().to_string(), marks(&field.options()));
    line(&["field", message, field.name(), &number, &kind, label, &oneof, &marks])
}

fn enum_facts(found: &EnumDescriptor) -> Vec<String> {
    let name = short(found.full_name());
    let mut lines = vec![line(&["enum", name, &marks(&found.options())])];
    lines.extend(found.values().map(|value| {
        line(&["value", name, value.name(), &value.number().to_string(), &marks(&value.options())])
    }));
    lines.extend(
        found
            .reserved_ranges()
            .map(|range| line(&["reserved", name, &range.start().to_string(), &range.end().to_string()])),
    );
    lines.extend(found.reserved_names().map(|reserved| line(&["reserved", name, reserved])));
    lines
}
