%% What the process benchmarks run, as an Erlang programmer would write it: the name of a benchmark and how many
%% operations. Prints the nanoseconds that they took.
-module(actors).
-export([main/1]).

main([busy, Count]) ->
    busy(list_to_integer(atom_to_list(Count))),
    halt(0);
main([Name, Count]) ->
    N = list_to_integer(atom_to_list(Count)),
    Start = erlang:monotonic_time(nanosecond),
    run(Name, N),
    io:format("~w~n", [erlang:monotonic_time(nanosecond) - Start]),
    halt(0).

run(spawn, N) -> children(N);
run('ping-pong', N) ->
    Me = self(),
    requests(spawn(fun() -> echo(Me) end), N);
run(ring, N) ->
    Me = self(),
    Add = fun(_, Next) -> spawn(fun() -> pass(Next) end) end,
    First = lists:foldl(Add, Me, lists:seq(2, 1000)),
    First ! N,
    turn(First);
run('fan-in', N) ->
    Me = self(),
    Each = N div 100,
    [spawn(fun() -> send(Me, Each) end) || _ <- lists:seq(1, 100)],
    take(100 * Each).

children(0) -> ok;
children(N) ->
    Me = self(),
    spawn(fun() -> Me ! 1 end),
    receive _ -> children(N - 1) end.

echo(To) -> receive Message -> To ! Message, echo(To) end.

requests(_, 0) -> ok;
requests(Echo, N) ->
    Echo ! N,
    receive _ -> requests(Echo, N - 1) end.

pass(Next) -> receive Left -> Next ! max(Left - 1, 0), pass(Next) end.

turn(First) -> receive 0 -> ok; Left -> First ! Left - 1, turn(First) end.

send(_, 0) -> ok;
send(To, N) -> To ! N, send(To, N - 1).

take(0) -> ok;
take(N) -> receive _ -> take(N - 1) end.

%% With eight processes that never stop computing: how late sleeps of 5 ms end, and how long an echo takes. Prints the
%% median and the 99th percentile of each, in nanoseconds.
busy(N) ->
    Me = self(),
    [spawn(fun() -> spin(0) end) || _ <- lists:seq(1, 8)],
    Echo = spawn(fun() -> echo(Me) end),
    Late = [timed(fun() -> receive after 5 -> ok end end) - 5000000 || _ <- lists:seq(1, N)],
    Trips = [trip(Echo) || _ <- lists:seq(1, N)],
    io:format("~w ~w ~w ~w~n", percentiles(Late) ++ percentiles(Trips)).

spin(N) -> spin(N + 1).

trip(Echo) ->
    receive after 1 -> ok end,
    timed(fun() -> Echo ! 1, receive _ -> ok end end).

timed(Do) ->
    Start = erlang:monotonic_time(nanosecond),
    Do(),
    erlang:monotonic_time(nanosecond) - Start.

percentiles(Times) ->
    Sorted = lists:sort(Times),
    [lists:nth(length(Times) div 2 + 1, Sorted), lists:nth(length(Times) * 99 div 100 + 1, Sorted)].
