from __future__ import annotations

from http_served import Serve, serving
from valtronics_fast.http_operations import OPERATIONS


async def test_the_table_has_every_route_of_a_server_and_none_beside() -> None:
    async with serving() as serve:
        routes = await listed(serve)
    assert sorted(routes) == sorted(f"{one.method} {one.path}" for one in OPERATIONS)
    assert len(set(routes)) == len(routes)


async def listed(serve: Serve) -> list[str]:
    served = await serve()
    status, answer = await served.ask("GET", "/")
    assert status == 200
    # What is listed is what requests are led to.
    assert answer["routes"] == [f"{each} {path}" for path, one in served.api._routes.items() for each in one]
    return list(answer["routes"])


def test_names_are_unique_and_rights_are_those_of_the_path() -> None:
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)
    open_to_all = {one.path for one in OPERATIONS if not one.needs}
    assert open_to_all == {"/", "/health/live", "/health/ready", "/api/v1/openapi.json"}
