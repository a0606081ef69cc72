//! Every read shows what is there, all of it, and nothing else.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use ssm_ready_core::{
    facts::{EndpointType, IngressRule, InstanceState, RuleSource, VpcAttribute},
    fault::FaultKind,
    ids::VpcId,
};

use crate::{
    lab::{ELSEWHERE, Families, Lab, Life, Node, Ping, Rule},
    stage::{Stage, https_from, refused, tags},
};

facts!(
    a_vpc_shows_its_owner_and_all_its_cidrs,
    each_dns_attribute_is_read_by_itself,
    subnets_show_zone_families_free_addresses_and_tags,
    route_tables_show_which_is_main_and_which_subnets_they_serve,
    security_groups_show_every_kind_of_source,
    instances_are_listed_until_they_are_terminated,
    nodes_are_online_or_not_and_hybrid_ones_are_not_listed,
    nodes_of_stopped_instances_are_not_listed,
    s3_is_offered_twice_under_one_name,
    offers_name_the_hosts_that_the_agent_asks_for,
    a_service_may_be_missing_in_a_region_and_in_a_zone,
    lists_of_many_pages_are_complete,
    nodes_of_many_pages_are_complete,
    regions_and_accounts_do_not_see_each_others_things,
    an_empty_region_lists_no_endpoints,
    a_group_that_nothing_carries_has_no_interfaces,
);

/// Secondary and IPv6 CIDRs count as much as the first (DescribeVpcs).
async fn a_vpc_shows_its_owner_and_all_its_cidrs(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let id = lab.vpc(&at, &["10.1.0.0/16", "10.2.0.0/16"], true, [true; 2]).await?;
    let vpcs = lab.cloud().vpcs(&at.scope()).await?;
    let vpc = vpcs.iter().find(|vpc| vpc.id == id).context("the VPC is not listed")?;
    assert_eq!(vpc.owner, at.account.as_str());
    let v4: Vec<String> =
        vpc.cidrs.iter().filter(|cidr| cidr.addr().is_ipv4()).map(std::string::ToString::to_string).collect();
    assert_eq!(v4, ["10.1.0.0/16", "10.2.0.0/16"]);
    let v6: Vec<u8> = vpc.cidrs.iter().filter(|cidr| cidr.addr().is_ipv6()).map(ipnet::IpNet::prefix_len).collect();
    assert_eq!(v6, [56], "Amazon's own block of a VPC is a /56");
    Ok(())
}

/// One attribute of one VPC a call (1.4).
async fn each_dns_attribute_is_read_by_itself(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let cloud = lab.cloud();
    for dns in [[true, true], [true, false], [false, false]] {
        let vpc = lab.vpc(&at, &["10.1.0.0/16"], false, dns).await?;
        for (attribute, on) in VpcAttribute::BOTH.into_iter().zip(dns) {
            assert_eq!(cloud.vpc_attribute(&at.scope(), &vpc, attribute).await?, on, "{attribute:?} of {dns:?}");
        }
    }
    let nowhere = VpcId::from("vpc-0ffffffffffffff99");
    refused(FaultKind::NotFound, cloud.vpc_attribute(&at.scope(), &nowhere, VpcAttribute::DnsSupport).await)?;
    Ok(())
}

/// DescribeSubnets; the family decides about the address types that endpoints can have (1.3).
async fn subnets_show_zone_families_free_addresses_and_tags(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let vpc = lab.vpc(&at, &["10.1.0.0/16"], true, [true; 2]).await?;
    let tier = tags(&[("tier", "private"), ("empty", "")]);
    let plain = lab.subnet(&at, &vpc, "a", "10.1.0.0/24", Families::V4, &tier).await?;
    let both = lab.subnet(&at, &vpc, "b", "10.1.1.0/24", Families::Both, &tags(&[])).await?;
    lab.free_addresses(&at, &plain, 7).await?;
    let subnets = lab.cloud().subnets(&at.scope()).await?;
    let seen = |id| subnets.iter().find(|subnet| subnet.id == id).context("the subnet is not listed");

    let plain = seen(plain)?;
    assert_eq!((&plain.vpc, plain.zone.as_str(), plain.free_addresses), (&vpc, "eu-west-1a", 7));
    assert_eq!((plain.has_ipv4, plain.has_ipv6, &plain.tags), (true, false, &tier));
    let both = seen(both)?;
    assert_eq!((both.zone.as_str(), both.has_ipv4, both.has_ipv6), ("eu-west-1b", true, true));
    assert!(both.tags.is_empty() && both.free_addresses > 0, "{both:?}");
    assert!(!plain.zone_id.is_empty() && plain.zone_id != both.zone_id, "{} and {}", plain.zone_id, both.zone_id);
    Ok(())
}

