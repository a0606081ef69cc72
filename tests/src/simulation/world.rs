//! What a world is made of, and how worlds are drawn: small, printable, and able to shrink.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use ssm_ready_core::{calls::Operation, posture::ServiceName};

use super::{
    fate::Side,
    kubernetes::{Id, Kind},
    others::{Act, acts},
    wish::{Rails, RegionWish, RolesWish, rails, region_wishes, roles_wishes},
};

/// The namespace of every posture, but for rivals.
pub const TEAM: &str = "team";
/// The namespace of rivals.
pub const RIVALS: &str = "rivals";
/// The external id of the role of every account: it must never be seen.
pub const EXTERNAL_ID: &str = "tenant-5d1e-secret";
/// The region of every VPC of an even number; the others are in the second.
pub const REGIONS: [&str; 2] = ["eu-west-1", "eu-central-1"];
/// The tag of instances that may be given a profile.
pub const WEB: (&str, &str) = ("Part", "web");
/// How long a posture's facts may be old.
pub const INTERVAL: Duration = Duration::from_secs(600);

/// A whole world, and what happens in it.
#[derive(Debug, Clone)]
pub struct World {
    /// Everything that is left to chance within the world.
    pub seed: u64,
    /// The VPCs, each with a posture.
    pub vpcs: Vec<Vpc>,
    /// The regions with a posture.
    pub regions: Vec<RegionWorld>,
    /// The accounts with a posture.
    pub accounts: Vec<AccountWorld>,
    /// The guardrails of both accounts.
    pub rails: [Rails; 2],
    /// What others did before, and in which of the regions and accounts.
    pub before: Vec<(usize, Act)>,
    /// How AWS behaves from the beginning.
    pub aws: Manners,
    /// What happens, and how long after what happened before.
    pub script: Vec<(u32, Deed)>,
}

/// How AWS behaves where it is free to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Manners {
    /// How long what was made is not listed, in seconds.
    pub late: u32,
    /// How long after that it is now listed and now not, in seconds.
    pub flicker: u32,
    /// How long an endpoint is pending, in seconds.
    pub pending: u32,
    /// How long an endpoint is deleting, in seconds.
    pub deleting: u32,
}

/// A VPC and its posture.
#[derive(Debug, Clone)]
pub struct Vpc {
    /// The account: 0 or 1.
    pub account: usize,
    /// The region: 0 or 1.
    pub region: usize,
    /// In how many zones there are subnets: 1 to 3.
    pub zones: usize,
    /// Whether there are two subnets in each zone.
    pub twice: bool,
    /// `enableDnsSupport` and `enableDnsHostnames`.
    pub dns: (bool, bool),
    /// The instances.
    pub instances: Vec<Instance>,
    /// Endpoints that somebody else made.
    pub foreign: Vec<Foreign>,
    /// What is wanted.
    pub wish: Wish,
}

/// A region and its posture.
#[derive(Debug, Clone)]
pub struct RegionWorld {
    /// The account: 0 or 1.
    pub account: usize,
    /// The region: 0 or 1.
    pub region: usize,
    /// Whether the posture is made only later.
    pub late: bool,
    /// What is wanted.
    pub wish: RegionWish,
}

/// An account and its posture.
#[derive(Debug, Clone)]
pub struct AccountWorld {
    /// The account: 0 or 1.
    pub account: usize,
    /// Whether the posture is made only later.
    pub late: bool,
    /// What is wanted.
    pub wish: RolesWish,
}

/// An instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    /// Its subnet, by number.
    pub subnet: usize,
    /// Whether it reaches the internet.
    pub internet: bool,
    /// Whether its agent needs ec2messages.
    pub old_agent: bool,
    /// Whether it has the tag [`WEB`].
    pub web: bool,
}

/// An endpoint of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// Its service.
    pub service: ServiceName,
    /// Whether it has private DNS.
    pub private_dns: bool,
    /// Whether its security group admits the VPC.
    pub admits: bool,
}

/// What a posture wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Whether the mode is Observe.
    pub observe: bool,
    /// Capabilities by name.
    pub capabilities: Vec<&'static str>,
    /// `ec2messages`.
    pub ec2messages: &'static str,
    /// `subnets.minZones` and `maxZones`.
    pub zones: (usize, Option<usize>),
    /// Further CIDRs that are admitted.
    pub clients: bool,
    /// `s3.type`, and which route tables.
    pub s3: (&'static str, &'static str),
    /// `adoption`.
    pub adoption: &'static str,
    /// `deletionPolicy`.
    pub deletion: &'static str,
    /// `unusedFor`, in minutes.
    pub unused_for: u32,
    /// `dns.attributes`.
    pub dns: &'static str,
    /// The value of a tag, if there is one.
    pub tag: Option<&'static str>,
    /// Whether instances with [`WEB`] are given the profile that the first `AccountPosture` declares as `web`.
    pub attach: bool,
}

