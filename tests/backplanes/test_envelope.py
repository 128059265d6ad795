"""Envelopes and their bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valtronics_fast._core.packet import PacketError
from valtronics_fast.backplanes.envelope import MAX_PACKETS, Envelope, seal, unseal

envelopes = st.builds(
    Envelope,
    node=st.integers(1, 2**63 - 1),
    sequence=st.integers(1, 2**64 - 1),
    count=st.integers(1, MAX_PACKETS),
    packets=st.binary(),
)


@given(envelopes)
def test_what_was_sealed_is_unsealed(envelope: Envelope) -> None:
    assert unseal(seal(envelope)) == envelope


@given(st.binary(max_size=60))
def test_no_envelopes(blob: bytes) -> None:
    with pytest.raises(PacketError):
        unseal(blob)


@pytest.mark.parametrize(("sequence", "count"), [(0, 1), (1, 0), (1, MAX_PACKETS + 1)])
def test_impossible_numbers(sequence: int, count: int) -> None:
    with pytest.raises(PacketError, match="impossible"):
        unseal(seal(Envelope(1, sequence, count, b"")))


def test_another_version() -> None:
    blob = seal(Envelope(1, 1, 1, b"x"))
    with pytest.raises(PacketError, match="this version"):
        unseal(blob[:3] + b"\x02" + blob[4:])
    with pytest.raises(PacketError, match="too early"):
        unseal(blob[:10])
