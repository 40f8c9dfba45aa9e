//! What each credential sends, and what it makes of the answers, over a transport that is a closure.

use std::sync::{Arc, Mutex};

use azure_core::credentials::TokenCredential;
use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;

use super::identity::told;
use super::*;
use crate::transport::{BoxFuture, Transport, TransportError};
use crate::{CloudConfig, Environment};

const TENANT: &str =
    r#""subscriptionId":"s","resourceGroup":"g","location":"l","tenantId":"t","aadClientId":"c""#;
const SECRET: &str = r#","aadClientSecret":"hunter2""#;
const MANAGED: &str = r#","useManagedIdentityExtension":true"#;
const RESOURCE: &str =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i";

type Sent = Arc<Mutex<Vec<http::Request<Bytes>>>>;

/// A transport that keeps what is sent and answers all of it alike.
fn service(status: u16, answer: &Value) -> (Arc<dyn Transport>, Sent) {
    let sent = Sent::default();
    let (log, answer) = (Arc::clone(&sent), Bytes::from(answer.to_string()));
    let transport = move |request: http::Request<Bytes>| {
        log.lock().unwrap().push(request);
        let response = http::Response::builder().status(status).body(answer.clone()).unwrap();
        std::future::ready(response)
    };
    (Arc::new(transport), sent)
}

fn config(rest: &str, environment: &Environment) -> CloudConfig {
    CloudConfig::parse(&format!("{{{TENANT}{rest}}}"), environment).unwrap()
}

fn tokens_of(config: &CloudConfig, transport: Arc<dyn Transport>) -> Tokens {
    config.tokens(transport, &Url::parse("http://127.0.0.1:8/vms/a/").unwrap())
}

