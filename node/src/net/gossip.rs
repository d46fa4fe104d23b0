//! Gossip of head notices: libp2p's gossipsub on one topic, spoken with peers near by only, and bounded everywhere.
//!
//! Notes sign themselves, so messages are anonymous: no sender, no number, no second signature. A message's id is the hash of
//! its bytes, so the same note from two sides is one message. Nothing is passed on before `sync/gossip` has judged it.

use std::collections::HashMap;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, IdentityTransform, Message, MessageAcceptance, MessageAuthenticity, MessageId,
    PublishError, TopicHash, ValidationMode, Version, WhitelistSubscriptionFilter,
};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::derive_prelude::Either;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};
use syncra_protocol::key::DeviceKey;
use syncra_protocol::limits::NOTICE_BYTES;

use super::address::is_far;
use super::limits;

/// The protocol's name on the wire.
pub(super) const PROTOCOL: &str = "/syncra/gossip/1";
/// The one topic: notices of all logs. One for each package would tell every neighbour what is followed here.
const TOPIC: &str = "heads";

/// A note that a peer has passed on, not judged yet.
#[derive(Debug)]
pub struct Notice {
    /// The peer that passed it on; who signed it is another matter.
    pub peer: DeviceKey,
    /// The note, unverified, at most [`NOTICE_BYTES`].
    pub note: Vec<u8>,
    /// What the judgement is about.
    pub ticket: Ticket,
    /// False for a peer whose score is poor: others are asked for what it promises, not it.
    pub is_heeded: bool,
}

/// A message that waits for a judgement: see [`super::Net::settle`].
#[derive(Debug, Clone)]
pub struct Ticket {
    id: MessageId,
    from: PeerId,
}

impl Ticket {
    /// Who passed the message on.
    pub(super) const fn from(&self) -> &PeerId {
        &self.from
    }
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is passed on.
    Forward,
    /// It is not.
    Drop,
}

type Inner = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;
type InnerHandler = THandler<Inner>;

/// Gossipsub towards those peers that it is meant for.
pub(super) struct Gossip {
    inner: Inner,
    topic: TopicHash,
    takes_part: bool,
    /// Connections that it is spoken on, by peer: the library must not hear of others.
    connections: HashMap<PeerId, Vec<ConnectionId>>,
}

impl Gossip {
    /// Takes part if it may.
    pub(super) fn new(takes_part: bool) -> Self {
        let topic = IdentTopic::new(TOPIC);
        let config = ConfigBuilder::default()
            .protocol_id(PROTOCOL, Version::V1_1)
            .validation_mode(ValidationMode::Anonymous)
            .validate_messages()
            .message_id_fn(|message: &Message| MessageId::from(blake3::hash(&message.data).as_bytes().to_vec()))
            .max_transmit_size(limits::GOSSIP_RPC_BYTES)
            .max_transmit_size_for_topic(NOTICE_BYTES, topic.hash())
            .max_publish_messages(limits::GOSSIP_RPC_NOTICES)
            .max_control_messages_sent(limits::GOSSIP_IDS)
            .max_ihave_messages_heartbeat(limits::GOSSIP_IHAVES)
            .connection_handler_queue_len(limits::GOSSIP_QUEUE)
            .mesh_n(limits::GOSSIP_MESH)
            .mesh_n_low(limits::GOSSIP_MESH_LEAST)
            .mesh_n_high(limits::GOSSIP_MESH_MOST)
            .mesh_outbound_min(limits::GOSSIP_MESH_LEAST / 2)
            .gossip_lazy(limits::GOSSIP_MESH)
            .flood_publish(false)
            .heartbeat_interval(limits::GOSSIP_HEARTBEAT)
            .heartbeat_initial_delay(limits::GOSSIP_HEARTBEAT)
            .history_length(limits::GOSSIP_HISTORY)
            .history_gossip(limits::GOSSIP_HISTORY - 2)
            .duplicate_cache_time(limits::GOSSIP_REMEMBERED)
            .build()
            .expect("these numbers fit each other");
        let filter = WhitelistSubscriptionFilter(std::iter::once(topic.hash()).collect());
        let mut inner = Inner::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
            .expect("anonymous messages need no key");
        inner.subscribe(&topic).expect("the filter has the topic");
        Self { inner, topic: topic.hash(), takes_part, connections: HashMap::new() }
    }

