"""Guards of what the logs answer, or do not answer: the bus of the supervisor, Redis, NATS."""

from __future__ import annotations

from guards.source import rows

_REDIS = "tests/backplanes/test_redis_log_silent.py::"
_CLOSED = "tests/backplanes/test_redis_log_closed.py::"
_NATS = "tests/backplanes/test_nats_log_silent.py::"
_POOL = (
    'redis.asyncio.BlockingConnectionPool.from_url(f"{url}?{options}", username=address.user, '
    "password=address.password, max_connections=CONNECTIONS, timeout=TIMEOUT, socket_timeout=%s, "
    "socket_connect_timeout=TIMEOUT, protocol=2, retry=Retry(NoBackoff(), 0))"
)

ROWS = [
    *rows(
        "backplanes.bus_log",
        {
            "BusLog.announce": [
                ("not self._open", "False", "test_closing_ends_what_waits_and_may_be_done_twice"),
            ],
            "BusLog._read": [
                ("found > last", "False", "test_what_was_dropped_between_two_pieces_shows_too"),
                ("floor = found", "floor = 0", "test_what_was_dropped_shows_in_the_floor"),
            ],
            "BusLog._ask": [
                ("TIMEOUT", "3600.0", "test_a_supervisor_that_does_not_answer"),
                ("except TimeoutError", "()", "test_a_supervisor_that_does_not_answer"),
            ],
            "BusLog._call": [
                (
                    "not self._open",
                    "False",
                    "test_closing_ends_what_waits_and_may_be_done_twice",
                ),
                ("except LinkError", "()", "test_the_end_of_the_supervisor_is_the_loss_of_the_log"),
            ],
        },
    ),
    *rows(
        "backplanes.redis_log",
        {
            "RedisLog.close": [
                ("TIMEOUT", "3600.0", _REDIS + "test_a_connection_that_does_not_end_is_left_behind"),
            ],
            "RedisLog.sync": [
                ("TIMEOUT", "3600.0", _REDIS + "test_a_mark_that_does_not_come_back"),
                ("except TimeoutError", "()", _REDIS + "test_a_mark_that_does_not_come_back"),
                ("self._syncs.pop(number, None)", "None", _REDIS + "test_a_mark_that_does_not_come_back"),
            ],
            "RedisLog.read": [
                ("MAX_READ", "1 << 40", "test_no_more_is_read_at_a_time_than_that"),
                ("after - LONGEST", "after", "test_what_is_kept_can_be_read"),
            ],
            "RedisLog._redis": [
                ("self._client is None", "False", "test_nothing_works_that_is_not_open"),
            ],
            "RedisLog._call": [
                (
                    "except (RedisError, OSError, TimeoutError, AttributeError, RuntimeError)",
                    "(OSError, TimeoutError, AttributeError, RuntimeError)",
                    "test_keys_that_are_something_else_are_an_error",
                ),
                (
                    "except (RedisError, OSError, TimeoutError, AttributeError, RuntimeError)",
                    "(RedisError, OSError, TimeoutError)",
                    _CLOSED + "test_a_transport_that_was_closed_under_it_is_a_loss_of_the_log",
                ),
            ],
            "RedisLog._subscribe": [
                ("self._connection is None", "False", "test_nothing_works_that_is_not_open"),
                (
                    "not self._connection.is_connected",
                    "False",
                    _REDIS + "test_a_subscription_is_for_the_connection_that_there_was",
                ),
                ("TIMEOUT", "3600.0", _REDIS + "test_subscriptions_that_are_not_answered"),
                ("except TimeoutError", "()", _REDIS + "test_subscriptions_that_are_not_answered"),
            ],
            "RedisLog._read": [
                ("except Exception", "()", "test_what_cannot_be_read_ends_the_connection"),
            ],
            "RedisLog._change": [
                (
                    'kind == b"sunsubscribe"',
                    "False",
                    _REDIS + "test_a_subscription_that_redis_has_ended_is_the_loss_of_the_log",
                ),
            ],
            "_kept": [
                ("isinstance(answer, Exception)", "False", "test_keys_that_are_something_else_are_an_error"),
                (
                    "0 if is_whole or not first else int(first[0][0].split(b'-')[0]) - 1",
                    "0",
                    "test_what_was_cut_off_is_told",
                ),
                ("len(found) == MAX_READ", "False", "test_no_more_is_read_at_a_time_than_that"),
            ],
        },
    ),
    *rows(
        "backplanes.redis_servers",
        {
            "_client": [
                (_POOL % "TIMEOUT", _POOL % "None", _REDIS + "test_commands_that_are_not_answered"),
            ],
            "_ask_sentinels": [
                (
                    '{"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, "protocol": 2}',
                    '{"socket_timeout": None, "socket_connect_timeout": None, "protocol": 2}',
                    _REDIS + "test_sentinels_that_do_not_answer",
                ),
                ("Retry(NoBackoff(), 0)", "Retry(NoBackoff(), 5)", _REDIS + "test_sentinels_that_do_not_answer"),
            ],
        },
    ),
    *rows(
        "backplanes.nats_log",
        {
            "NatsLog.open": [
                ("TIMEOUT", "3600.0", _NATS + "test_what_is_not_answered"),
                (
                    "found == epoch and (info.state.last_seq + 1) * SPAN <= position",
                    "False",
                    "test_what_was_stored_outlives_the_server",
                ),
            ],
            "NatsLog.follow": [
                ("TIMEOUT", "3600.0", _NATS + "test_what_is_not_answered"),
            ],
            "NatsLog.unfollow": [
                ("TIMEOUT", "3600.0", _NATS + "test_what_is_not_answered"),
            ],
            "NatsLog.sync": [
                ("TIMEOUT", "3600.0", _NATS + "test_a_mark_that_does_not_come_back"),
                ("except TimeoutError", "()", _NATS + "test_a_mark_that_does_not_come_back"),
                ("self._syncs.pop(number, None)", "None", _NATS + "test_a_mark_that_does_not_come_back"),
            ],
            "NatsLog.read": [
                ("entries[0].offset - 1 if is_cut else 0", "0", "test_what_is_kept_can_be_read"),
            ],
            "NatsLog._read": [
                ("TIMEOUT", "3600.0", _NATS + "test_a_lane_that_does_not_come"),
                ("except TimeoutError", "()", _NATS + "test_a_lane_that_does_not_come"),
                ("del self._readings[name.encode()]", "pass", _NATS + "test_a_lane_that_does_not_come"),
            ],
            "NatsLog._nats": [
                ("self._client is None", "False", "test_nothing_works_that_is_not_open"),
            ],
            "NatsLog._store": [
                ("TIMEOUT", "3600.0", _NATS + "test_what_is_not_answered"),
                ("except TimeoutError", "()", _NATS + "test_what_is_not_answered"),
            ],
            "NatsLog._take": [
                ("except Exception", "()", _NATS + "test_what_cannot_be_read_is_the_loss_of_the_log"),
            ],
            "NatsLog._hand_on": [
                ("subject.startswith(self._stored)", "True", "test_what_is_kept_can_be_read"),
            ],
            "NatsLog._answered": [
                ("not data", "False", "test_what_is_not_stored_is_an_error"),
                ("answer.error is not None", "False", _NATS + "test_what_the_stream_refuses_is_an_error"),
            ],
        },
    ),
    *rows(
        "backplanes.nats_servers",
        {
            "call": [
                (
                    "except (NatsError, OSError, TimeoutError, ValueError, AttributeError)",
                    "()",
                    "tests/backplanes/test_nats_log.py::test_what_is_not_stored_is_an_error",
                ),
            ],
            "connect": [
                (
                    "asyncio.timeout(TIMEOUT)",
                    "asyncio.timeout(None)",
                    _NATS + "test_a_server_that_is_not_heard_of_any_more_while_connecting",
                ),
                (
                    "except (LogError, TimeoutError)",
                    "()",
                    _NATS + "test_a_server_that_is_not_heard_of_any_more_while_connecting",
                ),
            ],
            "end": [
                ("TIMEOUT", "3600.0", _NATS + "test_a_connection_that_does_not_end_is_left_behind"),
            ],
            "find_stream": [
                ("except NotFoundError", "()", _NATS + "test_a_stream_that_cannot_be_made_is_an_error"),
            ],
            "_info": [
                ("except (NatsError, OSError, TimeoutError)", "()", "test_without_jetstream_there_is_no_log"),
            ],
        },
    ),
]