/// The target that a wish is for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The name of the `AwsAccount`.
    pub account: &'a str,
    /// The region.
    pub region: &'a str,
    /// The VPC's id.
    pub vpc: &'a str,
}

impl Wish {
    /// The spec of a `VpcPosture`.
    #[must_use]
    pub fn spec(&self, target: Target<'_>, suspend: bool) -> Value {
        let mut create = json!({ "allVpcCidrs": true });
        if self.clients {
            create["clientCidrs"] = json!(["100.64.0.0/16"]);
        }
        let mut subnets = json!({ "minZones": self.zones.0 });
        if let Some(max) = self.zones.1 {
            subnets["maxZones"] = json!(max);
        }
        let mut s3 = json!({ "type": self.s3.0 });
        if self.s3.0 == "Gateway" {
            s3["routeTables"] = json!({ "of": self.s3.1 });
        }
        let mut endpoints = json!({
            "ec2messages": self.ec2messages,
            "subnets": subnets,
            "securityGroup": { "create": create },
            "s3": s3,
            "adoption": self.adoption,
            "deletionPolicy": self.deletion,
            "unusedFor": format!("{}m", self.unused_for),
        });
        if let Some(tag) = self.tag {
            endpoints["tags"] = json!([{ "key": "CostCenter", "value": tag }]);
        }
        let mut spec = json!({
            "target": {
                "accountRef": { "name": target.account }, "region": target.region, "vpcId": target.vpc,
            },
            "mode": if self.observe { "Observe" } else { "Enforce" },
            "interval": "10m",
            "suspend": suspend,
            "capabilities": self.capabilities,
            "endpoints": endpoints,
            "dns": { "attributes": self.dns },
        });
        if self.attach {
            let (key, value) = WEB;
            spec["instances"] = json!({ "profileAttachment": {
                "policy": "WhenMissing",
                "accountPostureRef": { "name": account_posture(0).2 },
                "profile": "web",
                "selector": [{ "key": key, "values": [value] }],
                "maxPerPass": 2,
            } });
        }
        spec
    }
}

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Nothing: time passes.
    Nothing,
    /// The posture of a VPC is edited.
    Edit(usize, Wish),
    /// A posture is suspended, or resumed.
    Suspend(usize, bool),
    /// A posture is deleted.
    Delete(usize),
    /// A posture is made again where it is gone.
    Recreate(usize),
    /// A look is asked for.
    Request(usize),
    /// The object of an account is deleted.
    Account(usize),
    /// The posture of a region is edited.
    EditRegion(usize, RegionWish),
    /// The posture of an account is edited.
    EditAccount(usize, RolesWish),
    /// Something happens to a posture of a region or an account: first those of regions, then those of accounts.
    Posture(usize, Change),
    /// The guardrails of an account are edited.
    Rails(usize, Rails),
    /// Somebody does something in one of the regions and accounts that have postures.
    Act(usize, Act),
    /// A second posture for the same VPC appears, or goes.
    Rival(usize, bool),
    /// The namespace's grant is taken away, or given back.
    Grant(usize, bool),
    /// Somebody deletes an endpoint.
    DeleteEndpoint(usize, usize),
    /// An endpoint fails.
    Fail(usize, usize),
    /// Somebody takes away the tags of an endpoint.
    Strip(usize, usize),
    /// Somebody takes away the tags of our group.
    StripGroup(usize),
    /// Somebody revokes a rule of our group.
    Revoke(usize),
    /// Somebody adds a rule to our group.
    Admit(usize),
    /// Somebody switches off private DNS of an endpoint.
    DnsOff(usize, usize),
    /// Somebody takes a subnet from an endpoint.
    Detach(usize, usize),
    /// Somebody switches off a DNS attribute.
    AttributeOff(usize, bool),
    /// A subnet appears.
    Subnet(usize),
    /// An instance starts.
    Launch(usize, Instance),
    /// All instances stop, or are gone.
    Stop(usize, bool),
    /// The VPC gets another CIDR.
    Cidr(usize),
    /// Somebody makes an endpoint.
    Make(usize, Foreign),
    /// A private hosted zone with the service's name is associated, or goes.
    Zone(usize, ServiceName, bool),
    /// The role is denied a call, or allowed it again.
    Deny(usize, Operation, bool),
    /// AWS has bad weather for some minutes: shares of throttles, errors, lost requests, lost answers, in percent.
    Storm {
        /// For how many minutes.
        minutes: u32,
        /// Throttles.
        throttle: u32,
        /// 500s.
        error: u32,
        /// Lost requests and lost answers, each.
        lost: u32,
        /// The longest time to an answer, in seconds.
        latency: u32,
    },
    /// The way to the API server is bad for some minutes, in percent.
    Trouble {
        /// For how many minutes.
        minutes: u32,
        /// Conflicts.
        conflict: u32,
        /// 500s.
        error: u32,
        /// Lost answers.
        lost: u32,
    },
    /// All watches end; with their place forgotten.
    Cut(bool),
    /// The process is killed now.
    Kill,
    /// The process is killed at one of its next writes.
    KillAt(usize, Side),
    /// The controller's clock is set, by so many minutes from the true time.
    Clock(i32),
}

