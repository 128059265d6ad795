"""Guards between the supervisor and its workers: frames, the log between them, and what they count together."""

from __future__ import annotations

from guards.source import rows

_NO_LOCK = '__import__("contextlib").nullcontext()'

ROWS = [
    *rows(
        "workers.frames",
        {
            "FrameStream.write": [
                ("not self.transport.is_closing()", "True", "test_an_end_is_told_once_and_then_writing_does_nothing"),
            ],
            "FrameStream.buffer_updated": [
                ("end - begin < size", "False", "test_frames_arrive_as_they_were_sent_however_they_are_cut"),
                ("len(buffer) > ROOM", "False", "test_frames_arrive_as_they_were_sent_however_they_are_cut"),
            ],
        },
    ),
    *rows(
        "workers.port",
        {
            "WorkerPort.settle": [
                ("PATIENCE", "3600.0", "test_who_does_not_settle_in_time_is_lost"),
            ],
            "WorkerPort._flush": [
                (
                    "waiting > self._limit + self._extra",
                    "False",
                    "test_entries_for_a_worker_that_does_not_read_are_told_as_lost",
                ),
                ("self._limit + self._extra", "self._limit", "test_a_large_answer_is_not_held_against_the_worker"),
                ("self._extra if waiting else 0", "self._extra", "test_what_was_large_once_is_not_allowed_for_ever"),
            ],
            "WorkerPort.closed": [
                ("self.resume_writing()", "None", "test_the_end_of_a_worker_ends_all_waiting"),
            ],
        },
    ),
    *rows(
        "workers.bus",
        {
            "Bus.take": [
                (
                    "port in self._nodes",
                    "True",
                    "test_what_is_announced_comes_to_all_with_the_offset_that_was_given_last",
                ),
                ("kind not in _REQUESTS", "False", "test_who_has_not_opened_the_log_is_refused"),
                ("port not in self._nodes", "False", "test_who_has_not_opened_the_log_is_refused"),
            ],
            "Bus._open": [
                ("self.close(port)", "None", "test_a_worker_that_opens_the_log_again_begins_anew"),
            ],
            "Bus._append": [
                ("max(head + 1, now)", "now", "test_offsets_follow_the_clock_and_never_repeat"),
                ("max(head + 1, now)", "head + 1", "test_offsets_go_on_with_the_clock"),
            ],
            "Bus._follow": [
                ("port not in followers", "True", "test_those_who_follow_a_lane_get_it_all_in_one_order"),
                ("port in followers", "True", "test_those_who_follow_a_lane_get_it_all_in_one_order"),
            ],
            "Bus.drop": [
                ("port not in self._nodes", "False", "test_who_does_not_read_is_told_that_the_log_is_lost"),
                ("self.close(port)", "None", "test_who_does_not_read_is_told_that_the_log_is_lost"),
            ],
        },
    ),
    *rows(
        "workers.kept",
        {
            "Kept.add": [
                (
                    "len(entries) > self._entries",
                    "False",
                    "test_the_oldest_entries_of_a_lane_go_and_the_floor_tells_it",
                ),
                (
                    "self._limit and self.size > self._limit",
                    "False",
                    "test_beyond_the_bytes_the_oldest_of_all_lanes_go",
                ),
            ],
            "Kept._drop": [
                (
                    "self._floors[lane] = offset + offsets - 1",
                    "pass",
                    "test_the_oldest_entries_of_a_lane_go_and_the_floor_tells_it",
                ),
            ],
            "Kept.read": [
                ("MAX_READ", "1 << 40", "test_reading_from_the_newest_on_backwards"),
                ("floor = offset + offsets - 1", "pass", "test_reading_from_the_newest_on_backwards"),
                ("size > MAX_PIECE", "False", "test_large_lanes_are_read_in_pieces"),
            ],
        },
    ),
    *rows(
        "workers.link",
        {
            "Link.ask": [
                ("self.ended.is_set()", "False", "test_the_end_of_the_supervisor_is_told_to_all_who_wait"),
                ("MAX_UNREAD", "1 << 40", "test_nothing_more_is_asked_of_a_supervisor_that_does_not_read"),
            ],
            "Link._take_answer": [
                ("waiting is None", "False", "test_an_answer_to_nobody_is_left_out"),
                ("refused", "False", "test_what_is_asked_is_answered_or_refused"),
            ],
            "Link._take_order": [
                ("kind == frames.RELOAD", "True", "test_a_supervisor_that_is_out_of_step_is_left"),
                ("kind == frames.AGREED", "True", "test_a_supervisor_that_is_out_of_step_is_left"),
            ],
        },
    ),
    *rows(
        "workers.questions",
        {
            "Questions.ask": [
                (
                    "self._owed.get(port, 0) >= MAX_UNANSWERED",
                    "False",
                    "test_a_worker_that_hangs_gets_a_bounded_number_of_questions",
                ),
                ("PATIENCE", "3600.0", "test_those_who_do_not_answer_in_time_are_told"),
            ],
            "Questions.told": [
                ("question is None", "False", "test_those_who_do_not_answer_in_time_are_told"),
            ],
        },
    ),
    *rows(
        "workers.segment",
        {
            "_Lock.__enter__": [
                ("now >= deadline", "False", "test_a_lock_ends_with_the_process_that_holds_it"),
            ],
            "Segment.take_place": [
                (
                    "not self.count(place)",
                    "True",
                    "test_a_place_without_connections_is_used_again_and_one_with_some_is_not",
                ),
            ],
            "Segment.take_token": [
                ("self._limiting[table]", _NO_LOCK, "test_locks_of_different_tables_do_not_hinder_each_other"),
                ("wait <= 0.01 * cost", "True", "test_tokens_of_an_address"),
                ("min(times)", "max(times)", "test_the_address_that_was_quiet_for_longest_makes_room"),
            ],
            "Segment.give_back": [
                (
                    "self._map.madvise(mmap.MADV_REMOVE, begin, size)",
                    "None",
                    "test_what_a_worker_had_is_given_back",
                ),
                ("self._rows[row + _CONNECTIONS] = 0", "pass", "test_what_a_worker_had_is_given_back"),
            ],
        },
    ),
    *rows(
        "workers.shared_room",
        {
            "SharedRoom.enter": [
                ("self.segment.counting", _NO_LOCK, "test_nobody_gets_in_while_the_lock_is_held_for_long"),
                ("self.is_full(limit)", "False", "test_connections_in_all"),
                ("except LockBusyError", "()", "test_nobody_gets_in_while_the_lock_is_held_for_long"),
            ],
            "SharedRoom.join": [
                ("self.segment.counting", _NO_LOCK, "test_nobody_gets_in_while_the_lock_is_held_for_long"),
                ("place < 0", "False", "test_a_user_for_whom_there_is_no_place_is_not_let_in"),
                ("0 < limit <= self.segment.count(place)", "False", "test_connections_of_a_user"),
                ("except LockBusyError", "()", "test_nobody_gets_in_while_the_lock_is_held_for_long"),
            ],
            "_SharedLimiter.take": [
                ("except LockBusyError", "()", "test_nobody_gets_in_while_the_lock_is_held_for_long"),
            ],
        },
    ),
    *rows(
        "workers.supervisor",
        {
            "Supervisor._keep": [
                (
                    "child.starts == 1 and not served",
                    "False",
                    "test_a_worker_that_never_served_is_not_started_again",
                ),
            ],
            "Supervisor.reload": [
                (
                    "problems := await self._prepare(config, asked)",
                    "await self._prepare(config, asked) and False",
                    "tests/workers/test_service.py::test_what_one_worker_can_not_take_nobody_does",
                ),
            ],
            "Supervisor._watch": [
                (
                    "silent >= patience",
                    "False",
                    "tests/workers/test_hanging.py::test_a_worker_that_hangs_is_replaced_and_the_others_do_not_notice",
                ),
            ],
        },
    ),
    *rows(
        "workers.whole",
        {
            "Whole._ask": [
                ("bytes(one) == _FAILED", "False", "test_a_worker_whose_answer_fails_is_left_out"),
            ],
            "Whole.disconnect": [
                (
                    "self._worker is None",
                    "False",
                    "tests/integration/test_openapi.py::test_answers_about_connections_that_are_there",
                ),
            ],
            "Whole.answer": [
                ("except Exception", "()", "test_a_worker_whose_answer_fails_is_left_out"),
            ],
            "_unless_busy": [
                ("isinstance(answer, dict)", "False", "test_one_worker_that_is_busy_keeps_all_from_moving_more"),
            ],
        },
    ),
]
