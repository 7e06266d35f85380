"""Who is told of the ends of native jobs."""

from stepscope.core.errors import InvalidField, UrlRefused
from stepscope.core.jobs import Job
from stepscope.dialects.mlmodelscope.job_records import KIND, read_note
from stepscope.engine.webhooks import Webhook, Webhooks


class JobNotices:
    """Checks the webhooks of new jobs, and promises the notices of those that end."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    def check(self, webhook: Webhook | None) -> None:
        """Raise `InvalidField` for a webhook that this server wouldn't call."""
        if webhook is None:
            return
        try:
            self._webhooks.check(webhook)
        except UrlRefused as refused:
            raise InvalidField("/webhook/url", "it isn't one that this server calls") from refused

    async def promise(self, job: Job) -> None:
        """Queue the notice of a job's end, if somebody shall be told of it. Called before it ends, or when it has."""
        webhook = read_note(job).webhook if job.kind == KIND else None
        if webhook is not None:
            await self._webhooks.promise(job, webhook)
