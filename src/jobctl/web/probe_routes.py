"""Whether this process lives, whether it can do its work, and the numbers that machines watch."""

from __future__ import annotations

from typing import NamedTuple

from starlette.responses import JSONResponse, Response

from jobctl.errors import JobctlError
from jobctl.ops.exposition import look
from jobctl.ops.metrics_server import CONTENT_TYPE, Cached
from jobctl.ops.roots import RootState, list_roots
from jobctl.ops.site import Site
from jobctl.report.prometheus import exposition
from jobctl.report.runner_metrics import all_metrics
from jobctl.web.api import Api
from jobctl.web.refusals import Refusal, log

_NAMES = 20
"""So many kinds, queues and owners have names of their own, as ``jobctl metrics`` has it."""
_COME_BACK_S = 5
_PATIENCE_S = 5.0


class _Readiness(NamedTuple):
    """Whether the store answers, and the roots that this host can see."""

    has_store: bool
    roots: list[RootState]

    @property
    def is_ready(self) -> bool:
        return self.has_store and all(root.is_ready for root in self.roots)


class ProbeRoutes:
    """The endpoints of load balancers, orchestrators and Prometheus."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._metrics = Cached(lambda: exposition(all_metrics(look(api.site(), most=_NAMES))))

    async def healthz(self) -> Response:
        """Whether this process lives; it asks neither store nor disk, and no token."""
        return JSONResponse({"alive": True}, headers={"Cache-Control": "no-store"})

    async def readyz(self) -> Response:
        """Whether the store answers and every root is there; 503 where not."""
        try:
            found = await self._api.looks.run(_look, self._api, patience_s=_PATIENCE_S)
        except Refusal:
            found = _Readiness(has_store=False, roots=[])
        body = {
            "ready": found.is_ready,
            "store": "ready" if found.has_store else "unavailable",
            "roots": [
                {"rootId": root.root_id, "state": "ready" if root.is_ready else "unavailable"}
                for root in found.roots
            ],
        }
        headers = {"Cache-Control": "no-store"}
        if found.is_ready:
            return JSONResponse(body, headers=headers)
        return JSONResponse(body, 503, {**headers, "Retry-After": str(_COME_BACK_S)})

    async def metrics(self) -> Response:
        """The numbers of ``jobctl metrics``, as Prometheus reads them."""
        text = await self._api.calls.run(self._metrics.get)
        return Response(text.encode(errors="backslashreplace"), media_type=CONTENT_TYPE)


def _look(api: Api) -> _Readiness:
    try:
        return _Readiness(has_store=True, roots=api.do(_roots))
    except JobctlError as error:
        log.warning("not ready: %s", error.code)
        return _Readiness(has_store=False, roots=[])


def _roots(site: Site) -> list[RootState]:
    return [root for root in list_roots(site) if root.host in {None, site.host}]
