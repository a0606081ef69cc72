//! The choice of subnets: one a zone, where the service is, with free addresses; what is chosen stays chosen.

use std::collections::{BTreeMap, BTreeSet};

use super::join;
use crate::{
    facts::{IpAddressType, Subnet},
    ids::{SubnetId, VpcId},
    posture::{SubnetWish, selects},
    reason::Reason,
};

/// Why no subnets could be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoSubnets {
    pub reason: Reason,
    pub message: String,
}

/// What the choice rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice<'a> {
    pub wish: &'a SubnetWish,
    pub ip: IpAddressType,
    pub vpc: &'a VpcId,
    /// The zones in which the service is; none where that is not known.
    pub zones: Option<&'a BTreeSet<String>>,
    /// Chosen before.
    pub chosen: &'a BTreeSet<SubnetId>,
    /// In use by the endpoint now, so that no free address is needed.
    pub attached: &'a BTreeSet<SubnetId>,
}

fn family_fits(subnet: &Subnet, ip: IpAddressType) -> bool {
    match ip {
        IpAddressType::Ipv4 => subnet.has_ipv4,
        IpAddressType::Ipv6 => subnet.has_ipv6 && !subnet.has_ipv4,
        IpAddressType::Dualstack => subnet.has_ipv4 && subnet.has_ipv6,
    }
}

pub(super) fn choose(choice: Choice<'_>, all: &[Subnet]) -> Result<BTreeSet<SubnetId>, NoSubnets> {
    let in_vpc: Vec<&Subnet> = all.iter().filter(|s| s.vpc == *choice.vpc).collect();
    let in_zone = |s: &Subnet| choice.zones.is_none_or(|zones| zones.contains(&s.zone));
    match choice.wish {
        SubnetWish::Ids(ids) => given(choice, ids, &in_vpc, in_zone),
        SubnetWish::Choose { min_zones, max_zones, selector } => {
            let fitting: Vec<&Subnet> = in_vpc
                .into_iter()
                .filter(|s| in_zone(s) && family_fits(s, choice.ip) && selects(selector, &s.tags))
                .collect();
            by_zone(choice, *min_zones, *max_zones, &fitting)
        }
    }
}

fn given(
    choice: Choice<'_>,
    ids: &BTreeSet<SubnetId>,
    in_vpc: &[&Subnet],
    in_zone: impl Fn(&Subnet) -> bool,
) -> Result<BTreeSet<SubnetId>, NoSubnets> {
    let fail = |message: String| Err(NoSubnets { reason: Reason::NoSuitableSubnet, message });
    let mut zones: BTreeMap<&str, &SubnetId> = BTreeMap::new();
    for id in ids {
        let Some(subnet) = in_vpc.iter().find(|s| s.id == *id) else {
            return fail(format!("{} has no {id}: correct endpoints.subnets.ids", choice.vpc));
        };
        if !in_zone(subnet) {
            return fail(format!(
                "{id} is in {}, where the service is not: name a subnet of another zone",
                subnet.zone
            ));
        }
        if !family_fits(subnet, choice.ip) {
            return fail(format!("{id} does not have the addresses that ipAddressType {} needs", choice.ip.as_str()));
        }
        if let Some(other) = zones.insert(&subnet.zone, id) {
            return fail(format!("{other} and {id} are both in {}: an endpoint takes one subnet a zone", subnet.zone));
        }
        if subnet.free_addresses < 1 && choice.ip != IpAddressType::Ipv6 && !choice.attached.contains(id) {
            return Err(NoSubnets { reason: Reason::NoFreeAddresses, message: format!("{id} has no free address") });
        }
    }
    Ok(ids.clone())
}

