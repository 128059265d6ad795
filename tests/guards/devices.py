"""Guards of what a broker and its publishers send."""

from __future__ import annotations

from guards.source import rows

ROWS = [
    *rows(
        "producers.mapping",
        {
            "decode": [
                ("except JSONDecodeError", "()", "test_bad_telemetry"),
            ],
            "decode_object": [
                ("type(fields) is not dict", "False", "test_bad_telemetry"),
            ],
            "settle_timestamp": [
                ("except ValueError", "()", "test_bad_telemetry"),
            ],
            "read_metrics": [
                ("type(metrics) is not list", "False", "test_bad_telemetry"),
                ("type(metrics) is not list or not metrics", "type(metrics) is not list", "test_bad_telemetry"),
            ],
            "read_value": [
                ("type(value) is list", "False", "test_bad_single_metric"),
            ],
            "map_value": [
                ('fields.pop("name", None)', "None", "test_the_topic_names_the_metric_whatever_the_payload_says"),
                (
                    'not metric or "value" not in fields',
                    '"value" not in fields',
                    "test_a_metric_needs_a_name_in_the_topic",
                ),
                ('"value" not in fields', "False", "test_bad_single_metric"),
            ],
            "map_telemetry": [
                ("type(fields) is not dict", "False", "test_bad_telemetry"),
                ("type(name) is not str", "False", "test_bad_telemetry"),
                (
                    'type(name) is not str or not name or "value" not in fields',
                    'type(name) is not str or "value" not in fields',
                    "test_bad_telemetry",
                ),
                ('"value" not in fields', "False", "test_bad_telemetry"),
            ],
            "map_status": [
                ("status = state", "status = status or state", "test_a_status_named_by_the_topic"),
                ("type(status) is not str", "False", "test_bad_status"),
                ("type(status) is not str or not status", "type(status) is not str", "test_bad_status"),
                ("metadata is not None and type(metadata) is not dict", "False", "test_bad_status"),
                ("type(metadata) is not dict", "False", "test_bad_status"),
            ],
            "map_alert": [
                ('message.pop("channel", None)', "None", "test_an_alert"),
                (
                    'message["severity"] = severity',
                    'message.setdefault("severity", severity)',
                    "test_an_alert_of_the_platform_has_no_device",
                ),
                ('type(message.get("severity")) is not str', "False", "test_bad_alert"),
                ('message["severity"]', "True", "test_bad_alert"),
                ('message["device_id"] = device', 'message.setdefault("device_id", device)', "test_an_alert"),
            ],
            "Rule.__init__": [
                (
                    'len(places) != sum(level.startswith("{") for level in levels)',
                    "False",
                    "tests/producers/test_mapping_topics.py::test_bad_rules",
                ),
                (
                    (
                        "if places:\n    allowed = '{device}' if detail is None else f'{{device}} and "
                        '{{{detail}}}\'\n    raise ValueError(f\'"{text}": {", ".join(places)}: the placeholders of '
                        "{kind} are {allowed}')"
                    ),
                    "pass",
                    "tests/producers/test_mapping_topics.py::test_bad_rules",
                ),
                (
                    'self.device_at is None and kind != "alert"',
                    "False",
                    "tests/producers/test_mapping_topics.py::test_bad_rules",
                ),
            ],
            "TopicMap._find_route": [
                ("rule is None", "False", "tests/producers/test_mapping_topics.py::test_topics_that_nobody_takes"),
                ("except ValueError", "()", "tests/producers/test_mapping_topics.py::test_bad_devices"),
                (
                    "len(topic) <= MAX_KEPT_TOPIC",
                    "True",
                    "tests/producers/test_mapping_topics.py::test_long_topics_are_not_remembered",
                ),
                (
                    "len(self._routes) >= MAX_ROUTES",
                    "False",
                    "tests/producers/test_mapping_topics.py::test_the_memory_for_topics_is_bounded",
                ),
            ],
            "split_rule": [
                ("not pattern", "False", "tests/producers/test_mapping_topics.py::test_bad_rules"),
                ("kind not in KINDS", "False", "tests/producers/test_mapping_topics.py::test_bad_rules"),
                (
                    'level != "+" and not re.fullmatch(r"\\{[a-z]+\\}|[^+#{}\\x00]*", level)',
                    "False",
                    "tests/producers/test_mapping_topics.py::test_bad_rules",
                ),
            ],
            "covers": [
                (
                    'narrow[0].startswith("$") and wide[0] in {"+", "#"}',
                    "False",
                    "tests/producers/test_mapping_topics.py::test_covers",
                ),
                ("at >= len(narrow)", "False", "tests/producers/test_mapping_topics.py::test_covers"),
                ('narrow[at] == "#"', "False", "tests/producers/test_mapping_topics.py::test_covers"),
                (
                    'level not in {"+", narrow[at]}',
                    "False",
                    "tests/producers/test_mapping_topics.py::test_the_platforms_filters",
                ),
            ],
            "compile_topics": [
                ("other is not None", "False", "tests/producers/test_mapping_topics.py::test_bad_rules"),
                ("not filters", "False", "tests/producers/test_mapping_topics.py::test_bad_rules"),
            ],
        },
    ),
    *rows(
        "producers.mqtt",
        {
            "": [
                (
                    "limited(f'{__name__}.rejections', lines=1, period=10.0)",
                    "logging.getLogger(f'{__name__}.rejections')",
                    "test_bad_messages_are_counted_and_logged_with_a_limit",
                ),
                (
                    'logging.getLogger("gmqtt").setLevel(logging.CRITICAL)',
                    "None",
                    "tests/producers/test_mqtt_inbound.py::test_the_others_are_left_to_gmqtt",
                ),
            ],
            "MqttProducer._stay_connecting": [
                (
                    "await self._leadership.gained()",
                    "None",
                    "tests/producers/test_mqtt_cluster.py::test_who_does_not_lead_does_not_connect",
                ),
                (
                    "except Exception",
                    "()",
                    "tests/producers/test_mqtt_connection.py::test_whatever_a_library_raises_it_is_tried_again",
                ),
                (
                    "inbound.stop(CLOSE_TIMEOUT)",
                    "inbound.stop(3600.0)",
                    "tests/producers/test_mqtt_cluster.py::test_what_is_not_carried_on_does_not_hold_up_the_end",
                ),
                (
                    "min(pause * 2, LAST_PAUSE)",
                    "pause * 2",
                    "tests/producers/test_mqtt_connection.py::test_pauses_grow_from_half_a_second_to_thirty",
                ),
            ],
            "MqttProducer._new_client": [
                ("MAX_PACKET", "2**28", "test_the_broker_leaves_out_what_is_too_large"),
                (
                    "RECEIVE_MAXIMUM",
                    "65535",
                    "tests/producers/test_mqtt_connection.py::test_what_the_broker_is_told_of_the_session",
                ),
            ],
            "MqttProducer._stay_connected": [
                (
                    "ssl.create_default_context()",
                    "ssl._create_unverified_context()",
                    "tests/producers/test_mqtt_connection.py::test_tls",
                ),
                ("KEEP_ALIVE", "3600", "tests/producers/test_mqtt_connection.py::test_a_broker_that_hangs"),
                ("CONNECT_TIMEOUT", "3600", "tests/producers/test_mqtt_connection.py::test_a_broker_that_hangs"),
                (
                    'if not lost.done(): raise TimeoutError("no answer")',
                    "pass",
                    "tests/producers/test_mqtt_connection.py::test_a_broker_that_hangs",
                ),
            ],
            "MqttProducer._stay_connected.on_disconnect": [
                (
                    "self._cluster.election.resign(ROLE)",
                    "None",
                    "tests/producers/test_mqtt_cluster.py::test_who_is_replaced_at_the_broker_resigns",
                ),
            ],
            "MqttProducer._close": [
                (
                    "asyncio.timeout(CLOSE_TIMEOUT)",
                    "asyncio.timeout(None)",
                    "tests/producers/test_mqtt_connection.py::test_a_connection_that_does_not_end_is_left_behind",
                ),
            ],
            "MqttProducer._on_subscribe": [
                (
                    "code >= 128",
                    "False",
                    "tests/producers/test_mqtt_connection.py::test_a_refused_subscription_is_told",
                ),
            ],
            "MqttProducer._on_message": [
                ("isinstance(topic, bytes)", "False", "test_bad_messages_are_counted_and_logged_with_a_limit"),
            ],
            "MqttProducer._take": [
                ("except MappingError", "()", "test_bad_messages_are_counted_and_logged_with_a_limit"),
                ("except PublicationError", "()", "test_bad_messages_are_counted_and_logged_with_a_limit"),
                ("except Exception", "()", "test_bad_messages_are_counted_and_logged_with_a_limit"),
            ],
            "MqttProducer._publish_event": [
                (
                    "if retained:\n    self._skipped += 1\n    return",
                    "pass",
                    "test_retained_messages_are_the_state_and_no_events",
                ),
                (
                    'retained and (kind == "heartbeat" or old == status)',
                    "False",
                    "test_retained_messages_are_the_state_and_no_events",
                ),
            ],
        },
    ),
    *rows(
        "producers.mqtt_inbound",
        {
            "Inbound.stop": [
                (
                    "asyncio.timeout(patience)",
                    "asyncio.timeout(None)",
                    "test_at_the_end_what_was_not_carried_on_stays_with_the_broker",
                ),
                (
                    "not self._outlet.congested()",
                    "True",
                    "test_at_the_end_what_was_not_carried_on_stays_with_the_broker",
                ),
                (
                    "if not carried_on: return",
                    "pass",
                    "test_at_the_end_what_was_not_carried_on_stays_with_the_broker",
                ),
            ],
            "Inbound._on_packet": [
                (
                    "self._stopped",
                    "False",
                    "test_stopping_acknowledges_what_was_taken_and_takes_nothing_more",
                ),
                (
                    "self._may_take is not None and not self._may_take()",
                    "False",
                    "test_what_may_not_be_taken_stays_with_the_broker",
                ),
                ("flags & QOS_2", "False", "test_what_comes_with_qos_2_although_it_was_not_asked_for_is_left_to_gmqtt"),
                ("end == 2", "False", "test_a_packet_that_is_cut_off_is_neither"),
                (
                    "flags & QOS_2 or end == 2 or begin > len(packet)",
                    "flags & QOS_2 or end == 2",
                    "test_a_packet_that_is_cut_off_is_neither",
                ),
                (
                    "size > 127 or begin > len(packet)",
                    "size > 127",
                    "test_a_packet_that_is_cut_off_is_neither",
                ),
                ("size > 127", "False", "test_the_others_are_left_to_gmqtt"),
                ("packet[begin]", "False", "test_the_others_are_left_to_gmqtt"),
                ("except UnicodeDecodeError", "()", "test_the_others_are_left_to_gmqtt"),
                (
                    "self._outlet is not None and not flags & QOS_1 and self._outlet.congested()",
                    "False",
                    "test_a_congested_outlet_holds_acknowledgements_and_loses_qos_0",
                ),
            ],
            "Inbound._acknowledge_when_settled": [
                (
                    "await outlet.settled()",
                    "None",
                    "test_with_an_outlet_what_was_carried_on_is_acknowledged",
                ),
                (
                    "outlet.congested()",
                    "False",
                    "test_a_congested_outlet_holds_acknowledgements_and_loses_qos_0",
                ),
            ],
            "Inbound._send": [
                (
                    "self._client.is_connected",
                    "True",
                    "test_an_acknowledgement_for_a_connection_that_is_gone_goes_nowhere",
                ),
            ],
        },
    ),
    *rows(
        "producers.leadership",
        {
            "Leadership.holds": [
                ("self._election.leads(self._role)", "True", "test_it_is_gained_and_lost"),
                (
                    "time.monotonic() - self._looked_at < STANDSTILL",
                    "True",
                    "test_a_process_that_stood_still_holds_nothing",
                ),
            ],
            "Leadership.follow": [
                ("now - self._looked_at >= STANDSTILL", "False", "test_a_process_that_stood_still_holds_nothing"),
                ("self._election.leads(self._role)", "True", "test_it_is_gained_and_lost"),
            ],
        },
    ),
    *rows(
        "producers.status",
        {
            "StatusTable.__init__": [
                ("capacity < 1", "False", "test_capacity_must_hold_a_device"),
            ],
            "StatusTable.note": [
                ("len(statuses) > self._capacity", "False", "test_the_device_longest_not_heard_of_is_forgotten"),
            ],
            "RetainedTable.__init__": [
                ("capacity < 1", "False", "TestRetainedTable::test_it_is_bounded"),
            ],
            "RetainedTable.knows": [
                (
                    "retained",
                    "True",
                    "TestRetainedTable::test_what_comes_without_the_flag_is_always_new_and_noted",
                ),
                (
                    "said.get(topic) == digest",
                    "False",
                    "TestRetainedTable::test_what_a_topic_said_last_says_nothing_again",
                ),
                ("len(said) > self._capacity", "False", "TestRetainedTable::test_it_is_bounded"),
            ],
        },
    ),
    *rows(
        "timestamps",
        {
            "iso_from_seconds": [
                ("0 <= seconds < END_OF_SECONDS", "True", "test_anything_else_is_refused"),
            ],
            "to_iso": [
                ("len(value) > MAX_TEXT", "False", "test_anything_else_is_refused"),
                ("isinstance(value, bool)", "False", "test_anything_else_is_refused"),
                ("isinstance(value, int | float)", "True", "test_anything_else_is_refused"),
            ],
        },
    ),
]
