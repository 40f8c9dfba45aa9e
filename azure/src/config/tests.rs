//! Files and environments in, configurations or the name of the wrong key out.

use super::*;

const BASE: &str = r#""cloud":"AzurePublicCloud","subscriptionId":"s","resourceGroup":"g","location":"East US 2","tenantId":"t""#;

fn parse(rest: &str, environment: &Environment) -> Result<CloudConfig, ConfigError> {
    CloudConfig::parse(&format!("{{{BASE}{rest}}}"), environment)
}

fn own(text: &str) -> String {
    text.to_owned()
}

fn client_secret() -> Identity {
    Identity::ClientSecret { tenant: "t".into(), client: "c".into(), secret: Secret::new("hunter2") }
}

fn federated() -> Identity {
    Identity::Federated { tenant: "t".into(), client: "c".into(), file: "/f".into() }
}

#[test]
fn the_file_of_a_cluster_is_taken_as_it_is() {
    let text = r#"{"cloud":"AzurePublicCloud","tenantId":"t","aadClientId":"c","aadClientSecret":"hunter2",
        "subscriptionId":"s","location":"West Europe","resourceGroup":"g","securityGroupName":"n","routeTableName":"r",
        "vnetName":"v","subnetName":"u","useInstanceMetadata":true,"loadBalancerSku":"Standard"}"#;
    let config = CloudConfig::parse(text, &Environment::default()).unwrap();
    assert_eq!(config.arm_endpoint.as_str(), "https://management.azure.com/");
    assert_eq!(config.scope, "https://management.azure.com/.default");
    assert_eq!(config.authority.as_str(), "https://login.microsoftonline.com/");
    let place = (config.subscription.as_str(), config.resource_group.as_str(), config.location.as_str());
    assert_eq!(place, ("s", "g", "westeurope"));
    assert_eq!((config.vm_type, config.identity), (None, client_secret()));
}

