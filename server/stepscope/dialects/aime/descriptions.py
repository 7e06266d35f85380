"""What anybody may know of an endpoint."""

from typing import Any

from stepscope.dialects.aime.endpoints import Endpoint
from stepscope.dialects.aime.roster import Roster, describe
from stepscope.engine.jobs import Jobs


async def details(endpoint: Endpoint, jobs: Jobs, roster: Roster) -> dict[str, Any]:
    """Describe an endpoint with its parameters, its queue and its workers."""
    online = await roster.online(endpoint)
    waiting = await jobs.waiting(endpoint.kind)
    return {
        "name": endpoint.name,
        "title": endpoint.title,
        "description": endpoint.description,
        "http_methods": list(endpoint.methods),
        "version": endpoint.version,
        "max_queue_length": endpoint.max_queue_length,
        "max_time_in_queue": endpoint.max_time_in_queue_s,
        "free_queue_slots": max(0, endpoint.max_queue_length - waiting),
        "category": endpoint.category,
        "num_active_workers": len(online),
        "num_workers": roster.count_known(endpoint, online),
        "workers": [describe(worker) for worker in online],
        "parameter_description": {
            "input": endpoint.input_descriptions,
            "output": endpoint.outputs,
            "progress": endpoint.progress,
        },
    }
