//! What a pass over a posture of any kind has in common.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use kube::{Api, ResourceExt};
use ssm_ready_core::{
    evaluate::Verdict,
    facts::Scope,
    fault::{Fault, FaultKind, truncate},
    ids::Region,
    parting::Parting,
    plan::Plan,
    posture::{Mode, Owner},
    reason::{Reason, Waits},
    report::{
        Applied, Circumstances, Condition, Report, Status, Tried, explain, is_held_back, is_refused, refused, report,
    },
    snapshot::FactKey,
    write::Written,
};
use ssm_ready_crds::{self as crds, ABANDON, FINALIZER, REQUESTED_AT, condition};

use super::{AGAIN, Next, unreadable};
use crate::{
    admit::{Refusal, admit, older_rival, unreadable_account},
    apply::apply,
    context::{Context, Key},
    kube_io::{event, set_finalizer, write_status},
    place::{Interest, Look, Place, PlaceKey},
    posture::{Posture, PostureStatus},
    queue::Priority,
    spec, status,
};

/// How long AWS may take to show what was made.
const SHOWN_WITHIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(90);

/// An object as it is found for a pass.
pub(super) enum Found<'a, P: Posture> {
    /// To be worked on.
    Here(Pass<'a, P>),
    /// To be deleted, once what it made is gone.
    Leaving(Pass<'a, P>),
    /// Nothing to work on.
    Done(Next),
}

/// Looks an object up.
pub(super) async fn find<'a, P: Posture>(
    ctx: &'a Context,
    key: &'a Key,
    namespace: &str,
    name: &str,
) -> kube::Result<Found<'a, P>> {
    let Some(found) = ctx.stores.found::<P>(namespace, name) else {
        ctx.forget(key);
        return Ok(Found::Done(Next::Await));
    };
    let object = match &found.0 {
        Ok(object) => object.clone(),
        Err(_) => return Ok(Found::Done(unreadable::posture(ctx, key, &found).await?)),
    };
    let pass = Pass {
        ctx,
        key,
        api: Api::namespaced(ctx.client.clone(), namespace),
        before: before(ctx, key, &object),
        generation: object.meta().generation.unwrap_or_default(),
        object,
    };
    if pass.object.meta().deletion_timestamp.is_none() {
        return Ok(Found::Here(pass));
    }
    if pass.has_finalizer() {
        return Ok(Found::Leaving(pass));
    }
    ctx.forget(key);
    Ok(Found::Done(Next::Await))
}

/// The status as it was last written: by the API server's word, or by ours where its word has not come yet.
fn before<P: Posture>(ctx: &Context, key: &Key, object: &P) -> P::Status {
    ctx.local(key, |local| {
        // Kept no longer than it is needed: a status may be large.
        local.wrote.take_if(|(version, _)| *version != object.resource_version());
        local.wrote.as_ref().and_then(|(_, status)| status.downcast_ref::<P::Status>().cloned())
    })
    .unwrap_or_else(|| object.status().cloned().unwrap_or_default())
}

/// One pass over one posture.
pub(super) struct Pass<'a, P: Posture> {
    pub(super) ctx: &'a Context,
    pub(super) key: &'a Key,
    pub(super) api: Api<P>,
    pub(super) object: P,
    pub(super) before: P::Status,
    pub(super) generation: i64,
}

/// The account of a posture, and as whom to read and write there.
pub(super) struct Account {
    pub(super) account: crds::AwsAccount,
    pub(super) roles: spec::Roles,
}

impl Account {
    /// Where reads are made.
    pub(super) fn read(&self, region: Region) -> Scope {
        spec::scope(self.roles.read.clone(), region, &self.account)
    }

    /// Where writes are made.
    pub(super) fn write(&self, region: Region) -> Scope {
        spec::scope(self.roles.write.clone(), region, &self.account)
    }

    /// A place of it, and what is wanted of that.
    pub(super) fn place(&self, region: &str, scope: Scope, interest: Interest) -> (PlaceKey, Scope, Interest) {
        ((self.account.name_any(), region.to_owned()), scope, interest)
    }

    /// The role that writes, for messages.
    pub(super) fn principal(&self) -> Option<String> {
        self.roles.write.roles.last().map(|role| role.arn.to_string())
    }
}