#[test]
fn identities_in_order() {
    let none = Environment::default();
    let workload = Environment {
        tenant_id: Some(own("t")),
        client_id: Some(own("c")),
        federated_token_file: Some("/f".into()),
        ..Environment::default()
    };
    let service = Environment {
        identity_endpoint: Some(own("http://127.0.0.1:1/msi/token")),
        identity_header: Some(Secret::new("hunter2")),
        ..Environment::default()
    };
    let app_service = |user| Identity::AppService {
        endpoint: Url::parse("http://127.0.0.1:1/msi/token").unwrap(),
        header: Secret::new("hunter2"),
        user,
    };
    let secret = r#","aadClientId":"c","aadClientSecret":"hunter2""#;
    let of_env = Environment { client_secret: Some(Secret::new("hunter2")), ..Environment::default() };
    let resource =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i";
    let by_resource = format!(r#","useManagedIdentityExtension":true,"userAssignedIdentityID":"{resource}""#);
    let by_client = Some(UserAssigned::Client("i".into()));
    let managed = |user| Identity::Managed { user };
    for (rest, environment, wanted) in [
        (secret, &none, client_secret()),
        (r#","AADClientID":"c","aadclientsecret":"hunter2""#, &none, client_secret()),
        (r#","aadClientId":"c""#, &of_env, client_secret()),
        (secret, &workload, federated()),
        (r#","useManagedIdentityExtension":true"#, &workload, federated()),
        (
            r#","useFederatedWorkloadIdentityExtension":"true","aadFederatedTokenFile":"/f","aadClientId":"c""#,
            &none,
            federated(),
        ),
        (r#","useManagedIdentityExtension":true"#, &none, managed(None)),
        (
            r#","useManagedIdentityExtension":"True","userAssignedIdentityID":"i","aadClientId":"msi","aadClientSecret":"msi""#,
            &none,
            managed(by_client.clone()),
        ),
        (&by_resource, &none, managed(Some(UserAssigned::Resource(resource.into())))),
        (r#","useManagedIdentityExtension":true"#, &service, app_service(None)),
        ("", &service, app_service(None)),
        (
            r#","useManagedIdentityExtension":true,"userAssignedIdentityID":"i""#,
            &service,
            app_service(by_client),
        ),
        (secret, &service, client_secret()),
    ] {
        assert_eq!(parse(rest, environment).unwrap().identity, wanted, "{rest}");
    }
}

#[test]
fn addresses_from_the_nearest_source() {
    let none = Environment::default();
    let managed = r#","useManagedIdentityExtension":true"#;
    let host =
        Environment { authority_host: Some(own("https://login.example.org/")), ..Environment::default() };
    let cloud =
        r#"{"resourceManagerEndpoint":"http://127.0.0.1:7","tokenAudience":"https://a.example.org/"}"#;
    let file = Environment { cloud_file: Some(own(cloud)), ..Environment::default() };
    let public = "https://login.microsoftonline.com/";
    for (rest, environment, arm, authority, scope) in [
        ("", &none, "https://management.azure.com/", public, "https://management.azure.com/.default"),
        (
            r#","resourceManagerEndpoint":"http://127.0.0.1:8""#,
            &none,
            "http://127.0.0.1:8/",
            public,
            "https://management.azure.com/.default",
        ),
        ("", &file, "http://127.0.0.1:7/", public, "https://a.example.org/.default"),
        (
            r#","resourceManagerEndpoint":"http://127.0.0.1:8""#,
            &file,
            "http://127.0.0.1:8/",
            public,
            "https://a.example.org/.default",
        ),
        (
            "",
            &host,
            "https://management.azure.com/",
            "https://login.example.org/",
            "https://management.azure.com/.default",
        ),
        (
            r#","activeDirectoryEndpoint":"http://[::1]:9/""#,
            &host,
            "https://management.azure.com/",
            "http://[::1]:9/",
            "https://management.azure.com/.default",
        ),
    ] {
        let config = parse(&format!("{managed}{rest}"), environment).unwrap();
        let found = (config.arm_endpoint.as_str(), config.authority.as_str(), config.scope.as_str());
        assert_eq!(found, (arm, authority, scope), "{rest}");
    }
}

#[test]
fn what_is_wrong_is_named_and_secrets_are_not_shown() {
    let none = Environment::default();
    let lone = Environment { identity_endpoint: Some(own("http://127.0.0.1:1")), ..Environment::default() };
    let far = Environment {
        identity_endpoint: Some(own("http://10.0.0.1/hunter2")),
        identity_header: Some(Secret::new("hunter2")),
        ..Environment::default()
    };
    let host =
        Environment { authority_host: Some(own("http://login.example.org")), ..Environment::default() };
    let managed =
        r#""subscriptionId":"s","resourceGroup":"g","location":"l","useManagedIdentityExtension":true"#;
    for (text, environment, part) in [
        ("", &none, "azure.json: is not JSON"),
        ("[]", &none, "azure.json: is not a JSON object"),
        (r#"{"aadClientSecret":"hunter2""#, &none, "azure.json: is not JSON"),
        (r#"{"resourceGroup":"g","location":"l"}"#, &none, "subscriptionId: is missing"),
        (r#"{"subscriptionId":"s","location":"l"}"#, &none, "resourceGroup: is missing"),
        (r#"{"subscriptionId":"s","resourceGroup":"g","location":" "}"#, &none, "location: is missing"),
        (
            r#"{"subscriptionId":7,"resourceGroup":"g","location":"l"}"#,
            &none,
            "subscriptionId: must be a text",
        ),
        (r#"{"subscriptionId":"s","resourceGroup":"g","location":"l"}"#, &none, "no credential"),
        (r#"{"cloud":"Mars"}"#, &none, "\"Mars\" is no cloud"),
        (
            r#"{"resourceManagerEndpoint":"http://arm.example.org"}"#,
            &none,
            "resourceManagerEndpoint: http is",
        ),
        (r#"{"activeDirectoryEndpoint":"hunter2"}"#, &none, "activeDirectoryEndpoint: is no address"),
        (&format!(r#"{{{managed},"vmType":"pod"}}"#), &none, "vmType: \"pod\""),
        (&format!("{{{managed}}}"), &lone, "IDENTITY_HEADER: is missing"),
        (&format!("{{{managed}}}"), &far, "IDENTITY_ENDPOINT: http is"),
        (&format!("{{{managed}}}"), &host, "AZURE_AUTHORITY_HOST: http is"),
        (
            &format!(r#"{{{BASE},"useManagedIdentityExtension":"maybe"}}"#),
            &none,
            "useManagedIdentityExtension: must be true or false",
        ),
        (&format!(r#"{{{BASE},"aadClientSecret":"hunter2"}}"#), &none, "aadClientId: is missing"),
        (
            r#"{"subscriptionId":"s","resourceGroup":"g","location":"l","aadClientId":"c","aadClientSecret":"hunter2"}"#,
            &none,
            "tenantId: is missing",
        ),
        (
            &format!(r#"{{{BASE},"useFederatedWorkloadIdentityExtension":true,"aadClientId":"c"}}"#),
            &none,
            "aadFederatedTokenFile: is missing",
        ),
    ] {
        let error = CloudConfig::parse(text, environment).unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
        assert!(!format!("{error}{error:?}").contains("hunter2"), "{text}: {error:?}");
    }
}

#[test]
fn a_configuration_can_be_printed() {
    let environment = Environment {
        identity_endpoint: Some(own("https://identity.example.org")),
        identity_header: Some(Secret::new("hunter2")),
        client_secret: Some(Secret::new("hunter2")),
        ..Environment::default()
    };
    let rows =
        [r#","aadClientId":"c","aadClientSecret":"hunter2""#, r#","useManagedIdentityExtension":true"#];
    for rest in rows {
        let config = parse(rest, &environment).unwrap();
        let printed = format!("{environment:?} {config:?} {config:#?}");
        assert!(printed.contains("management.azure.com") && !printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn kinds_of_vms() {
    for (text, wanted) in
        [("standard", VmType::Standard), ("VMSS", VmType::ScaleSet), ("vmssflex", VmType::FlexibleScaleSet)]
    {
        let rest = format!(r#","useManagedIdentityExtension":true,"vmType":"{text}""#);
        assert_eq!(parse(&rest, &Environment::default()).unwrap().vm_type, Some(wanted));
    }
}

#[test]
fn an_azure_stack_is_told_by_its_name_unless_that_is_disclaimed() {
    let file = r#"{"resourceManagerEndpoint":"https://management.local.azurestack.external/"}"#;
    let environment = Environment { cloud_file: Some(own(file)), ..Environment::default() };
    let stack = r#""cloud":"AzureStackCloud""#;
    for (cloud, wanted) in [
        (stack.to_owned(), Some(true)),
        (stack.to_uppercase().replace("\"CLOUD\"", "\"cloud\""), Some(true)),
        (format!(r#"{stack},"disableAzureStackCloud":false"#), Some(true)),
        (format!(r#"{stack},"disableAzureStackCloud":null"#), Some(true)),
        (format!(r#"{stack},"disableAzureStackCloud":true"#), Some(false)),
        (format!(r#"{stack},"DisableAzureStackCloud":"true""#), Some(false)),
        (format!(r#"{stack},"disableAzureStackCloud":"perhaps""#), None),
        (r#""cloud":"AzurePublicCloud""#.to_owned(), Some(false)),
        (r#""cloud":"Elsewhere""#.to_owned(), Some(false)),
    ] {
        let text = format!(
            r#"{{{cloud},"subscriptionId":"s","resourceGroup":"g","location":"l","useManagedIdentityExtension":true}}"#
        );
        let told = CloudConfig::parse(&text, &environment).map(|config| config.is_azure_stack);
        assert_eq!(told.ok(), wanted, "{text}");
    }
}
