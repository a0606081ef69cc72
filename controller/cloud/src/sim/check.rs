//! What holds in AWS whatever anybody does.

use std::collections::{BTreeMap, BTreeSet};

use ssm_ready_core::facts::{EndpointState, EndpointType, settings::DocumentStatus};

use super::{documents::SimDocument, iam::Iam, state::RegionState, world::World};

impl World {
    /// Checks what holds in AWS always.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), String> {
        for (account, holder) in &self.accounts {
            holder.iam.check().map_err(|broken| format!("{account}: {broken}"))?;
            for arn in holder.roles.keys() {
                if !holder.iam.roles.values().any(|role| role.arn == *arn) {
                    return Err(format!("{account}: {arn} can be taken on and is not in IAM"));
                }
            }
            for (region, state) in &holder.regions {
                state
                    .check(self.weather.failed_hold_names)
                    .map_err(|broken| format!("{account} {region}: {broken}"))?;
            }
        }
        Ok(())
    }
}

impl Iam {
    fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for (name, role) in self.roles.iter() {
            if role.name != *name || !names.insert(name.as_str().to_ascii_lowercase()) {
                return Err(format!("role {name} has a name that is taken"));
            }
            if !role.arn.ends_with(&format!(":role{}{name}", role.path)) {
                return Err(format!("role {name} has the ARN {}", role.arn));
            }
            if role.policies.len() > self.quotas.policies_per_role {
                return Err(format!("role {name} has {} managed policies", role.policies.len()));
            }
        }
        names.clear();
        for (name, profile) in self.profiles.iter() {
            if profile.name != *name || !names.insert(name.as_str().to_ascii_lowercase()) {
                return Err(format!("profile {name} has a name that is taken"));
            }
            if let Some(role) = profile.role.as_ref().filter(|role| !self.roles.contains_key(*role)) {
                return Err(format!("profile {name} has the role {role}, which is gone"));
            }
        }
        Ok(())
    }
}

impl SimDocument {
    fn check(&self) -> Result<(), String> {
        if !self.versions.contains_key(&self.default) {
            return Err(format!("version {} is used and is not there", self.default));
        }
        for (number, version) in &self.versions {
            let coming = matches!(version.status, DocumentStatus::Creating | DocumentStatus::Updating);
            if coming && *number == self.default && *number != 1 {
                return Err(format!("version {number} is used before it is there"));
            }
        }
        Ok(())
    }
}

impl RegionState {
    fn check(&self, failed_hold: bool) -> Result<(), String> {
        for (setting, record) in self.settings.iter() {
            if record.value.value.is_some() != record.modified_by.is_some() {
                return Err(format!("{setting} does not say by whom it was set, or says so though it is not set"));
            }
        }
        for (name, document) in self.documents.iter() {
            document.check().map_err(|broken| format!("{name}: {broken}"))?;
        }
        let mut names = BTreeMap::new();
        for (id, endpoint) in self.endpoints.iter() {
            if endpoint.state == EndpointState::Deleted {
                let left = !endpoint.interfaces.is_empty() || !endpoint.route_tables.is_empty();
                if left || !endpoint.network_interfaces.is_empty() {
                    return Err(format!("{id} is deleted and still has interfaces or routes"));
                }
                continue;
            }
            if endpoint.holds_names(failed_hold) {
                for name in &endpoint.dns_names {
                    if let Some(other) = names.insert((endpoint.vpc.clone(), name.clone()), id) {
                        return Err(format!("{id} and {other} both have the private name {name}"));
                    }
                    if self.hosted_zones.get(&endpoint.vpc).is_some_and(|zones| zones.contains_key(name)) {
                        return Err(format!("{id} and a hosted zone both have the name {name}"));
                    }
                }
            }
            let interfaces: BTreeSet<_> = endpoint.interfaces.values().cloned().collect();
            let subnets: BTreeSet<_> = endpoint.interfaces.keys().cloned().collect();
            if interfaces != endpoint.network_interfaces || subnets != endpoint.subnets {
                return Err(format!("{id} does not have one interface in each subnet"));
            }
            for (subnet, interface) in &endpoint.interfaces {
                let found = self.network_interfaces.get(interface);
                let right = found.is_some_and(|i| {
                    i.subnet == *subnet && i.endpoint.as_ref() == Some(id) && i.groups == endpoint.groups
                });
                if !right {
                    return Err(format!("{interface} of {id} is not as the endpoint says"));
                }
            }
            let mut zones = BTreeSet::new();
            for subnet in &endpoint.subnets {
                let Some(found) = self.subnets.get(subnet) else {
                    return Err(format!("{id} is in {subnet}, which is gone"));
                };
                if !zones.insert(&found.zone) || found.vpc != endpoint.vpc {
                    return Err(format!("{id} is twice in a zone, or in another VPC, with {subnet}"));
                }
            }
            for table in &endpoint.route_tables {
                let routes = self.route_tables.get(table).map(|table| &table.endpoint_routes);
                let routed = endpoint.prefix_list.as_ref().zip(routes).and_then(|(list, routes)| routes.get(list));
                if routed.map(String::as_str) != Some(id.as_str()) {
                    return Err(format!("{id} is not routed to by {table}"));
                }
            }
            for group in &endpoint.groups {
                if self.groups.get(group).is_none_or(|group| group.vpc != endpoint.vpc) {
                    return Err(format!("{id} has the group {group}, which is gone or elsewhere"));
                }
            }
            let interface = endpoint.kind == EndpointType::Interface;
            if interface == endpoint.groups.is_empty() || (interface && !endpoint.route_tables.is_empty()) {
                return Err(format!("{id} is half an interface and half a gateway endpoint"));
            }
        }
        for (id, table) in self.route_tables.iter() {
            for endpoint in table.endpoint_routes.values() {
                let living = self.endpoints.get(&endpoint.as_str().into());
                if !living.is_some_and(|e| e.state != EndpointState::Deleted && e.route_tables.contains(id)) {
                    return Err(format!("{id} routes to {endpoint}, which does not serve it"));
                }
            }
        }
        let mut group_names = BTreeSet::new();
        for (id, group) in self.groups.iter() {
            if !group_names.insert((&group.vpc, &group.name)) {
                return Err(format!("{id} has a name that is taken in its VPC"));
            }
        }
        for (id, interface) in self.network_interfaces.iter() {
            let living = interface.endpoint.as_ref().and_then(|endpoint| self.endpoints.get(endpoint));
            if living.is_none_or(|endpoint| !endpoint.network_interfaces.contains(id)) {
                return Err(format!("{id} belongs to no endpoint"));
            }
        }
        for (id, subnet) in self.subnets.iter() {
            if subnet.free_addresses < 0 {
                return Err(format!("{id} has {} free addresses", subnet.free_addresses));
            }
        }
        Ok(())
    }
}
