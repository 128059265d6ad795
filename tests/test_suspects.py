from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokens import Clock
from valtronics_fast.config_security import SecurityConfig
from valtronics_fast.suspects import WORST, Suspects, Suspicion

if TYPE_CHECKING:
    from collections.abc import Mapping

ADDRESS, OTHER = "192.0.2.1", "192.0.2.2"
BAD = Suspicion.AUTHENTICATION


def make(clock: Clock | None = None, *, spare_loopback: bool = False, **settings: Any) -> Suspects:
    settings = {"ban_after": 3, "ban_for": 60.0, **settings}
    return Suspects(SecurityConfig(**settings), spare_loopback=spare_loopback, clock=clock or Clock(0.0))


def fail(suspects: Suspects, address: str, times: int = 3, kind: Suspicion = BAD) -> float:
    """Note failures; return for how long the address is banned then."""
    for _ in range(times):
        suspects.note(kind, address)
    return suspects.banned(address)


def figures(suspects: Suspects) -> Mapping[str, Any]:
    return suspects.stats()


@pytest.mark.parametrize("kind", [Suspicion.AUTHENTICATION, Suspicion.VIOLATION])
def test_so_many_failures_ban_for_so_long(kind: Suspicion) -> None:
    clock = Clock(0.0)
    suspects = make(clock)
    assert fail(suspects, ADDRESS, 2, kind) == 0.0
    assert fail(suspects, ADDRESS, 1, kind) == 60.0
    assert suspects.banned(OTHER) == 0.0
    clock.now += 59.5
    assert suspects.banned(ADDRESS) == 0.5
    clock.now += 0.5
    assert suspects.banned(ADDRESS) == 0.0
    assert fail(suspects, ADDRESS, 2, kind) == 0.0  # and it begins anew
    assert suspects.bans == 1


@pytest.mark.parametrize("kind", [Suspicion.ORIGIN, Suspicion.RATE])
def test_what_others_can_make_an_honest_client_do_does_not_ban_it(kind: Suspicion) -> None:
    suspects = make(ban_after=1)
    assert fail(suspects, ADDRESS, 100, kind) == 0.0
    assert figures(suspects)["failures"][kind] == 100


def test_other_settings_hold_from_then_on_for_bans_too() -> None:
    clock = Clock(0.0)
    suspects = make(clock)
    proxy, home = "192.0.2.9", "2001:db8::7"
    for address in (ADDRESS, proxy, home):
        assert fail(suspects, address) == 60.0
    settings = {"ban_after": 3, "suspects": 10}
    suspects.reload(SecurityConfig(ban_for=90.0, trusted_proxies=(proxy,), **settings))
    assert [suspects.banned(each) for each in (ADDRESS, proxy, home)] == [60.0, 0.0, 60.0]
    suspects.reload(SecurityConfig(ban_for=20.0, **settings))
    assert suspects.banned(ADDRESS) == 20.0
    suspects.reload(SecurityConfig(ban_for=20.0, ban_after=3, suspects=1))
    assert [suspects.banned(each) for each in (ADDRESS, home)] == [0.0, 20.0]
    assert figures(suspects)["addresses"] == 1
    assert fail(suspects, OTHER) == 20.0
    suspects.reload(SecurityConfig(ban_for=20.0, ban_after=0, suspects=1))
    assert suspects.banned(OTHER) == 0.0
    suspects.reload(SecurityConfig(ban_for=20.0, ban_after=3, suspects=1))
    assert suspects.banned(OTHER) == 0.0  # it was lifted


@pytest.mark.parametrize("settings", [{"ban_after": 0}, {"ban_after": 1, "ban_for": 0.0}])
def test_bans_are_off(settings: dict[str, Any]) -> None:
    suspects = make(**settings)
    assert fail(suspects, ADDRESS, 100) == 0.0
    assert (suspects.counts[BAD], suspects.bans) == (100, 0)
    assert figures(suspects)["worst"][0]["authentication"] == 100


def test_failures_far_apart_are_forgotten() -> None:
    clock = Clock(0.0)
    suspects = make(clock)
    for _ in range(10):
        assert fail(suspects, ADDRESS, 2) == 0.0
        clock.now += 60.0
    assert figures(suspects)["worst"] == [{"address": ADDRESS, "authentication": 2, "banned_for": 0.0}]


def test_a_ban_is_not_made_longer() -> None:
    clock = Clock(0.0)
    suspects = make(clock)
    fail(suspects, ADDRESS)
    for _ in range(6):
        clock.now += 9.0
        fail(suspects, ADDRESS)
    assert suspects.banned(ADDRESS) == 6.0
    assert suspects.bans == 1


