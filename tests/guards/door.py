"""Guards of the door: from a request head to a WebSocket."""

from __future__ import annotations

from guards.source import rows

ROWS = [
    *rows(
        "handshake",
        {
            "Request": [
                ("query: str = field(repr=False)", "query: str", "test_nothing_secret_is_shown"),
                (
                    "headers: Mapping[str, Sequence[str]] = field(repr=False)",
                    "headers: Mapping[str, Sequence[str]]",
                    "test_nothing_secret_is_shown",
                ),
            ],
            "Upgrade": [
                ("token: str | None = field(repr=False)", "token: str | None", "test_nothing_secret_is_shown"),
            ],
            "parse_request": [
                ("len(head) > MAX_HEAD", "False", "test_size_limits_are_exact"),
                ("len(lines) - 1 > MAX_HEADERS", "False", "test_size_limits_are_exact"),
                ("line is None", "False", "test_syntax"),
                ('line[3] != "1.1"', "False", "test_syntax"),
                ("_TARGET.fullmatch(line[2]) is None", "False", "test_syntax"),
                ('len(headers.get("host", ())) != 1', "False", "test_syntax"),
                ('len(headers.get("origin", ())) > 1', "False", "test_syntax"),
            ],
            "check_request": [
                (
                    'request.path != HEALTH_PATH and request.path.removesuffix("/") not in ENDPOINTS',
                    "False",
                    "test_other_paths_are_not_found",
                ),
                ('request.path.removesuffix("/") not in ENDPOINTS', "False", "test_other_paths_are_not_found"),
                ('request.method != "GET"', "False", "test_method"),
                ('"transfer-encoding" in headers', "False", "test_body"),
                ('any(size.strip("0") for size in headers.get("content-length", ()))', "False", "test_body"),
            ],
            "negotiate": [
                ('"websocket" not in _words(headers, "upgrade")', "False", "test_upgrade"),
                ('"upgrade" not in _words(headers, "connection")', "False", "test_upgrade"),
                ('headers.get("sec-websocket-version") != ["13"]', "False", "test_version"),
                ("len(keys) != 1", "False", "test_key"),
                ("_KEY.fullmatch(keys[0]) is None", "False", "test_key"),
                ('policy.require_origin and "origin" not in headers', "False", "test_an_origin_may_be_required"),
                ('all(policy.origins.allow(origin) for origin in headers.get("origin", ()))', "True", "test_origin"),
                (
                    "policy.compression",
                    "True",
                    "tests/integration/test_compression.py::test_it_is_off_unless_it_is_turned_on",
                ),
            ],
            "check_scope": [
                ("upgrade.channel is not None and not grant.channels >> upgrade.channel & 1", "False", "test_scope"),
            ],
            "_parse_headers": [
                ("field is None", "False", "test_syntax"),
                ('all(_DIGITS.fullmatch(size) for size in headers.get("content-length", ()))', "True", "test_syntax"),
            ],
            "_find_token": [
                ("in_query and not policy.query_token", "False", "test_a_token_in_the_query_must_be_allowed"),
                ('scheme.lower() == "bearer"', "True", "test_token"),
                ("len(tokens) > 1", "False", "test_two_tokens"),
            ],
        },
    ),
    *rows(
        "front",
        {
            "Front.__init__": [
                (
                    "reception.now() + reception.timeout",
                    'float("inf")',
                    "tests/test_reception.py::test_row_9_a_head_that_does_not_end",
                ),
            ],
            "Front.connection_made": [
                (
                    "self._address == UNKNOWN_ADDRESS",
                    "False",
                    "tests/test_reception.py::test_who_is_gone_before_the_address_is_read_counts_for_nobody[plain]",
                ),
            ],
            "Front.get_buffer": [
                (
                    'self._reception.scratch[: MAX_RECEIVED - len(self._received or b"")]',
                    "self._reception.scratch",
                    "test_a_head_that_is_too_large_after_a_slow_start",
                ),
            ],
            "Front.buffer_updated": [
                ("self._refuse_banned()", "False", "tests/test_front_bans.py::test_malformed_requests_ban"),
                ("len(received) == MAX_RECEIVED", "False", "test_refused"),
            ],
            "Front.connection_lost": [
                ("self._leave()", "None", "tests/test_reception.py::test_refusals_leave_nothing_behind"),
            ],
            "Front.expire": [
                (
                    "self._state == _READING and self._received",
                    "False",
                    "tests/test_reception.py::test_row_9_a_head_that_does_not_end",
                ),
                ("self.drop(Reason.IDLE)", "None", "tests/test_reception.py::test_row_9_a_head_that_does_not_end"),
                ("self._granting is not None", "False", "tests/test_front_tokens.py::test_a_token_that_takes_too_long"),
                ("self._granting.cancel()", "None", "tests/test_front_tokens.py::test_a_token_that_takes_too_long"),
                ("self._abort()", "None", "tests/test_reception.py::test_a_close_cannot_hang"),
            ],
            "Front.drop": [
                ("self._state != _CLOSING", "True", "tests/test_reception.py::test_close_drops_those_who_wait"),
            ],
            "Front._judge": [
                ('head.startswith(b"HEAD ")', "False", "test_row_11_head_has_no_body"),
                (
                    "self._forwarded",
                    "True",
                    (
                        "tests/test_entrance.py::"
                        "t"
                        "e"
                        "s"
                        "t_headers_of_http_count_when_the_header_names_a_trusted_proxy_and_never_when_it_names_nobody"
                    ),
                ),
                (
                    "self._refuse_banned()",
                    "False",
                    "tests/test_front_bans.py::test_behind_a_trusted_proxy_the_client_is_banned_and_not_the_proxy",
                ),
                ("check_request(request)", "None", "test_refused"),
                (
                    "refusal := reception.gate.refuse_early(upgrade, self._address)",
                    "False",
                    "test_row_14_mapped_addresses_and_networks_are_one_source",
                ),
                ("except Exception", "()", "test_refused"),
                (
                    "reception.now() + reception.timeout",
                    'float("inf")',
                    "tests/test_front_tokens.py::test_a_token_that_takes_too_long",
                ),
                (
                    "self._transport.pause_reading()",
                    "None",
                    "tests/test_front_tokens.py::test_a_token_that_takes_time_is_granted",
                ),
            ],
            "Front._on_granted": [
                (
                    "self._state != _DECIDING or self._transport.is_closing()",
                    "False",
                    "tests/test_front_tokens.py::test_a_dropped_client_cancels_the_judging_of_its_token",
                ),
                (
                    "self._refuse(Refusal(Reason.AUTH_TIMEOUT, retry_after=1))",
                    "None",
                    "tests/test_front_tokens.py::test_a_token_that_takes_too_long",
                ),
                ("failure is not None", "False", "tests/test_front_tokens.py::test_a_token_that_takes_time_is_refused"),
            ],
            "Front._conclude": [
                ("check_scope(upgrade, grant)", "None", "test_refused"),
                ("except Exception", "()", "test_refused"),
            ],
            "Front._refuse_banned": [
                (
                    "self._refuse(Refusal(Reason.BANNED, retry_after=seconds))",
                    "None",
                    "tests/test_front_bans.py::test_a_banned_address_is_told_at_its_first_byte",
                ),
            ],
            "Front._answer": [
                (
                    "self._reception.now() + CLOSE_TIMEOUT",
                    'float("inf")',
                    "tests/test_reception.py::test_a_close_cannot_hang",
                ),
            ],
            "Front._discard": [
                (
                    "self._discarded > MAX_DISCARDED",
                    "False",
                    "tests/test_reception.py::test_a_refused_client_may_not_send_for_ever",
                ),
            ],
            "Front._leave": [
                (
                    "self._granting.cancel()",
                    "None",
                    "tests/test_front_tokens.py::test_a_dropped_client_cancels_the_judging_of_its_token",
                ),
            ],
        },
    ),
    *rows(
        "reception",
        {
            "Reception.settle": [
                ("self.now() < end", "True", "test_those_who_do_not_finish_their_handshake_are_not_waited_for"),
                ("SETTLE_TIMEOUT", "3600.0", "test_those_who_do_not_finish_their_handshake_are_not_waited_for"),
            ],
            "Reception.close": [
                ("each.drop(Reason.SHUTTING_DOWN)", "None", "test_close_drops_those_who_wait"),
            ],
            "Reception.enter": [
                ("len(self._half_open) >= MAX_HALF_OPEN", "False", "test_the_oldest_makes_room"),
            ],
            "Reception.leave": [
                ("self._half_open.pop(stranger, None)", "None", "test_row_10_tls_handshake_that_does_not_end"),
            ],
            "Reception.count": [
                ("reason in _SUSPICIONS", "False", "tests/test_front_bans.py::test_malformed_requests_ban"),
                ("reason is not Reason.BANNED", "True", "tests/test_front_bans.py::test_a_ban_is_not_logged_again"),
                (
                    "path[:MAX_PATH]",
                    "path",
                    "tests/test_front.py::test_one_line_is_logged_and_it_is_escaped",
                ),
            ],
            "Reception.explain": [
                ("isinstance(error, AuthError)", "False", "test_refusals_leave_nothing_behind"),
            ],
            "Reception._sweep": [
                ("each.deadline <= now", "False", "test_row_10_tls_handshake_that_does_not_end"),
            ],
        },
    ),
    *rows(
        "gate",
        {
            "ServerGate.reload": [
                (
                    "self._rate != (rate, size)",
                    "True",
                    "test_other_limits_hold_from_then_on_and_what_was_counted_stays",
                ),
                (
                    "Rate(TLS_FACTOR * rate.count, rate.seconds)",
                    "Rate(0, rate.seconds)",
                    "test_tls_handshakes_have_a_higher_rate_than_connections",
                ),
            ],
            "ServerGate.permits_tls": [
                (
                    "self._spare_loopback and is_loopback(address)",
                    "is_loopback(address)",
                    "test_loopback_in_a_demo_may_begin_as_many_handshakes_as_it_likes",
                ),
                (
                    "not self._tls.take(rate_key(address), time.monotonic())",
                    "True",
                    "test_tls_handshakes_have_a_higher_rate_than_connections",
                ),
            ],
            "ServerGate.refuse_early": [
                ("self.open", "True", "test_who_comes_to_a_gate_that_is_shut_is_not_counted"),
                (
                    "self._spare_loopback and is_loopback(address)",
                    "is_loopback(address)",
                    "test_otherwise_loopback_is_a_source_like_any_other",
                ),
                (
                    "if wait: return Refusal(Reason.ADDRESS_RATE, retry_after=wait)",
                    "pass",
                    "test_a_demo_counts_everybody_else",
                ),
                ("self._refuse_full()", "None", "test_a_full_server_says_when_to_come_again"),
            ],
            "ServerGate.open_session": [
                ("refusal := self._refuse_full()", "False", "test_others_may_be_faster_while_a_token_is_verified"),
                (
                    "grant is not None and not self._clients.has_room(grant.user)",
                    "False",
                    "test_a_user_without_room_is_told_so_before_the_upgrade",
                ),
                (
                    "self._clients.room.enter(self._connections)",
                    "True",
                    "tests/integration/test_limits.py::test_1000_connections_in_all",
                ),
            ],
            "ServerGate._refuse_full": [
                ("self.open", "True", "test_nobody_gets_in_when_the_gate_is_shut"),
                ("self._held", "False", "test_nobody_gets_in_while_the_process_is_short_of_memory"),
                (
                    "self._clients.room.is_full(self._connections)",
                    "False",
                    "test_a_full_server_says_when_to_come_again",
                ),
            ],
        },
    ),
    *rows(
        "extensions",
        {
            "_offers": [
                ("range(MAX_OFFERS)", "iter(int, 1)", "test_so_many_offers_are_looked_at_and_no_more"),
            ],
            "_accept": [
                ("name in seen", "False", "test_an_offer_that_is_declined"),
                ("if value is not None: return None", "pass", "test_an_offer_that_is_declined"),
                ("value is None", "False", "test_an_offer_that_is_declined"),
                (
                    "value is None or not _BITS.fullmatch(value) or int(value) < MIN_BITS",
                    "value is None or int(value) < MIN_BITS",
                    "test_an_offer_that_is_declined",
                ),
                ("int(value) < MIN_BITS", "False", "test_an_offer_that_is_accepted"),
                ('name == "client_max_window_bits"', "True", "test_an_offer_that_is_declined"),
                ("value is not None and not _BITS.fullmatch(value)", "False", "test_an_offer_that_is_declined"),
            ],
        },
    ),
    *rows(
        "websocket",
        {
            "PendingWebSocket.__init__": [
                ("max_frame_size", "2**31 - 1", "test_a_frame_over_its_bound_is_refused_at_its_header"),
            ],
            "PendingWebSocket._feed": [
                ("self._transport.is_closing()", "False", "test_what_is_left_is_not_given_to_a_closed_connection"),
                (
                    "self._protocol.transport.is_close_frame_sent",
                    "False",
                    "test_nothing_behind_a_violation_right_behind_the_request",
                ),
            ],
        },
    ),
]
