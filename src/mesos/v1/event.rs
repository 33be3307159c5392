//! Events of the scheduler's stream; part of [`super::scheduler`].

use serde::de::Error as _;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec::id;
use super::common::{ExecutorId, FrameworkId, InverseOffer, MasterInfo, Offer, OfferId};
use super::scheduler::Message;
use super::task::TaskStatus;
use crate::words::AgentId;

open_enum! {
    /// The events that this program knows.
    EventType {
        /// [`Event::Subscribed`].
        Subscribed = "SUBSCRIBED",
        /// [`Event::Offers`].
        Offers = "OFFERS",
        /// [`Event::InverseOffers`].
        InverseOffers = "INVERSE_OFFERS",
        /// [`Event::Rescind`].
        Rescind = "RESCIND",
        /// [`Event::RescindInverseOffer`].
        RescindInverseOffer = "RESCIND_INVERSE_OFFER",
        /// [`Event::Update`].
        Update = "UPDATE",
        /// [`Event::Message`].
        Message = "MESSAGE",
        /// [`Event::Failure`].
        Failure = "FAILURE",
        /// [`Event::Error`].
        Error = "ERROR",
        /// [`Event::Heartbeat`].
        Heartbeat = "HEARTBEAT",
    }
}

/// What the master tells a scheduler.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Always the first.
    Subscribed(Subscribed),
    /// At once after [`Event::Subscribed`], then every heartbeat interval.
    Heartbeat,
    /// New offers.
    Offers(Vec<Offer>),
    /// Resources wanted back, before maintenance.
    InverseOffers(Vec<InverseOffer>),
    /// An offer is not valid any more.
    Rescind(OfferId),
    /// An inverse offer is not valid any more.
    RescindInverseOffer(OfferId),
    /// The state of a task.
    Update(TaskStatus),
    /// Bytes from an executor.
    Message(Message),
    /// An agent or an executor is gone. A hint: it may be missing, and come in any order.
    Failure(Failure),
    /// The subscription was refused or ended; the stream ends after it.
    Error(String),
    /// An event of a type that this program does not know; its type.
    Unknown(String),
}

/// SUBSCRIBED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscribed {
    /// Ours from now on.
    pub framework_id: FrameworkId,
    /// Seconds between heartbeats: 15 on a real master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval_seconds: Option<f64>,
    /// The master; since Mesos 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_info: Option<MasterInfo>,
}

/// FAILURE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The agent.
    #[serde(with = "id::option", default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The executor; if absent, the whole agent is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_id: Option<ExecutorId>,
    /// The executor's raw wait status; -1 if not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
}

#[derive(Serialize, Deserialize)]
struct Offers<T> {
    offers: T,
}

#[derive(Serialize, Deserialize)]
struct InverseOffers<T> {
    inverse_offers: T,
}

#[derive(Serialize, Deserialize)]
struct Rescind<T> {
    offer_id: T,
}

#[derive(Serialize, Deserialize)]
struct RescindInverse<T> {
    inverse_offer_id: T,
}

#[derive(Serialize, Deserialize)]
struct Update<T> {
    status: T,
}

#[derive(Serialize, Deserialize)]
struct Failed<T> {
    message: T,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: EventType,
    #[serde(default)]
    subscribed: Option<Subscribed>,
    #[serde(default)]
    offers: Option<Offers<Vec<Offer>>>,
    #[serde(default)]
    inverse_offers: Option<InverseOffers<Vec<InverseOffer>>>,
    #[serde(default)]
    rescind: Option<Rescind<OfferId>>,
    #[serde(default)]
    rescind_inverse_offer: Option<RescindInverse<OfferId>>,
    #[serde(default)]
    update: Option<Update<TaskStatus>>,
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    failure: Option<Failure>,
    #[serde(default)]
    error: Option<Failed<String>>,
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let e = Envelope::deserialize(deserializer)?;
        let event = match e.kind {
            EventType::Subscribed => e.subscribed.map(Self::Subscribed),
            EventType::Heartbeat => Some(Self::Heartbeat),
            EventType::Offers => e.offers.map(|body| Self::Offers(body.offers)),
            EventType::InverseOffers => {
                e.inverse_offers.map(|body| Self::InverseOffers(body.inverse_offers))
            }
            EventType::Rescind => e.rescind.map(|body| Self::Rescind(body.offer_id)),
            EventType::RescindInverseOffer => {
                e.rescind_inverse_offer.map(|body| Self::RescindInverseOffer(body.inverse_offer_id))
            }
            EventType::Update => e.update.map(|body| Self::Update(body.status)),
            EventType::Message => e.message.map(Self::Message),
            EventType::Failure => e.failure.map(Self::Failure),
            EventType::Error => e.error.map(|body| Self::Error(body.message)),
            EventType::Unknown(kind) => return Ok(Self::Unknown(kind)),
        };
        event.ok_or_else(|| D::Error::custom("an event without the body that its type asks for"))
    }
}

impl Event {
    /// The type on the wire.
    #[must_use]
    pub fn kind(&self) -> EventType {
        match self {
            Self::Subscribed(_) => EventType::Subscribed,
            Self::Heartbeat => EventType::Heartbeat,
            Self::Offers(_) => EventType::Offers,
            Self::InverseOffers(_) => EventType::InverseOffers,
            Self::Rescind(_) => EventType::Rescind,
            Self::RescindInverseOffer(_) => EventType::RescindInverseOffer,
            Self::Update(_) => EventType::Update,
            Self::Message(_) => EventType::Message,
            Self::Failure(_) => EventType::Failure,
            Self::Error(_) => EventType::Error,
            Self::Unknown(kind) => EventType::Unknown(kind.clone()),
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Event", 2)?;
        object.serialize_field("type", &self.kind())?;
        match self {
            Self::Subscribed(body) => object.serialize_field("subscribed", body)?,
            Self::Heartbeat | Self::Unknown(_) => {}
            Self::Offers(offers) => object.serialize_field("offers", &Offers { offers })?,
            Self::InverseOffers(inverse_offers) => {
                object.serialize_field("inverse_offers", &InverseOffers { inverse_offers })?;
            }
            Self::Rescind(offer_id) => {
                object.serialize_field("rescind", &Rescind { offer_id })?;
            }
            Self::RescindInverseOffer(inverse_offer_id) => object
                .serialize_field("rescind_inverse_offer", &RescindInverse { inverse_offer_id })?,
            Self::Update(status) => object.serialize_field("update", &Update { status })?,
            Self::Message(body) => object.serialize_field("message", body)?,
            Self::Failure(body) => object.serialize_field("failure", body)?,
            Self::Error(message) => object.serialize_field("error", &Failed { message })?,
        }
        object.end()
    }
}
