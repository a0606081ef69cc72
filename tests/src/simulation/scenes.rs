//! Scenes in which every kind of write occurs, for deaths before and after each of them.

use ssm_ready_core::posture::ServiceName;

use super::{
    others::{Act, ProfileAct, RoleAct, RuleAct, TargetAct, Thing},
    wish::{Audit, Host, Logs, Rails, RegionWish, RoleWish, RolesWish, Session},
    world::{AccountWorld, Change, Deed, Foreign, Instance, Manners, RegionWorld, Vpc, Wish, World},
};

/// Time enough for all to settle, in seconds.
const SETTLED: u32 = 2400;

/// A world in which nothing is left to chance.
#[derive(Debug, Clone)]
pub struct Scene {
    /// What it is about.
    pub name: &'static str,
    /// The world.
    pub world: World,
}

fn wish() -> Wish {
    Wish {
        observe: false,
        capabilities: vec!["SessionManager", "Patching"],
        ec2messages: "Auto",
        zones: (1, None),
        clients: true,
        s3: ("Gateway", "Instances"),
        adoption: "UseExisting",
        deletion: "Delete",
        unused_for: 10,
        dns: "Enforce",
        tag: Some("4711"),
        attach: false,
    }
}

fn vpc(wish: Wish) -> Vpc {
    Vpc { account: 0, region: 0, zones: 2, twice: false, dns: (true, true), instances: vec![], foreign: vec![], wish }
}

fn scene(name: &'static str, vpc: Vpc, script: Vec<(u32, Deed)>) -> Scene {
    // Late enough that a process that begins anew does not see what the one before it made.
    let aws = Manners { late: 20, flicker: 0, pending: 30, deleting: 30 };
    // Even, so that people put right what they did in the end.
    let world = World {
        seed: 42,
        vpcs: vec![vpc],
        regions: vec![],
        accounts: vec![],
        rails: [Rails::OPEN; 2],
        before: vec![],
        aws,
        script,
    };
    Scene { name, world }
}

/// A scene of a region and an account; nobody puts anything right in the end.
fn further(
    name: &'static str,
    (region, roles): (RegionWish, RolesWish),
    rails: Rails,
    before: Vec<Act>,
    script: Vec<(u32, Deed)>,
) -> Scene {
    let world = World {
        seed: 43,
        vpcs: vec![],
        regions: vec![RegionWorld { account: 0, region: 0, late: false, wish: region }],
        accounts: vec![AccountWorld { account: 0, late: false, wish: roles }],
        rails: [rails; 2],
        before: before.into_iter().map(|act| (0, act)).collect(),
        aws: Manners { late: 20, flicker: 0, pending: 30, deleting: 30 },
        script,
    };
    Scene { name, world }
}

fn region_wish() -> RegionWish {
    RegionWish {
        observe: false,
        take_over: false,
        deletion: "RestorePrevious",
        host: Host::Declared(0),
        session: Some(Session { idle: 5, longest: Some(60), shell: false, run_as: false, logs: Logs::default() }),
        audit: Some(Audit { topic: 0, trail: true }),
        settings: vec![(0, 1), (6, 0)],
        metadata: vec![(0, 0), (1, 1)],
    }
}

/// Sessions that are logged to and encrypted with everything that there is.
fn logged(idle: u16) -> Session {
    let logs = Logs { bucket: Some((0, true)), group: Some((0, true)), key: Some(0) };
    Session { idle, longest: None, shell: false, run_as: false, logs }
}

fn role_wish() -> RoleWish {
    RoleWish { role: 0, elsewhere: false, ownership: "Create", extra: true, statements: (true, true), profile: true }
}

fn roles_wish() -> RolesWish {
    RolesWish {
        observe: false,
        deletion: "Delete",
        tag: Some("4711"),
        host: Some(RoleWish { extra: false, ..role_wish() }),
        instances: [Some(role_wish()), None],
    }
}

