//! Instance profiles of a VPC's instances, by the whole controller in virtual time: who gets one, who does not, and that
//! nothing else waits for it.
#![allow(missing_docs, clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use ssm_ready_cloud::sim::{Actor, NewInstance, NewSimRole, NewSubnet, NewVpc, Offer, Outcome, Span};
use ssm_ready_core::{
    calls::Operation,
    facts::Tags,
    ids::{AccountId, InstanceId, Region, SubnetId, VpcId},
    write::{ProfileChange, Write},
};
use ssm_ready_tests::simulation::{
    fate::Fate,
    kubernetes::{Id, Kind},
    stage::Stage,
};

const ROLE: &str = "arn:aws:iam::111122223333:role/ssm-ready";
const MINUTE: Duration = Duration::from_secs(60);
const PROFILE: &str = "arn:aws:iam::111122223333:instance-profile/ssm-ready/nodes";

fn account() -> AccountId {
    "111122223333".parse().unwrap()
}

fn region() -> Region {
    "eu-west-1".parse().unwrap()
}

fn of(kind: Kind, name: &str) -> Id {
    let namespace = if matches!(kind, Kind::Account | Kind::Namespace) { "" } else { "team" };
    (kind, namespace.to_owned(), name.to_owned())
}

/// A VPC of an account that everybody may use, and its subnet.
struct Place {
    stage: Stage,
    vpc: VpcId,
    subnet: SubnetId,
}

impl Place {
    fn new(seed: u64) -> Self {
        let stage = Stage::new(seed);
        let (vpc, subnet) = stage.aws.with(|world| {
            world.add_role(&account(), ROLE, None);
            world.add_region(&account(), &region(), Offer::default());
            let vpc = world.add_vpc(&account(), &region(), NewVpc::of("10.0.0.0/16".parse().unwrap()));
            let subnet = world.add_subnet(&account(), &region(), &vpc, NewSubnet::of("a"));
            world.weather.iam_propagation = Span::ZERO;
            (vpc, subnet)
        });
        let place = Self { stage, vpc, subnet };
        place.apply(&of(Kind::Namespace, "team"), Value::Null);
        place.apply(
            &of(Kind::Account, "prod"),
            json!({
                "accountId": account().as_str(),
                "assumeRole": { "roleArn": ROLE },
                "access": [{
                    "name": "all", "namespaces": { "from": "All" }, "maxMode": "Enforce",
                    "kinds": ["VpcPosture", "AccountPosture", "RegionPosture"],
                }],
            }),
        );
        place
    }

    fn apply(&self, id: &Id, spec: Value) {
        self.stage.kubernetes.apply(id, &BTreeMap::new(), spec);
    }

    fn roles(&self) {
        let role = json!({ "name": "web", "roleName": "nodes", "path": "/ssm-ready/" });
        let target = json!({ "accountRef": { "name": "prod" } });
        self.apply(&of(Kind::AccountPosture, "roles"), json!({ "target": target, "instanceRoles": [role] }));
    }

    fn posture(&self, mode: &str, instances: Value) {
        let target =
            json!({ "accountRef": { "name": "prod" }, "region": region().as_str(), "vpcId": self.vpc.as_str() });
        self.apply(&of(Kind::Vpc, "main"), json!({ "target": target, "mode": mode, "instances": instances }));
    }

    fn attaching(&self, mode: &str, most: i32) {
        let attachment = json!({
            "policy": "WhenMissing", "accountPostureRef": { "name": "roles" }, "profile": "web",
            "selector": [{ "key": "env", "values": ["prod"] }], "maxPerPass": most,
        });
        self.posture(mode, json!({ "profileAttachment": attachment }));
    }

    fn instance(&self, tags: &[(&str, &str)], profile: Option<&str>) -> InstanceId {
        let tags: Tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let new = NewInstance {
            agent: Some("3.3.131.0".to_owned()),
            internet: true,
            needs_credentials: true,
            tags,
            profile: profile.map(Into::into),
            ..NewInstance::default()
        };
        self.stage.aws.with(|world| world.add_instance(&account(), &region(), &self.subnet, new))
    }

    /// Somebody's profile `theirs`, whose role has these policies.
    fn theirs(&self, policies: &[&str]) {
        self.stage.aws.with(|world| {
            let new = NewSimRole {
                policies: policies.iter().map(|arn| (*arn).into()).collect(),
                ..NewSimRole::of_service("ec2.amazonaws.com")
            };
            world.add_iam_role(&Actor::Person, &account(), &region(), &"theirs".into(), new);
            for change in [
                ProfileChange::Create { path: "/".to_owned(), tags: Tags::new() },
                ProfileChange::AddRole("theirs".into()),
            ] {
                let write = Write::Profile { profile: "theirs".into(), change };
                world.act(&Actor::Person, &account(), &region(), &write).unwrap();
            }
        });
    }