/// What stands in the way of a deletion, or lets it go at once.
pub(super) enum Leave {
    /// What was made is to be looked after first.
    Tidy,
    /// Said and done.
    Done(Next),
}

/// How a deletion stands.
pub(super) struct Standing<'a> {
    /// Where what is watched is read again.
    pub(super) places: &'a [Arc<Place>],
    pub(super) reason: Reason,
    pub(super) message: &'a str,
    /// Since when nothing has used what was made.
    pub(super) unused_since: Option<jiff::Timestamp>,
    /// When to look again, unless something else is known sooner.
    pub(super) retry_after: Option<std::time::Duration>,
    /// What has to be read again before the next look.
    pub(super) watch: &'a BTreeSet<FactKey>,
    /// What was tried.
    pub(super) applied: &'a [Applied],
}

/// What a pass found, for everything that is said of it.
pub(super) struct Outcome<'a, S> {
    pub(super) account: &'a Account,
    pub(super) account_id: String,
    pub(super) mode: Mode,
    pub(super) verdict: &'a Verdict<S>,
    pub(super) plan: &'a Plan,
    pub(super) applied: &'a [Applied],
    /// Whether AWS denies something that the posture is judged by.
    pub(super) denied_read: bool,
    /// Where facts are read again that something is expected to change in.
    pub(super) places: &'a [Arc<Place>],
    /// Facts that are read a second time before a person is asked for.
    pub(super) second_look: &'a [FactKey],
}

/// Why what another object declares cannot be used yet.
pub(super) fn settled(found: &crds::AccountPosture, kind: &str, what: &str) -> Result<(), String> {
    let status = found.status.clone().unwrap_or_default();
    let settled = status.observed_generation == found.metadata.generation.unwrap_or_default();
    if settled && status::is_true(&status.conditions, kind) {
        return Ok(());
    }
    let why = status.conditions.iter().find(|c| c.type_ == kind && c.status != "True");
    let why = why.map(|c| format!(": {}", c.message)).unwrap_or_default();
    Err(format!("the {what} of AccountPosture {} are not ready{why}", found.name_any()))
}

