//! Compiles the contract with protox, so that nobody needs protoc, and writes a redacting `Debug`
//! for every message that holds a field marked `csi_secret`: a new secret field is covered by its mark.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use prost::Message as _;
use protox::prost_reflect::{DescriptorPool, MessageDescriptor};

fn main() -> Result<(), Box<dyn Error>> {
    let csi = ["types", "identity", "controller", "group_controller", "snapshot_metadata", "node"];
    let registration = "pluginregistration/v1/registration.proto".to_owned();
    let files: Vec<String> =
        csi.map(|name| format!("csi/v1/{name}.proto")).into_iter().chain([registration]).collect();
    println!("cargo:rerun-if-changed=csi/v1");
    println!("cargo:rerun-if-changed=pluginregistration/v1");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files)?;
    let pool = compiler.descriptor_pool();
    let secret = secret_messages(&pool);

    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(out.join("redact.rs"), redacting_debug(&secret)?)?;
    std::fs::write(out.join("csi.v1.bin"), compiler.encode_file_descriptor_set())?;

    let set = prost_types::FileDescriptorSet::decode(compiler.encode_file_descriptor_set().as_slice())?;
    let builder = tonic_prost_build::configure()
        .build_client(std::env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .generate_default_stubs(true)
        .btree_map(".");
    builder.skip_debug(secret.iter().map(|message| format!(".{}", message.full_name()))).compile_fds(set)?;
    Ok(())
}

/// The messages with at least one field marked `csi_secret`.
fn secret_messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    let Some(mark) = pool.get_extension_by_name("csi.v1.csi_secret") else { return Vec::new() };
    pool.all_messages()
        .filter(|message| message.fields().any(|field| field.options().has_extension(&mark)))
        .collect()
}

/// `Debug` for each of `messages`: fields as they are, secret ones as a count of keys.
fn redacting_debug(messages: &[MessageDescriptor]) -> Result<String, std::fmt::Error> {
    let mut code = String::new();
    for message in messages {
        let name = message.name();
        writeln!(code, "impl ::std::fmt::Debug for {name} {{")?;
        writeln!(code, "    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {{")?;
        writeln!(code, "        f.debug_struct(\"{name}\")")?;
        let mut fields: Vec<_> = message.fields().collect();
        fields.sort_by_key(protox::prost_reflect::FieldDescriptor::number);
        for field in fields {
            let field_name = field.name();
            let secret =
                field.options().extensions().any(|(mark, _)| mark.full_name() == "csi.v1.csi_secret");
            if secret {
                writeln!(
                    code,
                    "            .field(\"{field_name}\", &crate::redact::Redacted(self.{field_name}.len()))"
                )?;
            } else {
                writeln!(code, "            .field(\"{field_name}\", &self.{field_name})")?;
            }
        }
        writeln!(code, "            .finish()\n    }}\n}}\n")?;
    }
    Ok(code)
}
