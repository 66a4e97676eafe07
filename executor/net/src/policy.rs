//! Rules for where processes may connect and listen, and which names they may look up.
//!
//! A configuration has its parent's policy, or one of its own below that. All policies on the way up must allow an
//! action, so a child can never do more than its parent, whatever rules it has.
//!
//! Addresses are compared by what they reach: `::ffff:10.0.0.1` is `10.0.0.1`, and connecting to `0.0.0.0` is
//! connecting to this machine.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

/// Policies that may lie below each other. Every attempt asks all of them.
const MAX_DEPTH: u32 = 64;

/// Rules of one kind in a policy.
pub const MAX_RULES: usize = 1024;

/// Rules for each kind of action. `None` allows everything; otherwise one of the rules must allow the action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkRules {
    /// Destinations of connections and datagrams.
    pub connect: Option<Vec<AddressRule>>,
    /// Addresses to listen at, and to send datagrams from.
    pub bind: Option<Vec<AddressRule>>,
    /// Names to look up.
    pub resolve: Option<Vec<NameRule>>,
}

/// Addresses and ports: `10.0.0.0/8:80`, `127.0.0.1:8000-8999`, `[2001:db8::]/32:*`, `*:443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRule {
    /// A network and the number of its significant bits; `None` for all addresses.
    network: Option<(IpAddr, u8)>,
    ports: RangeInclusive<u16>,
}

/// Names: `example.com`, `*.example.com` (the names below it), `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRule(String);

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(&'static str);

/// An action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Connecting to an address, or sending to it.
    Connect(SocketAddr),
    /// Listening at an address.
    Bind(SocketAddr),
    /// Looking up a name, without the port.
    Resolve(&'a str),
}

/// A policy. See the module documentation.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    parent: Option<Arc<Policy>>,
    depth: u32,
    rules: NetworkRules,
}

/// Network policies are nested too deeply: at most 64 may lie below each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("network policies are nested too deeply: at most {MAX_DEPTH} may lie beneath each other")]
pub struct Nested;

impl Policy {
    /// Creates the policy of the first process.
    pub fn of_first(rules: NetworkRules) -> Policy {
        Policy { parent: None, depth: 0, rules }
    }

    /// Creates a policy below this one that allows as much.
    ///
    /// # Errors
    /// Returns [`Nested`] if there are too many above it.
    pub fn below(self: &Arc<Self>) -> Result<Policy, Nested> {
        if self.depth == MAX_DEPTH {
            return Err(Nested);
        }
        Ok(Policy { parent: Some(self.clone()), depth: self.depth + 1, rules: NetworkRules::default() })
    }

    /// Returns the rules of this policy, to be changed.
    pub fn rules_mut(&mut self) -> &mut NetworkRules {
        &mut self.rules
    }

    /// Returns an error if an action is not allowed.
    pub fn check(&self, action: Action<'_>) -> io::Result<()> {
        if self.allows(action) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("this process is not allowed to {action}"),
        ))
    }

    fn allows(&self, action: Action<'_>) -> bool {
        let mut policy = self;
        loop {
            if !policy.rules.allow(action) {
                return false;
            }
            match &policy.parent {
                Some(parent) => policy = parent,
                None => return true,
            }
        }
    }
}

impl NetworkRules {
    fn allow(&self, action: Action<'_>) -> bool {
        let among = |rules: &Option<Vec<AddressRule>>, address| {
            rules.as_ref().is_none_or(|rules| rules.iter().any(|rule| rule.contains(address)))
        };
        match action {
            Action::Connect(address) => among(&self.connect, reached(address)),
            Action::Bind(address) => among(&self.bind, address),
            Action::Resolve(name) => {
                self.resolve.as_ref().is_none_or(|rules| rules.iter().any(|rule| rule.contains(name)))
            }
        }
    }
}

/// Returns what is reached by connecting to an address.
fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, address.port())
}

impl AddressRule {
    /// Returns the ports that the rule allows, of whatever addresses. For the jail.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn ports(&self) -> RangeInclusive<u16> {
        self.ports.clone()
    }

    fn contains(&self, address: SocketAddr) -> bool {
        self.ports.contains(&address.port())
            && self.network.is_none_or(|(network, bits)| is_in(address.ip().to_canonical(), network, bits))
    }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let different = address.to_bits() ^ network.to_bits();
            different.checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let different = address.to_bits() ^ network.to_bits();
            different.checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

impl NameRule {
    fn contains(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        match self.0.strip_prefix('*') {
            Some("") => true,
            Some(suffix) => {
                name.len() > suffix.len()
                    && name.is_char_boundary(name.len() - suffix.len())
                    && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
            }
            None => name.eq_ignore_ascii_case(&self.0),
        }
    }
}

impl FromStr for AddressRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<AddressRule, RuleError> {
        let (network, ports) = text
            .rsplit_once(':')
            .ok_or(RuleError("a rule is an address, a colon and ports, such as *:80"))?;
        Ok(AddressRule { network: parse_network(network)?, ports: parse_ports(ports)? })
    }
}