/// A subnet without a table of its own uses the main one, which names no subnet.
async fn route_tables_show_which_is_main_and_which_subnets_they_serve(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let name = tags(&[("Name", "b")]);
    let own = lab.route_table(&stage.at, &stage.vpc, &[&stage.subnets[1]], &name).await?;
    let tables = stage.cloud.route_tables(&stage.scope).await?;
    let of_vpc: Vec<_> = tables.iter().filter(|table| table.vpc == stage.vpc).collect();
    assert_eq!(of_vpc.len(), 2, "{of_vpc:?}");
    let main = stage.main_table().await?;
    assert!(main.id != own && main.subnets.is_empty() && main.tags.is_empty(), "{main:?}");
    let own = stage.table(&own).await?;
    assert!(!own.main && own.endpoint_routes.is_empty(), "{own:?}");
    assert_eq!((&own.subnets, &own.tags), (&BTreeSet::from([stage.subnets[1].clone()]), &name));
    Ok(())
}

/// Rules name IPv4 and IPv6 CIDRs, groups and prefix lists; `-1` is every protocol, and has no ports.
async fn security_groups_show_every_kind_of_source(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let rule = |source| IngressRule {
        protocol: "tcp".to_owned(),
        ports: Some((443, 444)),
        source,
        description: Some("the office".to_owned()),
    };
    let rules = [
        https_from("192.168.0.0/24")?,
        rule(RuleSource::Cidr("2001:db8::/32".parse()?)),
        rule(RuleSource::Group(stage.group.clone())),
        rule(RuleSource::PrefixList("pl-0123456789abcdef0".into())),
        IngressRule { protocol: "-1".to_owned(), ports: None, ..https_from("10.9.0.0/16")? },
    ];
    let owner = tags(&[("owner", "network team")]);
    let id = lab.group(&stage.at, &stage.vpc, "clients", &rules, &owner).await?;
    let groups = stage.cloud.security_groups(&stage.scope).await?;
    let group = groups.iter().find(|group| group.id == id).context("the group is not listed")?;
    assert_eq!((&group.vpc, group.name.as_str(), &group.tags), (&stage.vpc, "clients", &owner));
    assert_eq!(group.ingress.iter().collect::<BTreeSet<_>>(), rules.iter().collect::<BTreeSet<_>>());
    // The one that every VPC has.
    ensure!(groups.iter().any(|group| group.vpc == stage.vpc && group.name == "default"), "{groups:?}");
    Ok(())
}

/// A stopped instance may start again; a terminated one is still listed by AWS for a while, and is none.
async fn instances_are_listed_until_they_are_terminated(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let [a, b] = &stage.subnets;
    let running = lab.instance(&stage.at, a, Life::Running, None).await?;
    let stopped = lab.instance(&stage.at, b, Life::Stopped, None).await?;
    lab.instance(&stage.at, a, Life::Terminated, None).await?;
    let mut seen = stage.cloud.instances(&stage.scope).await?;
    seen.sort_by_key(|instance| instance.state != InstanceState::Running);
    let seen: Vec<_> = seen.iter().map(|i| (&i.id, &i.vpc, &i.subnet, i.state)).collect();
    assert_eq!(
        seen,
        [(&running, &stage.vpc, a, InstanceState::Running), (&stopped, &stage.vpc, b, InstanceState::Stopped)]
    );
    Ok(())
}

