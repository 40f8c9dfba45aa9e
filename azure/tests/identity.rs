//! Every credential and the metadata service against the emulator, in process.

use std::sync::Arc;
use std::time::Duration;

use azure::{AnswerLost, CloudConfig, Environment, Imds, ImdsError, Secret, Transport};
use azure_emulator::{CONNECTION_LOST, Emulator, Options, SUBSCRIPTION};
use bytes::Bytes;
use tokio::time::Instant;
use url::Url;

const EMULATOR: &str = "http://127.0.0.1:8/";

fn door(emulator: &Emulator) -> Arc<dyn Transport> {
    let emulator = emulator.clone();
    Arc::new(move |request: http::Request<Bytes>| {
        let emulator = emulator.clone();
        async move {
            let mut response = emulator.handle(request).await;
            if response.headers().contains_key(CONNECTION_LOST) {
                response.extensions_mut().insert(AnswerLost);
            }
            response
        }
    })
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[tokio::test(start_paused = true)]
async fn the_emulator_gives_and_takes_the_tokens_of_every_credential() {
    let emulator = Emulator::new(Options::default()).unwrap();
    emulator.add_vm("a", "Standard_D2s_v5", "1").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "assertion").unwrap();
    let workload = Environment { federated_token_file: Some(file.path().into()), ..Environment::default() };
    let service = Environment {
        identity_endpoint: Some(format!("{EMULATOR}msi/token")),
        identity_header: Some(Secret::new("any")),
        ..Environment::default()
    };
    let base = format!(
        r#""subscriptionId":"{SUBSCRIPTION}","resourceGroup":"rg","location":"eastus2","tenantId":"t",
        "aadClientId":"c","resourceManagerEndpoint":"{EMULATOR}","activeDirectoryEndpoint":"{EMULATOR}""#
    );
    let managed = r#","useManagedIdentityExtension":true"#;
    for (rest, environment) in [
        (r#","aadClientSecret":"any""#, &Environment::default()),
        ("", &workload),
        (managed, &Environment::default()),
        (managed, &service),
    ] {
        let config = CloudConfig::parse(&format!("{{{base}{rest}}}"), environment).unwrap();
        let metadata = Url::parse(EMULATOR).unwrap().join("vms/a/").unwrap();
        let tokens = config.tokens(door(&emulator), &metadata);
        let token = tokens.get(soon()).await.unwrap();
        let uri = config
            .arm_endpoint
            .join(&format!("subscriptions/{SUBSCRIPTION}/resourceGroups/rg?api-version=2021-04-01"));
        let request = http::Request::get(uri.unwrap().as_str())
            .header("authorization", format!("Bearer {}", token.secret()))
            .body(Bytes::new());
        let answer = emulator.handle(request.unwrap()).await;
        assert!(token.secret().starts_with("emulator.") && answer.status() == 200, "{rest}: {answer:?}");
        tokens.rejected(&token);
        assert_ne!(tokens.get(soon()).await.unwrap().secret(), token.secret(), "{rest}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_vm_knows_where_it_is() {
    let emulator = Emulator::new(Options::default()).unwrap();
    let id = emulator.add_vm("a", "Standard_D2s_v5", "2").unwrap();
    emulator.add_vm("b", "Standard_D2s_v5", "").unwrap();
    let imds = |vm: &str| Imds::new(Url::parse(&format!("{EMULATOR}vms/{vm}")).unwrap(), door(&emulator));
    let instance = imds("a").instance(soon()).await.unwrap();
    assert_eq!(
        (instance.name.as_str(), instance.id.as_str(), instance.zone.as_deref()),
        ("a", id.as_str(), Some("2"))
    );
    assert_eq!((instance.location.as_str(), instance.vm_size.as_str()), ("eastus2", "Standard_D2s_v5"));
    assert_eq!((instance.subscription.as_str(), instance.data_disks.len()), (SUBSCRIPTION, 0));
    assert_eq!(imds("b").instance(soon()).await.unwrap().zone, None);
    assert_eq!(imds("c").instance(soon()).await, Err(ImdsError::Refused(404)));
}
