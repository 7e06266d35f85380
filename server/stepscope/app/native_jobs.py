"""What runs native jobs, and tells of their ends."""

from dataclasses import dataclass

from stepscope.dialects.mlmodelscope.job_notices import JobNotices
from stepscope.dialects.mlmodelscope.job_records import KIND, render
from stepscope.dialects.mlmodelscope.job_work import JobWork
from stepscope.dialects.mlmodelscope.jobs import JobQueue, JobTerms
from stepscope.engine.engine import Engine
from stepscope.engine.fetch import Fetcher
from stepscope.engine.jobs import Jobs
from stepscope.engine.runner import Runner
from stepscope.engine.webhooks import AT_ONCE, Webhooks
from stepscope.engine.webhooks import KIND as WEBHOOK
from stepscope.settings import Settings
from stepscope.tracing.tracer import Tracer


@dataclass(frozen=True, slots=True)
class NativeJobs:
    """What native jobs need in this process."""

    queue: JobQueue
    work: JobWork
    runners: list[Runner]

    def start(self) -> None:
        """Begin to run jobs, and to tell of their ends."""
        for runner in self.runners:
            runner.start()

    async def stop(self) -> None:
        """Put back what runs."""
        for runner in self.runners:
            await runner.stop()
        await self.work.stop()


def build_native_jobs(
    settings: Settings, engine: Engine, jobs: Jobs, fetcher: Fetcher, tracer: Tracer, work: JobWork
) -> NativeJobs:
    """Build the native dialect's jobs. The queue tells them of jobs that lapsed."""
    options = settings.jobs
    webhooks = Webhooks(jobs, fetcher, render)
    terms = JobTerms(
        max_waiting=options.waiting,
        attempts=options.attempts,
        lease_s=options.lease_s,
        timeout_s=options.lapse_hours * 3600,
        keep_s=options.keep_hours * 3600,
    )
    notices = JobNotices(webhooks)
    jobs.lapsed = notices.promise
    runners = [Runner(jobs, WEBHOOK, webhooks.deliver, at_once=AT_ONCE)]
    if options.run_at_once:
        runners.append(Runner(jobs, KIND, work, at_once=options.run_at_once, ending=notices.promise))
    return NativeJobs(JobQueue(engine, jobs, notices, tracer.begin, terms), work, runners)
