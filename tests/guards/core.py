"""Guards of the core: a `vfast_guard("name", condition)` in src/_core, and the test that fails without it."""

from __future__ import annotations

ADMISSION = "tests/core/test_admission.py::"
PACKET = "tests/core/test_packet.py::"
FRAMES = "tests/core/test_frames.py::"
CLOSING = "tests/core/test_connection_closing.py::"
BACKLOG = "tests/core/test_outbox_backlog.py::"
BOUNDS = "tests/core/test_outbox_bounds.py::"
EDGES = "tests/integration/test_edge_cases.py::"
LIMITS = "tests/integration/test_limits.py::"

TABLE = {
    "admission.type": ADMISSION + "TestPermit::test_a_type_that_is_no_data_message",
    "admission.channel": ADMISSION + "TestPermit::test_a_type_needs_the_bit_of_its_channel",
    "admission.platform": ADMISSION + "TestPermit::test_a_device_out_of_scope",
    "admission.key": ADMISSION + "TestPermit::test_a_device_out_of_scope",
    "admission.device": ADMISSION + "TestPermit::test_a_device_out_of_scope",
    "admission.text": "tests/test_http_publish.py::TestNdjson::test_the_line_limit",
    "admission.object": "tests/test_http_publish.py::TestJson::test_several",
    "admission.depth": ADMISSION + "test_nesting",
    "admission.rejected": ADMISSION + "test_refusals_beyond_the_cap_are_counted",
    "packet.end": PACKET + "test_a_packet_that_is_cut_off_is_none",
    "packet.rest": PACKET + "test_a_packet_whose_size_is_wrong_is_none",
    "packet.name": PACKET + "test_what_no_packet_has",
    "packet.names": PACKET + "test_the_names_that_are_kept_are_bounded",
    "packet.device": PACKET + "test_what_no_packet_has",
    "packet.device-kind": PACKET + "test_what_no_packet_has",
    "packet.device-size": PACKET + "test_what_no_packet_has",
    "packet.channel": PACKET + "test_what_no_packet_has",
    "packet.metrics": PACKET + "test_what_no_packet_has",
    "packet.content": PACKET + "test_what_no_packet_has",
    "close.half-a-code": FRAMES + "test_the_payload_of_a_close",
    "close.code": FRAMES + "test_the_code_of_a_close",
    "close.utf8": FRAMES + "test_the_payload_of_a_close",
    "frames.reserved": FRAMES + "test_no_reserved_bit_without_an_extension",
    "frames.control": FRAMES + "test_violations_of_the_protocol",
    "frames.opcode": FRAMES + "test_violations_of_the_protocol",
    "frames.sequence": FRAMES + "test_violations_of_the_protocol",
    "frames.size": FRAMES + "test_a_message_of_the_greatest_size",
    "frames.fragments": FRAMES + "test_a_message_has_64_fragments_at_most",
    "frames.utf8": EDGES + "test_row_19_text_that_is_not_utf8",
    "frames.utf8-end": FRAMES + "test_a_text_may_not_end_inside_a_character",
    "connection.ended": CLOSING + "test_a_frame_behind_the_end_is_ignored",
    "connection.closing": CLOSING + "test_what_comes_behind_the_servers_close_is_ignored",
    "connection.pause": "tests/test_websocket.py::test_nothing_behind_a_violation_in_the_next_piece_of_a_segment",
    "connection.rate": LIMITS + "test_more_are_dropped_and_the_client_is_told_at_most_once_a_second",
    "connection.drops": LIMITS + "test_1000_dropped_messages_end_the_connection",
    "connection.told": CLOSING + "test_a_flood_is_told_and_then_closed[messages]",
    "connection.fragments": CLOSING + "test_a_flood_of_fragments",
    "connection.pings": EDGES + "test_row_30_a_flood_of_pings",
    "connection.pongs": CLOSING + "test_a_flood_is_told_and_then_closed[pongs]",
    "connection.slow": BACKLOG + "test_a_backlog_that_is_too_large_for_too_long",
    "connection.ping-timeout": CLOSING + "test_a_silent_peer_is_pinged_and_then_closed",
    "connection.close-timeout": CLOSING + "test_a_peer_that_never_answers_a_close_is_cut",
    "connection.backlog-at-close": CLOSING + "test_nothing_but_what_was_on_its_way_follows_the_peers_close",
    "feed.replays": "tests/core/test_replay.py::test_more_than_a_share_of_the_servers_time_is_a_snapshot",
    "outbox.shut": CLOSING + "test_no_answer_follows_the_close_that_its_own_command_brings",
    "outbox.answers": BACKLOG + "test_a_peer_that_asks_and_does_not_read_the_answers_is_slow_too",
    "outbox.limit": "tests/core/test_echo.py::test_a_peer_that_does_not_read_is_bounded",
    "outbox.gap": "tests/core/test_hub_faults.py::test_each_transport_in_turn_fails_on_what_the_kernel_has_refused",
    "outbox.overflow": BACKLOG + "test_a_peer_that_does_not_read_is_bounded_and_closed",
    "outbox.passed": BACKLOG + "test_nothing_follows_a_close_that_passed_the_data_of_its_turn",
    "queue.shut": CLOSING + "test_the_close_stands_behind_the_data_of_its_turn",
    "queue.mark": EDGES + "test_row_32_values_are_conflated_for_one_who_does_not_read",
    "queue.limit": EDGES + "test_row_32_events_close_one_who_does_not_read",
    "queue.all": BOUNDS + "test_all_blocked_connections_together",
    "queue.all-later": BOUNDS + "test_what_has_grown_without_a_publication_is_seen_by_the_timers",
}
