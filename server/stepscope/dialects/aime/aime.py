"""The whole dialect: configuration, clients, workers and chats over one set of jobs."""

from typing import Any

from stepscope.codecs.pictures import Pictures
from stepscope.core.ports import SessionStore
from stepscope.dialects.aime.clients import Clients
from stepscope.dialects.aime.descriptions import details
from stepscope.dialects.aime.endpoints import Configuration, Endpoint
from stepscope.dialects.aime.media import Media, Workshop
from stepscope.dialects.aime.model_runs import ModelRuns
from stepscope.dialects.aime.openai import Chats
from stepscope.dialects.aime.parameters import Type
from stepscope.dialects.aime.roster import Roster
from stepscope.dialects.aime.sessions import Sessions
from stepscope.dialects.aime.workers import Workers
from stepscope.engine.ffmpeg import Ffmpeg
from stepscope.engine.jobs import Jobs
from stepscope.engine.workroom import Workroom


class Aime:
    """What the wire asks, by who asks."""

    def __init__(
        self,
        configuration: Configuration,
        jobs: Jobs,
        sessions: SessionStore,
        runs: ModelRuns,
        version: str,
        *,
        attempts: int,
    ) -> None:
        self.configuration = configuration
        self._runs = runs
        self._jobs = jobs
        self._roster = Roster(jobs)
        self._workroom = Workroom("media")
        workshops: dict[Type, Workshop] = {
            Type.IMAGE: Pictures(),
            Type.AUDIO: Ffmpeg("audio"),
            Type.VIDEO: Ffmpeg("video"),
        }
        media = Media(workshops, configuration.server.limits)
        self.clients = Clients(configuration, jobs, Sessions(sessions), media, self._workroom, attempts)
        self.workers = Workers(configuration, jobs, self._roster, version)
        self.chats = Chats(configuration, self.clients)
        self._stopping = False

    def start(self) -> None:
        """Begin to keep the workers' records, and to run what endpoints' models are asked."""
        self._roster.start()
        self._runs.start()

    async def stop(self) -> None:
        """End what goes on beside requests."""
        await self._runs.stop()
        await self._roster.stop()
        self._workroom.stop()

    def drain(self) -> None:
        """Give out nothing more, and end the streams: the server is about to stop."""
        self._stopping = True
        self.workers.drain()

    def is_stopping(self) -> bool:
        """Say whether the server is about to stop."""
        return self._stopping

    async def details(self, endpoint: Endpoint) -> dict[str, Any]:
        """Describe an endpoint to anybody."""
        return await details(endpoint, self._jobs, self._roster)
