//! Lists that come in pages: whole, or an error; never a part.

use azure::ErrorKind;
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use crate::world::{ENDPOINT, Seen, World, disk, group, json, refused, within};

fn item(number: usize) -> Value {
    json!({ "id": disk(&format!("pvc-{number}")).as_str(), "name": format!("pvc-{number}"), "location": "x",
        "properties": { "creationData": { "createOption": "Empty" } } })
}

/// A list of so many pages with two disks each; the last says that it is by `last`.
fn paged(pages: usize, last: Value) -> World {
    let instead = move |seen: &Seen| -> Option<Result<Response<Bytes>, _>> {
        let number = seen.url.split("skiptoken=").nth(1).map_or(0, |text| text.parse::<usize>().unwrap());
        let next = format!("{ENDPOINT}subscriptions/s/next?$skiptoken={}", number + 1);
        let next = if number + 1 < pages { json!(next) } else { last.clone() };
        Some(Ok(json(200, &json!({ "value": [item(2 * number), item(2 * number + 1)], "nextLink": next }))))
    };
    World::spoilt(Box::new(instead), Box::new(|_, _| {}))
}

#[tokio::test(start_paused = true)]
async fn every_page_is_read_in_order() {
    for pages in [1, 2, 7] {
        for last in [Value::Null, json!("")] {
            let world = paged(pages, last);
            let names: Vec<_> = world
                .arm
                .disks(&group(), within(60))
                .await
                .unwrap()
                .into_iter()
                .map(|disk| disk.name)
                .collect();
            let expected: Vec<_> = (0..2 * pages).map(|number| format!("pvc-{number}")).collect();
            assert_eq!(names, expected);
            assert_eq!(world.seen().len(), pages);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_without_items_is_no_end() {
    let instead = |seen: &Seen| {
        let first = json!({ "value": null, "nextLink": format!("{ENDPOINT}next") });
        let page = if seen.url.ends_with("next") { json!({ "value": [item(0)] }) } else { first };
        Some(Ok(json(200, &page)))
    };
    let world = World::spoilt(Box::new(instead), Box::new(|_, _| {}));
    assert_eq!(world.arm.disks(&group(), within(60)).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_leads_back_to_itself_is_an_error() {
    for last in [1, 2, 3] {
        let world = paged(4, json!(format!("{ENDPOINT}subscriptions/s/next?$skiptoken={last}")));
        let error = refused(world.arm.disks(&group(), within(60)).await);
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(world.seen().len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_fails_fails_the_list() {
    let forbidden = || json!({ "error": { "code": "AuthorizationFailed", "message": "no" } });
    let instead = move |seen: &Seen| {
        let first = json!({ "value": [item(0)], "nextLink": format!("{ENDPOINT}next") });
        Some(Ok(if seen.url.ends_with("next") { json(403, &forbidden()) } else { json(200, &first) }))
    };
    let world = World::spoilt(Box::new(instead), Box::new(|_, _| {}));
    assert_eq!(refused(world.arm.disks(&group(), within(60)).await).kind(), ErrorKind::Forbidden);
}