/// Scenes of regions and accounts.
fn of_regions() -> Vec<Scene> {
    let region = |change: &dyn Fn(&mut RegionWish)| {
        let mut wish = region_wish();
        change(&mut wish);
        wish
    };
    let roles = |change: &dyn Fn(&mut RolesWish)| {
        let mut wish = roles_wish();
        change(&mut wish);
        wish
    };
    let act = |act: Act| (0, Deed::Act(0, act));
    let role = |role: usize, what: RoleAct| act(Act::Role(role, what));
    let settled = |deed: Deed| (SETTLED, deed);
    let nothing = || settled(Deed::Nothing);
    let bounded = Rails { boundary: true, ..Rails::OPEN };
    let (delete_region, delete_roles) = (Deed::Posture(0, Change::Delete), Deed::Posture(1, Change::Delete));
    // What others had set before: a tier, a metadata default, preferences, and Default Host Management.
    let found =
        || vec![Act::Set(1, 1), Act::Metadata(0, 1), Act::Document(1), Act::Set(0, 0), Act::Rule(RuleAct::Make(false))];
    let take_over = |wish: &mut RegionWish| wish.take_over = true;
    let undeclare = |wish: &mut RegionWish| {
        (wish.host, wish.session, wish.audit) = (Host::Silent, None, None);
        (wish.settings, wish.metadata) = (vec![(1, 1)], vec![]);
    };
    vec![
        further(
            "a region and an account from nothing",
            (region_wish(), roles_wish()),
            bounded,
            vec![],
            vec![nothing()],
        ),
        further(
            "a region and an account drift",
            (region_wish(), roles_wish()),
            bounded,
            vec![],
            vec![
                settled(Deed::Nothing),
                role(0, RoleAct::Distrust),
                role(0, RoleAct::Detach(0)),
                role(2, RoleAct::Inline(true)),
                role(2, RoleAct::Unbound),
                act(Act::Profile(3, ProfileAct::Empty)),
                act(Act::Document(1)),
                act(Act::Rule(RuleAct::Disable)),
                act(Act::Rule(RuleAct::Divert)),
                act(Act::Reset(0)),
                act(Act::Reset(1)),
                settled(Deed::Act(0, Act::UseVersion(1))),
                (SETTLED, Deed::Act(0, Act::DeleteDocument)),
                act(Act::Rule(RuleAct::Delete)),
                role(0, RoleAct::Destroy),
                act(Act::Profile(3, ProfileAct::Destroy)),
                nothing(),
            ],
        ),
        further(
            "an edit that takes something away from a region and an account",
            (region(&|w| w.deletion = "Reset"), roles_wish()),
            Rails::OPEN,
            vec![],
            vec![
                settled(Deed::EditRegion(
                    0,
                    region(&|w| {
                        (w.host, w.settings) = (Host::Off, vec![(0, 1)]);
                        w.audit = Some(Audit { topic: 1, trail: true });
                    }),
                )),
                (
                    0,
                    Deed::EditAccount(
                        0,
                        roles(&|w| {
                            w.tag = Some("4712");
                            w.instances[0] = Some(RoleWish { extra: false, statements: (false, false), ..role_wish() });
                        }),
                    ),
                ),
                settled(Deed::EditRegion(0, region(&undeclare))),
                (0, Deed::EditAccount(0, roles(&|w| w.instances[0] = None))),
                nothing(),
            ],
        ),
        further(
            "taking over a region and an account",
            (
                region(&take_over),
                roles(&|w| {
                    w.host = Some(RoleWish { ownership: "TakeOver", extra: false, ..role_wish() });
                    w.instances[0] = Some(RoleWish { ownership: "TakeOver", ..role_wish() });
                }),
            ),
            bounded,
            [
                found(),
                vec![
                    Act::Role(0, RoleAct::Make(false)),
                    Act::Role(2, RoleAct::Make(false)),
                    Act::Role(4, RoleAct::Make(true)),
                    Act::Profile(3, ProfileAct::Make(Some(2))),
                ],
            ]
            .concat(),
            vec![nothing()],
        ),
        further(
            "a region and an account are deleted, and what was found comes back",
            (region(&take_over), roles_wish()),
            Rails::OPEN,
            found(),
            vec![settled(delete_region.clone()), (0, delete_roles.clone()), nothing()],
        ),
        further(
            "a region and an account are deleted at once",
            (region(&take_over), roles_wish()),
            Rails::OPEN,
            found(),
            vec![(6, delete_region.clone()), (0, delete_roles.clone()), nothing()],
        ),
        further(
            "a region is set back",
            (region(&|w| (w.deletion, w.take_over) = ("Reset", true)), roles_wish()),
            Rails::OPEN,
            found(),
            vec![settled(delete_region.clone()), nothing()],
        ),
        further(
            "a region and an account are deleted and kept",
            (region(&|w| w.deletion = "Retain"), roles(&|w| w.deletion = "Retain")),
            Rails::OPEN,
            vec![],
            vec![settled(delete_region.clone()), (0, delete_roles.clone()), nothing()],
        ),
        further(
            "a region no longer declares what it found otherwise",
            (region(&take_over), roles_wish()),
            Rails::OPEN,
            found(),
            vec![
                settled(Deed::EditRegion(0, region(&|w| (w.take_over, w.host) = (true, Host::Off)))),
                settled(Deed::EditRegion(0, region(&undeclare))),
                nothing(),
            ],
        ),
        further(
            "sessions are logged, to what comes and goes",
            (region(&|w| w.session = Some(logged(5))), roles(&|w| w.host = Some(role_wish()))),
            Rails::OPEN,
            vec![Act::Target(Thing::Group, 0, TargetAct::Spoil)],
            vec![
                settled(Deed::Nothing),
                act(Act::Target(Thing::Group, 0, TargetAct::Mend)),
                (2 * SETTLED, Deed::Nothing),
                act(Act::Target(Thing::Bucket, 0, TargetAct::Delete)),
                act(Act::Target(Thing::Key, 0, TargetAct::Spoil)),
                (2 * SETTLED, Deed::EditRegion(0, region(&|w| w.session = Some(logged(20))))),
                settled(Deed::Nothing),
                act(Act::Target(Thing::Bucket, 0, TargetAct::Mend)),
                act(Act::Target(Thing::Key, 0, TargetAct::Mend)),
                (2 * SETTLED, Deed::EditAccount(0, roles_wish())),
                (2 * SETTLED, Deed::EditRegion(0, region(&|w| w.session = Some(logged(60))))),
                nothing(),
            ],
        ),
        further(
            "policies are added to the roles of others",
            (
                region(&|w| w.host = Host::External(0)),
                roles(&|w| {
                    w.host = Some(RoleWish { ownership: "AttachOnly", ..role_wish() });
                    w.instances[0] = None;
                }),
            ),
            Rails::OPEN,
            vec![Act::Role(0, RoleAct::Make(true)), Act::Role(0, RoleAct::Detach(0))],
            vec![settled(delete_region), settled(delete_roles), nothing()],
        ),
    ]
}

