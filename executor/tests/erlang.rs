//! The same cases here and in Erlang, which defines these guarantees: a process must receive the same messages in the same order.
//! Without `escript` (Debian's `erlang-base`) the test is skipped.
//!
//! A trace lists what arrives: `m4` is a message with the tag 4, `x` the end of a linked process or an exit signal, `d` the end of
//! a monitored process. `x` and `d` are followed by 0 for a normal end, 3 for a kill, 6 for a process that does not exist, and 7
//! and a number for a reason. For an end through a link it is the first end's reason, which Erlang passes on as the reason, and we
//! as the cause. The cases avoid an intended difference: here, a normal end is not a message to linked processes.

mod common;

use std::io::Write;
use std::process::Command;

use common::{guest, run, workers};

/// A case: its name, its code as a guest, and its code in Erlang. The guest has `$child` (waits for a message, then ends with the
/// number in it as its reason), `$oldest` and `$youngest` (the ends of a chain of three linked processes, the last of which is
/// such a child) and `$end_of (pid)` (waits until a process is gone, without a monitor).
const CASES: &[(&str, &str, &str)] = &[
    (
        "a message sent before an exit arrives before it",
        "(call $tell (call $spawn (i64.const 4) (i32.const 1024) (i32.const 7)) (i64.const 5))",
        "P = spawn_link(fun talker/0), P ! 5",
    ),
    (
        "a monitor reports a normal exit",
        "(local.set $p (call $child)) (call $monitor (local.get $p)) (call $tell (local.get $p) (i64.const 0))",
        "P = spawn(fun child/0), monitor(process, P), P ! 0",
    ),
    (
        "a monitor reports a reason",
        "(local.set $p (call $child)) (call $monitor (local.get $p)) (call $tell (local.get $p) (i64.const 8))",
        "P = spawn(fun child/0), monitor(process, P), P ! 8",
    ),
    (
        "a link reports a kill",
        "(local.set $p (call $child)) (call $link (i64.const 4) (local.get $p)) (call $kill (local.get $p))",
        "P = spawn(fun child/0), link(P), exit(P, kill)",
    ),
    (
        "five links notify once",
        "(local.set $p (call $child)) (call $link (i64.const 1) (local.get $p)) (call $link (i64.const 2) (local.get $p))
         (call $link (i64.const 3) (local.get $p)) (call $kill (local.get $p))",
        "P = spawn(fun child/0), link(P), link(P), link(P), exit(P, kill)",
    ),
    (
        "three monitors notify three times",
        "(local.set $p (call $child)) (call $monitor (local.get $p)) (call $monitor (local.get $p))
         (call $monitor (local.get $p)) (call $kill (local.get $p))",
        "P = spawn(fun child/0), [monitor(process, P) || _ <- [1, 2, 3]], exit(P, kill)",
    ),
    (
        "a monitor of the dead",
        "(local.set $p (call $child)) (call $kill (local.get $p)) (call $end_of (local.get $p))
         (call $monitor (local.get $p))",
        "P = spawn(fun child/0), exit(P, kill), end_of(P), monitor(process, P)",
    ),
    (
        "a link to the dead",
        "(local.set $p (call $child)) (call $kill (local.get $p)) (call $end_of (local.get $p))
         (call $link (i64.const 4) (local.get $p))",
        "P = spawn(fun child/0), exit(P, kill), end_of(P), link(P)",
    ),
    (
        "what was unlinked is not told",
        "(local.set $p (call $child)) (call $link (i64.const 4) (local.get $p)) (call $unlink (local.get $p))
         (call $kill (local.get $p))",
        "P = spawn(fun child/0), link(P), unlink(P), exit(P, kill)",
    ),
    (
        "a monitor that was stopped and flushed is not told, another is",
        "(local.set $p (call $child)) (local.set $r (call $monitor_start (local.get $p)))
         (call $monitor (local.get $p)) (call $kill (local.get $p)) (call $end_of (local.get $p))
         (drop (call $wait (i64.const 9) (i64.const 1)))
         (drop (call $monitor_stop (local.get $p) (local.get $r) (i32.const 1)))",
        "P = spawn(fun child/0), R = monitor(process, P), monitor(process, P), exit(P, kill), end_of(P),
         receive nothing -> ok after 1 -> ok end, demonitor(R, [flush])",
    ),
    (
        "of two exit signals the first is the reason",
        "(local.set $p (call $child)) (call $monitor (local.get $p)) (call $exit_signal (local.get $p) (i64.const 1))
         (call $exit_signal (local.get $p) (i64.const 2)) (call $kill (local.get $p))",
        "P = spawn(fun child/0), monitor(process, P), exit(P, 1), exit(P, 2), exit(P, kill)",
    ),
    (
        "an exit signal of a normal end ends no other process",
        "(local.set $p (call $child)) (call $monitor (local.get $p)) (call $exit_signal (local.get $p) (i64.const 0))
         (call $tell (local.get $p) (i64.const 6))",
        "P = spawn(fun child/0), monitor(process, P), exit(P, normal), P ! 6",
    ),
    (
        "a reason is passed on along links",
        "(local.set $p (call $oldest)) (local.set $r (call $youngest)) (call $monitor (local.get $p))
         (call $tell (local.get $r) (i64.const 8))",
        "{P, Y} = chain(), monitor(process, P), Y ! 8",
    ),
    (
        "a kill is passed on along links, to one who traps it",
        "(local.set $p (call $oldest)) (local.set $r (call $youngest)) (call $link (i64.const 4) (local.get $p))
         (call $kill (local.get $r))",
        "{P, Y} = chain(), link(P), exit(Y, kill)",
    ),
    (
        "an exit signal is passed on along links, the other way",
        "(local.set $p (call $oldest)) (local.set $r (call $youngest)) (call $monitor (local.get $r))
         (call $exit_signal (local.get $p) (i64.const 4))",
        "{P, Y} = chain(), monitor(process, Y), exit(P, 4)",
    ),
    (
        "a normal end is not passed on, and what comes after it is another's",
        "(local.set $p (call $oldest)) (local.set $r (call $youngest)) (call $monitor (local.get $r))
         (call $tell (local.get $r) (i64.const 0)) (call $end_of (local.get $r)) (call $monitor (local.get $p))
         (call $exit_signal (local.get $p) (i64.const 5))",
        "{P, Y} = chain(), monitor(process, Y), Y ! 0, end_of(Y), monitor(process, P), exit(P, 5)",
    ),
    (
        "an exit signal to oneself, who traps it",
        "(call $exit_signal (call $me) (i64.const 3))",
        "exit(self(), 3)",
    ),
    (
        "what is sent after a kill is not done",
        "(local.set $p (call $child)) (call $monitor (local.get $p)) (call $kill (local.get $p))
         (call $tell (local.get $p) (i64.const 6))",
        "P = spawn(fun child/0), monitor(process, P), exit(P, kill), P ! 6",
    ),
    (
        "a selective receive leaves the others in place",
        "(call $send (call $me) (i64.const 1)) (call $send (call $me) (i64.const 2)) (call $send (call $me) (i64.const 3))
         (drop (call $wait (i64.const 2) (i64.const -1)))",
        "[self() ! {m, N} || N <- [1, 2, 3]], receive {m, 2} -> ok end",
    ),
    (
        "a late reply to an alias",
        "(local.set $r (call $alias_create (i32.const 0))) (call $create_data (i64.const 1) (i64.const 0))
         (call $alias_send (call $me) (local.get $r)) (drop (call $wait (i64.const 9) (i64.const 1)))
         (drop (call $alias_drop (local.get $r))) (call $create_data (i64.const 2) (i64.const 0))
         (call $alias_send (call $me) (local.get $r))",
        "A = alias(), A ! {m, 1}, receive nothing -> ok after 1 -> ok end, unalias(A), A ! {m, 2}",
    ),
    (
        "an alias for one reply",
        "(local.set $r (call $alias_create (i32.const 1))) (call $create_data (i64.const 1) (i64.const 0))
         (call $alias_send (call $me) (local.get $r)) (call $create_data (i64.const 2) (i64.const 0))
         (call $alias_send (call $me) (local.get $r))",
        "A = alias([reply]), reply(A, 1), reply(A, 2)",
    ),
    (
        "a timer that was cancelled, one that was not, and one for the dead",
        "(local.set $p (call $child)) (call $kill (local.get $p)) (call $end_of (local.get $p))
         (call $create_data (i64.const 1) (i64.const 0))
         (drop (call $timer_cancel (call $send_after (call $me) (i64.const 20))))
         (call $create_data (i64.const 2) (i64.const 0)) (drop (call $send_after (call $me) (i64.const 20)))
         (call $create_data (i64.const 3) (i64.const 0)) (drop (call $send_after (local.get $p) (i64.const 20)))",
        "P = spawn(fun child/0), exit(P, kill), end_of(P), erlang:cancel_timer(erlang:send_after(20, self(), {m, 1})),
         erlang:send_after(20, self(), {m, 2}), erlang:send_after(20, P, {m, 3})",
    ),
];

