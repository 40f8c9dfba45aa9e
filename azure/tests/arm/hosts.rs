//! URLs that Azure's answers give: followed to the host that was asked, and nowhere else.

use azure::ErrorKind;
use bytes::Bytes;
use http::Response;
use serde_json::json;

use crate::world::{ENDPOINT, Seen, TOKEN, World, disk, group, json, premium, refused, within};

/// Another host, scheme, port, or something before the host.
const ELSEWHERE: [&str; 9] = [
    "https://evil.test/subscriptions/x",
    "http://azure.test/subscriptions/x",
    "https://azure.test:8443/subscriptions/x",
    "https://azure.test.evil.test/subscriptions/x",
    "https://azure.test@evil.test/subscriptions/x",
    "https://user:word@azure.test/subscriptions/x",
    "//evil.test/subscriptions/x",
    "file:///etc/passwd",
    "https://",
];

/// Nothing went elsewhere, and every token to Azure.
fn check(world: &World, what: &str) {
    let seen = world.seen();
    assert!(!seen.is_empty(), "{what}");
    for one in seen {
        assert!(one.url.starts_with(ENDPOINT), "{what}: {}", one.url);
        assert_eq!(one.authorization, format!("Bearer {TOKEN}"), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_url_that_leads_elsewhere_is_not_followed() {
    for url in ELSEWHERE {
        for header in ["azure-asyncoperation", "location"] {
            let spoil = move |_: &Seen, answer: &mut Response<Bytes>| {
                if answer.headers_mut().remove("azure-asyncoperation").is_some() {
                    answer.headers_mut().remove("location");
                    answer.headers_mut().insert(header, url.parse().unwrap());
                }
            };
            let world = World::spoilt(Box::new(|_| None), Box::new(spoil));
            let error = refused(world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await);
            assert_eq!(error.kind(), ErrorKind::Protocol, "{header}: {url}");
            assert!(!error.is_definite_refusal(), "{header}: {url}: it was accepted");
            check(&world, url);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_next_page_that_lies_elsewhere_is_not_read() {
    for url in ELSEWHERE {
        let instead = move |_: &Seen| Some(Ok(json(200, &json!({ "value": [], "nextLink": url }))));
        let world = World::spoilt(Box::new(instead), Box::new(|_, _| {}));
        let error = refused(world.arm.disks(&group(), within(60)).await);
        assert_eq!(error.kind(), ErrorKind::Protocol, "{url}");
        check(&world, url);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_in_other_case_or_with_its_usual_port_is_the_same() {
    for host in ["https://AZURE.test", "https://azure.test:443", ""] {
        let spoil = move |_: &Seen, answer: &mut Response<Bytes>| {
            if let Some(url) = answer.headers_mut().remove("azure-asyncoperation") {
                let url = url.to_str().unwrap().replace("https://azure.test", host);
                answer.headers_mut().insert("azure-asyncoperation", url.parse().unwrap());
            }
        };
        let world = World::spoilt(Box::new(|_| None), Box::new(spoil));
        world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await.unwrap();
        check(&world, host);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed() {
    let instead = |_: &Seen| {
        let answer = Response::builder().status(307).header("location", "https://evil.test/");
        Some(Ok(answer.body(Bytes::new()).unwrap()))
    };
    let world = World::spoilt(Box::new(instead), Box::new(|_, _| {}));
    let error = refused(world.arm.create_disk(&disk("pvc-1"), &premium(8), within(60)).await);
    assert_eq!((error.kind(), error.is_definite_refusal()), (ErrorKind::Protocol, false));
    check(&world, "307");
}
