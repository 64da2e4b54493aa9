"""Who may see the screens: a browser that was given an address, once, and only pages of this server in it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

HOSTS = ("127.0.0.1", "localhost")
"""What a page's address may begin with: another name that leads here was made up by somebody else (DNS rebinding)."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What every answer says; a page has a policy of its own for what it loads."""
# not a redirect: followed from another site's link, that would come without the cookie
_COME_IN = '<!DOCTYPE html><meta http-equiv="refresh" content="0; url=/"><title>dlplay</title>'

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access:
    """Lets requests through, or refuses them. `admitted` is called whenever an address was used up."""

    def __init__(self, port: int, admitted: Callable[[], None]) -> None:
        self.port = port
        self._admitted = admitted
        self._cookie = f"dlplay-{port}"  # cookies know no ports, and there may be several servers
        self._secret = secrets.token_urlsafe(32)
        self._token = secrets.token_urlsafe(32)

    @property
    def address(self) -> str:
        """Where a browser is let in, once."""
        return f"http://{HOSTS[0]}:{self.port}/?token={self._token}"

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Comes before every page, file, download and websocket."""
        if not _from_here(request):
            return _refused("This address is none of dlplay's: only pages from 127.0.0.1 or localhost are answered.")
        if secrets.compare_digest(request.cookies.get(self._cookie, "").encode(), self._secret.encode()):
            if "token" in request.query:
                raise web.HTTPSeeOther("/")
            return await handler(request)
        if request.method == "GET" and request.path == "/" and self._use_up(request.query.get("token", "")):
            response = web.Response(text=_COME_IN, content_type="text/html")
            response.set_cookie(self._cookie, self._secret, path="/", httponly=True, samesite="Strict")
            return response
        return _refused("dlplay needs the address that `dlplay serve` printed last. Each lets one browser in, once.")

    def _use_up(self, token: str) -> bool:
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return False
        self._token = secrets.token_urlsafe(32)
        self._admitted()
        return True


async def say_headers(request: web.Request, response: web.StreamResponse) -> None:
    """A signal of aiohttp: before any answer is sent."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)


def _from_here(request: web.Request) -> bool:
    """Whether a page of this server asks, or a person who typed the address. Only a websocket always says where it comes from."""
    hosts, origins = request.headers.getall("Host", []), request.headers.getall("Origin", [])
    if len(hosts) != 1 or _hostname(hosts[0]) not in HOSTS:
        return False
    if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
        return False
    if request.headers.get("Upgrade") is not None:
        return len(origins) == 1
    return "token" in request.query or request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _refused(words: str) -> web.Response:
    return web.Response(status=403, text=f"{words}\n")
