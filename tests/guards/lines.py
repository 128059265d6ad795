"""Guards of what strangers can cause in a log or on a terminal, and of the clients' own bounds."""

from __future__ import annotations

from guards.source import rows

ROWS = [
    *rows(
        "room",
        {
            "OwnRoom.enter": [("self.is_full(limit)", "False", "test_connections_in_all")],
            "OwnRoom.join": [("0 < limit <= self.users[user]", "False", "test_connections_of_a_user")],
            "part": [("not users[user]", "False", "test_connections_of_a_user")],
            "reported": [
                ("len(users) <= MAX_REPORTED", "True", "test_others_are_told_of_those_with_most_connections"),
                ("len(several) > MAX_REPORTED", "False", "test_others_are_told_of_those_with_most_connections"),
                (
                    "Counter(several).most_common(MAX_REPORTED)",
                    "several",
                    "test_others_are_told_of_those_with_most_connections",
                ),
                (
                    "islice(ones, MAX_REPORTED - len(several))",
                    "ones",
                    "test_others_are_told_of_those_with_most_connections",
                ),
            ],
        },
    ),
    *rows(
        "clients",
        {
            "": [
                (
                    'limited("valtronics_fast.clients.complaints")',
                    'logging.getLogger("valtronics_fast.clients.complaints")',
                    "test_what_clients_report_is_logged_in_part_and_not_without_end",
                ),
            ],
            "Clients.has_room": [
                (
                    "self.room.connections_of(user) + self._elsewhere(user) < limit",
                    "True",
                    "tests/test_gate.py::test_a_user_without_room_is_told_so_before_the_upgrade",
                ),
            ],
            "Clients.verify": [
                (
                    "except AuthError",
                    "()",
                    "tests/integration/test_bans.py::test_three_of_them_ban_one_address_everywhere",
                ),
            ],
            "Clients._verify_later": [
                ("except AuthError", "()", "test_when_it_fails_they_are_refused"),
            ],
            "Clients._count_failure": [
                (
                    "error.reason not in HONEST_FAILURES",
                    "False",
                    "tests/integration/test_bans.py::test_three_of_them_ban_one_address_everywhere",
                ),
            ],
            "Clients.close": [
                (
                    "asyncio.timeout(patience)",
                    "asyncio.timeout(None)",
                    "test_who_does_not_go_is_cut_when_the_patience_is_over",
                ),
                ("except TimeoutError", "()", "test_who_does_not_go_is_cut_when_the_patience_is_over"),
            ],
            "Clients._stop_tasks": [
                ("task.cancel()", "None", "test_stopping_does_not_wait_for_keys"),
            ],
            "Clients.closed": [
                (
                    "self.room.part(session.user)",
                    "None",
                    "test_a_user_takes_no_memory_when_all_of_its_connections_are_gone",
                ),
                (
                    "session.close_code in _SUSPICIONS and not session.closed_by_peer",
                    "False",
                    "tests/integration/test_bans.py::test_three_of_them_ban_one_address_everywhere",
                ),
                (
                    "not session.closed_by_peer",
                    "True",
                    (
                        "tests/integration/test_bans.py::"
                        "test_a_code_that_the_client_closes_with_is_no_violation_of_its_own"
                    ),
                ),
            ],
            "Clients.join": [
                (
                    "self.room.join(user, left)",
                    "True",
                    "tests/integration/test_limits.py::test_100_connections_of_a_user",
                ),
            ],
            "Clients.authenticate": [
                (
                    "except AuthError",
                    "()",
                    "tests/integration/test_authentication.py::test_a_bad_token_is_answered_with_a_constant_text",
                ),
            ],
            "Clients._finish": [
                ("except AuthError", "()", "test_when_it_fails_they_are_refused"),
            ],
            "Clients.reported": [
                (
                    '_TOKEN.sub("***", orjson.dumps(report).decode())[:MAX_REPORT]',
                    '_TOKEN.sub("***", orjson.dumps(report).decode())',
                    "test_what_clients_report_is_logged_in_part_and_not_without_end",
                ),
                (
                    '_TOKEN.sub("***", orjson.dumps(report).decode())',
                    "orjson.dumps(report).decode()",
                    "test_no_token_that_a_client_reports_is_logged",
                ),
            ],
        },
    ),
    *rows(
        "display",
        {
            "_text": [
                (
                    'escape(text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…")',
                    'text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"',
                    "test_nothing_from_the_wire_reaches_the_terminal_as_it_is",
                ),
                ('text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"', "text", "test_long_texts_are_cut"),
            ],
        },
    ),
    *rows(
        "logging",
        {
            "escape": [
                ("_UNSAFE.sub(_escape_one, text)", "text", "test_escapes"),
            ],
            "_cut": [
                ("len(text) <= MAX_TEXT", "True", "test_long_texts_are_cut"),
            ],
            "_scalar": [
                ("-(2**63) <= value < 2**63", "True", "test_values_in_json"),
                ("_cut(str(value))", "str(value)", "test_long_texts_are_cut"),
            ],
            "_LineFormatter._trace": [
                ("escape(_cut(line))", "_cut(line)", "test_a_traceback_is_indented_in_text"),
                ("escape(_cut(line))", "escape(line)", "test_a_traceback_is_bounded"),
                ("lines[-MAX_TRACE_LINES:]", "lines", "test_a_traceback_is_bounded"),
            ],
            "TextFormatter.format": [
                (
                    "escape(_cut(record.getMessage()))",
                    "_cut(record.getMessage())",
                    "test_no_value_ends_or_rewrites_a_line",
                ),
                ("escape(_cut(record.getMessage()))", "escape(record.getMessage())", "test_long_texts_are_cut"),
            ],
            "_quote": [
                ("_BARE.fullmatch(value)", "True", "test_values_in_text"),
                ("_UNSAFE.search(value)", "False", "test_no_value_ends_or_rewrites_a_line"),
            ],
            "JsonFormatter.format": [
                (
                    "escape(_cut(record.getMessage()))",
                    "_cut(record.getMessage())",
                    "test_no_value_ends_or_rewrites_a_line",
                ),
                ("escape(_cut(record.getMessage()))", "escape(record.getMessage())", "test_long_texts_are_cut"),
                ('f"{key}_" if key in line else key', "key", "test_a_field_does_not_replace_what_every_line_has"),
                (
                    "escape(value) if isinstance(value, str) else value",
                    "value",
                    "test_no_value_ends_or_rewrites_a_line",
                ),
            ],
            "RateLimitFilter.filter": [
                (
                    'str(getattr(record, "limit_key", None) or record.msg)[:MAX_TEXT]',
                    'str(getattr(record, "limit_key", None) or record.msg)',
                    "tests/test_logging_limited.py::test_the_table_is_bounded",
                ),
                (
                    'getattr(record, "limit_key", None) or record.msg',
                    "record.msg",
                    "tests/test_logging_limited.py::test_keys_are_counted_apart",
                ),
                (
                    "key not in self._windows and len(self._windows) >= self._keys",
                    "False",
                    "tests/test_logging_limited.py::test_new_keys_never_buy_more_lines",
                ),
                (
                    "window.counts[0] < self._lines",
                    "True",
                    "tests/test_logging_limited.py::test_lines_beyond_the_limit_are_suppressed_and_told_once",
                ),
            ],
            "RateLimitFilter._end_windows": [
                (
                    "self._windows[key].start > latest_start",
                    "True",
                    "tests/test_logging_limited.py::test_lines_beyond_the_limit_are_suppressed_and_told_once",
                ),
            ],
            "setup": [
                ("max(least, logging.WARNING)", "least", "test_libraries_log_no_details_at_any_level"),
            ],
        },
    ),
    *rows(
        "quiet_logger",
        {
            "QuietLogger.isEnabledFor": [
                ("level >= logging.WARNING", "True", "test_lines_a_connection_are_left_out"),
            ],
        },
    ),
]
