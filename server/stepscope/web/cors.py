"""Which pages of other origins may read answers, and which of their headers."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from stepscope.web.root import Root

EXPOSED = (
    "X-B3-Traceid",
    "X-B3-Spanid",
    "X-B3-Parentspanid",
    "X-B3-Sampled",
    "X-Request-Id",
    "Retry-After",
    "Location",
    "X-Tensor-Shape",
    "X-Tensor-Dtype",
)
"""The answers' headers that pages get to see."""


def with_cors(root: Root, origins: list[str]) -> ASGIApp:
    """Return the app that answers pages of these origins as well; without origins, the app itself."""
    if not origins:
        return root
    cors = CORSMiddleware(
        root, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"], expose_headers=EXPOSED
    )

    async def place(scope: Scope, receive: Receive, send: Send) -> None:
        """Leave a wire that any page may call to answer browsers itself."""
        is_open = scope["type"] == "http" and root.is_open(scope["method"], scope["path"])
        await (root if is_open else cors)(scope, receive, send)

    return place