/// What happens to a posture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is suspended, or resumed.
    Suspend(bool),
    /// It is deleted.
    Delete,
    /// It is made, or made again where it is gone.
    Make,
    /// A look is asked for.
    Request,
    /// It is to be abandoned when it is deleted.
    Abandon,
}

/// The id of a region's posture.
#[must_use]
pub fn region_posture(region: usize) -> Id {
    (Kind::Region, TEAM.to_owned(), format!("region-{region}"))
}

/// The id of an account's posture.
#[must_use]
pub fn account_posture(account: usize) -> Id {
    (Kind::AccountPosture, TEAM.to_owned(), format!("roles-{account}"))
}

/// The id of a VPC's posture.
#[must_use]
pub fn posture(vpc: usize) -> Id {
    (Kind::Vpc, TEAM.to_owned(), format!("vpc-{vpc}"))
}

/// The id of the rival of a VPC's posture.
#[must_use]
pub fn rival(vpc: usize) -> Id {
    (Kind::Vpc, RIVALS.to_owned(), format!("rival-{vpc}"))
}

/// The id of an account's object.
#[must_use]
pub fn account(number: usize) -> Id {
    (Kind::Account, String::new(), format!("account-{number}"))
}

/// The account's number in AWS.
#[must_use]
pub fn account_id(number: usize) -> String {
    format!("{:012}", 111_122_223_330 + number)
}

/// The role that the controller takes on there.
#[must_use]
pub fn role(number: usize) -> String {
    format!("arn:aws:iam::{}:role/ssm-ready", account_id(number))
}

/// The spec of an account's object.
#[must_use]
pub fn account_spec(number: usize, granted: bool, rails: Rails) -> Value {
    let names: Vec<&str> = if granted { vec![TEAM, RIVALS] } else { vec![RIVALS] };
    json!({
        "accountId": account_id(number),
        "assumeRole": { "roleArn": role(number), "externalId": EXTERNAL_ID },
        "access": [{
            "name": "tests",
            "namespaces": { "from": "Names", "names": names },
            "kinds": ["VpcPosture", "RegionPosture", "AccountPosture"],
            "maxMode": "Enforce",
        }],
        "guardrails": rails.spec(number),
    })
}

fn services() -> impl Strategy<Value = ServiceName> {
    prop::sample::select(vec![
        ServiceName::Ssm,
        ServiceName::Ssmmessages,
        ServiceName::Ec2messages,
        ServiceName::Kms,
        ServiceName::Logs,
        ServiceName::S3,
    ])
}

fn instances() -> impl Strategy<Value = Instance> {
    (0..6_usize, any::<bool>(), prop::bool::weighted(0.2), any::<bool>())
        .prop_map(|(subnet, internet, old_agent, web)| Instance { subnet, internet, old_agent, web })
}

fn foreign() -> impl Strategy<Value = Foreign> {
    (services(), prop::bool::weighted(0.8), prop::bool::weighted(0.7)).prop_map(|(service, private_dns, admits)| {
        let interface = service != ServiceName::S3;
        Foreign { service, private_dns: private_dns && interface, admits }
    })
}