    /// Sends a note to the mesh. That nobody is there, or has heard it already, is no failure.
    pub(super) fn publish(&mut self, note: Vec<u8>) {
        match self.inner.publish(self.topic.clone(), note) {
            Ok(_) | Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            Err(error) => tracing::debug!(%error, "a notice was not sent"),
        }
    }

    /// Ends the wait of a message; says whether it was still there.
    pub(super) fn settle(&mut self, ticket: &Ticket, settled: Settled) -> bool {
        let acceptance = match settled {
            Settled::Forward => MessageAcceptance::Accept,
            Settled::Drop => MessageAcceptance::Ignore,
        };
        self.inner.report_message_validation_result(&ticket.id, &ticket.from, acceptance)
    }

    /// Peers that notices go to.
    pub(super) fn n_mesh(&self) -> usize {
        self.inner.mesh_peers(&self.topic).count()
    }

    /// A message that is to be judged.
    pub(super) fn notice_of(event: gossipsub::Event) -> Option<(Vec<u8>, Ticket)> {
        let gossipsub::Event::Message { propagation_source: from, message_id: id, message } = event else {
            return None;
        };
        Some((message.data, Ticket { id, from }))
    }

    /// Far peers watch instead: they are many, and what is gossiped here is none of their business.
    fn admits(&self, local: Option<&Multiaddr>, remote: &Multiaddr) -> bool {
        self.takes_part && !is_far(local, remote)
    }

    fn is_admitted(&self, peer: &PeerId, connection: ConnectionId) -> bool {
        self.connections.get(peer).is_some_and(|all| all.contains(&connection))
    }

    /// Notes the handler of an admitted connection. Nothing after this behaviour refuses connections.
    fn admit(&mut self, peer: PeerId, connection: ConnectionId, handler: InnerHandler) -> THandler<Self> {
        self.connections.entry(peer).or_default().push(connection);
        Either::Left(handler)
    }

    fn on_established(&mut self, mut event: ConnectionEstablished<'_>) {
        let Some(all) = self.connections.get(&event.peer_id).filter(|all| all.contains(&event.connection_id)) else {
            return;
        };
        event.other_established = all.len() - 1;
        self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(event));
    }

    fn on_closed(&mut self, mut event: ConnectionClosed<'_>) {
        if !self.is_admitted(&event.peer_id, event.connection_id) {
            return;
        }
        let left = self.connections.get_mut(&event.peer_id).map_or(0, |all| {
            all.retain(|id| *id != event.connection_id);
            all.len()
        });
        if left == 0 {
            self.connections.remove(&event.peer_id);
        }
        event.remaining_established = left;
        self.inner.on_swarm_event(FromSwarm::ConnectionClosed(event));
    }
}

impl NetworkBehaviour for Gossip {
    type ConnectionHandler = Either<InnerHandler, dummy::ConnectionHandler>;
    type ToSwarm = gossipsub::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.admits(Some(local), remote) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        let handler = self.inner.handle_established_inbound_connection(id, peer, local, remote)?;
        Ok(self.admit(peer, id, handler))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.admits(None, remote) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        let handler = self.inner.handle_established_outbound_connection(id, peer, remote, role, port)?;
        Ok(self.admit(peer, id, handler))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => self.on_established(event),
            FromSwarm::ConnectionClosed(event) => self.on_closed(event),
            FromSwarm::AddressChange(change) if !self.is_admitted(&change.peer_id, change.connection_id) => {}
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, id, event),
            Either::Right(never) => match never {},
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(context).map(|action| action.map_in(Either::Left))
    }
}
