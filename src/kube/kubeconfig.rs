//! The file that kubectl uses: the cluster and the user of its current context. What this driver cannot do is
//! refused by name, never left out: a login that is not the one that was configured would be a surprise.
//!
//! **Invariant:** an error tells the place in the file, never what stands there.

use std::path::{Path, PathBuf};

use azure::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

use super::client::Error;
use super::login::{Access, Login, Pem, Trust, check_server};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    tls_server_name: Option<IgnoredAny>,
    proxy_url: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: Option<User>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    exec: Option<IgnoredAny>,
    auth_provider: Option<IgnoredAny>,
    username: Option<IgnoredAny>,
    #[serde(rename = "as")]
    impersonated: Option<IgnoredAny>,
}

/// Reads the file; relative paths in it are meant from its own folder. Blocks on files.
pub(super) fn open(path: &Path) -> Result<Access, Error> {
    let wrong = |what: &str| Error::Configuration(format!("{} {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    parse(&text, path.parent().unwrap_or(Path::new("/"))).map_err(|what| wrong(&what))
}

fn parse(text: &str, folder: &Path) -> Result<Access, String> {
    let document: Document = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        format!("is no kubeconfig: it cannot be understood at line {line}")
    })?;
    let current = document.current_context;
    let context = document.contexts.into_iter().find(|one| one.name == current);
    let context = context.ok_or("has no current context")?.context;
    let cluster = document.clusters.into_iter().find(|one| one.name == context.cluster);
    let cluster = cluster.ok_or_else(|| format!("has no cluster {:?}", context.cluster))?.cluster;
    let user = document.users.into_iter().find(|one| one.name == context.user);
    let user = match user {
        Some(found) => found.user.unwrap_or_default(),
        None if context.user.is_empty() => User::default(),
        None => return Err(format!("has no user {:?}", context.user)),
    };
    refuse(&cluster, &user)?;
    let server = Url::parse(&cluster.server).map_err(|_| "has a server that is no address".to_owned())?;
    let is_direct = check_server(&server).map_err(|error| format!("cannot be used: {error}"))?;
    let authority = pem(folder, cluster.certificate_authority, cluster.certificate_authority_data)?;
    let certificate = pem(folder, user.client_certificate, user.client_certificate_data)?;
    let key = pem(folder, user.client_key, user.client_key_data)?;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("has a client certificate without key, or a key without certificate".to_owned()),
    };
    // The file wins over the text, as for kubectl.
    let login = match (user.token_file, user.token) {
        (Some(path), _) => Login::TokenFile(folder.join(path)),
        (None, Some(token)) => Login::Token(Secret::from(token)),
        (None, None) => Login::None,
    };
    Ok(Access { server, trust: Trust { authority, identity, is_direct }, login })
}

/// What cannot be done here, by its name in the file.
fn refuse(cluster: &Cluster, user: &User) -> Result<(), String> {
    let rows = [
        (
            user.exec.is_some(),
            "exec: this driver starts no login programs; use a token, tokenFile or a certificate",
        ),
        (user.auth_provider.is_some(), "auth-provider: use a token, tokenFile or a certificate"),
        (user.username.is_some(), "username: API servers take no passwords any more"),
        (user.impersonated.is_some(), "as: the driver acts in nobody else's name"),
        (
            cluster.insecure_skip_tls_verify,
            "insecure-skip-tls-verify: name the certificate authority instead",
        ),
        (cluster.tls_server_name.is_some(), "tls-server-name: name the server as its certificate does"),
        (cluster.proxy_url.is_some(), "proxy-url: set the variable HTTPS_PROXY instead"),
    ];
    match rows.iter().find(|(is_asked, _)| *is_asked) {
        Some((_, what)) => Err(format!("asks for {what}")),
        None => Ok(()),
    }
}

