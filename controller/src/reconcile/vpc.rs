//! `VpcPosture`: validate, observe, evaluate, plan, apply, report.

use std::collections::BTreeSet;

use kube::{Api, ResourceExt};
use ssm_ready_core::{
    deletion::{Departure, Farewell, Stage, farewell},
    evaluate::{CREATING, Verdict, View, evaluate},
    facts::{Scope, VpcAttribute},
    fault::{FaultKind, HELD_BACK},
    foresee::foresee,
    plan::{Plan, plan},
    posture::{self, GroupWish, Mode},
    reason::{Reason, Waits},
    report::{Applied, Circumstances, Condition, Report, Status, Tried, explain, refused, report},
    snapshot::{FactKey, Reading},
    write::{Write, Written},
};
use ssm_ready_crds::{self as crds, ABANDON, FINALIZER, REQUESTED_AT, VpcPosture, VpcPostureStatus, condition};

use super::{Next, unreadable};
use crate::{
    admit::{Refusal, admit, older_rival, unreadable_account},
    apply::{MISMATCH, apply},
    context::{Context, Key},
    kube_io::{event, set_finalizer, write_status},
    place::{Interest, Look, Place},
    spec::{self, VPC_POSTURE},
    status,
};

pub(super) async fn reconcile(ctx: &Context, key: &Key, namespace: &str, name: &str) -> kube::Result<Next> {
    let found =
        ctx.stores.vpcs.find(|guard| guard.name_any() == name && guard.namespace().as_deref() == Some(namespace));
    let Some(found) = found else {
        ctx.forget(key);
        return Ok(Next::Await);
    };
    let object = match &found.0 {
        Ok(object) => object.clone(),
        Err(_) => return unreadable::posture(ctx, key, &found).await,
    };
    let pass = Pass {
        ctx,
        key,
        api: Api::namespaced(ctx.client.clone(), namespace),
        before: before(ctx, key, &object),
        generation: object.metadata.generation.unwrap_or_default(),
        object,
    };
    if pass.object.metadata.deletion_timestamp.is_some() {
        return if pass.object.finalizers().iter().any(|f| f == FINALIZER) {
            pass.farewell().await
        } else {
            ctx.forget(key);
            Ok(Next::Await)
        };
    }
    pass.run().await
}

/// The status as it was last written: by the API server's word, or by ours where its word has not come yet.
fn before(ctx: &Context, key: &Key, object: &VpcPosture) -> VpcPostureStatus {
    ctx.local(key, |local| {
        // Kept no longer than it is needed: a status may be large.
        local.wrote.take_if(|(version, _)| *version != object.resource_version());
        local.wrote.as_ref().map(|(_, status)| status.clone())
    })
    .unwrap_or_else(|| object.status.clone().unwrap_or_default())
}

/// Everything that a posture needs to act: looked up anew on every pass.
struct Grounds {
    posture: posture::VpcPosture,
    account: crds::AwsAccount,
    read: Scope,
    write: Scope,
}

struct Pass<'a> {
    ctx: &'a Context,
    key: &'a Key,
    api: Api<VpcPosture>,
    object: VpcPosture,
    before: VpcPostureStatus,
    generation: i64,
}

