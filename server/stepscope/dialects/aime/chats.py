"""Chat contexts: a JSON list of what was said, with media in it where an endpoint takes them."""

from collections.abc import Callable
from typing import Any

import orjson

from stepscope.dialects.aime.parameters import Type

ROLES = ("system", "user", "assistant")
KINDS = ("text", *(kind.value for kind in (Type.IMAGE, Type.AUDIO, Type.VIDEO)))

FitMedium = Callable[[Type, str], str]
"""Returns what a worker gets in place of a medium."""


def read_chat(text: str, fit: FitMedium) -> list[dict[str, Any]]:
    """Return a chat as workers get it. Raises ValueError with what is wrong with it."""
    try:
        chat = orjson.loads(text)
    except ValueError:
        raise ValueError("the text isn't JSON") from None
    if not isinstance(chat, list):
        raise ValueError("it has to be a JSON list")
    return [_message(place, each, fit) for place, each in enumerate(chat)]


def _message(place: int, message: Any, fit: FitMedium) -> dict[str, Any]:
    if not isinstance(message, dict) or set(message) != {"role", "content"}:
        raise ValueError(f"item {place} has to be an object with role and content")
    if message["role"] not in ROLES:
        raise ValueError(f"item {place}: the role has to be one of {', '.join(ROLES)}")
    content = message["content"]
    if isinstance(content, str):
        return message
    if not isinstance(content, list):
        raise ValueError(f"item {place}: the content has to be a text or a list")
    return {"role": message["role"], "content": [_part(place, each, fit) for each in content]}


def _part(place: int, part: Any, fit: FitMedium) -> dict[str, str]:
    if not isinstance(part, dict) or len(part) != 1 or not set(part) <= set(KINDS):
        raise ValueError(f"item {place}: each part of the content has exactly one of {', '.join(KINDS)}")
    [(kind, value)] = part.items()
    if not isinstance(value, str):
        raise ValueError(f"item {place}: {kind} has to be a text")
    return {kind: value if kind == "text" else fit(Type(kind), value)}
