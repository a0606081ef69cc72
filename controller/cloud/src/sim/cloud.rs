//! One process's way into the simulated AWS: the port, as its contract has it.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use ssm_ready_core::{
    calls::Operation,
    facts::{
        Endpoint, Identity, Instance, ManagedNode, NetworkInterface, Permission, Principal, Question, RouteTable,
        Scope, SecurityGroup, Service, Subnet, Vpc, VpcAttribute,
        audit::{AuditRule, Topic, Trail, TrailWork},
        iam::{AgentPermissions, INLINE_POLICY, Profile, Role},
        settings::{DocumentVersion, MetadataDefaults, SessionDocument, SessionDocumentInfo, Setting, SettingValue},
        targets::{Bucket, BucketEncryption, Key, LogGroup},
    },
    fault::{ACCOUNT_MISMATCH, Fault, FaultKind, NO_CREDENTIALS},
    ids::{AccountId, BucketName, KeyId, LogGroupName, ProfileName, Region, RoleName, SecurityGroupId, VpcId},
    write::{Write, Written},
};
use tokio::time::Instant;

use super::{
    Sim,
    audit::rule_arn,
    iam::Iam,
    identity::{Assumed, SessionName},
    journal::Outcome,
    record::{Actor, Eye, later},
    state::RegionState,
    world::{Answer, Caller, Refusal, World},
    writes::{already, settle, singly},
};
use crate::{
    Cloud, answers_never, keeps_to_itself,
    limit::{DEFAULT_SHARE_PERCENT, Limiter},
    observe::{Observer, outcome},
};

/// A session is renewed so long before its credentials expire: a call may wait its turn for a minute.
const RENEW_BEFORE: Duration = Duration::from_secs(2 * 60);

/// A call as it passes the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What is called.
    pub operation: Operation,
    /// In which account.
    pub account: AccountId,
    /// In which region.
    pub region: Region,
    /// The write, if it is one.
    pub write: Option<Write>,
}

/// Stands between one process and AWS: crash points, observation.
#[async_trait]
pub trait Gate: Debug + Send + Sync + 'static {
    /// The name of the process or cluster, as the journal shows it.
    fn name(&self) -> String {
        "controller".to_owned()
    }

    /// The process is about to make the call. May never return: the process died before it did.
    async fn before(&self, call: &Call) {
        let _ = call;
    }

    /// AWS has carried out the call, or refused it; the answer is not given yet. May never return.
    async fn after(&self, call: &Call) {
        let _ = call;
    }
}

/// A gate that stands open.
#[derive(Debug, Clone, Copy)]
pub struct Open;

impl Gate for Open {}

/// A proven session.
#[derive(Debug, Clone)]
struct Session {
    identity: Identity,
    role: String,
    until: Timestamp,
}

type Slot = Arc<tokio::sync::Mutex<Option<Session>>>;

/// One process's way in. It has a limiter and sessions of its own; both die with it.
#[derive(Debug)]
pub struct SimCloud {
    sim: Sim,
    gate: Arc<dyn Gate>,
    actor: Actor,
    limiter: Limiter,
    observer: Arc<dyn Observer>,
    /// By principal; whoever holds a slot is renewing it.
    sessions: Mutex<BTreeMap<Principal, Slot>>,
}

/// Where a call is made and at what share of the rate.
#[derive(Debug, Clone, Copy)]
struct At<'a> {
    account: &'a AccountId,
    region: &'a Region,
    role: &'a str,
    read_only: bool,
    share_percent: u8,
}

impl SimCloud {
    pub(super) fn new(sim: Sim, gate: Arc<dyn Gate>, observer: Arc<dyn Observer>) -> Self {
        Self {
            sim,
            actor: Actor::Controller(gate.name()),
            gate,
            limiter: Limiter::new(Arc::clone(&observer)),
            observer,
            sessions: Mutex::default(),
        }
    }