def test_who_goes_on_after_a_ban_is_banned_again() -> None:
    clock = Clock(0.0)
    suspects = make(clock)
    for ban in (1, 2, 3):
        assert fail(suspects, ADDRESS) == 60.0
        assert suspects.bans == ban
        clock.now += 60.0
        assert suspects.banned(ADDRESS) == 0.0


def test_what_led_to_a_ban_does_not_count_for_the_next_one() -> None:
    clock = Clock(0.0)
    suspects = make(clock)
    fail(suspects, ADDRESS)
    clock.now += 59.0
    fail(suspects, ADDRESS, 1)  # from a connection that was open before
    clock.now += 1.0
    assert fail(suspects, ADDRESS, 1) == 0.0
    assert fail(suspects, ADDRESS, 1) == 60.0


def test_sources_are_ipv4_addresses_and_ipv6_networks() -> None:
    suspects = make()
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"):
        suspects.note(BAD, address)
    assert suspects.banned("2001:db8::4") == 60.0
    assert suspects.banned("2001:db8:0:1::1") == 0.0
    for address in (ADDRESS, f"::ffff:{ADDRESS}", ADDRESS):
        suspects.note(BAD, address)
    assert suspects.banned(f"::ffff:{ADDRESS}") == suspects.banned(ADDRESS) == 60.0


@pytest.mark.parametrize("address", ["10.0.0.9", "::ffff:10.0.0.9", "fd00::1", "unknown"])
def test_trusted_proxies_and_those_that_are_not_known_are_never_banned(address: str) -> None:
    suspects = make(trusted_proxies=("10.0.0.0/8", "fd00::/8"))
    assert fail(suspects, address, 100) == 0.0
    assert fail(suspects, ADDRESS) == 60.0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback_is_spared_in_a_demo_alone(address: str) -> None:
    assert fail(make(spare_loopback=True), address, 100) == 0.0
    assert fail(make(), address) == 60.0


@given(st.lists(st.tuples(st.sampled_from(Suspicion), st.integers(0, 30)), max_size=200), st.integers(1, 5))
def test_the_tables_are_bounded_and_the_figures_add_up(failures: list[tuple[Suspicion, int]], size: int) -> None:
    suspects = make(suspects=size, ban_after=1)
    for kind, number in failures:
        suspects.note(kind, f"192.0.2.{number}")
    found = figures(suspects)
    assert found["addresses"] <= size
    assert found["banned"] <= size
    assert sum(found["failures"].values()) == len(failures)
    if failures:
        assert found["worst"]


def test_the_one_quiet_for_longest_is_forgotten_first() -> None:
    suspects = make(suspects=2)
    for address in (ADDRESS, OTHER, ADDRESS, "192.0.2.3"):
        suspects.note(BAD, address)
    assert fail(suspects, ADDRESS, 1) == 60.0
    assert fail(suspects, OTHER, 2) == 0.0  # its first failure is forgotten


def test_a_ban_gives_way_to_newer_ones_alone() -> None:
    suspects = make(suspects=2, ban_after=1)
    for address in (ADDRESS, OTHER, "192.0.2.3"):
        suspects.note(BAD, address)
    assert [suspects.banned(each) > 0 for each in (ADDRESS, OTHER, "192.0.2.3")] == [False, True, True]
    for number in range(100):
        suspects.note(Suspicion.ORIGIN, f"198.51.100.{number}")
    assert suspects.banned(OTHER) > 0


def test_the_figures_name_the_worst() -> None:
    clock = Clock(0.0)
    suspects = make(clock, ban_after=12)
    for number in range(WORST + 5):
        fail(suspects, f"192.0.2.{number}", number + 1, Suspicion.VIOLATION)
    suspects.note(Suspicion.RATE, "192.0.2.14")
    found = figures(suspects)
    assert [each["address"] for each in found["worst"]] == [f"192.0.2.{number}" for number in range(14, 4, -1)]
    assert found["worst"][0] == {"address": "192.0.2.14", "violation": 15, "rate": 1, "banned_for": 60.0}
    assert (found["bans"], found["banned"]) == (4, 4)
    clock.now += 60.0
    assert figures(suspects)["banned"] == 0


def test_bans_of_many_addresses_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    suspects = make(ban_after=1)
    for number in range(100):
        suspects.note(BAD, f"192.0.2.{number}")
    assert (suspects.bans, len(caplog.records)) == (100, 10)


def test_a_ban_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    suspects = make()
    fail(suspects, "2001:db8::1", 50)
    (record,) = caplog.records
    assert record.fields == {"address": "2001:db8::/64", "failures": 3, "seconds": 60.0}  # type: ignore[attr-defined]
