//! Scenes in which every kind of write occurs, for deaths before and after each of them.

use ssm_ready_core::posture::ServiceName;

use super::world::{Deed, Foreign, Instance, Manners, Vpc, Wish, World};

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
    }
}

fn vpc(wish: Wish) -> Vpc {
    Vpc { account: 0, region: 0, zones: 2, twice: false, dns: (true, true), instances: vec![], foreign: vec![], wish }
}

fn scene(name: &'static str, vpc: Vpc, script: Vec<(u32, Deed)>) -> Scene {
    // Late enough that a process that begins anew does not see what the one before it made.
    let aws = Manners { late: 20, flicker: 0, pending: 30, deleting: 30 };
    // Even, so that people put right what they did in the end.
    Scene { name, world: World { seed: 42, vpcs: vec![vpc], aws, script } }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Scene> {
    let online = Instance { subnet: 0, internet: true, old_agent: false };
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