/// Draws what a posture wants.
pub fn wishes() -> impl Strategy<Value = Wish> {
    let capabilities = prop::sample::subsequence(
        vec!["SessionManager", "Patching", "SessionEncryption", "CloudWatchLogging", "VssSnapshots"],
        0..=3,
    );
    let s3 = prop::sample::select(vec![
        ("Gateway", "Instances"),
        ("Gateway", "Instances"),
        ("Gateway", "All"),
        ("Interface", ""),
        ("None", ""),
    ]);
    (
        (
            prop::bool::weighted(0.1),
            capabilities,
            prop::sample::select(vec!["Auto", "Auto", "Always", "Never"]),
            (1..=2_usize, prop::option::of(2..=3_usize)),
            any::<bool>(),
            s3,
        ),
        (
            prop::sample::select(vec!["UseExisting", "UseExisting", "TakeOver", "Never"]),
            prop::sample::select(vec!["Delete", "Delete", "DeleteWhenUnused", "Retain"]),
            0..30_u32,
            prop::sample::select(vec!["Enforce", "Enforce", "Enforce", "Report"]),
            prop::sample::select(vec![None, Some("4711"), Some("4712")]),
            prop::bool::weighted(0.25),
        ),
    )
        .prop_map(
            |(
                (observe, capabilities, ec2messages, zones, clients, s3),
                (adoption, deletion, unused_for, dns, tag, attach),
            )| {
                Wish {
                    observe,
                    capabilities,
                    ec2messages,
                    zones,
                    clients,
                    s3,
                    adoption,
                    deletion,
                    unused_for,
                    dns,
                    tag,
                    attach,
                }
            },
        )
}

fn vpcs() -> impl Strategy<Value = Vpc> {
    (
        (prop::bool::weighted(0.2), prop::bool::weighted(0.2), 1..=3_usize, any::<bool>()),
        (prop::bool::weighted(0.9), prop::bool::weighted(0.7)),
        prop::collection::vec(instances(), 0..3),
        prop::collection::vec(foreign(), 0..2),
        wishes(),
    )
        .prop_map(|((account, region, zones, twice), dns, instances, foreign, mut wish)| {
            // More zones than there are is a mistake that ends in one reason; not every other world needs it.
            wish.zones.0 = wish.zones.0.min(zones);
            Vpc { account: account.into(), region: region.into(), zones, twice, dns, instances, foreign, wish }
        })
}

fn denials(services: &'static [&'static str]) -> impl Strategy<Value = Operation> {
    let all: Vec<Operation> = Operation::ALL.iter().filter(|o| services.contains(&o.service())).copied().collect();
    prop::sample::select(all)
}

fn deeds() -> impl Strategy<Value = Deed> {
    let n = || 0..3_usize;
    let e = || 0..6_usize;
    let percent = || prop::sample::select(vec![0_u32, 0, 10, 30]);
    prop_oneof![
        2 => Just(Deed::Nothing),
        4 => (n(), wishes()).prop_map(|(v, w)| Deed::Edit(v, w)),
        1 => (n(), any::<bool>()).prop_map(|(v, on)| Deed::Suspend(v, on)),
        3 => n().prop_map(Deed::Delete),
        2 => n().prop_map(Deed::Recreate),
        1 => n().prop_map(Deed::Request),
        1 => (n(), any::<bool>()).prop_map(|(v, on)| Deed::Rival(v, on)),
        1 => (0..2_usize, any::<bool>()).prop_map(|(a, on)| Deed::Grant(a, on)),
        3 => (n(), e()).prop_map(|(v, e)| Deed::DeleteEndpoint(v, e)),
        2 => (n(), e()).prop_map(|(v, e)| Deed::Fail(v, e)),
        1 => (n(), e()).prop_map(|(v, e)| Deed::Strip(v, e)),
        1 => n().prop_map(Deed::StripGroup),
        2 => n().prop_map(Deed::Revoke),
        1 => n().prop_map(Deed::Admit),
        2 => (n(), e()).prop_map(|(v, e)| Deed::DnsOff(v, e)),
        2 => (n(), e()).prop_map(|(v, e)| Deed::Detach(v, e)),
        2 => (n(), any::<bool>()).prop_map(|(v, a)| Deed::AttributeOff(v, a)),
        1 => n().prop_map(Deed::Subnet),
        2 => (n(), instances()).prop_map(|(v, i)| Deed::Launch(v, i)),
        1 => (n(), any::<bool>()).prop_map(|(v, gone)| Deed::Stop(v, gone)),
        1 => n().prop_map(Deed::Cidr),
        2 => (n(), foreign()).prop_map(|(v, f)| Deed::Make(v, f)),
        1 => (n(), services(), any::<bool>()).prop_map(|(v, s, on)| Deed::Zone(v, s, on)),
        2 => (0..2_usize, denials(&["ec2"]), any::<bool>()).prop_map(|(a, o, on)| Deed::Deny(a, o, on)),
        6 => (1..30_u32, percent(), percent(), percent(), 0..3_u32)
            .prop_map(|(minutes, throttle, error, lost, latency)| Deed::Storm { minutes, throttle, error, lost, latency }),
        4 => (1..10_u32, percent(), percent(), percent())
            .prop_map(|(minutes, conflict, error, lost)| Deed::Trouble { minutes, conflict, error, lost }),
        1 => any::<bool>().prop_map(Deed::Cut),
        2 => Just(Deed::Kill),
        8 => (0..6_usize, prop::sample::select(Side::BOTH.to_vec())).prop_map(|(w, side)| Deed::KillAt(w, side)),
        1 => prop::sample::select(vec![-90, -20, -2, 2, 20, 90]).prop_map(Deed::Clock),
    ]
}

