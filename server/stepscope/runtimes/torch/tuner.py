"""When models are tuned: pinned ways and remembered ones at load, everything else in the background."""

import contextlib
import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.fx import GraphModule

from stepscope.core.manifests import Manifest
from stepscope.core.tuning import EAGER, WAYS, Choice, Execution, Form, TuningOptions, Verdict
from stepscope.runtimes.torch.background import Background, Job
from stepscope.runtimes.torch.batches import BatchSizes, Module
from stepscope.runtimes.torch.examples import Examples, examples
from stepscope.runtimes.torch.faults import LoadFault
from stepscope.runtimes.torch.formats import load
from stepscope.runtimes.torch.loaded import Shapes, TorchModel
from stepscope.runtimes.torch.memory import give_back
from stepscope.runtimes.torch.remembered import Remembered, key_of
from stepscope.runtimes.torch.tune import Stopped, Subject, Tuned, tolerance_of, tune, verify

log = logging.getLogger(__name__)

NO_EXAMPLE = "the dimensions of its inputs are open, and its folder has no example.npy"
NO_COMPILING = "torch.compile is switched off for it"
_SLOW_TO_BUILD = (Form.COMPILED, Form.GRAPHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """A model as its files give it, and what it was asked to be."""

    manifest: Manifest
    model: Module
    sizes: BatchSizes
    device: torch.device


class Tuner:
    """Starts loaded models. `folder` keeps what was found, None for nowhere; `threads` are for eager until then."""

    def __init__(self, options: TuningOptions, folder: Path | None, threads: int) -> None:
        self._options = options
        self._remembered = Remembered(folder) if folder else None
        self._threads = threads
        self._background = Background("tuning")

    def start(self, fresh: Fresh) -> TorchModel:
        """Make a model that runs from now on, eager at first where nothing is known of it. Raises `LoadFault`."""
        pinned = fresh.manifest.execution
        choice = Choice(threads=pinned.threads or (self._threads if fresh.device.type == "cpu" else 0))
        tolerance = tolerance_of(pinned.way, pinned.tolerance)
        execution = Execution(choices=(choice,), tolerance=tolerance)
        reload = partial(_loaded, fresh.manifest, fresh.device)
        loaded = TorchModel(fresh.model, fresh.sizes, fresh.device, fresh.manifest.output, execution, reload)
        if pinned.way:
            self._pin(loaded, fresh, replace(choice, way=pinned.way))
        elif self._options.enabled:
            self._tune(loaded, fresh)
        return loaded

    def forget(self, manifest: Manifest, device: torch.device) -> None:
        """Drop what is remembered of a model."""
        if self._remembered is not None:
            self._remembered.forget(self._key(manifest, device))

    def _pin(self, loaded: TorchModel, fresh: Fresh, choice: Choice) -> None:
        found = examples(fresh.manifest)
        execution = replace(loaded.execution, choices=(choice,), origin="pinned")
        if choice.way == "eager":
            loaded.execution = execution
            return
        if found is None:
            raise LoadFault(f"it can't run {choice.way} here: {NO_EXAMPLE}")
        if WAYS[choice.way].form is Form.COMPILED and self._compile(fresh.manifest) == "never":
            raise LoadFault(f"it can't run {choice.way} here: {NO_COMPILING}")
        runs = verify(self._subject(fresh, found), execution.choices)
        loaded.adopt(Tuned(execution=execution, runs=runs), _shapes(found))

    def _tune(self, loaded: TorchModel, fresh: Fresh) -> None:
        found = examples(fresh.manifest)
        if found is None:
            loaded.execution = replace(loaded.execution, note=NO_EXAMPLE)
            return
        key = self._key(fresh.manifest, fresh.device)
        known = self._remembered.get(key) if self._remembered is not None else None
        loaded.execution = replace(loaded.execution, tuning=True)
        if known is not None and not _is_slow(known) and self._restore(loaded, fresh, found, known):
            return
        loaded.tuning = self._background.submit(self._work(loaded, fresh, found, known, key))

    def _work(
        self, loaded: TorchModel, fresh: Fresh, found: Examples, known: Execution | None, key: str
    ) -> Callable[[Job], None]:
        def work(job: Job) -> None:
            own = replace(fresh, model=_own(fresh))
            if known is not None and _is_slow(known) and self._restore(loaded, own, found, known):
                return
            try:
                with self._turn(job):
                    newer = self._remembered.get(key) if self._remembered is not None else None
                    # Another process may have tuned it while this one waited for its turn.
                    if newer is None or newer == known or not self._restore(loaded, own, found, newer):
                        self._measure(loaded, own, found, key, job)
            except Stopped:
                log.debug("%s was closed before it was tuned", fresh.manifest)
            except Exception:
                log.exception("%s can't be tuned; it runs eager", fresh.manifest)
                loaded.execution = replace(loaded.execution, tuning=False, note="tuning failed; see the server's log")
            finally:
                own = None  # type: ignore[assignment]
                give_back(cuda=fresh.device.type == "cuda")

        return work

    def _turn(self, job: Job) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._remembered is None else self._remembered.turn(lambda: job.cancelled)

    def _measure(self, loaded: TorchModel, own: Fresh, found: Examples, key: str, job: Job) -> None:
        tuned = tune(self._subject(own, found), lambda: job.cancelled)
        loaded.adopt(tuned, _shapes(found))
        log.info("%s runs %s", own.manifest, _told(tuned.execution))
        if self._remembered is not None and _is_complete(tuned.execution):
            self._remembered.put(key, tuned.execution)

    def _restore(self, loaded: TorchModel, fresh: Fresh, found: Examples, known: Execution) -> bool:
        """Change over to what is remembered, if it is still right."""
        try:
            runs = verify(self._subject(fresh, found), known.choices)
        except (LoadFault, KeyError) as fault:
            log.warning("what is remembered of %s doesn't hold any more: %s", fresh.manifest, fault)
            return False
        loaded.adopt(Tuned(execution=replace(known, origin="remembered", tuning=False), runs=runs), _shapes(found))
        return True

    def _subject(self, fresh: Fresh, found: Examples) -> Subject:
        pinned = fresh.manifest.execution
        return Subject(
            manifest=fresh.manifest,
            model=fresh.model,
            device=fresh.device,
            sizes=fresh.sizes,
            examples=found,
            tolerance=tolerance_of(pinned.way, pinned.tolerance),
            options=self._options,
            compile=self._compile(fresh.manifest),
        )

    def _compile(self, manifest: Manifest) -> str:
        return {None: self._options.compile, True: "always", False: "never"}[manifest.execution.compile]

    def _key(self, manifest: Manifest, device: torch.device) -> str:
        asked = f"{self._options.compile} {self._options.cap}"
        return key_of(manifest, device, asked if self._options.cores is None else f"{asked} {self._options.cores}")


def _own(fresh: Fresh) -> Module:
    """Return another copy: the model itself may be running, and may keep things between runs."""
    if isinstance(fresh.model, nn.Module) and not isinstance(fresh.model, GraphModule):
        return copy.deepcopy(fresh.model)
    # What torch.export loads warns when it is copied.
    return load(fresh.manifest, fresh.device)[0]


def _loaded(manifest: Manifest, device: torch.device) -> Module:
    return load(manifest, device)[0]


def _shapes(found: Examples) -> Shapes | None:
    """Return the shapes that were tried, None where the manifest allows no others."""
    return None if found.is_exact else tuple(array.shape for array in found.rows(1)[0])


def _is_complete(execution: Execution) -> bool:
    """Whether it is worth keeping: a budget that was spent without finding anything may do better next time."""
    left_out = any(candidate.verdict is Verdict.SKIPPED for candidate in execution.candidates)
    return not left_out or any(choice.way != str(EAGER) for choice in execution.choices)


def _is_slow(known: Execution) -> bool:
    return any(choice.way in WAYS and WAYS[choice.way].form in _SLOW_TO_BUILD for choice in known.choices)


def _told(execution: Execution) -> str:
    sizes = [f"{choice.way} on {choice.threads or 'all'} threads" for choice in execution.choices]
    return f"{', then '.join(sizes)}: {execution.speedup:.2f} times as fast as eager"
