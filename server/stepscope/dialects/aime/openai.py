"""The OpenAI-compatible layer: models that are names of endpoints, and chats with them, at once or as they are told."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from stepscope.core.errors import StepscopeError
from stepscope.core.jobs import Job, Standing
from stepscope.dialects.aime.clients import Clients, progress_object
from stepscope.dialects.aime.endpoints import Configuration, Endpoint, OpenAiModel
from stepscope.dialects.aime.records import number, write_json
from stepscope.dialects.aime.refusals import Kind, Refusal

Values = Mapping[str, Any]

OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "max_gen_tokens",
    "max_completion_tokens": "max_gen_tokens",
}
"""An endpoint's parameters by their names in OpenAI's requests."""
MEDIA = {f"{kind}{end}": kind for kind in ("image", "audio", "video") for end in ("", "_url")}


class OpenAiRefusal(StepscopeError):
    """A request that isn't served, in the words of this layer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def body(self) -> dict[str, Any]:
        """Return what the client is told."""
        return {"error": {"message": str(self), "type": "invalid_request_error", "param": None, "code": self.code}}


def not_implemented() -> OpenAiRefusal:
    """Return the refusal of what this layer doesn't have."""
    return OpenAiRefusal(500, "not_implemented", "This isn't implemented")


class Chats:
    """Chat completions over the endpoints."""

    def __init__(self, configuration: Configuration, clients: Clients) -> None:
        self._openai = configuration.server.openai
        self._endpoints = configuration.endpoints
        self._clients = clients

    async def models(self, key: str) -> dict[str, Any]:
        """List the models. Raises `OpenAiRefusal`."""
        await self._identify(key)
        described = [
            {"id": each.name, "object": "model", "created": each.created, "owned_by": each.owned_by}
            for each in self._openai.models.values()
        ]
        return {"object": "list", "data": described}

    async def identify(self, key: str) -> None:
        """Raise `OpenAiRefusal` when the key isn't known."""
        await self._identify(key)

    async def complete(self, key: str, body: Any) -> dict[str, Any]:
        """Answer a chat when it is complete. Raises `OpenAiRefusal`."""
        model, endpoint, given = await self._asked(key, body)
        try:
            answer = await self._clients.request(endpoint, {**given, "wait_for_result": True}, "")
        except Refusal as refusal:
            raise _refused(refusal) from None
        result = answer.body
        if result.get("error"):
            raise OpenAiRefusal(404, "request_failed", str(result["error"]))
        return completion(model, result)

    async def stream(self, key: str, body: Any) -> AsyncGenerator[dict[str, Any], None]:
        """Begin a chat and return its parts as they come. Raises `OpenAiRefusal`."""
        model, endpoint, given = await self._asked(key, body)
        try:
            job = await self._clients.submit(endpoint, {**given, "wait_for_result": False}, "", waits=False)
        except Refusal as refusal:
            raise _refused(refusal) from None
        return self._parts(model, endpoint, job)

    async def _parts(self, model: OpenAiModel, endpoint: Endpoint, job: Job) -> AsyncGenerator[dict[str, Any], None]:
        told = ""
        async with aclosing(self._clients.watch(job.id)) as states:
            async for now in states:
                if not now.state.is_final:
                    text = progress_object(endpoint, now, Standing())["progress_data"].get("text")
                    if isinstance(text, str) and len(text) > len(told) and text.startswith(told):
                        yield chunk(model, job.id, text[len(told) :])
                        told = text
                    continue
                for part in await self._end(model, endpoint, now, told):
                    yield part

    async def _end(self, model: OpenAiModel, endpoint: Endpoint, job: Job, told: str) -> list[dict[str, Any]]:
        """Return the last parts of an answer: a failure is never told as an end that went well."""
        try:
            result = await self._clients.outcome(endpoint, job)
        except Refusal as refusal:
            result = {"error": str(refusal)}
        if result.get("error"):
            return [OpenAiRefusal(404, "request_failed", str(result["error"])).body()]
        rest = str(result.get("text", ""))[len(told) :]
        return [*([chunk(model, job.id, rest)] if rest else []), chunk(model, job.id, None)]

    async def _asked(self, key: str, body: Any) -> tuple[OpenAiModel, Endpoint, dict[str, Any]]:
        await self._identify(key)
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            raise OpenAiRefusal(404, "request_failed", "The body has to be an object with model and messages")
        models = self._openai.models
        model = models.get(str(body.get("model"))) or models.get(self._openai.fallback_model)
        endpoint = self._endpoints.get(model.endpoint) if model is not None else None
        if model is None or endpoint is None:
            raise OpenAiRefusal(404, "model_not_found", f"The model {body.get('model')!r} does not exist")
        return model, endpoint, {"key": key, **parameters(model, endpoint, body)}

    async def _identify(self, key: str) -> None:
        try:
            await self._clients.identify(key, None)
        except Refusal:
            raise OpenAiRefusal(401, "invalid_api_key", "Incorrect API key provided") from None


def parameters(model: OpenAiModel, endpoint: Endpoint, body: Values) -> dict[str, Any]:
    """Return a chat's request as its endpoint's parameters. Options that the endpoint doesn't declare are left out."""
    chat = context(body["messages"], model.default_system_prompt)
    given: dict[str, Any] = {}
    if model.legacy_context_format and chat:
        given["prompt_input"] = _text(chat.pop()["content"])
    given["chat_context"] = write_json(chat).decode()
    for name, parameter in OPTIONS.items():
        if body.get(name) is not None and parameter in endpoint.inputs:
            given[parameter] = body[name]
    return given


def context(messages: list[Any], system_prompt: str | None) -> list[dict[str, Any]]:
    """Return messages as a chat context."""
    chat = [_message(each) for each in messages if isinstance(each, dict)]
    if system_prompt and not any(each["role"] == "system" for each in chat):
        chat.insert(0, {"role": "system", "content": system_prompt})
    return chat


def _message(message: Values) -> dict[str, Any]:
    role = message.get("role")
    content = message.get("content")
    if isinstance(content, list):
        content = [part for part in map(_part, content) if part is not None]
    return {"role": "system" if role == "developer" else role, "content": "" if content is None else content}


def _part(part: Any) -> dict[str, Any] | None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return {"text": part.get("text")}
    if kind in MEDIA:
        medium = part.get(kind)
        return {MEDIA[kind]: medium.get("url") if isinstance(medium, dict) else medium}
    return None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content)


def completion(model: OpenAiModel, result: Values) -> dict[str, Any]:
    """Return a whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": result.get("text"), "refusal": None, "annotations": []}
    return {
        "id": f"chatcmpl-{result['job_id']}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model.name,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage(result),
        "service_tier": "default",
    }


def usage(result: Values) -> dict[str, Any]:
    """Return what an answer took."""
    return {
        "prompt_tokens": number(result.get("prompt_length")),
        "completion_tokens": number(result.get("num_generated_tokens")),
        "total_tokens": number(result.get("current_context_length")),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chunk(model: OpenAiModel, job_id: str, text: str | None) -> dict[str, Any]:
    """Return a part of an answer; without text, its end."""
    delta = {} if text is None else {"role": "assistant", "content": text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": "stop" if text is None else None}
    return {
        "id": f"chatcmpl-{job_id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model.name,
        "choices": [choice],
        "service_tier": "default",
    }


def _refused(refusal: Refusal) -> OpenAiRefusal:
    if refusal.kind is Kind.KEY:
        return OpenAiRefusal(401, "invalid_api_key", "Incorrect API key provided")
    return OpenAiRefusal(404, "request_failed", str(refusal))