/// The text wins over the file, as for kubectl.
fn pem(folder: &Path, file: Option<PathBuf>, data: Option<String>) -> Result<Option<Pem>, String> {
    match (data.filter(|data| !data.is_empty()), file) {
        (Some(data), _) => {
            let bytes =
                STANDARD.decode(data.trim()).map_err(|_| "has a …-data that is not base64".to_owned())?;
            Ok(Some(Pem::Inline(bytes)))
        }
        (None, file) => Ok(file.map(|file| Pem::File(folder.join(file)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\npreferences: {{}}\ncurrent-context: here\n\
             contexts:\n- name: other\n  context: {{cluster: none, user: none}}\n\
             - name: here\n  context:\n    cluster: c\n    namespace: n\n    user: u\n\
             clusters:\n- name: c\n  cluster: {{{cluster}}}\nusers:\n- name: u\n  user: {{{user}}}\n"
        )
    }

    fn check(cluster: &str, user: &str, wanted: &str) {
        let shown = match parse(&file(cluster, user), Path::new("/k")) {
            Ok(access) => {
                let token = access.login.header().ok().flatten();
                let token = token.map(|header| header.to_str().unwrap().to_owned());
                let login = match &access.login {
                    Login::TokenFile(path) => path.display().to_string(),
                    _ => token.unwrap_or_else(|| "no token".to_owned()),
                };
                let authority = access.trust.authority.map(|pem| pem.to_string());
                let identity = access.trust.identity.map(|(certificate, key)| format!("{certificate} {key}"));
                format!("{} {authority:?} {identity:?} {login}", access.server)
            }
            Err(error) => error,
        };
        assert!(shown.contains(wanted), "{cluster} {user}\n{shown}\nis not {wanted}");
        assert!(wanted.contains("hunter") || !shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn what_the_current_context_names() {
        let server = "server: 'https://10.0.0.1:6443'";
        check(server, "", "https://10.0.0.1:6443/ None None no token");
        check(
            &format!("{server}, certificate-authority: ca.crt"),
            "token: hunter2",
            "Some(\"/k/ca.crt\") None Bearer hunter2",
        );
        check(
            &format!("{server}, certificate-authority: /ca"),
            "tokenFile: t, token: x",
            "Some(\"/ca\") None /k/t",
        );
        check(
            &format!("{server}, certificate-authority-data: aHVudGVyMg==, certificate-authority: x"),
            "client-certificate: a, client-key-data: aHVudGVyMg==",
            "Some(\"the kubeconfig's own text\") Some(\"/k/a the kubeconfig's own text\")",
        );
        check("server: 'http://127.0.0.1:8080'", "", "http://127.0.0.1:8080/");
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let server = "server: 'https://10.0.0.1:6443'";
        for (cluster, user, wanted) in [
            ("server: 'http://10.0.0.1'", "token: hunter2", "not reached by https"),
            ("server: nowhere", "", "no address"),
            (server, "exec: {command: hunter2, apiVersion: x}", "exec"),
            (server, "auth-provider: {name: azure}", "auth-provider"),
            (server, "username: a, password: hunter2", "username"),
            (server, "as: admin", "as:"),
            (server, "client-certificate: a", "without key"),
            (server, "client-key-data: '*', client-certificate: a", "base64"),
        ] {
            check(cluster, user, wanted);
        }
        check(&format!("{server}, insecure-skip-tls-verify: true"), "", "insecure-skip-tls-verify");
        check(&format!("{server}, tls-server-name: a"), "", "tls-server-name");
        check(&format!("{server}, proxy-url: 'http://a'"), "", "proxy-url");
    }

    #[test]
    fn a_broken_file_tells_the_line_and_not_the_text() {
        for text in ["", "[]", "users:\n- name: u\n  user:\n    token: [hunter2", "token: hunter2\n  x: {"] {
            let error = parse(text, Path::new("/")).err().unwrap_or_else(|| panic!("{text}"));
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        }
        for (from, to, wanted) in [
            ("current-context: here", "current-context: gone", "no current context"),
            ("- name: c\n", "- name: d\n", "no cluster"),
            ("- name: u\n", "- name: v\n", "no user"),
        ] {
            let text = file("server: 'https://a'", "").replace(from, to);
            assert!(
                parse(&text, Path::new("/")).err().is_some_and(|error| error.contains(wanted)),
                "{wanted}"
            );
        }
    }
}
