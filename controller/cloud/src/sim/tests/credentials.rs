//! Whose credentials an agent takes, and giving an instance a profile.

use ssm_ready_core::{
    calls::Operation,
    facts::{
        iam::{AgentAction, AgentPermissions},
        settings::Setting,
    },
    ids::InstanceId,
    write::{ProfileChange, RoleChange},
};

use super::{iam::profile, *};

const CORE: &str = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";

fn instance(place: &Place) -> InstanceId {
    place.sim.with(|world| {
        let new = NewInstance {
            agent: Some("3.3.131.0".to_owned()),
            internet: true,
            needs_credentials: true,
            ..NewInstance::default()
        };
        world.add_instance(&account(), &region(), &place.subnets[0], new)
    })
}

fn login(place: &Place, id: &InstanceId) -> Login {
    place.sim.with(|world| world.login(&account(), &region(), id))
}

fn online(place: &Place, id: &InstanceId) -> bool {
    place.sim.with(|world| world.is_online(&account(), &region(), id))
}

fn arn(name: &str) -> String {
    format!("arn:aws:iam::111122223333:instance-profile/{name}")
}

/// A profile that holds a role of its name, which carries these managed policies.
fn make_profile(place: &Place, name: &str, policies: &[&str]) {
    make_role(place, name, policies);
    let change = ProfileChange::Create { path: "/".to_owned(), tags: Tags::new() };
    place.act(&profile(name, change)).unwrap();
    place.act(&profile(name, ProfileChange::AddRole(name.into()))).unwrap();
}

fn make_role(place: &Place, name: &str, policies: &[&str]) {
    let new = NewSimRole {
        policies: policies.iter().map(|arn| (*arn).into()).collect(),
        ..NewSimRole::of_service("ec2.amazonaws.com")
    };
    place.sim.with(|world| world.add_iam_role(&Actor::Person, &account(), &region(), &name.into(), new));
}

fn inline(place: &Place, role: &str, text: &str) {
    place.act(&Write::Role { role: role.into(), change: RoleChange::PutInline(text.to_owned()) }).unwrap();
}

fn associate(id: &InstanceId, name: &str) -> Write {
    Write::AssociateProfile { instance: id.clone(), profile: arn(name) }
}

#[test]
fn an_instance_gets_a_profile_once() {
    let hand = Hand::default();
    let place = place(hand.clock(), 1);
    let id = instance(&place);
    make_profile(&place, "web", &[CORE]);
    assert_eq!(place.code(&associate(&id, "other")), "InvalidParameterValue");
    assert_eq!(place.code(&associate(&"i-0".into(), "web")), "InvalidInstanceID.NotFound");
    assert_eq!(place.code(&associate(&id, "web")), "Done");
    assert_eq!(place.code(&associate(&id, "web")), "IncorrectState", "also where it is the same");
    assert_eq!(place.region(|state| state.instances[&id].profile.clone()), Some(arn("web")));
    assert_eq!(login(&place, &id), Login::None, "while it is associating");
    hand.wait(5);
    assert_eq!(login(&place, &id), Login::Profile);
}

/// The order in which an agent looks for credentials.
#[test]
fn a_profile_goes_before_default_host_management_if_it_lets_register() {
    let hand = Hand::default();
    let place = place(hand.clock(), 2);
    let id = instance(&place);
    assert_eq!(login(&place, &id), Login::None);
    make_role(&place, "hosts", &["arn:aws:iam::aws:policy/AmazonSSMManagedEC2InstanceDefaultPolicy"]);
    place.act(&Write::UpdateSetting { setting: Setting::HostManagementRole, value: "hosts".to_owned() }).unwrap();
    assert_eq!(login(&place, &id), Login::HostManagement);
    make_profile(&place, "web", &["arn:aws:iam::aws:policy/ReadOnlyAccess"]);
    place.act(&associate(&id, "web")).unwrap();
    hand.wait(5);
    assert_eq!(login(&place, &id), Login::HostManagement, "the profile does not let it register");
    let allow =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ssm:UpdateInstance*","Resource":"*"}}"#;
    inline(&place, "web", allow);
    assert_eq!(login(&place, &id), Login::Profile, "and nothing more");
    place.act(&profile("web", ProfileChange::RemoveRole("web".into()))).unwrap();
    assert_eq!(login(&place, &id), Login::HostManagement, "no role in it");
    place.sim.with(|w| w.set_instance_metadata(&Actor::Person, &account(), &region(), &id, false, false));
    assert_eq!(login(&place, &id), Login::None, "neither can be had without metadata");
    place.sim.with(|world| {
        let new = NewInstance { agent: Some("3.3.131.0".to_owned()), imds: Some(false), ..NewInstance::default() };
        let own = world.add_instance(&account(), &region(), &place.subnets[0], new);
        assert_eq!(world.login(&account(), &region(), &own), Login::Own);
    });
}

#[test]
fn an_agent_that_was_refused_tries_again_within_half_an_hour() {
    for seed in 0..20 {
        let hand = Hand::default();
        let place = place(hand.clock(), seed);
        let id = instance(&place);
        assert!(!online(&place, &id));
        make_profile(&place, "web", &[CORE]);
        place.act(&associate(&id, "web")).unwrap();
        hand.wait(24 * 60);
        assert!(!online(&place, &id), "{seed}: it sleeps");
        hand.wait(6 * 60);
        assert!(online(&place, &id), "{seed}");
        let policy = Write::Role { role: "web".into(), change: RoleChange::Detach(CORE.into()) };
        place.act(&policy).unwrap();
        hand.wait(12 * 60);
        assert!(!online(&place, &id), "{seed}: no longer allowed");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_role_allows_agents_is_simulated_or_told_by_its_policies() {
    let place = place(tokio_clock(), 3);
    let cloud = place.sim.cloud(Arc::new(Open));
    let ask = async |role: &str| cloud.agent_permissions(&scope(), &role.into()).await.unwrap();
    assert_eq!(ask("gone").await, None);
    make_role(&place, "web", &[CORE]);
    make_role(&place, "own", &[]);
    assert_eq!(ask("web").await, Some(AgentPermissions::all(true)));
    assert_eq!(ask("own").await, Some(AgentPermissions::all(false)));
    let deny =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["SSMMESSAGES:Open*"],"Resource":"*"}]}"#;
    inline(&place, "web", deny);
    let found = ask("web").await.unwrap();
    assert_eq!(found.allows(AgentAction::OpenDataChannel), Some(false));
    assert_eq!(found.allows(AgentAction::CreateDataChannel), Some(true));
    let ask_denied = [Operation::SimulatePrincipalPolicy];
    place.sim.with(|world| {
        world.weather.iam_propagation = Span::ZERO;
        world.set_denied(&account(), ROLE, ask_denied);
    });
    assert_eq!(ask("web").await, Some(AgentPermissions::all(true)), "by the names of its policies alone");
    assert_eq!(ask("own").await, Some(AgentPermissions::all(false)));
    assert_eq!(ask("gone").await, None);
}
