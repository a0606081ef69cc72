//! The VPC's DNS attributes, without which private DNS does not work.

use super::{Case, Facet, Verdict};
use crate::{
    facts::VpcAttribute,
    posture::DnsWish,
    reason::Reason,
    snapshot::{FactKey, Reading},
    write::Write,
};

/// Whether private DNS can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DnsState {
    /// Both attributes are on.
    On,
    /// One is known to be off.
    Off,
    /// One could not be read, and none is known to be off.
    Unknown,
}

pub(super) fn judge(case: Case<'_>, verdict: &mut Verdict) -> DnsState {
    let mut state = DnsState::On;
    let mut off = Vec::new();
    for attribute in VpcAttribute::BOTH {
        let reading = case.view.attributes.get(&attribute).unwrap_or(&Reading::Unknown(None));
        match reading.known() {
            Some(on) => {
                verdict.seen.dns.insert(attribute, *on);
                if !on {
                    off.push(attribute);
                }
            }
            None => {
                verdict.unknown(Facet::Dns, &FactKey::Attribute(case.vpc.id.clone(), attribute), reading);
                state = DnsState::Unknown;
            }
        }
    }
    if off.is_empty() {
        if state == DnsState::On {
            verdict.pass(Facet::Dns, "enableDnsSupport and enableDnsHostnames are on");
        }
        return state;
    }
    for attribute in off {
        let name = attribute.name();
        match case.posture.dns {
            DnsWish::Enforce => {
                verdict
                    .fail(
                        Facet::Dns,
                        Reason::DnsAttributesOff,
                        format!("{name} of {} is off and is to be switched on", case.vpc.id),
                    )
                    .differs(format!("vpc.{name}"), "true", "false");
                verdict.propose(Facet::Dns, Write::EnableVpcAttribute { vpc: case.vpc.id.clone(), attribute });
            }
            DnsWish::Report => {
                verdict.warn(
                    Facet::Dns,
                    Reason::DnsAttributesOff,
                    format!(
                        "{name} of {} is off and dns.attributes is Report: switch it on (aws ec2 modify-vpc-attribute --vpc-id {} --{}), or set dns.attributes: Enforce",
                        case.vpc.id,
                        case.vpc.id,
                        if attribute == VpcAttribute::DnsSupport { "enable-dns-support" } else { "enable-dns-hostnames" },
                    ),
                );
            }
        }
    }
    DnsState::Off
}
