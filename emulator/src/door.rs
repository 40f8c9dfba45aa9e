//! The way of one request through the emulator, from its arrival to its answer or to the end of its connection.
//!
//! Order: end what is due → is it for this gate → scripted faults that come before → carry out → save → scripted faults
//! that come after → answer. Nothing is answered before it is saved.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::Value;

use crate::answer::Answer;
use crate::call::Call;
use crate::clock::millis;
use crate::fate::{Fate, NEVER};
use crate::faults::{Action, Moment, kill};
use crate::latency::Work;
use crate::log::LoggedRequest;
use crate::model::Model;
use crate::operation::Stage;
use crate::refusal::Refusal;
use crate::{Emulator, control, identity, router};

/// Header of a response that stands for a closed connection: the server sends nothing and closes, an in-process
/// caller treats it as a transport failure.
pub const CONNECTION_LOST: &str = "x-emulator-connection-lost";

/// Status of such a response; never sent.
const LOST: u16 = 444;

impl Emulator {
    /// Answers one request: ARM below `/subscriptions`, instance metadata and tokens, the control endpoint below
    /// `/_emulator`. A response with the header [`CONNECTION_LOST`] means that there is no answer.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let call = Call::new(request);
        let (response, accept) = {
            let mut model = self.lock();
            model.settle();
            model.answer(&call)
        };
        self.shared.wake.notify_one();
        if !accept.is_zero() {
            tokio::time::sleep(accept).await;
        }
        response
    }
}

impl Model {
    /// The answer, and how long it takes.
    fn answer(&mut self, call: &Call) -> (Response<Bytes>, Duration) {
        if let Err(refusal) = call.gate.check(call) {
            return (self.finish_call(call, refusal.answer()), Duration::ZERO);
        }
        if !call.is_arm() {
            let answer = if call.lower.first().is_some_and(|first| first == "_emulator") {
                control::answer(self, call)
            } else {
                identity::answer(self, call)
            };
            return (self.finish_call(call, answer), Duration::ZERO);
        }
        if call.is_unseen {
            let response = self.carry_out(call, &[]);
            self.accepted = None;
            return (response, Duration::ZERO);
        }
        let actions = self.script.judge(call);
        let response = self.carry_out(call, &actions);
        let is_lost = response.headers().contains_key(CONNECTION_LOST);
        let status = if is_lost { 0 } else { response.status().as_u16() };
        let work = if matches!(call.method, Method::GET | Method::HEAD) { Work::Read } else { Work::Write };
        let accept = self.latency.of(work, self.draws.answer());
        let (at, operation) = (self.clock.now(), self.accepted.take());
        let accepted = operation.as_ref().and_then(|id| self.world.operations.get(id));
        self.log.add(LoggedRequest {
            n: 0,
            at,
            method: call.method.to_string(),
            path: call.target.clone(),
            status,
            accept_ms: millis(accept),
            operation_ms: accepted.map(|operation| operation.due.saturating_sub(at)),
            operation,
        });
        (response, accept)
    }

    fn carry_out(&mut self, call: &Call, actions: &[Action]) -> Response<Bytes> {
        // A request that was scripted a fate, and was refused, must not leave it to the next one.
        self.fate = Fate::default();
        let mut stale = None;
        for action in actions {
            match action {
                Action::LoseRequest => return lost(),
                Action::Kill { pid, moment: Moment::Before } => {
                    kill(*pid);
                    return lost();
                }
                Action::Answer { status, body, headers } => return self.canned(call, *status, body, headers),
                Action::DeleteVm { vm } => {
                    self.vanish(vm);
                }
                Action::FailOperation { canceled, code, message } => {
                    let (code, message) = (code.clone(), message.clone());
                    let failed = Stage::Failed { code: code.clone(), message: message.clone() };
                    self.fate.ending =
                        Some(if *canceled { Stage::Canceled { code, message } } else { failed });
                }
                Action::EndOperation { ending, leaves, settled } => {
                    self.fate.ending = Some(ending.stage());
                    self.fate.leaves = *leaves;
                    self.fate.is_settled = *settled;
                }
                Action::HangOperation { ms } => self.fate.lasts = Some(ms.unwrap_or(NEVER)),
                Action::DelayOperation { ms } => self.fate.delay = *ms,
                Action::StaleRead { ms, changes } => stale = Some((*ms, *changes)),
                Action::LoseAnswer | Action::Kill { moment: Moment::After, .. } => {}
            }
        }
        let answer = match stale {
            Some((ms, changes)) if call.method == Method::GET => self.answer_stale(call, ms, changes),
            _ => router::arm(self, call),
        };
        let response = self.finish_call(call, answer);
        for action in actions {
            match action {
                Action::LoseAnswer => return lost(),
                Action::Kill { pid, moment: Moment::After } => {
                    kill(*pid);
                    return lost();
                }
                _ => {}
            }
        }
        response
    }

    /// Saves what the call changed, then makes its answer.
    fn finish_call(&mut self, call: &Call, answer: Answer) -> Response<Bytes> {
        let request_id = self.guid();
        match self.save_if_dirty() {
            Ok(()) => answer.finish(call, &request_id),
            Err(error) => {
                tracing::error!(%error, "the model could not be saved");
                Refusal::new(500, "InternalServerError", error.to_string()).answer().finish(call, &request_id)
            }
        }
    }

    fn canned(
        &mut self,
        call: &Call,
        status: u16,
        body: &Value,
        headers: &[(String, String)],
    ) -> Response<Bytes> {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let answer = if body.is_null() { Answer::empty(status) } else { Answer::json(status, body.clone()) };
        let mut response = self.finish_call(call, answer);
        if let Value::String(text) = body {
            *response.body_mut() = Bytes::from(text.clone());
            response.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
        }
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

fn lost() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(LOST).unwrap_or(StatusCode::BAD_GATEWAY);
    response.headers_mut().insert(CONNECTION_LOST, HeaderValue::from_static("true"));
    response
}
