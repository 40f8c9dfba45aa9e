//! How lists are handed out: in pages, and with the group's name in whatever case Azure fancies.
//!
//! A page continues after the last id of the page before, so what is deleted or made between two pages makes no other
//! resource appear twice or not at all.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use crate::answer::Answer;
use crate::call::Call;
use crate::world::key;

/// What may be odd about lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing {
    /// Most resources on a page.
    pub(crate) page: usize,
    /// Ids in lists have the group's name in capitals, as was seen on the real service.
    pub(crate) shouts: bool,
}

impl Listing {
    /// After which key the page that the call asks for begins, and how many resources show what is on it and whether
    /// another follows: a list that is long need not be made whole.
    pub(crate) fn window(self, call: &Call) -> (Option<String>, usize) {
        (call.query("$skiptoken").and_then(decode), self.page.max(1).saturating_add(1))
    }

    /// Cuts a list down to the page that the call asks for.
    pub(crate) fn present(self, call: &Call, mut answer: Answer) -> Answer {
        let is_list = call.method == Method::GET && answer.status.is_success();
        let Some(items) =
            answer.body.as_mut().filter(|_| is_list).and_then(|body| body.get_mut("value")?.as_array_mut())
        else {
            return answer;
        };
        let after = call.query("$skiptoken").and_then(decode);
        let place = |(index, item): (usize, &Value)| match item["id"].as_str() {
            Some(id) => key(id),
            None => format!("{index:09}"),
        };
        let places: Vec<String> = items.iter().enumerate().map(place).collect();
        let first =
            after.map_or(0, |after| places.iter().position(|place| *place > after).unwrap_or(places.len()));
        let end = places.len().min(first.saturating_add(self.page.max(1)));
        let next = (end < places.len()).then(|| encode(&places[end - 1]));
        items.truncate(end);
        items.drain(..first);
        if self.shouts {
            items.iter_mut().for_each(shout);
        }
        if let (Some(next), Some(body)) = (next, answer.body.as_mut()) {
            body["nextLink"] = json!(next_link(call, &next));
        }
        answer
    }
}

fn shout(item: &mut Value) {
    let Some(id) = item["id"].as_str() else { return };
    let mut parts: Vec<String> = id.split('/').map(str::to_owned).collect();
    if let Some(group) = parts.get_mut(4) {
        *group = group.to_uppercase();
    }
    item["id"] = json!(parts.join("/"));
}

fn next_link(call: &Call, token: &str) -> String {
    let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let others = call.query.iter().filter(|(name, _)| *name != "$skiptoken");
    let mut link = format!("{}{}?", call.base, call.path);
    for (name, value) in others {
        link.push_str(&format_args!("{}={}&", escaped(name), escaped(value)).to_string());
    }
    link + "%24skiptoken=" + token
}

fn encode(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

fn decode(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}