/// A trace is over when nothing has arrived for so long.
const SILENCE: u32 = 500;

fn here(case: &str) -> String {
    let outcome = run(
        workers(2),
        &guest(&format!(
            r#"
            (data (i32.const 1024) "talkerxchildoldestmiddle")
            (func $end (drop (call $wait (i64.const 0) (i64.const -1))) (call $exit_with (call $value)))
            (func (export "talkerx")
              (drop (call $wait (i64.const 0) (i64.const -1)))
              (i64.store (i32.const 2048) (call $value))
              (call $send (i64.const 1) (i64.const 9))
              (call $exit_with (i64.load (i32.const 2048))))
            (func (export "child") (call $end))
            (func (export "oldest")
              (drop (call $spawn (i64.const 1) (i32.const 1042) (i32.const 6)))
              (loop $forever (drop (call $wait (i64.const 0) (i64.const -1))) (br $forever)))
            (func (export "middle")
              (call $send_value (i64.const 1) (i64.const 9)
                (call $spawn (i64.const 1) (i32.const 1031) (i32.const 5)))
              (loop $forever (drop (call $wait (i64.const 0) (i64.const -1))) (br $forever)))
            (func $oldest (result i64) (call $spawn (i64.const 0) (i32.const 1036) (i32.const 6)))
            (func $youngest (result i64) (drop (call $wait (i64.const 9) (i64.const -1))) (call $value))
            (func $child (result i64) (call $spawn (i64.const 0) (i32.const 1031) (i32.const 5)))
            (func $tell (param i64 i64) (call $send_value (local.get 0) (i64.const 1) (local.get 1)))
            (func $end_of (param i64)
              (loop $again
                (if (call $exists (local.get 0)) (then (call $sleep (i64.const 1)) (br $again)))))
            (func $letter (param i32)
              (i32.store8 (i32.const 512) (local.get 0))
              (call $say (i32.const 512) (i32.const 1)))
            (func $digit (param i64) (call $letter (i32.add (i32.const 48) (i32.wrap_i64 (local.get 0)))))
            (func $death (param $letter i32)
              (call $letter (local.get $letter))
              (call $digit (i64.extend_i32_u (call $death_cause_kind)))
              (if (i32.eq (call $death_cause_kind) (i32.const 7)) (then (call $digit (call $death_cause_code)))))
            (func (export "_start") (local $p i64) (local $r i64) (local $kind i32)
              (call $die_when_link_dies (i32.const 0))
              {case}
              (loop $more
                (local.set $kind (call $wait (i64.const 0) (i64.const {SILENCE})))
                (if (i32.eqz (local.get $kind)) (then (call $letter (i32.const 109)) (call $digit (call $get_tag))))
                (if (i32.eq (local.get $kind) (i32.const 1)) (then (call $death (i32.const 120))))
                (if (i32.eq (local.get $kind) (i32.const 2)) (then (call $death (i32.const 100))))
                (br_if $more (i32.ne (local.get $kind) (i32.const 9027)))))"#
        )),
    );
    assert_eq!(outcome.status, 0, "{case}: {}", outcome.stderr);
    outcome.stdout
}

