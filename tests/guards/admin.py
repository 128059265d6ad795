"""Guards of the admin functions over HTTP."""

from __future__ import annotations

from guards.source import rows

HTTP = "tests/test_http_admin.py::"
NO_QUERY = HTTP + "TestConnections::test_what_is_no_query"
NO_ORDER = HTTP + "TestDisconnect::test_what_is_no_order"

ROWS = [
    *rows(
        "http_admin",
        {
            "": [
                (
                    'limited("valtronics_fast.http_admin.questions")',
                    '__import__("logging").getLogger("valtronics_fast.http_admin.questions")',
                    "TestLog::test_orders_are_logged_without_a_limit_and_questions_are_not",
                ),
            ],
            "AdminRoutes._answer": [
                (
                    "await self._guard.authorise_admin(request)",
                    "self._guard.administrator",
                    "TestAuthorisation::test_nobody_else",
                ),
                ("except Exception", "()", "TestLog::test_a_fault_of_the_server_is_logged_with_who_met_it"),
            ],
            "AdminRoutes._explain": [
                ("except ValueError", "()", "TestExplain::test_what_is_no_question"),
                ("answer is None", "False", "TestExplain::test_what_is_no_question"),
            ],
            "AdminRoutes._show": [
                ("not rows", "False", "TestConnections::test_none"),
            ],
            "AdminRoutes._close_one": [
                ("not number", "False", "test_number_0_is_nobody"),
                ("not closed and not silent", "False", "TestConnections::test_none"),
            ],
            "AdminRoutes._close_user": [
                (
                    'self._read(request, MAX_BODY, f"an order may have {MAX_BODY} bytes")',
                    'self._read(request, 0, "")',
                    "TestDisconnect::test_an_order_is_short",
                ),
                ("except (msgspec.DecodeError, UnicodeDecodeError)", "()", NO_ORDER),
            ],
            "AdminRoutes._rebalance": [
                (
                    'self._read(request, MAX_BODY, f"an order may have {MAX_BODY} bytes")',
                    'self._read(request, 0, "")',
                    "TestRebalance::test_an_order_is_short",
                ),
                ("except BusyError", "()", "TestRebalance::test_one_at_a_time"),
            ],
        },
    ),
    *rows(
        "http_connections",
        {
            "": [
                ('f"[0-9]{{1,{MAX_DIGITS}}}"', '"[0-9]+"', HTTP + "TestConnections::test_none"),
                (
                    "msgspec.Meta(min_length=1, max_length=MAX_SUBJECT_BYTES)",
                    "msgspec.Meta(min_length=1)",
                    NO_ORDER,
                ),
                ("msgspec.Meta(min_length=1, max_length=MAX_REASON)", "msgspec.Meta(min_length=1)", NO_ORDER),
            ],
            "Listing": [
                ("msgspec.Meta(ge=1, le=MAX_LIMIT)", "msgspec.Meta(ge=1)", NO_QUERY),
                ("msgspec.Meta(ge=1, le=MAX_LIMIT)", "msgspec.Meta(le=MAX_LIMIT)", NO_QUERY),
            ],
            "parameters": [
                ("len(set(given)) != len(given)", "False", NO_QUERY),
                ("except msgspec.ValidationError", "()", NO_QUERY),
            ],
            "_numbers": [
                ("limit.isascii()", "True", NO_QUERY),
                ("limit.isdecimal()", "True", NO_QUERY),
                ("len(limit) <= MAX_DIGITS", "True", HTTP + "TestConnections::test_a_limit_of_thousands_of_digits"),
            ],
            "query_of": [
                ("found is None", "False", NO_QUERY),
            ],
            "number_of": [
                ("not re.fullmatch(NUMBER, digits)", "False", HTTP + "TestConnections::test_none"),
            ],
            "_address": [
                ("address is None", "False", NO_QUERY),
            ],
        },
    ),
    *rows(
        "inspection",
        {
            "Inspector.rows": [
                ("count % TOLD_A_TURN == 0", "False", "test_others_get_their_turns_while_many_are_told_of"),
            ],
            "Inspector.disconnect": [
                ("count % CLOSED_A_TURN == 0", "False", "test_others_get_their_turns_while_many_are_closed"),
            ],
            "Inspector._find": [
                ("time.monotonic() + SLICE", 'float("inf")', "test_others_get_their_turns_during_a_search"),
                (
                    "self._searching",
                    "__import__('contextlib').AsyncExitStack()",
                    "test_there_is_one_search_at_a_time",
                ),
            ],
        },
    ),
]