/// What happens in worlds with postures of regions and accounts, besides.
fn further_deeds() -> impl Strategy<Value = Deed> {
    let n = || 0..4_usize;
    let change = prop_oneof![
        2 => any::<bool>().prop_map(Change::Suspend),
        4 => Just(Change::Delete),
        4 => Just(Change::Make),
        1 => Just(Change::Request),
        1 => Just(Change::Abandon),
    ];
    prop_oneof![
        5 => (n(), region_wishes()).prop_map(|(r, w)| Deed::EditRegion(r, w)),
        5 => (n(), roles_wishes()).prop_map(|(a, w)| Deed::EditAccount(a, w)),
        8 => (n(), change).prop_map(|(p, c)| Deed::Posture(p, c)),
        2 => (0..2_usize, rails()).prop_map(|(a, r)| Deed::Rails(a, r)),
        16 => (n(), acts()).prop_map(|(p, a)| Deed::Act(p, a)),
        1 => (0..2_usize, denials(&["ssm", "iam", "ec2", "events", "cloudtrail", "sns", "s3", "logs", "kms"]), any::<bool>()).prop_map(|(a, o, on)| Deed::Deny(a, o, on)),
        12 => deeds(),
    ]
}

/// Regions and accounts with postures, their guardrails, what others did, and a story.
type Further = (Vec<RegionWorld>, Vec<AccountWorld>, [Rails; 2], Vec<(usize, Act)>, Vec<(u32, Deed)>);

fn further() -> impl Strategy<Value = Further> {
    let account = || prop::bool::weighted(0.2).prop_map(usize::from);
    let late = || prop::bool::weighted(0.2);
    let region = (account(), prop::bool::weighted(0.3), late(), region_wishes())
        .prop_map(|(account, region, late, wish)| RegionWorld { account, region: region.into(), late, wish });
    let roles =
        (account(), late(), roles_wishes()).prop_map(|(account, late, wish)| AccountWorld { account, late, wish });
    let rails = (rails(), rails(), prop::bool::weighted(0.6));
    (
        prop::collection::vec(region, 0..=2),
        prop::collection::vec(roles, 0..=2),
        rails.prop_map(|(one, other, open)| if open { [Rails::OPEN; 2] } else { [one, other] }),
        prop::collection::vec((0..4_usize, acts()), 0..4),
        prop::collection::vec((waits(), further_deeds()), 0..14),
    )
}

/// Mostly soon after one another, so that deeds meet; sometimes after all has settled.
fn waits() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0_u32, 0, 1, 3, 10, 30, 60, 120, 700, 1500])
}

/// Draws worlds: of some, VPCs are all that there is.
pub fn worlds() -> impl Strategy<Value = World> {
    let manners = (
        prop::sample::select(vec![0, 0, 5, 30]),
        prop::sample::select(vec![0, 0, 10, 25]),
        prop::sample::select(vec![1, 30, 120]),
        prop::sample::select(vec![1, 30, 200]),
    )
        .prop_map(|(late, flicker, pending, deleting)| Manners { late, flicker, pending, deleting });
    let of_vpcs =
        (any::<u64>(), prop::collection::vec(vpcs(), 1..3), manners, prop::collection::vec((waits(), deeds()), 0..14));
    (of_vpcs, prop::option::weighted(0.65, (further(), prop::bool::weighted(0.3)))).prop_map(
        |((seed, mut vpcs, aws, script), further)| match further {
            None => World {
                seed,
                vpcs,
                regions: Vec::new(),
                accounts: Vec::new(),
                rails: [Rails::OPEN; 2],
                before: Vec::new(),
                aws,
                script,
            },
            Some(((regions, accounts, rails, before, script), beside)) => {
                vpcs.truncate(usize::from(beside || (regions.is_empty() && accounts.is_empty())));
                World { seed, vpcs, regions, accounts, rails, before, aws, script }
            }
        },
    )
}
