//! Everything that was ever asked of AWS, and by whom.

use jiff::Timestamp;
use ssm_ready_core::{
    calls::Operation,
    facts::{EndpointState, EndpointType, Tags},
    fault::FaultKind,
    ids::{AccountId, EndpointId, Region, VpcId},
    write::Write,
};

use super::{record::Actor, weather::Injected};

/// What a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThingKind {
    /// A VPC.
    Vpc,
    /// A subnet.
    Subnet,
    /// A route table.
    RouteTable,
    /// An endpoint.
    Endpoint,
    /// A security group.
    Group,
    /// An instance.
    Instance,
    /// A service setting: has no tags.
    Setting,
    /// The metadata defaults of a region: have no tags.
    MetadataDefaults,
    /// The session document.
    Document,
    /// The rule that reports sessions.
    Rule,
    /// A role.
    Role,
    /// An instance profile.
    Profile,
}

/// A thing that a write named, as it was just before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Its id, or its name.
    pub id: String,
    /// What it is.
    pub kind: ThingKind,
    /// Its VPC, if it is in one.
    pub vpc: Option<VpcId>,
    /// Who had made it.
    pub made_by: Actor,
    /// Who had changed it last.
    pub last_changed_by: Actor,
    /// Its version.
    pub version: u64,
    /// Its tags.
    pub tags: Tags,
    /// An endpoint's service.
    pub service: Option<String>,
    /// An endpoint's type.
    pub endpoint_type: Option<EndpointType>,
    /// An endpoint's state.
    pub state: Option<EndpointState>,
    /// An endpoint's private DNS.
    pub private_dns: Option<bool>,
    /// What it was set to, where that is what there is to say of it: a setting's value, the metadata defaults, the
    /// content of the document's version in use, a profile's role.
    pub value: Option<String>,
}

/// What AWS made of a call, whether or not the answer arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or read.
    Done,
    /// Something with this id was made, or had been with the same client token.
    Made(String),
    /// Answered with 200, but these endpoints were not deleted, and why.
    NotDeleted(Vec<(EndpointId, String)>),
    /// Refused.
    Refused {
        /// The kind of the fault.
        kind: FaultKind,
        /// AWS's code.
        code: String,
    },
    /// AWS never heard of it.
    NotReceived,
}

/// One call of anybody, or one thing that AWS did by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 0.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub actor: Actor,
    /// In which account.
    pub account: AccountId,
    /// In which region.
    pub region: Region,
    /// The call's name; for what AWS does by itself, what it was.
    pub call: &'static str,
    /// The call, if it is one that the controller may make.
    pub operation: Option<Operation>,
    /// The write, if it was one that the controller may make.
    pub write: Option<Write>,
    /// What else there is to say.
    pub detail: String,
    /// What AWS made of it.
    pub outcome: Outcome,
    /// Whether it is a write that AWS carried out (for a deletion: of one endpoint at least).
    pub took_effect: bool,
    /// Whether the answer was lost.
    pub answer_lost: bool,
    /// Whether it was answered from the client token alone, and so made nothing.
    pub replayed: bool,
    /// Whether AWS's own token bucket was empty.
    pub throttled_by_bucket: bool,
    /// The fault that the weather made of it.
    pub injected: Option<Injected>,
    /// The things that the write named, as they were just before.
    pub touched: Vec<Touched>,
    /// For a new endpoint: those of its VPC and service that were not leaving.
    pub siblings: Vec<Touched>,
    /// For private DNS that is switched on: whether the endpoint's groups, with the change, admit HTTPS from all CIDRs
    /// of the VPC.
    pub admitted: Option<bool>,
}

impl Entry {
    /// An entry in which nothing has happened yet.
    pub(super) fn new(actor: &Actor, account: &AccountId, region: &Region, call: &'static str) -> Self {
        Self {
            seq: 0,
            at: Timestamp::UNIX_EPOCH,
            actor: actor.clone(),
            account: account.clone(),
            region: region.clone(),
            call,
            operation: None,
            write: None,
            detail: String::new(),
            outcome: Outcome::Done,
            took_effect: false,
            answer_lost: false,
            replayed: false,
            throttled_by_bucket: false,
            injected: None,
            touched: Vec::new(),
            siblings: Vec::new(),
            admitted: None,
        }
    }

    /// Whether AWS refused it.
    #[must_use]
    pub fn refused(&self) -> bool {
        matches!(self.outcome, Outcome::Refused { .. })
    }
}