fn by_zone(
    choice: Choice<'_>,
    min_zones: usize,
    max_zones: Option<usize>,
    fitting: &[&Subnet],
) -> Result<BTreeSet<SubnetId>, NoSubnets> {
    let usable =
        |s: &Subnet| s.free_addresses > 0 || choice.ip == IpAddressType::Ipv6 || choice.attached.contains(&s.id);
    let mut best: BTreeMap<&str, &Subnet> = BTreeMap::new();
    // Chosen before, then most free addresses, then the smallest id: the same facts give the same choice.
    let rank = |s: &Subnet| (choice.chosen.contains(&s.id), s.free_addresses, std::cmp::Reverse(s.id.clone()));
    for subnet in fitting.iter().filter(|s| usable(s)) {
        let entry = best.entry(&subnet.zone).or_insert(subnet);
        if rank(subnet) > rank(entry) {
            *entry = subnet;
        }
    }
    if best.len() < min_zones.max(1) {
        let zones = join(choice.zones.into_iter().flatten());
        return Err(if fitting.is_empty() {
            NoSubnets {
                reason: Reason::NoSuitableSubnet,
                message: format!(
                    "{} has no subnet that fits endpoints.subnets and ipAddressType {} in a zone where the service is ({zones})",
                    choice.vpc,
                    choice.ip.as_str()
                ),
            }
        } else if best.is_empty() {
            NoSubnets {
                reason: Reason::NoFreeAddresses,
                message: format!(
                    "{} have no free address: free some, or add a subnet",
                    join(fitting.iter().map(|s| &s.id))
                ),
            }
        } else {
            NoSubnets {
                reason: Reason::NoSuitableSubnet,
                message: format!(
                    "only {} of the {min_zones} zones that endpoints.subnets.minZones asks for have a subnet that fits: {}",
                    best.len(),
                    join(best.keys())
                ),
            }
        });
    }
    let mut picked: Vec<&Subnet> = best.into_values().collect();
    picked.sort_by_key(|s| std::cmp::Reverse(rank(s)));
    picked.truncate(max_zones.unwrap_or(usize::MAX));
    Ok(picked.into_iter().map(|s| s.id.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::subnet;

    fn set(ids: &[&str]) -> BTreeSet<SubnetId> {
        ids.iter().map(|s| SubnetId::from(*s)).collect()
    }

    fn anywhere() -> SubnetWish {
        SubnetWish::Choose { min_zones: 1, max_zones: None, selector: vec![] }
    }

    fn pick(
        wish: &SubnetWish,
        chosen: &[&str],
        attached: &[&str],
        all: &[Subnet],
    ) -> Result<BTreeSet<SubnetId>, Reason> {
        let zones: BTreeSet<String> = ["eu-west-1a", "eu-west-1b", "eu-west-1c"].map(String::from).into();
        let (chosen, attached) = (set(chosen), set(attached));
        let vpc = "vpc-1".into();
        let choice = Choice {
            wish,
            ip: IpAddressType::Ipv4,
            vpc: &vpc,
            zones: Some(&zones),
            chosen: &chosen,
            attached: &attached,
        };
        choose(choice, all).map_err(|e| e.reason)
    }

    #[test]
    fn each_zone_gives_its_roomiest_subnet() {
        let all = [
            subnet("subnet-a1", "a", 5),
            subnet("subnet-a2", "a", 9),
            subnet("subnet-b1", "b", 1),
            subnet("subnet-d1", "d", 99),
        ];
        assert_eq!(
            pick(&anywhere(), &[], &[], &all),
            Ok(set(&["subnet-a2", "subnet-b1"])),
            "zone d does not have the service"
        );
    }

    #[test]
    fn what_is_chosen_stays_chosen_while_it_fits() {
        let all = [subnet("subnet-a1", "a", 5), subnet("subnet-a2", "a", 9)];
        assert_eq!(pick(&anywhere(), &["subnet-a1"], &[], &all), Ok(set(&["subnet-a1"])));
        assert_eq!(pick(&anywhere(), &["subnet-gone"], &[], &all), Ok(set(&["subnet-a2"])));
        let full = [subnet("subnet-a1", "a", 0), subnet("subnet-a2", "a", 9)];
        assert_eq!(
            pick(&anywhere(), &["subnet-a1"], &["subnet-a1"], &full),
            Ok(set(&["subnet-a1"])),
            "its address is its own"
        );
        assert_eq!(pick(&anywhere(), &["subnet-a1"], &[], &full), Ok(set(&["subnet-a2"])));
    }

    #[test]
    fn fewer_zones_keep_the_chosen_ones() {
        let wish = SubnetWish::Choose { min_zones: 1, max_zones: Some(2), selector: vec![] };
        let all = [subnet("subnet-a1", "a", 5), subnet("subnet-b1", "b", 9), subnet("subnet-c1", "c", 7)];
        assert_eq!(pick(&wish, &[], &[], &all), Ok(set(&["subnet-b1", "subnet-c1"])));
        assert_eq!(pick(&wish, &["subnet-a1"], &[], &all), Ok(set(&["subnet-a1", "subnet-b1"])));
    }

    #[test]
    fn failures_have_their_reasons() {
        let wish = SubnetWish::Choose { min_zones: 2, max_zones: None, selector: vec![] };
        assert_eq!(pick(&wish, &[], &[], &[subnet("subnet-a1", "a", 5)]), Err(Reason::NoSuitableSubnet));
        assert_eq!(pick(&anywhere(), &[], &[], &[]), Err(Reason::NoSuitableSubnet));
        assert_eq!(pick(&anywhere(), &[], &[], &[subnet("subnet-a1", "a", 0)]), Err(Reason::NoFreeAddresses));
        let all = [
            subnet("subnet-a1", "a", 5),
            subnet("subnet-a2", "a", 5),
            subnet("subnet-b1", "b", 0),
            subnet("subnet-d1", "d", 5),
        ];
        for (ids, reason) in [
            (vec!["subnet-gone"], Reason::NoSuitableSubnet),
            (vec!["subnet-d1"], Reason::NoSuitableSubnet),
            (vec!["subnet-a1", "subnet-a2"], Reason::NoSuitableSubnet),
            (vec!["subnet-b1"], Reason::NoFreeAddresses),
        ] {
            assert_eq!(pick(&SubnetWish::Ids(set(&ids)), &[], &[], &all), Err(reason), "{ids:?}");
        }
        let last = [subnet("subnet-a1", "a", 1)];
        assert_eq!(pick(&SubnetWish::Ids(set(&["subnet-a1"])), &[], &[], &last), Ok(set(&["subnet-a1"])), "the last");
    }

    #[test]
    fn address_families_must_fit() {
        let mut v6 = subnet("subnet-a6", "a", 0);
        (v6.has_ipv4, v6.has_ipv6) = (false, true);
        let mut both = subnet("subnet-b6", "b", 4);
        both.has_ipv6 = true;
        for (ip, fits) in [
            (IpAddressType::Ipv4, (false, true)),
            (IpAddressType::Ipv6, (true, false)),
            (IpAddressType::Dualstack, (false, true)),
        ] {
            assert_eq!((family_fits(&v6, ip), family_fits(&both, ip)), fits, "{ip:?}");
        }
    }

    #[test]
    fn selectors_select_by_tag() {
        let mut tagged = subnet("subnet-a1", "a", 1);
        tagged.tags = [("Tier".to_owned(), "private".to_owned())].into();
        let selector = vec![crate::posture::TagSelector { key: "Tier".into(), values: vec!["private".into()] }];
        let wish = SubnetWish::Choose { min_zones: 1, max_zones: None, selector };
        assert_eq!(pick(&wish, &[], &[], &[tagged, subnet("subnet-a2", "a", 9)]), Ok(set(&["subnet-a1"])));
    }
}