/// Managed is what is Online; what was never registered is not listed (0).
async fn nodes_are_online_or_not_and_hybrid_ones_are_not_listed(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let subnet = &stage.subnets[0];
    let lost = Node { ping: Ping::ConnectionLost, agent: "3.2.582.0" };
    let pings = lab.instance(&stage.at, subnet, Life::Running, Some(Node::ONLINE)).await?;
    let silent = lab.instance(&stage.at, subnet, Life::Running, Some(lost)).await?;
    lab.instance(&stage.at, subnet, Life::Running, None).await?;
    lab.hybrid_node(&stage.at, Node::ONLINE).await?;
    let seen = stage.cloud.managed_nodes(&stage.scope).await?;
    let seen: BTreeSet<_> = seen.iter().map(|n| (&n.id, n.online, n.agent_version.as_deref())).collect();
    assert_eq!(seen, BTreeSet::from([(&pings, true, Some("3.3.40.0")), (&silent, false, Some("3.2.582.0"))]));
    Ok(())
}

/// DescribeInstanceInformation omits stopped and terminated nodes (0).
async fn nodes_of_stopped_instances_are_not_listed(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    for life in [Life::Stopped, Life::Terminated] {
        lab.instance(&stage.at, &stage.subnets[0], life, Some(Node::ONLINE)).await?;
    }
    assert_eq!(stage.cloud.managed_nodes(&stage.scope).await?, []);
    Ok(())
}

/// S3 has a gateway and an interface under the same name (1.2).
async fn s3_is_offered_twice_under_one_name(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let services = lab.cloud().services(&at.scope()).await?;
    let s3: BTreeSet<_> =
        services.iter().filter(|service| service.name == "com.amazonaws.eu-west-1.s3").map(|s| s.kind).collect();
    assert_eq!(s3, BTreeSet::from([EndpointType::Interface, EndpointType::Gateway]));
    Ok(())
}

/// Interface services name what private DNS answers for, which has to be the agent's host (1.2).
async fn offers_name_the_hosts_that_the_agent_asks_for(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let services = lab.cloud().services(&at.scope()).await?;
    for short in ["ssm", "ssmmessages", "ec2messages", "kms", "logs", "ec2", "monitoring"] {
        let name = format!("com.amazonaws.eu-west-1.{short}");
        let offers: Vec<_> = services.iter().filter(|service| service.name == name).collect();
        assert_eq!(offers.len(), 1, "{name}");
        let offer = offers[0];
        assert_eq!((offer.kind, offer.ipv4), (EndpointType::Interface, true), "{offer:?}");
        assert!(offer.private_dns_names.contains(&format!("{short}.eu-west-1.amazonaws.com")), "{offer:?}");
        assert!(offer.zones.len() > 1 && offer.zones.contains("eu-west-1a"), "{offer:?}");
    }
    Ok(())
}

/// Regions since 2024 have no ec2messages (1.1); services list the zones they have in common with the caller (1.2).
async fn a_service_may_be_missing_in_a_region_and_in_a_zone(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    lab.rule(&at, Rule::Missing("ec2messages")).await?;
    lab.rule(&at, Rule::Zones { service: "ssm", zones: &["b", "c"] }).await?;
    let services = lab.cloud().services(&at.scope()).await?;
    assert!(services.iter().all(|service| service.name != "com.amazonaws.eu-west-1.ec2messages"));
    let ssm = services.iter().find(|service| service.name == "com.amazonaws.eu-west-1.ssm").context("no ssm")?;
    assert_eq!(ssm.zones, BTreeSet::from(["eu-west-1b".to_owned(), "eu-west-1c".to_owned()]));
    Ok(())
}

