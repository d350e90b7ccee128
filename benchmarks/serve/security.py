"""Access rules of the local server: host names, origins, and security headers."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# "localhost" and both loopback addresses reach the same server, whatever it was told to listen on.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Of the server's own pages: everything from here, no inline code, no frames. `data:` and `blob:` are the photo and its
# saliency, which never become files.
OWN_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# For what is no page: `sandbox` takes scripts, forms and the origin from a file that is opened by itself.
FILE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_HASH = re.compile(r"'sha256-[A-Za-z0-9+/]{43}='")  # 43 digits of Base64 and one "=": the 32 bytes of SHA-256
# as `render` writes it into a page; what is written otherwise is not trusted
_META = re.compile(r"""<meta\s+http-equiv=["']Content-Security-Policy["']\s+content="([^"]*)">""", re.IGNORECASE)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def names_of(host: str) -> frozenset[str]:
    """Return the names under which a server that listens on `host` may be asked for."""
    names = {host.lower(), *LOOPBACK}
    if is_wildcard(host):
        # On all addresses: the machine's own name, and the one that multicast DNS gives it.
        name = socket.gethostname().lower()
        names |= {name, f"{name}.local"}
    return frozenset(names)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a server that listens on the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"  # other names may resolve to anything


def is_wildcard(host: str) -> bool:
    """Return whether an address stands for all addresses of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


class SecurityHeaders:
    """Refuses foreign Host headers (DNS rebinding) and foreign origins (forged forms), and adds headers to answers.

    A page elsewhere can point its own name at this machine, and can post a form to it; neither carries our name.

    Args:
        app: what is guarded.
        host: where the server listens.
    """

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self.app, self.names, self.wildcard = app, names_of(host), is_wildcard(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        # Lifespan messages are no requests, and the app has no websocket route.
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS:  # a route that set a header keeps it, such as the policy of a report
                    headers.setdefault(name, value)
                if "sandbox" not in headers["Content-Security-Policy"]:  # browsers refuse to show both together
                    headers["Cross-Origin-Opener-Policy"] = "same-origin"
            await send(message)

        status, problem = self._problem(scope["method"], Headers(scope=scope))
        # In place of the app, not beside it: a refused request reaches no route. `guarded` adds the headers in both
        # cases.
        app = PlainTextResponse(problem + "\n", status_code=status) if problem else self.app
        await app(scope, receive, guarded)

    def _problem(self, method: str, headers: Headers) -> tuple[int, str]:
        """Return the HTTP status and the sentence of a refusal; 200 and no sentence where there is none."""
        hosts, origin = headers.getlist("host"), headers.get("origin")
        # Two Host headers are read differently by different servers; HTTP allows one.
        if len(hosts) != 1 or (host := _parsed(f"//{hosts[0]}")) is None or host.hostname is None:
            return 400, "the header Host cannot be read"
        if not self._known(host.hostname):
            return 403, "this server is not asked for by that name; use the address that `bench serve` printed"
        source = None if origin is None else _parsed(origin)
        if origin is not None and source is None:  # refused for GET too: no browser sends such a header
            return 400, "the header Origin cannot be read"
        if method in ("GET", "HEAD"):  # they change nothing here, and links from elsewhere may lead here
            return 200, ""
        # Browsers send Origin with every POST of a form or script; programs such as curl send neither header and are
        # let in.
        foreign = source is not None and source.netloc.lower() != hosts[0].lower()
        if foreign or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):  # "none": typed by a person
            return 403, "forms of other sites are not taken"
        return 200, ""

    def _known(self, name: str) -> bool:
        # a name can be pointed at us by anybody, an address cannot
        return name in self.names or (self.wildcard and _is_address(name))


_HEADERS = (
    ("Content-Security-Policy", OWN_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),  # with no-referrer browsers send "null" as the origin of our own form
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Cache-Control", "no-store"),
)


def _parsed(address: str) -> SplitResult | None:
    """Return the parts of an address, None where it cannot be read."""
    try:
        parts = urlsplit(address)
        # a wrong port raises only when it is read
        _ = parts.hostname, parts.port  # both are read when they are asked for, and may raise
    except ValueError:
        return None
    return parts


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def report_policy(page: str) -> str:
    """The policy of a report's page: it may use the styles and scripts that its own policy names by their hashes.

    In a sandbox, so that a report of another author cannot reach what this server shows and answers.

    Args:
        page: HTML with a Content-Security-Policy in a meta element; without one no script and no style is allowed.
    """
    # the meta element stands in the head; a bound keeps a huge page from costing a search
    policy = _META.search(page[:4096])
    # Only hashes are taken over. Sources such as 'unsafe-inline' or an address are dropped: a report cannot widen its
    # policy.
    allowed = {"style-src": "'none'", "script-src": "'none'"}
    for directive in policy[1].split(";") if policy else ():
        name, _, sources = directive.strip().partition(" ")
        if name in allowed:
            allowed[name] = " ".join(_HASH.findall(sources)) or "'none'"
    return (
        f"default-src 'none'; img-src 'self' data: blob:; style-src {allowed['style-src']}; "
        f"script-src {allowed['script-src']}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        # Without `allow-same-origin` the report has an origin of its own: its scripts cannot read this server's
        # answers.
        "sandbox allow-scripts allow-downloads allow-popups"
    )


def picture_policy(svg: str) -> str:
    """Return the policy of a figure in a file of its own: its style element, nothing else."""
    # computed from the file: SVG has no place where it could name its policy
    hashes = _hashes(match[1] for match in _STYLE.finditer(svg)) or "'none'"
    return f"default-src 'none'; style-src {hashes}; frame-ancestors 'none'; sandbox"


def _hashes(texts: Iterable[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