fn parse_network(text: &str) -> Result<Option<(IpAddr, u8)>, RuleError> {
    if text == "*" {
        return Ok(None);
    }
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    const WRONG: RuleError = RuleError("a network is *, 10.0.0.1, 10.0.0.0/8, [::1] or [2001:db8::]/32");
    let address = match address.strip_prefix('[') {
        Some(rest) => IpAddr::V6(rest.strip_suffix(']').and_then(|text| text.parse().ok()).ok_or(WRONG)?),
        None => IpAddr::V4(address.parse().map_err(|_| WRONG)?),
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| WRONG))?;
    if bits > most { Err(WRONG) } else { Ok(Some((address, bits))) }
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, RuleError> {
    const WRONG: RuleError = RuleError("ports are *, a number, or a range such as 8000-8999");
    if text == "*" {
        return Ok(0..=u16::MAX);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().map_err(|_| WRONG)?, last.parse().map_err(|_| WRONG)?);
    if first > last { Err(WRONG) } else { Ok(first..=last) }
}

impl FromStr for NameRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<NameRule, RuleError> {
        let rest = text.strip_prefix("*.").unwrap_or(if text == "*" { "" } else { text });
        if rest.contains('*') || (rest.is_empty() && text != "*") {
            return Err(RuleError("a name is example.com, *.example.com or *"));
        }
        Ok(NameRule(text.to_owned()))
    }
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Connect(address) => write!(f, "connect to {address}"),
            Action::Bind(address) => write!(f, "bind {address}"),
            Action::Resolve(name) => write!(f, "look up {name:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[&str]) -> Option<Vec<AddressRule>> {
        Some(rules.iter().map(|rule| rule.parse().unwrap()).collect())
    }

    fn connects(policy: &Policy, address: &str) -> bool {
        policy.check(Action::Connect(address.parse().unwrap())).is_ok()
    }

    #[test]
    fn rules_allow_networks_and_ports() {
        let policy = Policy::of_first(NetworkRules {
            connect: rules(&["10.0.0.0/8:80", "127.0.0.1:8000-8999", "[2001:db8::]/32:*", "*:443"]),
            ..NetworkRules::default()
        });
        for allowed in ["10.1.2.3:80", "127.0.0.1:8000", "127.0.0.1:8999", "[2001:db8:1::2]:7", "9.9.9.9:443"]
        {
            assert!(connects(&policy, allowed), "{allowed}");
        }
        for denied in ["11.0.0.1:80", "10.1.2.3:81", "127.0.0.1:9000", "127.0.0.2:8000", "[2001:db9::]:7"] {
            assert!(!connects(&policy, denied), "{denied}");
        }
        // The same destinations by other names.
        assert!(connects(&policy, "[::ffff:10.1.2.3]:80") && connects(&policy, "0.0.0.0:8500"));
        assert!(!connects(&policy, "[::ffff:11.1.2.3]:80"));
        let everywhere =
            Policy::of_first(NetworkRules { connect: rules(&["0.0.0.0/0:*"]), ..Default::default() });
        assert!(connects(&everywhere, "1.2.3.4:5") && !connects(&everywhere, "[::1]:5"));
    }

    #[test]
    fn names_are_compared_as_the_system_does() {
        let policy = Policy::of_first(NetworkRules {
            resolve: Some(vec!["example.com".parse().unwrap(), "*.example.org".parse().unwrap()]),
            ..NetworkRules::default()
        });
        let resolves = |name| policy.check(Action::Resolve(name)).is_ok();
        assert!(resolves("EXAMPLE.com") && resolves("example.com.") && resolves("a.b.Example.org"));
        for denied in ["www.example.com", "example.org", "notexample.org", ".example.org.evil", "é.org", ""]
        {
            assert!(!resolves(denied), "{denied}");
        }
    }

    #[test]
    fn a_policy_below_another_is_never_wider() {
        let parent = Arc::new(Policy::of_first(NetworkRules {
            connect: rules(&["10.0.0.0/8:*"]),
            ..NetworkRules::default()
        }));
        let mut child = parent.below().unwrap();
        assert!(connects(&child, "10.0.0.1:1") && !connects(&child, "11.0.0.1:1"));
        child.rules_mut().connect = rules(&["*:80"]);
        assert!(connects(&child, "10.0.0.1:80"));
        assert!(!connects(&child, "11.0.0.1:80") && !connects(&child, "10.0.0.1:81"));
        let mut deepest = Arc::new(child);
        while let Ok(next) = deepest.below() {
            deepest = Arc::new(next);
        }
        assert!(deepest.depth == MAX_DEPTH && connects(&deepest, "10.0.0.1:80"));
    }

    #[test]
    fn malformed_rules_are_refused() {
        for text in [
            "",
            "80",
            "10.0.0.1",
            "10.0.0.1:",
            "10.0.0/8:1",
            "10.0.0.0/33:1",
            "::1:80",
            "[::1]/129:1",
            "*:2-1",
        ] {
            assert!(text.parse::<AddressRule>().is_err(), "{text}");
        }
        for text in ["", "*.", "a.*.b", "**"] {
            assert!(text.parse::<NameRule>().is_err(), "{text}");
        }
    }
}
