//! The guarantees of `docs/guarantees.md` on real threads: every scenario runs on one, two and four workers, with the default slice
//! and with a short one, which ends in more places.

mod common;

use std::collections::BTreeSet;

use common::scenarios::{Scenario, all};
use common::{run, workers};
use lunatic_executor::RuntimeConfig;

/// The rows of the list of guarantees that hold today.
const ROWS: std::ops::RangeInclusive<u8> = 1..=39;

/// The reductions of a short slice, which ends in the middle of what the scenarios do.
const SHORT: u64 = 1000;

/// Runs a scenario, which has to succeed.
fn holds(name: &str) {
    let scenario =
        all().into_iter().find(|scenario| scenario.name == name).expect("there is such a scenario");
    for (count, slice) in [(1, SHORT), (2, RuntimeConfig::default().slice), (4, SHORT)] {
        let config = workers(count).slice(slice);
        let outcome = run(config, &scenario.text(scenario.rounds));
        assert_eq!(outcome.status, 0, "{count} workers: {}{}", outcome.stdout, outcome.stderr);
    }
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test] fn $name() { holds(stringify!($name)); })*
        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

scenarios! {
    guarantee_01_signals_between_two_processes_keep_their_order
    guarantee_02_no_order_is_promised_across_senders
    guarantee_03_a_message_sent_before_an_exit_arrives_before_it
    guarantee_04_a_message_sent_after_a_kill_is_never_processed
    guarantee_05_sending_to_a_dead_process_is_no_error
    guarantee_06_receive_order_is_arrival_order
    guarantee_07_selective_receive_leaves_the_others_in_place
    guarantee_08_a_timeout_of_0_polls
    guarantee_09_a_timeout_consumes_nothing
    guarantee_10_a_request_considers_only_later_messages
    guarantee_11_spawning_with_a_link_is_atomic
    guarantee_12_a_link_is_bidirectional
    guarantee_12_and_15_concurrent_linking_and_unlinking_leaves_a_whole_link_or_none
    guarantee_13_linking_again_is_idempotent
    guarantee_14_linking_to_a_dead_process_notifies_the_caller
    guarantee_15_after_unlink_a_death_sends_no_message
    guarantee_15_after_unlink_a_death_ends_no_process
    guarantee_16_an_abnormal_exit_kills_the_linked
    guarantee_17_a_normal_exit_kills_no_process
    guarantee_18_a_process_that_traps_exits_gets_a_message_and_survives
    guarantee_19_exits_propagate_along_chains
    guarantee_20_and_21_a_kill_cannot_be_trapped_but_its_notification_can
    guarantee_22_of_two_exits_the_first_wins
    guarantee_23_an_exit_racing_a_timeout_is_safe
    guarantee_24_a_monitor_is_one_way
    guarantee_25_exactly_one_death_per_monitor
    guarantee_26_monitoring_a_dead_process_notifies_the_caller
    guarantee_27_after_stop_monitoring_no_death_message_arrives
    guarantee_03_a_message_sent_before_an_exit_signal_arrives_before_it
    guarantee_18_and_20_an_exit_signal_can_be_trapped_and_a_kill_cannot
    guarantee_22_of_two_exit_signals_the_first_is_the_reason
    guarantee_27_a_stopped_monitor_is_silent_and_the_others_are_not
    guarantee_28_a_death_carries_its_reason
    guarantee_28_a_death_through_a_link_names_its_cause
    guarantee_19_and_28_the_first_cause_is_passed_on_along_a_chain
    guarantee_29_and_30_names_are_free_when_a_death_is_seen
    guarantee_29_a_place_is_free_when_a_death_is_seen
    guarantee_31_of_many_processes_that_race_for_a_name_one_spawns
    guarantee_32_a_pid_is_not_reused
    guarantee_34_a_timer_is_never_early
    guarantee_35_a_timer_fires_or_is_cancelled
    guarantee_33_a_late_reply_to_an_alias_is_not_delivered
    guarantee_35_cancelling_returns_the_remaining_time_or_that_it_fired
    guarantee_36_a_timer_to_a_dead_process_is_harmless
    guarantee_37_spinners_do_not_starve_an_echo
    guarantee_38_no_shared_state
    guarantee_39_a_memory_limit_ends_only_the_offender
}

#[test]
fn every_scenario_is_a_test_and_every_row_has_one() {
    let all = all();
    let names: BTreeSet<_> = all.iter().map(|scenario| scenario.name).collect();
    assert_eq!(names.len(), all.len(), "names are unique");
    assert_eq!(names, TESTED.iter().copied().collect());
    let rows: BTreeSet<_> = all.iter().flat_map(|scenario| scenario.rows.iter().copied()).collect();
    assert_eq!(rows, ROWS.collect());
}

/// A scenario that cannot fail proves nothing: each traps if a different message arrives.
#[test]
fn a_scenario_that_does_not_hold_fails() {
    let broken = Scenario {
        rows: &[],
        name: "broken",
        rounds: 1,
        body: r#"(func (export "_start") (call $send (call $me) (i64.const 2)) (call $expect (i64.const 1)))"#,
    };
    assert_eq!(run(workers(1), &broken.text(1)).status, 134);
}