    fn run(&mut self, script: impl AsyncFnOnce(&Stage) -> Result<()>) {
        self.stage.live(&Fate::default(), script).unwrap();
    }
}

fn object(stage: &Stage, id: &Id) -> Result<Value> {
    stage.kubernetes.get(id).with_context(|| format!("there is no {id:?}"))
}

/// Status and reason of a condition of the posture.
fn condition(stage: &Stage, kind: &str) -> Result<(String, String)> {
    let object = object(stage, &of(Kind::Vpc, "main"))?;
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|c| c["type"] == kind).with_context(|| format!("no {kind} among {all:?}"))?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Ok((text("status"), text("reason")))
}

fn profile(stage: &Stage, id: &InstanceId) -> Option<String> {
    stage.aws.with(|world| world.region(&account(), &region()).unwrap().instances[id].profile.clone())
}

fn online(stage: &Stage, id: &InstanceId) -> bool {
    stage.aws.with(|world| world.is_online(&account(), &region(), id))
}

/// When controllers gave instances a profile, in seconds, and whether it took effect.
fn given(stage: &Stage) -> Vec<(i64, bool)> {
    stage.aws.with(|world| {
        let calls = world.journal.iter().filter(|e| e.operation == Some(Operation::AssociateIamInstanceProfile));
        calls.map(|entry| (entry.at.as_second(), entry.outcome == Outcome::Done)).collect()
    })
}

#[test]
fn those_who_match_get_the_profile_and_come_online_and_nobody_else_does() {
    let mut place = Place::new(1);
    let chosen: Vec<InstanceId> = (0..7).map(|_| place.instance(&[("env", "prod")], None)).collect();
    let grouped = place.instance(&[("env", "prod"), ("aws:autoscaling:groupName", "g")], None);
    let other = place.instance(&[("env", "test")], None);
    place.theirs(&["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"]);
    let owned = place.instance(&[("env", "prod")], Some("theirs"));
    place.attaching("Enforce", 3);
    let ready = ("True".to_owned(), "Succeeded".to_owned());
    let said = |reason: &str| ("False".to_owned(), reason.to_owned());
    place.run(async |stage| {
        stage.pass(10 * MINUTE).await;
        assert_eq!(condition(stage, "Ready")?, ready, "nothing waits for it");
        let (status, _) = condition(stage, "InstanceProfilesReady")?;
        assert_eq!(status, "False");
        assert_eq!(given(stage), [], "there is no AccountPosture");
        Ok(())
    });
    place.roles();
    place.run(async |stage| {
        stage.pass(5 * MINUTE).await;
        for id in &chosen {
            assert_eq!(profile(stage, id).as_deref(), Some(PROFILE), "{id}");
        }
        let given = given(stage);
        assert!(given.len() == 7 && given.iter().all(|(_, done)| *done), "{given:?}");
        // What was changed is read again at once, and then at most once in 15 seconds: two passes, and no more.
        assert!(given[6].0 >= given[0].0 + 15, "{given:?}");
        assert_eq!((profile(stage, &grouped), profile(stage, &other)), (None, None));
        assert!(profile(stage, &owned).is_some_and(|arn| arn.ends_with("/theirs")), "never replaced");
        assert_eq!(condition(stage, "Ready")?, ready);
        assert_eq!(condition(stage, "InstanceProfilesReady")?, said("InstancesWithoutCredentials"));
        let status = object(stage, &of(Kind::Vpc, "main"))?["status"].clone();
        let seen: Vec<_> = status["profiles"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| (&p["profile"], &p["instances"], &p["verdict"]))
            .collect();
        let expected = json!([
            ["arn:aws:iam::111122223333:instance-profile/ssm-ready/nodes", 7, "Managed"],
            ["arn:aws:iam::111122223333:instance-profile/theirs", 1, "Managed"],
            ["none", 2, "NoCredentials"],
        ]);
        assert_eq!(json!(seen), expected);
        stage.pass(35 * MINUTE).await;
        assert!(chosen.iter().all(|id| online(stage, id)) && !online(stage, &other));
        let events =
            stage.kubernetes.take_told().into_iter().filter(|told| format!("{told:?}").contains("ProfileAttached"));
        assert!(events.count() >= 3);
        stage.kubernetes.delete(&of(Kind::Vpc, "main"));
        stage.pass(30 * MINUTE).await;
        assert!(chosen.iter().all(|id| profile(stage, id).is_some()), "deleting the object takes no profile off");
        Ok(())
    });
}

