//! Calls in the form in which they are posted; part of [`super::scheduler`].

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::common::FrameworkId;
use super::scheduler::{
    Accept, Acknowledge, Call, CallType, Decline, InverseAnswer, Kill, Message, Reconcile, Roles,
    Shutdown, Subscribe,
};

/// A call as it is posted: the framework that makes it, and the call.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Required for all but the first SUBSCRIBE.
    pub framework_id: Option<FrameworkId>,
    /// The call.
    pub call: Call,
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Call", 3)?;
        if let Some(id) = &self.framework_id {
            object.serialize_field("framework_id", id)?;
        }
        object.serialize_field("type", &self.call.kind())?;
        match &self.call {
            Call::Subscribe(body) => object.serialize_field("subscribe", body)?,
            Call::Teardown => {}
            Call::Accept(body) => object.serialize_field("accept", body)?,
            Call::Decline(body) => object.serialize_field("decline", body)?,
            Call::AcceptInverseOffers(body) => {
                object.serialize_field("accept_inverse_offers", body)?;
            }
            Call::DeclineInverseOffers(body) => {
                object.serialize_field("decline_inverse_offers", body)?;
            }
            Call::Revive(body) => object.serialize_field("revive", body)?,
            Call::Suppress(body) => object.serialize_field("suppress", body)?,
            Call::Kill(body) => object.serialize_field("kill", body)?,
            Call::Shutdown(body) => object.serialize_field("shutdown", body)?,
            Call::Acknowledge(body) => object.serialize_field("acknowledge", body)?,
            Call::Reconcile(body) => object.serialize_field("reconcile", body)?,
            Call::Message(body) => object.serialize_field("message", body)?,
            Call::UpdateFramework(body) => object.serialize_field("update_framework", body)?,
        }
        object.end()
    }
}

/// A call as it may arrive: nothing checked yet. [`Request::try_from`] checks it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are the proto's, one per call")]
pub struct Envelope {
    pub framework_id: Option<FrameworkId>,
    #[serde(rename = "type")]
    pub kind: Option<CallType>,
    pub subscribe: Option<Subscribe>,
    pub accept: Option<Accept>,
    pub decline: Option<Decline>,
    pub accept_inverse_offers: Option<InverseAnswer>,
    pub decline_inverse_offers: Option<InverseAnswer>,
    pub revive: Option<Roles>,
    pub suppress: Option<Roles>,
    pub kill: Option<Kill>,
    pub shutdown: Option<Shutdown>,
    pub acknowledge: Option<Acknowledge>,
    pub reconcile: Option<Reconcile>,
    pub message: Option<Message>,
    pub update_framework: Option<Subscribe>,
}

/// Why an [`Envelope`] is not a call. The texts are those of Mesos' master, which puts
/// `Failed to validate scheduler::Call: ` before them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCall {
    /// A part is missing: `type`, or the body that the type asks for.
    #[error("Expecting '{0}' to be present")]
    Missing(&'static str),
    /// A call that Mesos knows and this program does not make.
    #[error("calls of type {0} are not supported here")]
    Unsupported(CallType),
}

impl TryFrom<Envelope> for Request {
    type Error = InvalidCall;

    fn try_from(envelope: Envelope) -> Result<Self, InvalidCall> {
        // Mesos drops an enum name that it does not know: the field is then as good as absent.
        let kind = match envelope.kind {
            None | Some(CallType::Unknown(_)) => return Err(InvalidCall::Missing("type")),
            Some(kind) => kind,
        };
        let need = InvalidCall::Missing;
        let call = match kind {
            CallType::Subscribe => Call::Subscribe(envelope.subscribe.ok_or(need("subscribe"))?),
            CallType::Teardown => Call::Teardown,
            CallType::Accept => Call::Accept(envelope.accept.ok_or(need("accept"))?),
            CallType::Decline => Call::Decline(envelope.decline.ok_or(need("decline"))?),
            CallType::AcceptInverseOffers => Call::AcceptInverseOffers(
                envelope.accept_inverse_offers.ok_or(need("accept_inverse_offers"))?,
            ),
            CallType::DeclineInverseOffers => Call::DeclineInverseOffers(
                envelope.decline_inverse_offers.ok_or(need("decline_inverse_offers"))?,
            ),
            CallType::Revive => Call::Revive(envelope.revive.unwrap_or_default()),
            CallType::Suppress => Call::Suppress(envelope.suppress.unwrap_or_default()),
            CallType::Kill => Call::Kill(envelope.kill.ok_or(need("kill"))?),
            CallType::Shutdown => Call::Shutdown(envelope.shutdown.ok_or(need("shutdown"))?),
            CallType::Acknowledge => {
                Call::Acknowledge(envelope.acknowledge.ok_or(need("acknowledge"))?)
            }
            CallType::Reconcile => Call::Reconcile(envelope.reconcile.ok_or(need("reconcile"))?),
            CallType::Message => Call::Message(envelope.message.ok_or(need("message"))?),
            CallType::UpdateFramework => {
                Call::UpdateFramework(envelope.update_framework.ok_or(need("update_framework"))?)
            }
            other => return Err(InvalidCall::Unsupported(other)),
        };
        Ok(Self { framework_id: envelope.framework_id, call })
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Envelope::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}