impl Pass<'_> {
    fn requested_at(&self) -> Option<String> {
        self.object.annotations().get(REQUESTED_AT).map(|v| v.chars().take(256).collect())
    }

    /// A status that carries over what this pass does not look at.
    fn status(&self) -> VpcPostureStatus {
        VpcPostureStatus { observed_spec_hash: self.before.observed_spec_hash.clone(), ..self.before.clone() }
    }

    async fn write(&self, status: VpcPostureStatus) -> kube::Result<()> {
        if status == self.before {
            return Ok(());
        }
        write_status(self.ctx, &self.api, &self.object, VPC_POSTURE, &status).await?;
        self.tell(&status).await;
        let wrote = Some((self.object.resource_version(), status));
        self.ctx.local(self.key, |local| local.wrote = wrote);
        Ok(())
    }

    /// An event when Ready goes over to another status or reason.
    async fn tell(&self, status: &VpcPostureStatus) {
        let ready = |s: &VpcPostureStatus| {
            s.conditions
                .iter()
                .find(|c| c.type_ == condition::READY)
                .map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
        };
        let (Some((now, reason, message)), before) = (ready(status), ready(&self.before)) else { return };
        let changed = before.is_none_or(|(s, r, _)| (s, r) != (now.clone(), reason.clone()));
        if let (true, Some(reason)) = (changed, Reason::parse(&reason)) {
            event(self.ctx, &self.object, VPC_POSTURE, now == "False", reason, &message).await;
        }
    }

    /// Account, access, rivals, spec: what has to hold before anything is read.
    fn grounds(&self) -> Result<Grounds, Refusal> {
        let spec = &self.object.spec;
        let stores = &self.ctx.stores;
        let name = &spec.target.account_ref.name;
        let account = stores.account(name);
        if account.is_none() && stores.has_unreadable_account(name) {
            return Err(unreadable_account(name));
        }
        let namespace = self.object.namespace().unwrap_or_default();
        admit(&self.object, account.as_ref(), &stores.labels(&namespace))?;
        let account = account.ok_or_else(|| Refusal::new(Reason::DependencyNotReady, "no AwsAccount"))?;
        let twins = stores.accounts_where(|a| a.spec.account_id == account.spec.account_id);
        if let Some(older) = older_rival(&account, &twins) {
            return Err(Refusal::new(
                Reason::DuplicateTarget,
                format!(
                    "AwsAccount {} declares {} too, and is older: name it instead",
                    older.name_any(),
                    account.spec.account_id
                ),
            ));
        }
        if account.spec.suspend {
            return Err(Refusal::new(
                Reason::AccountSuspended,
                format!("AwsAccount {} is suspended", account.name_any()),
            ));
        }
        self.rivals(&account)?;
        let posture = spec::vpc_posture(&self.object, &account, &self.ctx.settings.cluster, self.ctx.settings.mode)?;
        let roles = spec::roles(&account.spec, self.ctx.settings.mode == Mode::Observe)?;
        Ok(Grounds {
            read: spec::scope(roles.read, posture.region.clone(), &account),
            write: spec::scope(roles.write, posture.region.clone(), &account),
            posture,
            account,
        })
    }

    /// Of all that are admitted to one target, by account id, the oldest works.
    fn rivals(&self, account: &crds::AwsAccount) -> Result<(), Refusal> {
        let stores = &self.ctx.stores;
        let target = &self.object.spec.target;
        let rivals = stores.vpcs_where(|other| {
            let theirs = &other.spec.target;
            theirs.vpc_id == target.vpc_id
                && theirs.region == target.region
                && other.metadata.uid != self.object.metadata.uid
                && {
                    let their_account = stores.account(&theirs.account_ref.name);
                    let namespace = other.namespace().unwrap_or_default();
                    their_account.as_ref().is_some_and(|a| a.spec.account_id == account.spec.account_id)
                        && admit(other, their_account.as_ref(), &stores.labels(&namespace)).is_ok()
                }
        });
        match older_rival(&self.object, &rivals) {
            None => Ok(()),
            Some(older) => Err(Refusal::new(
                Reason::DuplicateTarget,
                format!(
                    "VpcPosture {}/{} declares {} too, and is older: delete one of the two",
                    older.namespace().unwrap_or_default(),
                    older.name_any(),
                    target.vpc_id
                ),
            )),
        }
    }

    async fn run(&self) -> kube::Result<Next> {
        if self.object.spec.suspend {
            return self.suspended().await;
        }
        let grounds = match self.grounds() {
            Ok(grounds) => grounds,
            Err(refusal) => return self.refuse(refusal.reason, &refusal.message).await,
        };
        let place = self.follow(&grounds, None);
        self.ask_for_fresh(&place);
        let Some(look) = place.look(self.key) else { return Ok(Next::Await) };
        if let Some((reason, message)) = broken_session(&look) {
            // Facts go on being looked at, so that its end is seen.
            return self.say_refused(reason, &message).await;
        }
        let memory = status::memory(&self.before);
        let posture = &grounds.posture;
        let view = View::of(&look.snapshot, &look.overlay, &posture.vpc, look.interval, self.ctx.outside.steady());
        let verdict = evaluate(posture, &view, &memory);
        let enforce = posture.mode == Mode::Enforce;
        // Enforce goes step by step, by what it reads back; Observe shows the whole way.
        let plan = if enforce {
            plan(verdict.actions.clone())
        } else {
            foresee(posture, &look.snapshot, &look.overlay, &memory, look.interval, self.ctx.outside.steady())
        };
        let applied = if enforce && !plan.actions.is_empty() && view.fit_to_write() {
            // Before the first write, so that nothing is made that nobody would clean up.
            if !self.object.finalizers().iter().any(|f| f == FINALIZER) {
                set_finalizer(self.ctx, &self.api, &self.object, VPC_POSTURE, FINALIZER, true).await?;
                self.ctx.queue.add(self.key.clone(), crate::queue::Priority::Edit);
                return Ok(Next::Await);
            }
            apply(self.ctx, self.key, &place, &grounds.write, posture, &plan).await
        } else {
            Vec::new()
        };
        self.conclude(&grounds, &place, &verdict, &plan, &applied, denied_read(&look, &posture.vpc)).await
    }

    /// Follows the place with what this object wants to know of it.
    fn follow(
        &self,
        grounds: &Grounds,
        interfaces: Option<ssm_ready_core::ids::SecurityGroupId>,
    ) -> std::sync::Arc<Place> {
        let posture = &grounds.posture;
        let interest = Interest { vpc: posture.vpc.clone(), interval: posture.interval, interfaces };
        let place_key = (grounds.account.name_any(), posture.region.to_string());
        let place = self.ctx.places.follow(self.key, &place_key, &grounds.read, interest);
        if !self.ctx.local(self.key, |local| std::mem::replace(&mut local.took_over, true)) {
            for recent in status::recent(&self.before, &posture.vpc, &posture.owner.tag(), self.ctx.outside.steady()) {
                place.remember(recent);
            }
        }
        place
    }

    /// An edit or a request looks at facts of its own time, once.
    fn ask_for_fresh(&self, place: &Place) {
        let asks = (self.generation, self.requested_at());
        let before = self.ctx.local(self.key, |local| local.asked_for.replace(asks.clone()));
        if before.as_ref() == Some(&asks) {
            return;
        }
        let requested = asks.1 != self.before.last_handled_requested_at;
        if requested || asks.0 != self.before.observed_generation {
            place.need_fresh(self.key, requested);
        }
    }

    async fn conclude(
        &self,
        grounds: &Grounds,
        place: &Place,
        verdict: &Verdict,
        plan: &Plan,
        applied: &[Applied],
        denied_read: bool,
    ) -> kube::Result<Next> {
        let posture = &grounds.posture;
        let denied =
            denied_read || applied.iter().any(|a| matches!(&a.tried, Tried::Failed(f) if f.kind == FaultKind::Denied));
        let principal = grounds.write.principal.roles.last().map(|r| r.arn.to_string());
        let report = report(
            verdict,
            applied,
            Circumstances {
                mode: posture.mode,
                was_ready: self.before.observed_generation == self.generation
                    && status::is_true(&self.before.conditions, condition::READY),
                denied_for: self.ctx.denied_for(self.key, denied),
                principal: principal.as_deref(),
            },
        );
        // What was made just before the object may be missing from facts that are some seconds old: before a person is
        // asked for, once for each generation, they are read again.
        if report.waits == Waits::Person
            && applied.is_empty()
            && self.ctx.local(self.key, |local| local.second_look.replace(self.generation)) != Some(self.generation)
        {
            place.need(self.key, [FactKey::Vpcs, FactKey::Subnets, FactKey::RouteTables, FactKey::SecurityGroups]);
            return Ok(Next::Await);
        }
        let mut status = self.status();
        status.account_id = Some(posture.account.to_string());
        status.deletion = None;
        let group_name = matches!(posture.group, GroupWish::Create { .. }).then(|| posture.owner.group_name());
        status::put_seen(&mut status, &verdict.seen, group_name.as_deref());
        note_applied(&mut status, applied);
        let pending: Vec<_> = plan
            .actions
            .iter()
            .filter(|a| !applied.iter().any(|done| done.action == **a && matches!(done.tried, Tried::Done(_))))
            .cloned()
            .collect();
        status.plan = status::plan(&Plan { actions: pending });
        let news =
            status::update_drift(&mut status, &self.before, &report.differences, self.generation, self.ctx.now());
        self.put_conditions(&mut status, &report);
        if report.settled {
            status.observed_spec_hash = Some(status::spec_hash(&self.object.spec));
        }
        status.last_handled_requested_at = self.requested_at();
        for (facet, difference) in &news.seen {
            self.ctx.metrics.drift(VPC_POSTURE, facet.condition());
            let note = format!("{}: wanted {}, seen {}", difference.field, difference.wanted, difference.seen);
            tracing::warn!(field = difference.field, wanted = difference.wanted, seen = difference.seen, "drift");
            event(self.ctx, &self.object, VPC_POSTURE, true, Reason::DriftDetected, &note).await;
        }
        for drift in &news.repaired {
            self.ctx.metrics.drift_repaired(VPC_POSTURE, status::facet_of(&drift.field).condition());
            event(self.ctx, &self.object, VPC_POSTURE, false, Reason::DriftRepaired, &drift.field).await;
        }
        self.write(status).await?;
        // What waits for AWS's rate limit goes on as soon as that allows, whatever is still to be read.
        let held_back = applied.iter().any(|a| matches!(&a.tried, Tried::Failed(f) if f.code == HELD_BACK));
        if !report.watch.is_empty() && report.waits == Waits::Progress && !held_back {
            place.need(self.key, report.watch.iter().cloned());
        }
        Ok(Next::of(report.waits, report.retry_after))
    }

    fn put_conditions(&self, status: &mut VpcPostureStatus, report: &Report) {
        status.conditions =
            status::merge_conditions(&self.before.conditions, &report.conditions, &[], self.generation, self.ctx.now());
        if report.settled {
            status.observed_generation = self.generation;
        }
    }

    async fn refuse(&self, reason: Reason, message: &str) -> kube::Result<Next> {
        self.ctx.places.unfollow(self.key);
        self.say_refused(reason, message).await
    }

    async fn say_refused(&self, reason: Reason, message: &str) -> kube::Result<Next> {
        let denied_for = self.ctx.denied_for(self.key, reason.waits() == Waits::Grace);
        let report = refused(reason, message, denied_for);
        let mut status = self.status();
        self.put_conditions(&mut status, &report);
        status.plan = None;
        if report.settled {
            status.observed_spec_hash = Some(status::spec_hash(&self.object.spec));
        }
        status.last_handled_requested_at = self.requested_at();
        self.write(status).await?;
        // What waits for another object comes back with it: it is watched, not polled.
        if report.waits == Waits::Progress { Ok(Next::Await) } else { Ok(Next::of(report.waits, report.retry_after)) }
    }

    async fn suspended(&self) -> kube::Result<Next> {
        self.ctx.places.unfollow(self.key);
        let mut status = self.status();
        let condition = Condition {
            kind: condition::SUSPENDED,
            status: Status::True,
            reason: Reason::Suspended,
            message: Reason::Suspended.meaning().to_owned(),
        };
        let keep: Vec<&str> =
            self.before.conditions.iter().map(|c| c.type_.as_str()).filter(|t| *t != condition::SUSPENDED).collect();
        status.conditions =
            status::merge_conditions(&self.before.conditions, &[condition], &keep, self.generation, self.ctx.now());
        // Only suspend changed: what was said of the spec still stands.
        if self.before.observed_spec_hash.as_deref() == Some(&status::spec_hash(&self.object.spec)) {
            status.observed_generation = self.generation;
            for condition in &mut status.conditions {
                condition.observed_generation = Some(self.generation);
            }
        }
        status.last_handled_requested_at = self.requested_at();
        self.write(status).await?;
        Ok(Next::Await)
    }

    async fn farewell(&self) -> kube::Result<Next> {
        if self.object.annotations().contains_key(ABANDON) {
            return self.let_go("abandoned on request").await;
        }
        let retain = self.object.spec.endpoints.deletion_policy == crds::DeletionPolicy::Retain;
        let stopped = if self.object.spec.suspend {
            Some("spec.suspend is true")
        } else if self.object.spec.mode == crds::Mode::Observe || self.ctx.settings.mode == Mode::Observe {
            Some("the mode is Observe")
        } else {
            None
        };
        match (stopped, retain) {
            (Some(_), true) => return self.let_go("kept by endpoints.deletionPolicy Retain").await,
            (Some(why), false) => {
                let message = format!(
                    "{why}, so what was made is not deleted: resume it, set endpoints.deletionPolicy: Retain, or annotate it with {ABANDON}=true"
                );
                return self.hold(&message).await;
            }
            (None, _) => {}
        }
        let grounds = match self.grounds() {
            Ok(grounds) => grounds,
            Err(refusal) => {
                let message =
                    format!("{}; to let go of what was made, annotate the object with {ABANDON}=true", refusal.message);
                return self.hold(&message).await;
            }
        };
        let posture = &grounds.posture;
        let memory = status::memory(&self.before);
        let place = self.follow(&grounds, memory.group.clone());
        self.ask_for_fresh(&place);
        let Some(look) = place.look(self.key) else { return Ok(Next::Await) };
        if let Some((_, message)) = broken_session(&look) {
            let message = format!("{message}; to let go of what was made, annotate the object with {ABANDON}=true");
            return self.hold(&message).await;
        }
        let steady = self.ctx.outside.steady();
        let view = View::of(&look.snapshot, &look.overlay, &posture.vpc, look.interval, steady);
        let interfaces = memory.group.as_ref().and_then(|g| look.snapshot.interfaces.get(g));
        let interfaces = interfaces.map_or(Reading::Unknown(None), |e| e.reading(std::time::Duration::ZERO, steady));
        // By the clock that the API server and status go by.
        let now = self.ctx.now();
        let began = self.object.metadata.deletion_timestamp.as_ref().map_or(now, |t| t.0);
        let settled = self.before.endpoints.iter().all(|e| e.state.as_deref() == Some("Available"))
            && self.before.deletion.is_none()
            && status::is_true(&self.before.conditions, condition::READY);
        let next = farewell(posture, &view, &memory, &interfaces, Departure { began, settled, now });
        let gone = next.stage == Stage::Gone;
        if gone && !self.ctx.local(self.key, |local| std::mem::replace(&mut local.nothing_left, true)) {
            // A list may be older than what it lacks: only lists that are read now can say that nothing is left.
            place.need(self.key, [FactKey::Endpoints, FactKey::SecurityGroups]);
            return Ok(Next::Await);
        }
        self.ctx.local(self.key, |local| local.nothing_left = gone);
        if gone {
            set_finalizer(self.ctx, &self.api, &self.object, VPC_POSTURE, FINALIZER, false).await?;
            tracing::info!("nothing is left in AWS; the object goes");
            self.ctx.forget(self.key);
            return Ok(Next::Await);
        }
        let applied = if view.fit_to_write() {
            apply(self.ctx, self.key, &place, &grounds.write, posture, &plan(next.actions.clone())).await
        } else {
            Vec::new()
        };
        let untagged =
            applied.iter().any(|a| matches!((&a.action.write, &a.tried), (Write::Untag { .. }, Tried::Done(_))));
        if untagged {
            let kept: Vec<&str> = next.kept.iter().map(String::as_str).collect();
            let note = format!("kept by endpoints.deletionPolicy, no longer managed: {}", kept.join(", "));
            event(self.ctx, &self.object, VPC_POSTURE, false, Reason::LeftBehind, &note).await;
        }
        self.say_deleting(&place, &next, &applied).await
    }

    async fn say_deleting(&self, place: &Place, next: &Farewell, applied: &[Applied]) -> kube::Result<Next> {
        let failed = applied.iter().find_map(|a| match &a.tried {
            Tried::Failed(fault) => Some(explain(fault, None)),
            Tried::Done(Written::NotDeleted(left)) => left.first().map(|(id, fault)| {
                let (reason, message) = explain(fault, None);
                (reason, format!("{id}: {message}"))
            }),
            Tried::Braked(_) => Some((Reason::WriteBrake, Reason::WriteBrake.meaning().to_owned())),
            Tried::Done(_) | Tried::NotTried => None,
        });
        let denied = failed.as_ref().is_some_and(|(reason, _)| reason.waits() == Waits::Grace);
        let denied_for = self.ctx.denied_for(self.key, denied);
        let (reason, message) = failed.unwrap_or_else(|| (next.reason, next.message.clone()));
        // A group that still has interfaces refuses to go: that is waiting, not failing.
        let (reason, message) = if message.contains("DependencyViolation") {
            (Reason::Deleting, next.message.clone())
        } else {
            (reason, message)
        };
        let report = leaving(reason, &message, denied_for);
        let mut status = self.status();
        self.put_conditions(&mut status, &report);
        status.plan = None;
        status.deletion = Some(crds::DeletionStatus {
            unused_since: next.unused_since.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time),
            waiting_for: Some(ssm_ready_core::fault::truncate(&message, 1024)),
        });
        status.last_handled_requested_at = self.requested_at();
        self.write(status).await?;
        if report.waits == Waits::Progress && !next.watch.is_empty() {
            place.need(self.key, next.watch.iter().cloned());
        }
        Ok(Next::of(report.waits, next.retry_after.filter(|_| report.waits == Waits::Progress)))
    }

    async fn hold(&self, message: &str) -> kube::Result<Next> {
        let report = leaving(Reason::DeletionHeld, message, std::time::Duration::ZERO);
        let mut status = self.status();
        self.put_conditions(&mut status, &report);
        status.deletion = Some(crds::DeletionStatus {
            unused_since: None,
            waiting_for: Some(ssm_ready_core::fault::truncate(message, 1024)),
        });
        self.write(status).await?;
        Ok(Next::of(report.waits, None))
    }

    /// Lets the object go and says what it leaves behind, as far as its status knows.
    async fn let_go(&self, why: &str) -> kube::Result<Next> {
        let left: BTreeSet<String> = self
            .before
            .endpoints
            .iter()
            .filter(|e| e.ownership != crds::Ownership::Existing)
            .filter_map(|e| e.endpoint_id.clone())
            .chain(self.before.security_group.iter().filter_map(|g| g.id.clone()))
            .collect();
        let left: Vec<String> = left.into_iter().collect();
        event(self.ctx, &self.object, VPC_POSTURE, true, Reason::LeftBehind, &format!("{why}: {}", left.join(", ")))
            .await;
        tracing::warn!(left = left.join(", "), why, "left behind in AWS");
        set_finalizer(self.ctx, &self.api, &self.object, VPC_POSTURE, FINALIZER, false).await?;
        self.ctx.forget(self.key);
        Ok(Next::Await)
    }
}