    /// One call: the rate, the gate, the way there, AWS, and the way back.
    async fn call<T: Send>(
        &self,
        at: At<'_>,
        operation: Operation,
        write: Option<&Write>,
        act: impl FnOnce(&mut World) -> Result<T, Refusal> + Send,
        describe: impl FnOnce(&T) -> Outcome + Send,
    ) -> Result<T, Fault> {
        let At { account, region, share_percent, .. } = at;
        if operation.writes() {
            self.limiter.pass_write(account, region, operation, share_percent).await?;
        } else {
            self.limiter.pass_read(account, region, operation, share_percent).await?;
        }
        let began = Instant::now();
        let call = Call { operation, account: account.clone(), region: region.clone(), write: write.cloned() };
        self.gate.before(&call).await;
        let way = self.sim.with(World::latency) / 2;
        pause(way).await;
        let caller = Caller { actor: &self.actor, account, region, role: at.role, read_only: at.read_only };
        let Answer { result, received } = self.sim.with(|world| world.call(caller, operation, write, act, describe));
        if received {
            self.gate.after(&call).await;
        }
        pause(way).await;
        self.observer.called(operation, account, region, outcome(&result), began.elapsed());
        if result.as_ref().is_err_and(|fault| fault.kind == FaultKind::Throttled) {
            self.limiter.drain(account, region, operation, share_percent);
        }
        result
    }