impl<P: Posture> Pass<'_, P> {
    /// The AccountPosture of the same namespace and account that `field` names; why there is none.
    pub(super) fn account_posture(
        &self,
        account: &crds::AwsAccount,
        name: &str,
        field: &str,
    ) -> Result<crds::AccountPosture, String> {
        let stores = &self.ctx.stores;
        let namespace = self.object.namespace().unwrap_or_default();
        let Some(found) = stores.posture::<crds::AccountPosture>(&namespace, name) else {
            return Err(format!(
                "there is no AccountPosture {name} in namespace {namespace}, or it cannot be read: create it, or correct {field}"
            ));
        };
        let theirs = stores.account(&found.spec.target.account_ref.name);
        if theirs.is_none_or(|theirs| theirs.spec.account_id != account.spec.account_id) {
            return Err(format!("AccountPosture {name} is about another account than {}", account.spec.account_id));
        }
        Ok(found)
    }

    pub(super) fn owner(&self) -> Owner {
        Owner {
            cluster: self.ctx.settings.cluster.clone(),
            kind: P::KIND,
            namespace: self.object.namespace().unwrap_or_default(),
            name: self.object.name_any(),
            uid: self.object.uid().unwrap_or_default(),
        }
    }

    pub(super) fn requested_at(&self) -> Option<String> {
        self.object.annotations().get(REQUESTED_AT).map(|v| v.chars().take(256).collect())
    }

    fn has_finalizer(&self) -> bool {
        self.object.finalizers().iter().any(|f| f == FINALIZER)
    }

    /// Writes a status unless it is the stored one, and tells of it.
    pub(super) async fn write(&self, status: P::Status) -> kube::Result<()> {
        if self.note(&status).await? {
            self.tell(&status).await;
        }
        Ok(())
    }

    /// Writes a status unless it is the stored one; whether it did.
    pub(super) async fn note(&self, status: &P::Status) -> kube::Result<bool> {
        let known = self.ctx.local(self.key, |local| {
            let wrote = local.wrote.as_ref().filter(|(version, _)| *version == self.object.resource_version());
            wrote.and_then(|(_, wrote)| wrote.downcast_ref::<P::Status>().map(|wrote| wrote == status))
        });
        if known.unwrap_or(*status == self.before) {
            return Ok(false);
        }
        write_status(self.ctx, &self.api, &self.object, P::KIND, status).await?;
        let wrote: (_, Box<dyn std::any::Any + Send>) = (self.object.resource_version(), Box::new(status.clone()));
        self.ctx.local(self.key, |local| local.wrote = Some(wrote));
        Ok(true)
    }

    /// An event when Ready goes over to another status or reason.
    async fn tell(&self, status: &P::Status) {
        let ready = |s: &P::Status| {
            let found = s.conditions().iter().find(|c| c.type_ == condition::READY);
            found.map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
        };
        let (Some((now, reason, message)), before) = (ready(status), ready(&self.before)) else { return };
        let changed = before.is_none_or(|(s, r, _)| (s, r) != (now.clone(), reason.clone()));
        if let (true, Some(reason)) = (changed, Reason::parse(&reason)) {
            event(self.ctx, &self.object, P::KIND, now == "False", reason, &message).await;
        }
    }

    /// Account, access and rivals: what has to hold before anything is read.
    pub(super) fn account(&self) -> Result<Account, Refusal> {
        let stores = &self.ctx.stores;
        let name = self.object.account();
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
        let roles = spec::roles(&account.spec, self.ctx.settings.mode == Mode::Observe)?;
        Ok(Account { account, roles })
    }

    /// Of all that are admitted to one target, by account id, the oldest works.
    fn rivals(&self, account: &crds::AwsAccount) -> Result<(), Refusal> {
        let stores = &self.ctx.stores;
        let rivals = stores.postures_where(|other: &P| {
            other.meta().uid != self.object.meta().uid && self.object.shared_target(other).is_some() && {
                let their_account = stores.account(other.account());
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
                    "{} {}/{} declares {} too, and is older: delete one of the two",
                    P::KIND,
                    older.namespace().unwrap_or_default(),
                    older.name_any(),
                    self.object.shared_target(older).unwrap_or_default()
                ),
            )),
        }
    }

    /// An edit or a request looks at facts of its own time, once.
    pub(super) fn ask_for_fresh(&self, places: &[Arc<Place>]) {
        let asks = (self.generation, self.requested_at());
        let before = self.ctx.local(self.key, |local| local.asked_for.replace(asks.clone()));
        if before.as_ref() == Some(&asks) {
            return;
        }
        let requested = asks.1.as_deref() != self.before.last_handled_requested_at();
        if requested || asks.0 != self.before.observed_generation() {
            for place in places {
                place.need_fresh(self.key, requested);
            }
        }
    }

    /// Before the first write, so that nothing is made that nobody would clean up. Whether it was there.
    pub(super) async fn guard(&self) -> kube::Result<bool> {
        if self.has_finalizer() {
            return Ok(true);
        }
        set_finalizer(self.ctx, &self.api, &self.object, P::KIND, FINALIZER, true).await?;
        self.ctx.queue.add(self.key.clone(), Priority::Edit);
        Ok(false)
    }

    /// Until when AWS may not show yet what status notes and what was never seen: this process may have made it, or the
    /// one before it.
    pub(super) fn doubt_until(&self) -> Timestamp {
        let now = self.ctx.outside.steady();
        let since = self.ctx.local(self.key, |local| *local.in_doubt_since.get_or_insert(now));
        since + SHOWN_WITHIN
    }

    /// AWS may not show yet what was made, or may have been.
    pub(super) fn makes(&self, applied: &[Applied]) {
        let may_have = |tried: &Tried| match tried {
            Tried::Done(_) => true,
            Tried::Failed(fault) => fault.kind == FaultKind::Transient,
            Tried::Braked(_) | Tried::NotTried => false,
        };
        if applied.iter().any(|done| !done.action.write.takes_away() && may_have(&done.tried)) {
            let now = self.ctx.outside.steady();
            self.ctx.local(self.key, |local| local.in_doubt_since = Some(now));
        }
    }

    /// Carries out a plan.
    pub(super) async fn apply(&self, place: &Place, scope: &Scope, plan: &Plan) -> Vec<Applied> {
        apply(self.ctx, self.key, place, scope, &self.owner(), plan).await
    }

    /// Says what a pass found and did. `put` adds what the kind's own status has.
    pub(super) async fn conclude<S>(
        &self,
        outcome: Outcome<'_, S>,
        put: impl FnOnce(&mut P::Status),
    ) -> kube::Result<Next> {
        let Outcome { account, account_id, mode, verdict, plan, applied, denied_read, places, second_look } = outcome;
        let denied =
            denied_read || applied.iter().any(|a| matches!(&a.tried, Tried::Failed(f) if f.kind == FaultKind::Denied));
        let principal = account.principal();
        let report = report(
            verdict,
            applied,
            Circumstances {
                mode,
                was_ready: self.before.observed_generation() == self.generation
                    && status::is_true(self.before.conditions(), condition::READY),
                denied_for: self.ctx.denied_for(self.key, denied),
                principal: principal.as_deref(),
            },
        );
        // What was made just before the object may be missing from facts that are some seconds old: before a person is
        // asked for, once for each generation, they are read again.
        if report.waits == Waits::Person
            && applied.is_empty()
            && !second_look.is_empty()
            && self.ctx.local(self.key, |local| local.second_look.replace(self.generation)) != Some(self.generation)
        {
            for place in places {
                place.need(self.key, second_look.iter().cloned());
            }
            return Ok(Next::Await);
        }
        // What only waits for its turn says nothing new of what was refused before.
        let known = self.before.observed_generation() == self.generation
            && !status::is_true(self.before.conditions(), condition::READY);
        if known && !applied.is_empty() && applied.iter().all(|a| is_held_back(&a.tried)) {
            return Ok(Next::of(report.waits, report.retry_after));
        }
        let mut status = self.before.clone();
        put(&mut status);
        let pending: Vec<_> = plan
            .actions
            .iter()
            .filter(|a| !applied.iter().any(|done| done.action == **a && matches!(done.tried, Tried::Done(_))))
            .cloned()
            .collect();
        let parts = status.parts();
        *parts.account_id = Some(account_id);
        *parts.deletion = None;
        *parts.plan = status::plan(&Plan { actions: pending });
        let news =
            status::update_drift(parts.drift, &self.before, &report.differences, self.generation, self.ctx.now());
        self.put_conditions(&mut status, &report);
        self.settle(&mut status, report.settled);
        for (facet, difference) in &news.seen {
            self.ctx.metrics.drift(P::KIND, facet.condition());
            let note = format!("{}: wanted {}, seen {}", difference.field, difference.wanted, difference.seen);
            tracing::warn!(field = difference.field, wanted = difference.wanted, seen = difference.seen, "drift");
            event(self.ctx, &self.object, P::KIND, true, Reason::DriftDetected, &note).await;
        }
        for drift in &news.repaired {
            self.ctx.metrics.drift_repaired(P::KIND, P::facet_of(&drift.field).condition());
            event(self.ctx, &self.object, P::KIND, false, Reason::DriftRepaired, &drift.field).await;
        }
        self.write(status).await?;
        // What waits for AWS's rate limit goes on as soon as that allows, whatever is still to be read.
        let held_back = applied.iter().any(|a| is_held_back(&a.tried));
        if !report.watch.is_empty() && report.waits == Waits::Progress && !held_back {
            for place in places {
                place.need(self.key, report.watch.iter().cloned());
            }
        }
        // What holds nothing up is tried again all the same, on facts that are read again before that.
        if report.waits == Waits::Nobody && (report.again || !report.watch.is_empty()) {
            for place in places {
                place.expect(self.key, report.watch.iter().cloned());
            }
            return Ok(Next::After(AGAIN));
        }
        // What is refused is not tried at the pace of what goes on beside it, which may be for as long as somebody else
        // takes.
        if report.waits == Waits::Progress && applied.iter().any(|a| is_refused(&a.tried)) {
            return Ok(Next::Backoff);
        }
        Ok(Next::of(report.waits, report.retry_after))
    }

    fn put_conditions(&self, status: &mut P::Status, report: &Report) {
        let parts = status.parts();
        *parts.conditions = status::merge_conditions(
            self.before.conditions(),
            &report.conditions,
            &[],
            self.generation,
            self.ctx.now(),
        );
        if report.settled {
            *parts.observed_generation = self.generation;
        }
    }

    fn settle(&self, status: &mut P::Status, settled: bool) {
        let parts = status.parts();
        if settled {
            *parts.observed_spec_hash = Some(self.object.spec_hash());
        }
        *parts.last_handled_requested_at = self.requested_at();
    }

    /// Says that nothing can be done for the object, and stops looking.
    pub(super) async fn refuse(&self, refusal: &Refusal) -> kube::Result<Next> {
        self.ctx.places.unfollow(self.key);
        self.say_refused(refusal.reason, &refusal.message).await
    }

    /// Says that nothing can be done for the object.
    pub(super) async fn say_refused(&self, reason: Reason, message: &str) -> kube::Result<Next> {
        let denied_for = self.ctx.denied_for(self.key, reason.waits() == Waits::Grace);
        let report = refused(reason, message, denied_for);
        let mut status = self.before.clone();
        self.put_conditions(&mut status, &report);
        *status.parts().plan = None;
        self.settle(&mut status, report.settled);
        self.write(status).await?;
        // What waits for another object comes back with it: it is watched, not polled.
        if report.waits == Waits::Progress { Ok(Next::Await) } else { Ok(Next::of(report.waits, report.retry_after)) }
    }

    /// Says that the object is suspended.
    pub(super) async fn suspended(&self) -> kube::Result<Next> {
        self.ctx.places.unfollow(self.key);
        let mut status = self.before.clone();
        let condition = Condition {
            kind: condition::SUSPENDED,
            status: Status::True,
            reason: Reason::Suspended,
            message: Reason::Suspended.meaning().to_owned(),
        };
        let old = self.before.conditions();
        let keep: Vec<&str> = old.iter().map(|c| c.type_.as_str()).filter(|t| *t != condition::SUSPENDED).collect();
        let parts = status.parts();
        *parts.conditions = status::merge_conditions(old, &[condition], &keep, self.generation, self.ctx.now());
        // Only suspend changed: what was said of the spec still stands.
        if self.before.observed_spec_hash() == Some(&self.object.spec_hash()) {
            *parts.observed_generation = self.generation;
            for condition in parts.conditions.iter_mut() {
                condition.observed_generation = Some(self.generation);
            }
        }
        *parts.last_handled_requested_at = self.requested_at();
        self.write(status).await?;
        Ok(Next::Await)
    }

    /// What a deletion meets first: a request to abandon, and what keeps us from writing.
    pub(super) async fn leave(&self) -> kube::Result<Leave> {
        if self.object.annotations().contains_key(ABANDON) {
            return Ok(Leave::Done(self.let_go("abandoned on request").await?));
        }
        let stopped = if self.object.suspend() {
            Some("spec.suspend is true")
        } else if self.object.mode() == crds::Mode::Observe || self.ctx.settings.mode == Mode::Observe {
            Some("the mode is Observe")
        } else {
            None
        };
        Ok(match (stopped, self.object.retains()) {
            (Some(_), true) => Leave::Done(self.let_go(&format!("kept by {} Retain", P::POLICY_FIELD)).await?),
            (Some(why), false) => {
                let message = format!(
                    "{why}, so what was made is not deleted: resume it, set {}: Retain, or annotate it with {ABANDON}=true",
                    P::POLICY_FIELD
                );
                Leave::Done(self.hold(&message).await?)
            }
            (None, _) => Leave::Tidy,
        })
    }

    /// Says what has to be put right, or given up, before the object can go.
    pub(super) async fn hold_for(&self, why: &str) -> kube::Result<Next> {
        self.hold(&format!("{why}; to let go of what was made, annotate the object with {ABANDON}=true")).await
    }

    /// Says that the deletion waits for a person.
    pub(super) async fn hold(&self, message: &str) -> kube::Result<Next> {
        let report = leaving(Reason::DeletionHeld, message, std::time::Duration::ZERO);
        let mut status = self.before.clone();
        self.put_conditions(&mut status, &report);
        *status.parts().deletion =
            Some(crds::DeletionStatus { unused_since: None, waiting_for: Some(truncate(message, 1024)) });
        self.write(status).await?;
        Ok(Next::of(report.waits, None))
    }

    /// Says how a deletion stands, after what was tried.
    pub(super) async fn say_deleting(&self, standing: Standing<'_>) -> kube::Result<Next> {
        let Standing { places, reason, message, unused_since, retry_after, watch, applied } = standing;
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
        let own = || (reason, message.to_owned());
        let (reason, message) = failed.unwrap_or_else(own);
        // A group that still has interfaces refuses to go: that is waiting, not failing.
        let (reason, message) =
            if message.contains("DependencyViolation") { (Reason::Deleting, own().1) } else { (reason, message) };
        let report = leaving(reason, &message, denied_for);
        let mut status = self.before.clone();
        self.put_conditions(&mut status, &report);
        let parts = status.parts();
        *parts.plan = None;
        *parts.deletion = Some(crds::DeletionStatus {
            unused_since: unused_since.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time),
            waiting_for: Some(truncate(&message, 1024)),
        });
        *parts.last_handled_requested_at = self.requested_at();
        self.write(status).await?;
        if report.waits == Waits::Progress && !watch.is_empty() {
            for place in places {
                place.need(self.key, watch.iter().cloned());
            }
        }
        Ok(Next::of(report.waits, retry_after.filter(|_| report.waits == Waits::Progress)))
    }

    /// Says how letting go stands, after what was tried.
    pub(super) async fn say_parting(
        &self,
        places: &[Arc<Place>],
        parting: &Parting,
        applied: &[Applied],
    ) -> kube::Result<Next> {
        let (reason, message) = parting.standing();
        let (message, watch) = (message.as_str(), &parting.watch);
        self.say_deleting(Standing { places, reason, message, unused_since: None, retry_after: None, watch, applied })
            .await
    }

    /// Lets the object go once nothing is left of what it made, and says what stays; none while something is left.
    ///
    /// A list may be older than what it lacks: only `facts` that are read after it seemed so can say it.
    pub(super) async fn go(
        &self,
        nothing_left: bool,
        place: &Place,
        facts: impl IntoIterator<Item = FactKey>,
        kept: &[String],
    ) -> kube::Result<Option<Next>> {
        let seemed = self.ctx.local(self.key, |local| std::mem::replace(&mut local.nothing_left, nothing_left));
        if !nothing_left {
            return Ok(None);
        }
        let mut facts = facts.into_iter().peekable();
        if !seemed && facts.peek().is_some() {
            place.need(self.key, facts);
            return Ok(Some(Next::Await));
        }
        self.say_kept(kept).await;
        set_finalizer(self.ctx, &self.api, &self.object, P::KIND, FINALIZER, false).await?;
        tracing::info!("nothing is left in AWS; the object goes");
        self.ctx.forget(self.key);
        Ok(Some(Next::Await))
    }

    /// Says what stays, if anything does, because the deletion policy keeps it.
    pub(super) async fn say_kept(&self, kept: &[String]) {
        if !kept.is_empty() {
            let note = format!("kept by {}, no longer managed: {}", P::POLICY_FIELD, kept.join(", "));
            event(self.ctx, &self.object, P::KIND, false, Reason::LeftBehind, &note).await;
        }
    }

    /// Lets the object go and says what it leaves behind, as far as its status knows.
    pub(super) async fn let_go(&self, why: &str) -> kube::Result<Next> {
        let left = P::left_behind(&serde_json::to_value(&self.before).unwrap_or_default()).join(", ");
        event(self.ctx, &self.object, P::KIND, true, Reason::LeftBehind, &format!("{why}: {left}")).await;
        tracing::warn!(left, why, "left behind in AWS");
        set_finalizer(self.ctx, &self.api, &self.object, P::KIND, FINALIZER, false).await?;
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

fn faults<'a>(look: &'a Look, facts: &'a BTreeSet<FactKey>) -> impl Iterator<Item = &'a Fault> {
    facts.iter().filter_map(|key| look.snapshot.fault(key))
}

/// Whether AWS denies the role something that the posture is judged by.
pub(super) fn denied_read(look: &Look, facts: &BTreeSet<FactKey>) -> bool {
    faults(look, facts).any(|fault| fault.kind == FaultKind::Denied)
}

/// No session in the account, or no such region for it: then nothing that was read before counts.
pub(super) fn broken_session(look: &Look, facts: &BTreeSet<FactKey>) -> Option<(Reason, String)> {
    let fault = faults(look, facts).find(|fault| fault.of_identity() || fault.kind == FaultKind::RegionDisabled)?;
    Some(explain(fault, None))
}