fn identity_service() -> Environment {
    Environment {
        identity_endpoint: Some("http://127.0.0.1:9/msi/token".to_owned()),
        identity_header: Some(Secret::new("hunter2")),
        ..Environment::default()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

#[tokio::test(start_paused = true)]
async fn each_identity_on_the_wire() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter3").unwrap();
    let workload = Environment { federated_token_file: Some(file.path().into()), ..Environment::default() };
    let (none, service_of_env) = (Environment::default(), identity_service());
    let scope = "scope=https%3A%2F%2Fmanagement.azure.com%2F.default";
    let resource = "api-version=2019-08-01&resource=https%3A%2F%2Fmanagement.azure.com";
    let grant = "grant_type=client_credentials";
    let by_form = format!("client_id=c&client_secret=hunter2&{grant}&{scope}");
    let assertion = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let by_file =
        format!("client_assertion=hunter3&client_assertion_type={assertion}&client_id=c&{grant}&{scope}");
    let metadata = format!("http://127.0.0.1:8/vms/a/metadata/identity/oauth2/token?{resource}");
    let app_service = format!("http://127.0.0.1:9/msi/token?{resource}");
    let user = r#","userAssignedIdentityID":"i""#;
    let by_resource = format!(r#","userAssignedIdentityID":"{RESOURCE}""#);
    let encoded = RESOURCE.replace('/', "%2F");
    let entra = "https://login.microsoftonline.com/t/oauth2/v2.0/token";
    let local = r#","activeDirectoryEndpoint":"http://127.0.0.1:7/""#;
    for (rest, environment, uri, body, header) in [
        (SECRET.to_owned(), &none, entra.to_owned(), by_form.as_str(), None),
        (
            format!("{SECRET}{local}"),
            &none,
            "http://127.0.0.1:7/t/oauth2/v2.0/token".to_owned(),
            &by_form,
            None,
        ),
        (
            format!(r#"{SECRET},"cloud":"AzureChinaCloud""#),
            &none,
            "https://login.chinacloudapi.cn/t/oauth2/v2.0/token".to_owned(),
            &by_form.replace("azure.com", "chinacloudapi.cn"),
            None,
        ),
        (String::new(), &workload, entra.to_owned(), &by_file, None),
        (MANAGED.to_owned(), &none, metadata.clone(), "", Some(("metadata", "true"))),
        (
            format!("{MANAGED}{user}"),
            &none,
            format!("{metadata}&client_id=i"),
            "",
            Some(("metadata", "true")),
        ),
        (
            format!("{MANAGED}{by_resource}"),
            &none,
            format!("{metadata}&msi_res_id={encoded}"),
            "",
            Some(("metadata", "true")),
        ),
        (
            MANAGED.to_owned(),
            &service_of_env,
            app_service.clone(),
            "",
            Some(("x-identity-header", "hunter2")),
        ),
        (
            format!("{MANAGED}{user}"),
            &service_of_env,
            format!("{app_service}&client_id=i"),
            "",
            Some(("x-identity-header", "hunter2")),
        ),
        (
            format!("{MANAGED}{by_resource}"),
            &service_of_env,
            format!("{app_service}&mi_res_id={encoded}"),
            "",
            Some(("x-identity-header", "hunter2")),
        ),
    ] {
        let (transport, sent) =
            service(200, &json!({"access_token":"a","expires_in":3599,"expires_on":"4102444800"}));
        let tokens = tokens_of(&config(&rest, environment), transport);
        assert_eq!(sent.lock().unwrap().len(), 0, "asked before it was needed: {rest}");
        let token = tokens.get(soon()).await.unwrap();
        let sent = sent.lock().unwrap();
        let [request] = sent.as_slice() else { panic!("{} requests for {rest}", sent.len()) };
        let method = if body.is_empty() { "GET" } else { "POST" };
        assert_eq!((token.secret(), request.method().as_str()), ("a", method), "{rest}");
        assert_eq!((request.uri().to_string(), request.body().as_ref()), (uri, body.as_bytes()), "{rest}");
        if let Some((name, value)) = header {
            assert_eq!(request.headers()[name], value, "{rest}");
        }
        assert_eq!(
            request.headers().contains_key("x-identity-header"),
            header.is_some_and(|it| it.1 == "hunter2")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn numbers_as_text_or_as_numbers() {
    let (none, of_env) = (Environment::default(), identity_service());
    let far = 4_102_444_800_i64;
    for (rest, environment, answer) in [
        (SECRET, &none, json!({"access_token":"a","expires_in":86400})),
        (SECRET, &none, json!({"access_token":"a","expires_in":"86400","ext_expires_in":"86400"})),
        (MANAGED, &none, json!({"access_token":"a","expires_on":far})),
        (MANAGED, &none, json!({"access_token":"a","expires_on":far.to_string(),"expires_in":"86400"})),
        (MANAGED, &of_env, json!({"access_token":"a","expires_on":far})),
        (MANAGED, &of_env, json!({"access_token":"a","expires_on":far.to_string()})),
    ] {
        let (transport, sent) = service(200, &answer);
        let tokens = tokens_of(&config(rest, environment), transport);
        tokens.get(soon()).await.unwrap();
        tokio::time::advance(Duration::from_secs(80_000)).await;
        tokens.get(soon()).await.unwrap();
        assert_eq!(sent.lock().unwrap().len(), 1, "the life was not understood: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_have_a_kind_and_tell_no_secret() {
    use TokenErrorKind::{Misconfigured, Unauthenticated, Unreachable};
    let (none, of_env) = (Environment::default(), identity_service());
    let gone = Environment { federated_token_file: Some("/no/such/file".into()), ..Environment::default() };
    let bad_header = Environment { identity_header: Some(Secret::new("hunter2\n")), ..identity_service() };
    let refusal = json!({"error":"invalid_client","error_description":"hunter2","error_codes":[7_000_215],"correlation_id":"x-1"});
    let echo = json!("hunter2");
    let user = format!(r#"{MANAGED},"userAssignedIdentityID":"i""#);
    let dot = r#","aadClientSecret":"hunter2","activeDirectoryEndpoint":"http://127.0.0.1:7/""#;
    for (rest, environment, status, answer, kind, requests, part) in [
        (
            SECRET,
            &none,
            401,
            &refusal,
            Unauthenticated,
            1,
            "client secret of application c: the identity service refused (401, AADSTS7000215, invalid_client, correlation id x-1); aadClientSecret is wrong",
        ),
        (dot, &none, 400, &echo, Unauthenticated, 1, "check aadClientId, aadClientSecret and tenantId"),
        (SECRET, &none, 200, &echo, Unreachable, 3, "not with a token"),
        (SECRET, &none, 200, &json!({"access_token":"","expires_in":5}), Unreachable, 3, "not with a token"),
        (SECRET, &none, 503, &echo, Unreachable, 3, "answered 503"),
        (
            MANAGED,
            &none,
            400,
            &echo,
            Unauthenticated,
            1,
            "system-assigned managed identity: the identity service refused (400); give this VM",
        ),
        (
            &user,
            &none,
            400,
            &echo,
            Unauthenticated,
            1,
            "user-assigned managed identity i: the identity service refused (400); assign this identity",
        ),
        (MANAGED, &none, 404, &echo, Unreachable, 3, "answered 404"),
        (MANAGED, &none, 429, &echo, Unreachable, 3, "answered 429"),
        (MANAGED, &of_env, 401, &echo, Unauthenticated, 1, "check IDENTITY_ENDPOINT, IDENTITY_HEADER"),
        (MANAGED, &of_env, 200, &json!({"access_token":"hunter2"}), Unreachable, 3, "not with a token"),
        (MANAGED, &bad_header, 200, &echo, Misconfigured, 0, "IDENTITY_HEADER cannot be sent"),
        (
            "",
            &gone,
            200,
            &echo,
            Misconfigured,
            0,
            "No such file or directory (os error 2); check the application's federated credential, tenantId and the token file /no/such/file",
        ),
    ] {
        let (transport, sent) = service(status, answer);
        let tokens = tokens_of(&config(rest, environment), transport);
        let error = tokens.get(soon()).await.unwrap_err();
        assert!(error.to_string().contains(part), "{rest}: {error}");
        assert_eq!((error.kind(), sent.lock().unwrap().len()), (kind, requests), "{error}");
        assert!(!format!("{error}{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_token_file_is_read_again_and_a_refused_token_is_not_given_again() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let environment =
        Environment { federated_token_file: Some(file.path().into()), ..Environment::default() };
    let (transport, sent) = service(200, &json!({"access_token":"a","expires_in":3599}));
    let tokens = tokens_of(&config("", &environment), transport);
    for content in ["first", "second"] {
        std::fs::write(file.path(), content).unwrap();
        let token = tokens.get(soon()).await.unwrap();
        tokens.rejected(&token);
        let sent = sent.lock().unwrap();
        let body = String::from_utf8(sent.last().unwrap().body().to_vec()).unwrap();
        assert!(body.contains(&format!("client_assertion={content}&")), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_unreachable_and_asked_again() {
    struct Down;
    impl Transport for Down {
        fn send(
            &self,
            _: http::Request<Bytes>,
        ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
            Box::pin(std::future::ready(Err(TransportError::unsent("no connection to https://x: refused"))))
        }
    }
    let begin = Instant::now();
    for rest in [SECRET, MANAGED] {
        let error =
            tokens_of(&config(rest, &Environment::default()), Arc::new(Down)).get(soon()).await.unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::Unreachable);
        assert!(error.to_string().contains("is not reached: no connection to https://x"), "{error}");
    }
    assert_eq!(begin.elapsed().as_secs(), 2 * 2);
}

#[test]
fn errors_of_other_credentials_are_told_without_their_text() {
    let foreign = azure_core::Error::with_message(azure_core::error::ErrorKind::Io, "hunter2");
    assert_eq!(told(&foreign), TokenError::unreachable("the credential failed"));
    let (transport, _) = service(200, &json!({}));
    let identity = config(SECRET, &Environment::default());
    let source = Source {
        identity: Identity::Managed { user: None },
        authority: identity.arm_endpoint.clone(),
        metadata: identity.arm_endpoint,
        transport,
    };
    assert_eq!(
        format!("{:?}", &source as &dyn TokenCredential),
        r#"Source("system-assigned managed identity")"#
    );
}
