//! `lunatic::ext::network`: what children may do in the network.
//!
//! Lunatic has no such permission: a new configuration allows what its creator may do. The kinds are 0 to connect and
//! send datagrams, 1 to listen and bind, 2 to look names up. All functions trap on an unknown configuration or kind.

use std::sync::Arc;

use crate::Capable;
use crate::declare::{CALL, Host, func, limits};
use lunatic_core::Fault;
use lunatic_core::ProcessData;
use lunatic_net::{AddressRule, MAX_RULES, NetworkRules, Policy};

use crate::Guest;
use crate::charge;
use crate::charge_for_config;
use crate::memory::parts;

const MODULE: &str = "lunatic::ext::network";

const CONNECT: u32 = 0;
const BIND: u32 = 1;
const RESOLVE: u32 = 2;

/// Results of [`allow`].
const ALLOWED: u32 = 0;
const NO_RULE: u32 = 1;

pub(super) fn register(host: &mut Host) {
    func!(host, MODULE, "restrict", CALL, restrict);
    func!(host, MODULE, "allow", CALL.range(2, limits::RULE, "a rule"), allow);
}

/// Returns the rules that belong to this configuration alone.
fn rules(data: &mut ProcessData, config: u64) -> Result<&mut NetworkRules, Fault> {
    let parent = data.process.config().caps().network.clone();
    let config = data.config_mut(config)?;
    if Arc::ptr_eq(&config.caps().network, &parent) {
        config.caps_mut().network = Arc::new(parent.below().map_err(Fault::host)?);
    }
    // The policy is shared with children that were spawned meanwhile, which keep their rules.
    Ok(Policy::rules_mut(Arc::make_mut(&mut config.caps_mut().network)))
}

/// From now on, the configuration allows only what rules of this kind allow.
fn restrict(guest: &mut Guest<'_>, config: u64, kind: u32) -> Result<(), Fault> {
    charge_for_config(guest, config);
    charge(guest, 0);
    let rules = rules(guest.data_mut(), config)?;
    match kind {
        CONNECT => rules.connect = Some(Vec::new()),
        BIND => rules.bind = Some(Vec::new()),
        RESOLVE => rules.resolve = Some(Vec::new()),
        other => return Err(Fault::Unknown { kind: "kind of networking", id: other.into() }),
    }
    Ok(())
}

/// Adds a rule, such as `10.0.0.0/8:80` or `*.example.com`. The first rule of a kind restricts the kind. What the
/// caller may not do stays forbidden. Returns 0, or 1 if the text is no rule.
fn allow(guest: &mut Guest<'_>, config: u64, kind: u32, rule: u32, rule_len: u32) -> Result<u32, Fault> {
    charge(guest, rule_len.into());
    charge_for_config(guest, config);
    let (memory, data) = parts(guest)?;
    let rule = memory.str(rule, rule_len)?.to_owned();
    data.config_mut(config)?.take_text(rule.len())?;
    let rules = rules(data, config)?;
    let is_rule = match kind {
        CONNECT => add(rules.connect.get_or_insert_default(), rule.parse::<AddressRule>())?,
        BIND => add(rules.bind.get_or_insert_default(), rule.parse::<AddressRule>())?,
        RESOLVE => add(rules.resolve.get_or_insert_default(), rule.parse())?,
        other => return Err(Fault::Unknown { kind: "kind of networking", id: other.into() }),
    };
    Ok(if is_rule { ALLOWED } else { NO_RULE })
}

/// Adds a rule, if the text is one.
fn add<R, E>(rules: &mut Vec<R>, rule: Result<R, E>) -> Result<bool, Fault> {
    let Ok(rule) = rule else { return Ok(false) };
    if rules.len() >= MAX_RULES {
        return Err(Fault::TooMany("network rules"));
    }
    rules.push(rule);
    Ok(true)
}