/// AWS may answer fewer than asked for, and a token for the rest (7).
async fn lists_of_many_pages_are_complete(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let (at, scope, cloud) = (&stage.at, &stage.scope, &stage.cloud);
    for number in 0..4 {
        let vpc = lab.vpc(at, &["10.7.0.0/16"], false, [true; 2]).await?;
        lab.subnet(at, &vpc, "a", "10.7.0.0/24", Families::V4, &tags(&[])).await?;
        lab.group(at, &vpc, &format!("group {number}"), &[], &tags(&[])).await?;
        lab.instance(at, &stage.subnets[0], Life::Running, None).await?;
    }
    for short in ["ssm", "ssmmessages", "kms"] {
        stage.create(stage.interface(short)).await?;
    }
    let counts = || async {
        anyhow::Ok([
            cloud.vpcs(scope).await?.len(),
            cloud.subnets(scope).await?.len(),
            cloud.route_tables(scope).await?.len(),
            cloud.security_groups(scope).await?.len(),
            cloud.instances(scope).await?.len(),
            cloud.endpoints(scope).await?.len(),
            cloud.services(scope).await?.len(),
            cloud.network_interfaces(scope, &stage.group).await?.len(),
        ])
    };
    let whole = counts().await?;
    assert!(whole[0] >= 5 && whole[1] >= 6 && whole[2] >= 5 && whole[3] >= 10 && whole[6] >= 8, "{whole:?}");
    assert_eq!((whole[4], whole[5], whole[7]), (4, 3, 3));
    lab.rule(at, Rule::PageSize(2)).await?;
    assert_eq!(counts().await?, whole);
    let ids: BTreeSet<_> = cloud.vpcs(scope).await?.into_iter().map(|vpc| vpc.id).collect();
    assert_eq!(ids.len(), whole[0], "one is listed twice");
    Ok(())
}

/// DescribeInstanceInformation's pages hold 50 at most (7).
async fn nodes_of_many_pages_are_complete(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let mut ids = BTreeSet::new();
    for _ in 0..60 {
        ids.insert(lab.instance(&stage.at, &stage.subnets[0], Life::Running, Some(Node::ONLINE)).await?);
    }
    let seen = stage.cloud.managed_nodes(&stage.scope).await?;
    assert_eq!(seen.len(), ids.len());
    assert_eq!(seen.into_iter().map(|node| node.id).collect::<BTreeSet<_>>(), ids);
    Ok(())
}

/// Everything but roles is of one account and one region.
async fn regions_and_accounts_do_not_see_each_others_things(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    let there = stage.at.in_region(ELSEWHERE)?;
    let other = lab.place().await?;
    stage.create(stage.interface("ssm")).await?;
    lab.instance(&stage.at, &stage.subnets[0], Life::Running, Some(Node::ONLINE)).await?;
    for scope in [there.scope(), other.scope()] {
        let cloud = &stage.cloud;
        assert!(cloud.vpcs(&scope).await?.iter().all(|vpc| vpc.id != stage.vpc));
        assert!(cloud.subnets(&scope).await?.iter().all(|subnet| subnet.vpc != stage.vpc));
        assert!(cloud.route_tables(&scope).await?.iter().all(|table| table.vpc != stage.vpc));
        assert!(cloud.security_groups(&scope).await?.iter().all(|group| group.id != stage.group));
        assert_eq!(cloud.instances(&scope).await?, []);
        assert_eq!(cloud.endpoints(&scope).await?, []);
        assert_eq!(cloud.managed_nodes(&scope).await?, []);
        assert_eq!(cloud.network_interfaces(&scope, &stage.group).await?, []);
    }
    Ok(())
}

/// Nothing there is an empty list, and no fault.
async fn an_empty_region_lists_no_endpoints(lab: &dyn Lab) -> Result<()> {
    let at = lab.place().await?;
    let cloud = lab.cloud();
    assert_eq!(cloud.endpoints(&at.scope()).await?, []);
    assert_eq!(cloud.instances(&at.scope()).await?, []);
    assert_eq!(cloud.managed_nodes(&at.scope()).await?, []);
    Ok(())
}

/// A filter that nothing passes is an empty list, even for an id that does not exist.
async fn a_group_that_nothing_carries_has_no_interfaces(lab: &dyn Lab) -> Result<()> {
    let stage = Stage::set(lab).await?;
    assert_eq!(stage.interfaces().await?, []);
    let nowhere = "sg-0ffffffffffffff99".into();
    assert_eq!(stage.cloud.network_interfaces(&stage.scope, &nowhere).await?, []);
    Ok(())
}