/// A scene of a VPC whose instances get the profile of an account.
fn of_instances() -> Scene {
    let web = |subnet| Instance { subnet, internet: false, old_agent: false, web: true };
    let instances = vec![web(0), web(1), web(0), Instance { web: false, ..web(1) }];
    let attached = Vpc { instances, ..vpc(Wish { attach: true, ..wish() }) };
    let script = vec![(SETTLED, Deed::Launch(0, web(0))), (SETTLED, Deed::Nothing)];
    let scene = scene("instances without profile get one", attached, script);
    let accounts = vec![AccountWorld { account: 0, late: false, wish: roles_wish() }];
    Scene { world: World { accounts, ..scene.world }, ..scene }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Scene> {
    let mut all = of_vpcs();
    all.extend(of_regions());
    all.push(of_instances());
    all
}

fn of_vpcs() -> Vec<Scene> {
    let online = Instance { subnet: 0, internet: true, old_agent: false, web: false };
    let foreign = Foreign { service: ServiceName::Ssm, private_dns: true, admits: true };
    let with = |change: &dyn Fn(&mut Wish)| {
        let mut wish = wish();
        change(&mut wish);
        wish
    };
    vec![
        scene(
            "from nothing, with DNS off and an instance that is Online by the internet",
            Vpc { dns: (false, false), instances: vec![online], ..vpc(wish()) },
            vec![(SETTLED, Deed::Nothing)],
        ),
        scene(
            "drift",
            vpc(wish()),
            vec![
                (SETTLED, Deed::DeleteEndpoint(0, 0)),
                (0, Deed::Revoke(0)),
                (0, Deed::DnsOff(0, 1)),
                (0, Deed::Detach(0, 1)),
                (0, Deed::AttributeOff(0, true)),
                (SETTLED, Deed::Fail(0, 0)),
                (SETTLED, Deed::Nothing),
            ],
        ),
        scene(
            "taking over",
            Vpc { foreign: vec![foreign], ..vpc(with(&|w| w.adoption = "TakeOver")) },
            vec![(SETTLED, Deed::Nothing)],
        ),
        scene(
            "an edit that takes something away",
            vpc(with(&|w| w.capabilities = vec!["Patching", "SessionEncryption", "CloudWatchLogging"])),
            vec![
                (
                    SETTLED,
                    Deed::Edit(
                        0,
                        with(&|w| {
                            w.clients = false;
                            w.tag = Some("4712");
                        }),
                    ),
                ),
                (SETTLED, Deed::Nothing),
            ],
        ),
        scene("deleted", vpc(wish()), vec![(SETTLED, Deed::Delete(0)), (SETTLED, Deed::Nothing)]),
        scene("deleted at once", vpc(wish()), vec![(6, Deed::Delete(0)), (SETTLED, Deed::Nothing)]),
        scene(
            "deleted when unused",
            vpc(with(&|w| w.deletion = "DeleteWhenUnused")),
            vec![(SETTLED, Deed::Delete(0)), (SETTLED, Deed::Nothing)],
        ),
        scene(
            "deleted and kept",
            vpc(with(&|w| w.deletion = "Retain")),
            vec![(SETTLED, Deed::Delete(0)), (SETTLED, Deed::Nothing)],
        ),
        scene(
            "deleted with its account",
            vpc(wish()),
            vec![(SETTLED, Deed::Account(0)), (60, Deed::Delete(0)), (SETTLED, Deed::Nothing)],
        ),
    ]
}