    /// The session of a principal, proven anew if it has none or its credentials are about to expire.
    async fn session(&self, principal: &Principal, region: &Region) -> Result<Session, Fault> {
        let slot = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(sessions.entry(principal.clone()).or_default())
        };
        let mut held = slot.lock().await;
        let now = self.sim.with(|world| world.now);
        if let Some(session) = held.as_ref().filter(|session| later(now, RENEW_BEFORE) < session.until) {
            return Ok(session.clone());
        }
        *held = None;
        let session = self.prove(principal, region).await?;
        *held = Some(session.clone());
        Ok(session)
    }

    /// Takes on the principal's roles one after another, and asks who that makes us.
    async fn prove(&self, principal: &Principal, region: &Region) -> Result<Session, Fault> {
        let Some(own) = self.sim.with(|world| world.own.clone()) else {
            let operation =
                if principal.roles.is_empty() { Operation::GetCallerIdentity } else { Operation::AssumeRole };
            return Err(Fault::from_answer(operation, NO_CREDENTIALS, 0, "the controller has no AWS credentials"));
        };
        let mut assumed = Assumed { account: own.account, role: own.arn };
        let began = self.sim.with(|world| world.now);
        for step in &principal.roles {
            let caller = assumed.clone();
            let at = At {
                account: step.arn.account(),
                region,
                role: &caller.role,
                read_only: false,
                share_percent: DEFAULT_SHARE_PERCENT,
            };
            let chained = principal.roles.len() > 1;
            assumed = self
                .call(
                    at,
                    Operation::AssumeRole,
                    None,
                    |world| world.assume(&caller, step, region, principal.duration_seconds, chained),
                    |_| Outcome::Done,
                )
                .await?;
        }
        let at = At {
            account: &principal.account,
            region,
            role: &assumed.role,
            read_only: principal.read_only,
            share_percent: DEFAULT_SHARE_PERCENT,
        };
        let name = SessionName(&principal.session_name);
        let identity = self
            .call(
                at,
                Operation::GetCallerIdentity,
                None,
                |_| Ok(assumed.identity(name, !principal.roles.is_empty())),
                |_| Outcome::Done,
            )
            .await?;
        if identity.account != principal.account {
            return Err(Fault::from_answer(
                Operation::GetCallerIdentity,
                ACCOUNT_MISMATCH,
                200,
                &format!("the session is of account {}, not {}", identity.account, principal.account),
            ));
        }
        let lasts = Duration::from_secs(u64::try_from(principal.duration_seconds).unwrap_or(0));
        Ok(Session { identity, role: assumed.role, until: later(began, lasts) })
    }

    /// Gives up a session whose credentials AWS calls expired.
    fn give_up<T>(&self, principal: &Principal, result: &Result<T, Fault>) {
        if result.as_ref().is_err_and(|fault| fault.kind == FaultKind::Expired) {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(principal);
        }
    }

    /// One list of a region.
    async fn list<T: Send>(
        &self,
        scope: &Scope,
        operation: Operation,
        read: impl FnOnce(&RegionState, &mut Eye<'_>) -> Result<T, Refusal> + Send,
    ) -> Result<T, Fault> {
        let session = self.session(&scope.principal, &scope.region).await?;
        let at = at(scope, &session);
        let result = self
            .call(
                at,
                operation,
                None,
                |world| world.look(at.account, at.region, read).and_then(|r| r),
                |_| Outcome::Done,
            )
            .await;
        self.give_up(&scope.principal, &result);
        result
    }

    /// One look into the account's IAM.
    async fn look_into_iam<T: Send>(
        &self,
        scope: &Scope,
        operation: Operation,
        read: impl FnOnce(&Iam, &mut Eye<'_>) -> Result<T, Refusal> + Send,
    ) -> Result<T, Fault> {
        let session = self.session(&scope.principal, &scope.region).await?;
        let at = at(scope, &session);
        let result =
            self.call(at, operation, None, |world| world.look_into_iam(at.account, read), |_| Outcome::Done).await;
        self.give_up(&scope.principal, &result);
        result
    }

    /// One look at what is not of a region alone.
    async fn look_around<T: Send>(
        &self,
        scope: &Scope,
        operation: Operation,
        read: impl FnOnce(&mut World, At<'_>) -> Result<T, Refusal> + Send,
    ) -> Result<T, Fault> {
        let session = self.session(&scope.principal, &scope.region).await?;
        let at = at(scope, &session);
        let result = self.call(at, operation, None, |world| read(world, at), |_| Outcome::Done).await;
        self.give_up(&scope.principal, &result);
        result
    }

    async fn write_once(&self, scope: &Scope, session: &Session, write: &Write) -> Result<Written, Fault> {
        let at = at(scope, session);
        let user = Some(session.identity.arn.as_str());
        let act = |world: &mut World| world.perform(&self.actor, user, at.account, at.region, write);
        self.call(at, write.operation(), Some(write), act, World::describe).await
    }

    async fn write_in(&self, scope: &Scope, write: &Write) -> Result<Written, Fault> {
        let session = self.session(&scope.principal, &scope.region).await?;
        let result = self.write_once(scope, &session, write).await;
        if let Some(result) = settle(write, result) {
            return result;
        }
        for single in singly(write) {
            match self.write_once(scope, &session, &single).await {
                Err(fault) if !already(&single, &fault) => return Err(fault),
                _ => {}
            }
        }
        Ok(Written::Done)
    }
}

/// None where AWS says, with one of these codes, that there is none.
fn unless_absent<T>(codes: &[&str], result: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(fault) if codes.contains(&fault.code.as_str()) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn at<'a>(scope: &'a Scope, session: &'a Session) -> At<'a> {
    At {
        account: &scope.principal.account,
        region: &scope.region,
        role: &session.role,
        read_only: scope.principal.read_only,
        share_percent: scope.api_share_percent,
    }
}

async fn pause(time: Duration) {
    if time > Duration::ZERO {
        tokio::time::sleep(time).await;
    }
}

#[async_trait]
impl Cloud for SimCloud {
    async fn identity(&self, principal: &Principal, region: &Region) -> Result<Identity, Fault> {
        Ok(self.session(principal, region).await?.identity)
    }

    async fn vpcs(&self, scope: &Scope) -> Result<Vec<Vpc>, Fault> {
        self.list(scope, Operation::DescribeVpcs, |state, eye| {
            Ok(state.vpcs.list(eye).into_iter().map(|vpc| vpc.fact.clone()).collect())
        })
        .await
    }

    async fn endpoints(&self, scope: &Scope) -> Result<Vec<Endpoint>, Fault> {
        self.list(scope, Operation::DescribeVpcEndpoints, |state, eye| {
            Ok(state.endpoints.list(eye).into_iter().map(|endpoint| endpoint.fact.clone()).collect())
        })
        .await
    }

    async fn security_groups(&self, scope: &Scope) -> Result<Vec<SecurityGroup>, Fault> {
        self.list(scope, Operation::DescribeSecurityGroups, |state, eye| {
            Ok(state.groups.list(eye).into_iter().cloned().collect())
        })
        .await
    }

    async fn instances(&self, scope: &Scope) -> Result<Vec<Instance>, Fault> {
        self.list(scope, Operation::DescribeInstances, |state, eye| {
            Ok(state.instances.list(eye).into_iter().map(|instance| instance.fact.clone()).collect())
        })
        .await
    }

    async fn managed_nodes(&self, scope: &Scope) -> Result<Vec<ManagedNode>, Fault> {
        let lost_after = self.sim.with(|world| world.weather.lost_after);
        self.list(
            scope,
            Operation::DescribeInstanceInformation,
            move |state, eye| Ok(state.list_nodes(eye, lost_after)),
        )
        .await
    }

    async fn subnets(&self, scope: &Scope) -> Result<Vec<Subnet>, Fault> {
        self.list(scope, Operation::DescribeSubnets, |state, eye| {
            Ok(state.subnets.list(eye).into_iter().cloned().collect())
        })
        .await
    }

    async fn route_tables(&self, scope: &Scope) -> Result<Vec<RouteTable>, Fault> {
        self.list(scope, Operation::DescribeRouteTables, |state, eye| {
            Ok(state.route_tables.list(eye).into_iter().cloned().collect())
        })
        .await
    }

    async fn services(&self, scope: &Scope) -> Result<Vec<Service>, Fault> {
        self.list(scope, Operation::DescribeVpcEndpointServices, |state, eye| {
            let mut services: Vec<Service> = state.services.values().map(|service| service.fact.clone()).collect();
            eye.shuffle(&mut services);
            Ok(services)
        })
        .await
    }

    async fn vpc_attribute(&self, scope: &Scope, vpc: &VpcId, attribute: VpcAttribute) -> Result<bool, Fault> {
        self.list(scope, Operation::DescribeVpcAttribute, |state, eye| {
            let found = state.vpcs.get(vpc).and_then(|record| eye.see(record));
            let found = found
                .ok_or_else(|| Refusal::new("InvalidVpcID.NotFound", format!("The vpc ID '{vpc}' does not exist")))?;
            Ok(match attribute {
                VpcAttribute::DnsSupport => found.dns_support,
                VpcAttribute::DnsHostnames => found.dns_hostnames,
            })
        })
        .await
    }

    async fn network_interfaces(&self, scope: &Scope, group: &SecurityGroupId) -> Result<Vec<NetworkInterface>, Fault> {
        self.list(scope, Operation::DescribeNetworkInterfaces, |state, eye| {
            let shown = state.network_interfaces.list(eye).into_iter();
            Ok(shown.filter(|i| i.groups.contains(group)).map(|i| i.fact.clone()).collect())
        })
        .await
    }

    async fn setting(&self, scope: &Scope, setting: Setting) -> Result<Option<SettingValue>, Fault> {
        let pending_for = self.sim.with(|world| world.weather.setting_pending_for);
        let read = self
            .list(scope, Operation::GetServiceSetting, move |state, eye| state.read_setting(eye, setting, pending_for))
            .await;
        unless_absent(&["ServiceSettingNotFound"], read)
    }

    async fn session_document(
        &self,
        scope: &Scope,
        version: DocumentVersion,
    ) -> Result<Option<SessionDocument>, Fault> {
        let read = self.list(scope, Operation::GetDocument, move |state, eye| state.read_document(eye, version)).await;
        unless_absent(&["InvalidDocument"], read)
    }

    async fn session_document_info(&self, scope: &Scope) -> Result<Option<SessionDocumentInfo>, Fault> {
        let read = self.list(scope, Operation::DescribeDocument, |state, eye| state.read_document_info(eye)).await;
        unless_absent(&["InvalidDocument"], read)
    }

    async fn metadata_defaults(&self, scope: &Scope) -> Result<MetadataDefaults, Fault> {
        self.list(scope, Operation::GetInstanceMetadataDefaults, |state, eye| Ok(state.read_metadata(eye))).await
    }

    async fn audit_rule(&self, scope: &Scope) -> Result<Option<AuditRule>, Fault> {
        let absent = &["ResourceNotFoundException"];
        let arn = rule_arn(&scope.principal.account, &scope.region);
        let look = |operation| self.list(scope, operation, |state, eye| state.read_rule(eye, &arn));
        let Some(rule) = unless_absent(absent, look(Operation::DescribeRule).await)? else { return Ok(None) };
        let Some(targets) = unless_absent(absent, look(Operation::ListTargetsByRule).await)? else { return Ok(None) };
        let Some(tags) = unless_absent(absent, look(Operation::ListTagsForResource).await)? else { return Ok(None) };
        Ok(Some(AuditRule { targets: targets.targets, tags: tags.tags, ..rule }))
    }

    async fn trails(&self, scope: &Scope) -> Result<Vec<Trail>, Fault> {
        let shown = self.list(scope, Operation::DescribeTrails, |state, eye| Ok(state.read_trails(eye))).await?;
        let account = &scope.principal.account;
        let mut trails = Vec::new();
        for trail in shown {
            let look = |operation| self.list(scope, operation, |state, eye| state.read_trail(eye, &trail.arn, account));
            let work = match look(Operation::GetTrailStatus).await {
                Ok(status) => look(Operation::GetEventSelectors)
                    .await
                    .map(|selectors| TrailWork::Known { logging: status.logging, selectors: selectors.selectors }),
                Err(fault) => Err(fault),
            };
            match work {
                Ok(work) => trails.push(Trail { work, ..trail }),
                Err(fault) if keeps_to_itself(&fault, &trail.arn, account) => {
                    trails.push(Trail { work: TrailWork::Unreadable(fault.to_string()), ..trail });
                }
                // It went in the meantime.
                Err(fault) if fault.kind == FaultKind::NotFound => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(trails)
    }

    async fn topic(&self, scope: &Scope, topic: &str) -> Result<Option<Topic>, Fault> {
        let account = &scope.principal.account;
        let read = self.list(scope, Operation::GetTopicAttributes, |state, eye| state.read_topic(eye, topic, account));
        unless_absent(&["NotFound"], read.await)
    }

    async fn bucket(&self, scope: &Scope, bucket: &BucketName) -> Result<Option<Bucket>, Fault> {
        let operation = Operation::GetBucketLocation;
        let read = self.look_around(scope, operation, |world, at| world.read_bucket(at.account, bucket)).await;
        unless_absent(&["NoSuchBucket"], read)
    }

    async fn bucket_encryption(&self, scope: &Scope, bucket: &BucketName) -> Result<Option<BucketEncryption>, Fault> {
        let operation = Operation::GetBucketEncryption;
        let look = self.look_around(scope, operation, |world, at| world.read_encryption(at.account, at.region, bucket));
        unless_absent(&["NoSuchBucket"], look.await)
    }

    async fn log_group(&self, scope: &Scope, group: &LogGroupName) -> Result<Option<LogGroup>, Fault> {
        self.list(scope, Operation::DescribeLogGroups, |state, eye| Ok(state.read_log_group(eye, group))).await
    }

    async fn key(&self, scope: &Scope, key: &KeyId) -> Result<Option<Key>, Fault> {
        let operation = Operation::DescribeKey;
        let look = self.look_around(scope, operation, |world, at| world.read_key(at.account, at.region, key));
        unless_absent(&["NotFoundException"], look.await)
    }

    async fn regions(&self, scope: &Scope) -> Result<Vec<Region>, Fault> {
        let operation = Operation::DescribeRegions;
        self.look_around(scope, operation, |world, at| Ok(world.enabled_regions(at.account))).await
    }

    async fn role(&self, scope: &Scope, role: &RoleName) -> Result<Option<Role>, Fault> {
        let absent = &["NoSuchEntity"];
        let got = self.look_into_iam(scope, Operation::GetRole, |iam, eye| iam.read_role(eye, role)).await;
        let Some(got) = unless_absent(absent, got)? else { return Ok(None) };
        let attached =
            self.look_into_iam(scope, Operation::ListAttachedRolePolicies, |iam, eye| iam.read_role(eye, role)).await;
        let Some(attached) = unless_absent(absent, attached)? else { return Ok(None) };
        let named = self.look_into_iam(scope, Operation::ListRolePolicies, |iam, eye| iam.read_role(eye, role)).await;
        let Some(named) = unless_absent(absent, named)? else { return Ok(None) };
        let mut inline: BTreeMap<String, Option<String>> = named.inline.keys().map(|n| (n.clone(), None)).collect();
        if inline.contains_key(INLINE_POLICY) {
            let text = self.look_into_iam(scope, Operation::GetRolePolicy, |iam, eye| iam.read_inline(eye, role)).await;
            // None if it went in the meantime.
            inline.insert(INLINE_POLICY.to_owned(), unless_absent(absent, text)?);
        }
        Ok(Some(Role { policies: attached.policies, inline, ..got.fact() }))
    }

    async fn profile(&self, scope: &Scope, profile: &ProfileName) -> Result<Option<Profile>, Fault> {
        let read =
            self.look_into_iam(scope, Operation::GetInstanceProfile, |iam, eye| iam.read_profile(eye, profile)).await;
        unless_absent(&["NoSuchEntity"], read)
    }

    async fn agent_permissions(&self, scope: &Scope, role: &RoleName) -> Result<Option<AgentPermissions>, Fault> {
        let got = self.look_into_iam(scope, Operation::GetRole, |iam, eye| iam.read_role(eye, role)).await;
        if unless_absent(&["NoSuchEntity"], got)?.is_none() {
            return Ok(None);
        }
        let asked = |iam: &Iam, eye: &mut Eye<'_>| Ok(iam.read_role(eye, role)?.agent_permissions());
        match self.look_into_iam(scope, Operation::SimulatePrincipalPolicy, asked).await {
            Err(fault) if fault.code == "NoSuchEntity" => Ok(None),
            Err(fault) if answers_never(&fault) => {
                Ok(self.role(scope, role).await?.map(|role| AgentPermissions::of_policies(&role)))
            }
            answer => answer.map(Some),
        }
    }

    async fn role_answer(
        &self,
        scope: &Scope,
        role: &RoleName,
        question: &Question,
    ) -> Result<Option<Vec<Permission>>, Fault> {
        let got = self.look_into_iam(scope, Operation::GetRole, |iam, eye| iam.read_role(eye, role)).await;
        if unless_absent(&["NoSuchEntity"], got)?.is_none() {
            return Ok(None);
        }
        let ask = |iam: &Iam, eye: &mut Eye<'_>| iam.answer(eye, role, question);
        match self.look_into_iam(scope, Operation::SimulatePrincipalPolicy, ask).await {
            Err(fault) if fault.code == "NoSuchEntity" => Ok(None),
            Err(fault) if answers_never(&fault) => Ok(Some(Vec::new())),
            answer => answer.map(Some),
        }
    }

    async fn permissions(
        &self,
        principal: &Principal,
        region: &Region,
        question: &Question,
    ) -> Result<Vec<Permission>, Fault> {
        let session = self.session(principal, region).await?;
        let at = At {
            account: &principal.account,
            region,
            role: &session.role,
            // A session policy does not show in what the role's own policies say.
            read_only: false,
            share_percent: DEFAULT_SHARE_PERCENT,
        };
        let result = self
            .call(
                at,
                Operation::SimulatePrincipalPolicy,
                None,
                |world| Ok(world.permissions(at.account, at.role, &question.actions)),
                |_| Outcome::Done,
            )
            .await;
        self.give_up(principal, &result);
        result
    }

    async fn write(&self, scope: &Scope, write: &Write) -> Result<Written, Fault> {
        let result = self.write_in(scope, write).await;
        self.give_up(&scope.principal, &result);
        result
    }
}