/// The conditions of an object that is being deleted: nothing is said of its account.
fn leaving(reason: Reason, message: &str, denied_for: std::time::Duration) -> Report {
    let mut report = refused(reason, message, denied_for);
    report.conditions.retain(|c| c.kind != condition::ACCOUNT_READY);
    report
}

/// Whether AWS denies the role something that the posture is judged by.
fn denied_read(look: &Look, vpc: &ssm_ready_core::ids::VpcId) -> bool {
    let attributes = VpcAttribute::BOTH.map(|a| FactKey::Attribute(vpc.clone(), a));
    let mut facts = FactKey::LISTS.iter().chain(&attributes);
    facts.any(|key| look.snapshot.fault(key).is_some_and(|fault| fault.kind == FaultKind::Denied))
}

/// No session in the account, or no such region for it: then nothing that was read before counts.
fn broken_session(look: &Look) -> Option<(Reason, String)> {
    let fault = look.snapshot.fault(&FactKey::Vpcs)?;
    (fault.of_identity() || fault.kind == FaultKind::RegionDisabled).then(|| explain(fault, None))
}

/// Ids of what was just made, and new client tokens that are needed, for the next pass and for a process after this one.
fn note_applied(status: &mut VpcPostureStatus, applied: &[Applied]) {
    for done in applied {
        let service = done.action.service.map(posture::ServiceName::as_str);
        let endpoint = status.endpoints.iter_mut().find(|e| Some(e.service.as_str()) == service);
        match (&done.tried, endpoint) {
            (Tried::Done(Written::Endpoint(id)), Some(endpoint)) => {
                endpoint.endpoint_id = status::id(id);
                endpoint.state = Some(CREATING.to_owned());
                // Also where the one before it was somebody else's.
                endpoint.ownership = crds::Ownership::Managed;
            }
            (Tried::Failed(fault), Some(endpoint)) if fault.code == MISMATCH => {
                endpoint.attempts = endpoint.attempts.saturating_add(1);
            }
            (Tried::Done(Written::Group(id)), _) => {
                let group = status.security_group.get_or_insert_with(Default::default);
                group.id = status::id(id);
                group.ownership = Some(crds::Ownership::Managed);
            }
            (Tried::Done(Written::Done), _) => {
                if let Write::EnableVpcAttribute { attribute, .. } = &done.action.write
                    && let Some(vpc) = &mut status.vpc
                    && !vpc.enabled_by_us.iter().any(|a| a == attribute.name())
                {
                    vpc.enabled_by_us.push(attribute.name().to_owned());
                }
            }
            _ => {}
        }
    }
}
