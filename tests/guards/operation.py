"""Guards of a server's life: how it ends and moves its clients, its memory, its sockets, and settings while it runs."""

from __future__ import annotations

from guards.source import rows

DRAIN = "tests/integration/test_drain.py::"
PASSED = "tests/integration/test_socket_activation.py::"
DRAINING = "tests/test_draining.py::"

ROWS = [
    *rows(
        "server",
        {
            "Server.start": [
                ("self._started", "False", "test_it_is_started_once"),
            ],
            "Server._http_config": [
                (
                    "msgspec.structs.replace(self.config.http, host=self.http_host)",
                    "self.config.http",
                    PASSED + "test_an_http_socket_that_others_can_reach_hides_the_figures",
                ),
            ],
            "Server._stop": [
                ("self.rebalancer.stop()", "None", DRAINING + "test_one_at_a_time_and_none_during_a_drain"),
                (
                    "self._gate.open = False",
                    "pass",
                    DRAIN + "test_who_has_begun_a_handshake_before_does_not_get_in_behind_it",
                ),
            ],
            "Server.reload": [
                ("self._started", "True", "tests/test_reloading.py::test_before_the_start_there_is_nothing_to_reload"),
            ],
        },
    ),
    *rows(
        "draining",
        {
            "let_go": [
                ("clients.close(code, patience + 1)", "clients.close(code, 3600.0)", "test_who_does_not_go_is_cut"),
            ],
            "Rebalancer._refuse_busy": [
                ("self._stopped", "False", "test_one_at_a_time_and_none_during_a_drain"),
                (
                    "self._closing is not None and not self._closing.done()",
                    "False",
                    "test_one_at_a_time_and_none_during_a_drain",
                ),
            ],
            "close_evenly": [
                (
                    "wait > 0 or number % _CLOSED_A_TURN == _CLOSED_A_TURN - 1",
                    "wait > 0",
                    "test_the_loop_goes_on_while_many_are_closed_at_once",
                ),
                (
                    "session.queued_bytes",
                    "False",
                    DRAIN + "test_what_waits_for_a_slow_reader_goes_out_ahead_of_its_close",
                ),
            ],
            "_close_when_read": [
                (
                    "asyncio.get_running_loop().time() < deadline",
                    "True",
                    DRAIN + "test_a_reader_that_does_not_go_on_is_not_waited_for",
                ),
            ],
        },
    ),
    *rows(
        "http_inflight",
        {
            "InFlight.request": [
                ("self._open", "True", "test_requests_are_waited_for"),
            ],
            "InFlight.stream": [
                ("self._open", "True", "test_one_that_has_not_begun_to_read_is_not_let_read"),
                ("scope.expired()", "True", "test_a_timeout_of_its_own_stays_one"),
            ],
            "InFlight.end": [
                ("scope.reschedule(asyncio.get_running_loop().time())", "None", "test_a_stream_is_broken_off"),
                ("asyncio.timeout(patience)", "asyncio.timeout(None)", "test_but_not_for_ever"),
            ],
        },
    ),
    *rows(
        "http_rebalance",
        {
            "Order": [
                ("msgspec.Meta(gt=0, le=1)", "msgspec.Meta()", "test_what_is_none_is_told"),
                ("msgspec.Meta(ge=1, multiple_of=1)", "msgspec.Meta(multiple_of=1)", "test_what_is_none_is_told"),
                ("msgspec.Meta(ge=1, multiple_of=1)", "msgspec.Meta(ge=1)", "test_what_is_none_is_told"),
                ("msgspec.Meta(ge=0, le=MAX_SECONDS)", "msgspec.Meta(ge=0)", "test_what_is_none_is_told"),
                ("msgspec.Meta(ge=0, le=MAX_SECONDS)", "msgspec.Meta(le=MAX_SECONDS)", "test_what_is_none_is_told"),
            ],
            "parse_order": [
                ("except (msgspec.DecodeError, UnicodeDecodeError)", "()", "test_what_is_none_is_told"),
                ("order is None", "False", "test_what_is_none_is_told"),
                ("(order.fraction is UNSET) == (order.count is UNSET)", "False", "test_what_is_none_is_told"),
            ],
        },
    ),
    *rows(
        "hub_setup",
        {
            "make_hub": [
                ("INPUT_A_TURN", "0.0", "test_the_hub_has_the_bounds_of_the_settings"),
                ("config.limits.publication_size", "0", "test_the_hub_has_the_bounds_of_the_settings"),
                ("config.limits.all_queues", "0", "test_the_hub_has_the_bounds_of_the_settings"),
                ("config.history.messages", "0", "test_the_hub_has_the_bounds_of_the_settings"),
                ("config.history.size", "0", "test_the_hub_has_the_bounds_of_the_settings"),
                ("config.history.latest_size", "0", "test_the_hub_has_the_bounds_of_the_settings"),
            ],
        },
    ),
    *rows(
        "memory_limit",
        {
            "resident": [
                ("except OSError", "()", "test_a_system_that_does_not_tell"),
            ],
            "MemoryLimit.look": [
                (
                    "self.limit * RELIEVED if self.exceeded else self.limit",
                    "self.limit",
                    "test_what_is_done_above_the_limit_and_below_it_again",
                ),
                ("exceeded and self._shed()", "False", "test_what_is_done_above_the_limit_and_below_it_again"),
                ("exceeded == self.exceeded", "False", "test_what_is_done_above_the_limit_and_below_it_again"),
                ("self._refuse(exceeded)", "None", "test_what_is_done_above_the_limit_and_below_it_again"),
            ],
        },
    ),
    *rows(
        "inherited",
        {
            "inherit": [
                ("number and name in found", "False", "test_faults_of_what_systemd_passes"),
                ("raise ConfigError(problems)", "pass", "test_what_is_no_listening_socket_is_told"),
            ],
            "public_host": [
                ("is_loopback(host)", "False", "test_who_can_reach_them"),
            ],
            "_passed_by_systemd": [
                (
                    'variables["LISTEN_PID"] != str(os.getpid())',
                    "False",
                    "test_what_systemd_gave_to_another_process_is_not_ours",
                ),
                ("environ.pop(name, None)", "None", "test_from_systemd_by_name"),
                ("count.isascii()", "True", "test_faults_of_what_systemd_passes"),
                ("count.isdecimal()", "True", "test_faults_of_what_systemd_passes"),
                ("len(names) != int(count)", "False", "test_faults_of_what_systemd_passes"),
                ("name in _SETTINGS", "True", "test_faults_of_what_systemd_passes"),
            ],
            "_adopt": [
                ("except OSError", "()", "test_what_is_no_listening_socket_is_told"),
                (
                    "sock.family not in {socket.AF_INET, socket.AF_INET6}",
                    "False",
                    "test_what_is_no_listening_socket_is_told",
                ),
                (
                    "sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)",
                    "True",
                    "test_what_is_no_listening_socket_is_told",
                ),
                ("sock.set_inheritable(False)", "None", "test_by_number"),
            ],
        },
    ),
    *rows(
        "reloading",
        {
            "prepare_reload": [
                ("secret_made_up", "True", "test_a_secret_that_was_made_up_stays_until_there_is_a_key"),
                ("find_conflicts(config, lambda _: True)", "()", "test_every_fault_is_told"),
                (
                    "[tls.fault] if tls.fault else []",
                    "[]",
                    "tests/test_tls.py::test_a_bad_one_is_told_and_the_old_one_stays",
                ),
                ("if problems: raise ConfigError(problems)", "pass", "test_every_fault_is_told"),
            ],
            "_fetch_keys": [
                (
                    'authenticator.stats()["jwks_keys"]',
                    "True",
                    "test_a_key_set_that_can_not_be_fetched_is_not_taken",
                ),
            ],
        },
    ),
]
