//! The calls of subscribed schedulers: which are refused and with which words, and what the
//! others do.

use super::context::{Context, ToAgent};
use super::master::Master;
use crate::mesos::v1::FrameworkId;
use crate::mesos::v1::scheduler::{Call, Request, Roles};

/// The answer to a call: an HTTP status and a body, which is empty if the call was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The HTTP status code.
    pub status: u16,
    /// Plain text.
    pub body: String,
}

impl Outcome {
    /// 202, without a body: the call was accepted, whatever may come of it.
    #[must_use]
    pub fn accepted() -> Self {
        Self { status: 202, body: String::new() }
    }

    pub(super) fn refused(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }

    /// Whether the call was accepted.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.status == 202
    }
}

/// SUBSCRIBE where the ID in the call is not that in its `FrameworkInfo`.
pub(super) fn differing_ids() -> Outcome {
    Outcome::refused(
        400,
        "Failed to validate scheduler::Call: 'framework_id' differs from \
         'subscribe.framework_info.id'",
    )
}

/// A type that this version does not know.
pub(super) fn no_type() -> Outcome {
    Outcome::refused(400, "Failed to validate scheduler::Call: Expecting 'type' to be present")
}

/// Somebody else's framework.
pub(super) fn not_theirs(authenticated: &str, principal: &str) -> Outcome {
    Outcome::refused(
        400,
        format!(
            "Failed to validate scheduler::Call: Authenticated principal '{authenticated}' does not \
             match principal '{principal}' set in `FrameworkInfo`"
        ),
    )
}

/// SUBSCRIBE on a stream.
pub(super) fn subscribe_with_stream() -> Outcome {
    Outcome::refused(400, "Subscribe calls should not include the 'Mesos-Stream-Id' header")
}

impl Master {
    /// Checks a call in the order in which Mesos does (`src/master/http.cpp`, `scheduler()`, from
    /// the point on where the call has been read), then carries it out.
    pub(super) fn call(
        &mut self,
        cx: &mut Context,
        stream: Option<&str>,
        request: Request,
    ) -> Outcome {
        let Some(id) = request.framework_id else {
            return Outcome::refused(
                400,
                "Failed to validate scheduler::Call: Expecting 'framework_id' to be present",
            );
        };
        let Some(framework) = self.frameworks.get(&id) else {
            return Outcome::refused(400, "Framework cannot be found");
        };
        let Some((_, current)) = &framework.stream else {
            return Outcome::refused(403, "Framework is not subscribed");
        };
        let Some(stream) = stream else {
            return Outcome::refused(
                400,
                "All non-subscribe calls should include the 'Mesos-Stream-Id' header",
            );
        };
        if stream != current {
            return Outcome::refused(
                400,
                format!(
                    "The stream ID '{stream}' included in this request didn't match the stream ID \
                     currently associated with framework ID {id}"
                ),
            );
        }
        self.carry_out(cx, &id, request.call)
    }

    fn carry_out(&mut self, cx: &mut Context, id: &FrameworkId, call: Call) -> Outcome {
        match call {
            // Answered before, by the one who opens streams.
            Call::Subscribe(_) => return subscribe_with_stream(),
            Call::Teardown => return self.teardown(cx, id),
            Call::Accept(accept) => self.accept(cx, id, accept),
            Call::Decline(decline) => {
                for offer in &decline.offer_ids {
                    if let Some(number) = self.offer_number(offer) {
                        self.decline(cx, id, number, decline.filters);
                    }
                }
            }
            Call::Revive(roles) => self.revive(cx, id, roles),
            Call::Suppress(roles) => self.suppress(id, roles),
            Call::Kill(kill) => self.kill(cx, id, kill),
            Call::Acknowledge(ack) => self.acknowledge(cx, id, ack),
            Call::Reconcile(reconcile) => self.reconcile(cx, id, &reconcile),
            Call::Message(message) => {
                if let Some(agent) = self.connected_agent(&message.agent_id) {
                    let executor = (id.clone(), message.executor_id);
                    cx.send_to_agent(agent, ToAgent::Message { executor, data: message.data });
                }
            }
            Call::Shutdown(shutdown) => {
                if let Some(agent) = self.connected_agent(&shutdown.agent_id) {
                    let executor = (id.clone(), shutdown.executor_id);
                    cx.send_to_agent(agent, ToAgent::ShutdownExecutor(executor));
                }
            }
            Call::AcceptInverseOffers(answer) => self.answer_inverse(cx, id, &answer, true),
            Call::DeclineInverseOffers(answer) => self.answer_inverse(cx, id, &answer, false),
            Call::UpdateFramework(update) => return self.update_framework(cx, id, update),
        }
        Outcome::accepted()
    }

    /// The roles that are meant; none if one of them is not the framework's, as Mesos then drops
    /// the whole call.
    fn roles_of(&self, id: &FrameworkId, roles: Roles) -> Vec<String> {
        let own = self.frameworks.get(id).map(super::master::Framework::roles).unwrap_or_default();
        if roles.roles.is_empty() {
            own
        } else if roles.roles.iter().all(|role| own.contains(role)) {
            roles.roles
        } else {
            Vec::new()
        }
    }

    fn revive(&mut self, cx: &mut Context, id: &FrameworkId, roles: Roles) {
        let roles = self.roles_of(id, roles);
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        if roles.is_empty() {
            return;
        }
        framework.suppressed.retain(|role| !roles.contains(role));
        framework.filters.retain(|(_, role), _| !roles.contains(role));
        self.consider_all(cx);
    }

    fn suppress(&mut self, id: &FrameworkId, roles: Roles) {
        let roles = self.roles_of(id, roles);
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.suppressed.extend(roles);
        }
    }
}