/// What profiles and Default Host Management make of instances, as status tells it; and nothing is read where nobody asks.
#[test]
fn what_keeps_instances_from_being_managed_is_told() {
    let mut place = Place::new(2);
    place.theirs(&[]);
    place.instance(&[], Some("theirs"));
    place.posture("Enforce", json!({}));
    let setting = ssm_ready_core::facts::settings::Setting::HostManagementRole;
    place.stage.aws.with(|world| {
        let new = NewSimRole {
            policies: ["arn:aws:iam::aws:policy/AmazonSSMManagedEC2InstanceDefaultPolicy".into()].into(),
            ..NewSimRole::of_service("ssm.amazonaws.com")
        };
        world.add_iam_role(&Actor::Person, &account(), &region(), &"hosts".into(), new);
    });
    let is = |stage: &Stage, status: &str, reason: &str| {
        let found = condition(stage, "InstanceProfilesReady").unwrap();
        assert_eq!((found.0.as_str(), found.1.as_str()), (status, reason));
        assert_eq!(condition(stage, "Ready").unwrap().0, "True");
    };
    place.run(async |stage| {
        stage.pass(15 * MINUTE).await;
        is(stage, "False", "InstancesWithoutCredentials");
        let on = Write::UpdateSetting { setting, value: "hosts".to_owned() };
        stage.aws.with(|world| world.act(&Actor::Person, &account(), &region(), &on))?;
        stage.pass(15 * MINUTE).await;
        is(stage, "True", "Succeeded");
        let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ssm:UpdateInstanceInformation","Resource":"*"}]}"#;
        stage.aws.with(|world| {
            world.put_inline_policy(&Actor::Person, &account(), &region(), &"theirs".into(), "own", text).unwrap();
        });
        stage.pass(35 * MINUTE).await;
        is(stage, "False", "ProfileBlocksHostManagement");
        // Nobody asks any more.
        stage.kubernetes.edit(&of(Kind::Vpc, "main"), |object| {
            object["spec"].as_object_mut().unwrap().remove("instances");
            object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap() + 1);
        });
        stage.pass(15 * MINUTE).await;
        assert!(condition(stage, "InstanceProfilesReady").is_err());
        assert!(object(stage, &of(Kind::Vpc, "main"))?["status"].get("profiles").is_none());
        stage.aws.with(|world| world.journal.clear());
        stage.pass(60 * MINUTE).await;
        let asked = stage.aws.with(|world| {
            let calls = world.journal.iter().filter_map(|entry| entry.operation);
            calls.filter(|o| ["GetServiceSetting", "GetInstanceProfile", "GetRole"].contains(&o.name())).count()
        });
        assert_eq!(asked, 0);
        Ok(())
    });
}

#[test]
fn an_object_that_only_observes_shows_what_it_would_do() {
    let mut place = Place::new(3);
    place.roles();
    let id = place.instance(&[("env", "prod")], None);
    place.attaching("Observe", 5);
    place.run(async |stage| {
        stage.pass(15 * MINUTE).await;
        assert_eq!((given(stage), profile(stage, &id)), (vec![], None));
        let status = object(stage, &of(Kind::Vpc, "main"))?["status"].clone();
        let actions = status["plan"]["actions"].as_array().cloned().unwrap_or_default();
        let last = actions.last().context("no plan")?;
        assert_eq!(last["action"], "AssociateIamInstanceProfile");
        assert_eq!(last["change"], format!("give {id} the instance profile nodes"));
        assert_eq!(last["reason"], "InstanceProfilesReady");
        Ok(())
    });
}

/// What AWS denies is told in the one condition, and tried again once it is allowed.
#[test]
fn what_is_denied_is_told_and_holds_nothing_up() {
    let mut place = Place::new(4);
    place.roles();
    let id = place.instance(&[("env", "prod")], None);
    place.attaching("Enforce", 5);
    let deny = |stage: &Stage, denied: &[Operation]| {
        stage.aws.with(|world| world.set_denied(&account(), ROLE, denied.iter().copied()));
    };
    deny(&place.stage, &[Operation::AssociateIamInstanceProfile, Operation::SimulatePrincipalPolicy]);
    place.run(async |stage| {
        stage.pass(30 * MINUTE).await;
        assert_eq!(condition(stage, "Ready")?.0, "True");
        assert_eq!(condition(stage, "InstanceProfilesReady")?.1, "PermissionDenied");
        let tries = given(stage).len();
        assert!((1..=30).contains(&tries), "{tries} tries in half an hour");
        deny(stage, &[]);
        stage.pass(15 * MINUTE).await;
        assert_eq!(profile(stage, &id).as_deref(), Some(PROFILE));
        Ok(())
    });
}
