"""APScheduler on the venue's clock.

Its timer and its idea of now both read our clock, so that the same scheduler runs on the wall and on the embedded
exchange's time, and a stepped or suspended clock is noticed when it re-arms.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from trader.domain.interval import Interval
from trader.live.ports import Clock


class VenueZone(tzinfo):
    """UTC whose present is the venue's.

    APScheduler 3 asks for the time in one way only, `datetime.now(scheduler.timezone)`, and that call ends in the
    zone's `fromutc`. Nothing may convert into this zone: triggers here return datetimes that are in it already.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def utcoffset(self, moment: datetime | None, /) -> timedelta:
        """Return zero: the zone is UTC."""
        return timedelta(0)

    def dst(self, moment: datetime | None, /) -> timedelta:
        """Return zero: UTC has no summer time."""
        return timedelta(0)

    def tzname(self, moment: datetime | None, /) -> str:
        """Return the zone's name."""
        return "UTC"

    def fromutc(self, moment: datetime, /) -> datetime:
        """Return the venue's present, whatever the process's clock says."""
        return self._clock.now().replace(tzinfo=self)


class GridTrigger(BaseTrigger):  # type: ignore[misc]  # apscheduler ships no types
    """Fire `delay` after every close of an interval; the grid is arithmetic, never a cron expression."""

    def __init__(self, interval: Interval, zone: VenueZone, delay: timedelta) -> None:
        self._interval = interval
        self._zone = zone
        self._delay = delay

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the first firing after `now`; closes missed in between are the daemon's to report."""
        return self.following(now.timestamp()).replace(tzinfo=self._zone)

    def following(self, timestamp: float) -> datetime:
        """Return the first firing strictly after a Unix time."""
        moment = datetime.fromtimestamp(timestamp, UTC)
        return self._interval.following(moment - self._delay) + self._delay


class VenueScheduler(AsyncIOScheduler):  # type: ignore[misc]
    """Wait on the venue's clock; `failed` is called with whatever ended a job or the wait itself."""

    def __init__(self, clock: Clock, failed: Callable[[BaseException], None]) -> None:
        self._clock = clock
        self._failed = failed
        self._timer: asyncio.Task[None] | None = None
        self.zone = VenueZone(clock)
        super().__init__(timezone=self.zone)
        # without a listener APScheduler swallows what a job raises
        self.add_listener(self._job_failed, EVENT_JOB_ERROR)

    def rearm(self, job_id: str) -> None:
        """Aim a job at its next firing by the clock as it is now; a clock that was corrected had it elsewhere."""
        job = self.get_job(job_id) if self.running else None
        if job is None:
            return
        fires = job.trigger.get_next_fire_time(None, self._clock.now())
        if job.next_run_time != fires:
            job.modify(next_run_time=fires)

    def rest(self) -> None:
        """Wake nobody any more and let no time pass by waiting; what runs goes on."""
        if self.running:
            self.pause()
        self._stop_timer()

    def _job_failed(self, event: JobExecutionEvent) -> None:
        self._failed(event.exception)

    def _start_timer(self, wait_seconds: float | None) -> None:
        self._stop_timer()
        if wait_seconds is not None:
            due = self._clock.now() + timedelta(seconds=wait_seconds)
            self._timer = asyncio.get_running_loop().create_task(self._wait(due))
            self._timer.add_done_callback(self._ended)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer is not asyncio.current_task():
            self._timer.cancel()
        self._timer = None

    async def _wait(self, due: datetime) -> None:
        await self._clock.sleep_until(due)
        self.wakeup()

    def _ended(self, timer: asyncio.Task[None]) -> None:
        if not timer.cancelled() and (error := timer.exception()) is not None:
            self._failed(error)
