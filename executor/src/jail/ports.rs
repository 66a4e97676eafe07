//! The part of the network rules that the kernel can enforce: whether sockets exist, and their TCP ports.

use std::net::SocketAddr;

use lunatic_net::{AddressRule, NetworkRules};

/// The maximum number of ports in the kernel's rules. With more, only the runtime checks them.
const MAX_PORTS: usize = 1024;

/// The port of DNS servers. Queries use UDP, or TCP for long answers.
const DNS: u16 = 53;

/// See the module documentation.
pub(super) struct Network {
    pub(super) connect: Ports,
    pub(super) bind: Ports,
    /// Whether any name may be resolved.
    pub(super) resolves: bool,
}

/// TCP ports.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ports {
    Any,
    These(Vec<u16>),
}

impl Network {
    /// Returns the needs of these rules and of metrics at this address.
    pub(super) fn new(rules: &NetworkRules, metrics: Option<SocketAddr>) -> Network {
        let resolves = rules.resolve.as_ref().is_none_or(|rules| !rules.is_empty());
        Network {
            connect: Ports::of(rules.connect.as_deref(), resolves.then_some(DNS)),
            bind: Ports::of(rules.bind.as_deref(), metrics.map(|address| address.port())),
            resolves,
        }
    }

    /// Returns whether there is any port to bind.
    pub(super) fn binds(&self) -> bool {
        self.bind != Ports::These(Vec::new())
    }

    /// Returns whether binding one of the ports needs a capability.
    pub(super) fn binds_privileged(&self) -> bool {
        /// The first port that needs no capability.
        const UNPRIVILEGED: u16 = 1024;
        match &self.bind {
            Ports::Any => true,
            Ports::These(ports) => ports.iter().any(|&port| (1..UNPRIVILEGED).contains(&port)),
        }
    }

    /// Returns whether sockets are of use.
    pub(super) fn has_sockets(&self) -> bool {
        let none = Ports::These(Vec::new());
        self.connect != none || self.bind != none
    }
}

impl Ports {
    /// Returns the ports of the rules (`None` allows all) and one more.
    fn of(rules: Option<&[AddressRule]>, more: Option<u16>) -> Ports {
        let Some(rules) = rules else { return Ports::Any };
        let mut ports = Vec::new();
        for range in rules.iter().map(AddressRule::ports).chain(more.map(|port| port..=port)) {
            if ports.len() + range.len() > MAX_PORTS {
                return Ports::Any;
            }
            ports.extend(range);
        }
        ports.sort_unstable();
        ports.dedup();
        Ports::These(ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(connect: &str, resolve: Option<&str>) -> NetworkRules {
        let connect = connect.split_whitespace().map(|rule| rule.parse().unwrap()).collect();
        let resolve = Some(resolve.iter().map(|rule| rule.parse().unwrap()).collect());
        NetworkRules { connect: Some(connect), bind: Some(Vec::new()), resolve }
    }

    #[test]
    fn ports_are_those_of_the_rules() {
        let network = Network::new(&rules("10.0.0.0/8:80-82 *:443 [::1]:80", None), None);
        assert_eq!(network.connect, Ports::These(vec![80, 81, 82, 443]));
        assert_eq!(network.bind, Ports::These(vec![]));
        assert!(network.has_sockets() && !network.resolves);
        // Name resolution also uses TCP.
        assert_eq!(Network::new(&rules("", Some("*.org")), None).connect, Ports::These(vec![DNS]));
    }

    #[test]
    fn too_many_ports_become_any_port() {
        assert_eq!(Network::new(&rules("*:*", None), None).connect, Ports::Any);
        assert_eq!(Network::new(&rules("*:1-1024 *:2000", None), None).connect, Ports::Any);
        assert!(matches!(Network::new(&rules("*:1-1024", None), None).connect, Ports::These(_)));
    }

    #[test]
    fn sockets_require_a_network_rule() {
        assert!(Network::new(&NetworkRules::default(), None).has_sockets());
        assert!(!Network::new(&rules("", None), None).has_sockets());
        let metrics = Network::new(&rules("", None), Some(([127, 0, 0, 1], 9000).into()));
        assert!(metrics.has_sockets() && metrics.bind == Ports::These(vec![9000]));
    }
}