/// The traces in Erlang, one per case, or `None` without Erlang.
fn in_erlang() -> Option<Vec<String>> {
    let cases: Vec<_> = CASES.iter().map(|(_, _, erlang)| format!("fun() -> {erlang} end")).collect();
    let script = format!(
        r#"#!/usr/bin/env escript
-mode(compile).
main(_) ->
  logger:set_primary_config(level, none),
  [io:format("~s~n", [run(Case)]) || Case <- cases()].
run(Case) ->
  Me = self(),
  {{Pid, _}} = spawn_monitor(fun() -> process_flag(trap_exit, true), Case(), Me ! {{trace, trace()}} end),
  receive
    {{trace, Trace}} -> receive {{'DOWN', _, _, Pid, _}} -> Trace end;
    {{'DOWN', _, _, Pid, Reason}} -> io_lib:format("crashed: ~p", [Reason])
  after 60000 -> "hangs" end.
trace() -> receive Message -> [say(Message) | trace()] after {SILENCE} -> [] end.
say({{m, Tag}}) -> io_lib:format("m~p", [Tag]);
say({{'EXIT', _, Reason}}) -> ["x", why(Reason)];
say({{'DOWN', _, _, _, Reason}}) -> ["d", why(Reason)].
why(normal) -> "0";
why(killed) -> "3";
why(noproc) -> "6";
why(Reason) when is_integer(Reason) -> io_lib:format("7~p", [Reason]).
child() -> receive 0 -> ok; Reason -> exit(Reason) end.
forever() -> receive nothing -> ok end.
chain() ->
  Me = self(),
  Middle = fun() -> Me ! {{youngest, spawn_link(fun child/0)}}, forever() end,
  Oldest = spawn(fun() -> spawn_link(Middle), forever() end),
  receive {{youngest, Youngest}} -> {{Oldest, Youngest}} end.
talker() ->
  {{links, [Parent]}} = process_info(self(), links),
  receive Reason -> Parent ! {{m, 9}}, exit(Reason) end.
end_of(Pid) -> case is_process_alive(Pid) of true -> end_of(Pid); false -> ok end.
reply(Alias, Tag) -> Me = self(), spawn(fun() -> Alias ! {{m, Tag}}, Me ! sent end), receive sent -> ok end.
cases() -> [
{}
].
"#,
        cases.join(",\n")
    );
    let mut file = tempfile::Builder::new().suffix(".escript").tempfile().expect("a temporary file");
    file.write_all(script.as_bytes()).expect("it is writable");
    let output = Command::new("escript").arg(file.path()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Some(said.lines().map(ToOwned::to_owned).collect())
}

#[test]
fn processes_receive_the_same_as_in_erlang() {
    let Some(expected) = in_erlang() else {
        common::skip("there is no escript to compare with (Debian: erlang-base)");
        return;
    };
    assert_eq!(expected.len(), CASES.len());
    for ((name, case, _), expected) in CASES.iter().zip(expected) {
        println!("{name}: {expected:?}");
        assert_eq!(here(case), expected, "{name}");
    }
}
