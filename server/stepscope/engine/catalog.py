"""The models that can be served: what lies in the configured folders, matched with the frameworks installed here."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from stepscope.core.errors import FrameworkNotFound, ManifestInvalid, ModelNotFound
from stepscope.core.manifest_documents import parse_manifest
from stepscope.core.manifests import Manifest
from stepscope.core.predictions import ModelRef
from stepscope.core.versions import (
    ANY,
    LATEST,
    ConstraintInvalid,
    Version,
    clean,
    matching,
    parse_constraint,
    parse_version,
)
from stepscope.engine.manifest_files import read_yaml

log = logging.getLogger(__name__)

Framework = tuple[str, str]
"""An installed framework's name and version."""
Stamp = tuple[int, int, int]
"""A file's change time (ns), size and inode: while it stays, the file isn't read again."""
_Key = tuple[str, Version]


@dataclass(frozen=True, slots=True)
class _Seen:
    stamp: Stamp
    manifest: Manifest | None


class Catalog:
    """Models by name and version. `scan` reads the folders; everything else answers from memory."""

    def __init__(
        self, folders: Sequence[Path], frameworks: Sequence[Framework], aliases: Mapping[str, str] | None = None
    ) -> None:
        self._folders = tuple(folders)
        self._installed = tuple(frameworks)
        self._aliases = {clean(name): model for name, model in (aliases or {}).items()}
        self._seen: dict[Path, _Seen] = {}
        self._models: dict[str, list[Manifest]] = {}

    def scan(self) -> int:
        """Read what is new or has changed in the folders, and return how many models there are. Blocks on files.

        A broken manifest is logged and left out. Of equal names and versions, the first folder's counts.
        """
        seen = {path: self._read(path) for path in self._paths()}
        chosen: dict[_Key, Manifest] = {}
        for path, entry in seen.items():
            if entry.manifest is not None:
                self._add(chosen, entry.manifest, quiet=self._seen.get(path) == entry)
        models: dict[str, list[Manifest]] = {}
        for manifest in sorted(chosen.values(), key=lambda found: parse_version(found.version)):
            models.setdefault(clean(manifest.name), []).append(manifest)
        self._seen, self._models = seen, models
        return len(chosen)

    def _paths(self) -> Iterator[Path]:
        for folder in self._folders:
            if not folder.is_dir():
                log.warning("models folder %s isn't there", folder)
            yield from sorted(folder.glob("*/*/manifest.yaml"))

    def _read(self, path: Path) -> _Seen:
        known = self._seen.get(path)
        try:
            status = path.stat()
        except OSError as fault:
            log.error("%s can't be read: %s", path, fault.strerror)
            return _Seen((0, 0, 0), None)
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        return known if known is not None and known.stamp == stamp else _Seen(stamp, _manifest(path))

    def _add(self, chosen: dict[_Key, Manifest], manifest: Manifest, *, quiet: bool) -> None:
        first = chosen.setdefault((clean(manifest.name), parse_version(manifest.version)), manifest)
        if first is not manifest and not quiet:
            log.warning("model %s in %s is left out: %s has it too", manifest, manifest.folder, first.folder)

    def resolve(self, ref: ModelRef) -> Manifest:
        """Return the newest model that the reference names and a framework here can run. Raises `ModelNotFound`.

        An alias stands for its model whatever framework and version the caller names with it.
        """
        named = self._models.get(clean(ref.name), [])
        if not named and (target := self._aliases.get(clean(ref.name))):
            return self.resolve(ModelRef(name=target))
        if not named and ref.name.strip() in ANY:
            named = self._only_model(ref)
        if not named:
            near = get_close_matches(clean(ref.name), [clean(name) for name in self._names()], n=5, cutoff=0.5)
            raise ModelNotFound(ref.name, ref.version, near=self._as_written(near))
        fitting = _with_version(named, ref)
        if not fitting:
            raise ModelNotFound(ref.name, ref.version, _listed(named), "it has other versions here")
        runnable = [manifest for manifest in fitting if self._runs(manifest, ref)]
        if not runnable:
            raise ModelNotFound(ref.name, ref.version, _listed(named), self._why_not(fitting[-1], ref))
        releases = [manifest for manifest in runnable if not parse_version(manifest.version).prerelease]
        return (releases if releases and ref.version.strip() in ANY else runnable)[-1]

    def models(self, ref: ModelRef) -> list[Manifest]:
        """List the models that the reference matches, by framework, name and version; hidden ones are left out.

        `latest` is the newest of each name. Raises `ModelNotFound` when a version can't be understood.
        """
        names = list(self._models) if ref.name.strip() in ANY else [clean(ref.name)]
        found = [
            manifest
            for name in names
            for manifest in _with_version([m for m in self._models.get(name, []) if not m.hidden], ref)
            if _names_framework(manifest, ref)
            and (ref.framework_version.strip().lower() in (*ANY, LATEST) or self._runs(manifest, ref))
        ]
        return sorted(found, key=lambda m: (clean(m.framework_name), clean(m.name), parse_version(m.version)))

    def frameworks(self, name: str = "*", version: str = "*") -> list[Framework]:
        """List the installed frameworks that match, by name and version. Raises `FrameworkNotFound`."""
        try:
            return [
                (framework, fitting)
                for framework in sorted({installed for installed, _ in self._installed}, key=clean)
                if name.strip() in ANY or clean(name) == clean(framework)
                for fitting in matching(self._versions(framework), version)
            ]
        except ConstraintInvalid as fault:
            near = [f"{framework} {installed}" for framework, installed in self._installed]
            raise FrameworkNotFound(name, version, near) from fault

    def _versions(self, framework: str) -> list[str]:
        return [version for name, version in self._installed if clean(name) == clean(framework)]

    def _runs(self, manifest: Manifest, ref: ModelRef) -> bool:
        """Tell whether an installed framework suits both the manifest and the caller."""
        if not _names_framework(manifest, ref):
            return False
        wanted = parse_constraint(manifest.framework_version)
        try:
            chosen = matching(self._versions(manifest.framework_name), ref.framework_version)
        except ConstraintInvalid as fault:
            reason = f"framework version: {fault}"
            raise ModelNotFound(ref.name, ref.version, _listed([manifest]), reason) from fault
        return any(wanted.admits(parse_version(version)) for version in chosen)

    def _why_not(self, manifest: Manifest, ref: ModelRef) -> str:
        installed = ", ".join(" ".join(framework) for framework in self._installed) or "none"
        asked = f"{ref.framework_name} {ref.framework_version}".replace("* *", "any framework")
        runs_on = f"{manifest.framework_name} {manifest.framework_version}"
        return f"it runs on {runs_on}, asked for was {asked}, installed is {installed}"

    def _only_model(self, ref: ModelRef) -> list[Manifest]:
        """Return the one model that there is to choose from, when no name is given."""
        names = self._names()
        if len(names) != 1:
            raise ModelNotFound(ref.name, ref.version, names[:10], "name the model")
        return self._models[clean(names[0])]

    def _names(self) -> list[str]:
        """List the models' names as their newest versions write them, hidden ones left out."""
        return sorted(manifests[-1].name for manifests in self._models.values() if not manifests[-1].hidden)

    def _as_written(self, cleaned: Sequence[str]) -> list[str]:
        return [self._models[name][-1].name for name in cleaned]


def _manifest(path: Path) -> Manifest | None:
    try:
        return parse_manifest(read_yaml(path), path)
    except ManifestInvalid as fault:
        log.error("a model is left out: %s", fault)
        return None


def _with_version(manifests: Sequence[Manifest], ref: ModelRef) -> list[Manifest]:
    """Keep the versions that the reference asks for, oldest first.

    `=` and a version just as a model writes it is that one, although `=1.0` would otherwise hold 1.0.5 too: this is
    how an opened model is found again.
    """
    if exact := [manifest for manifest in manifests if ref.version == f"={manifest.version}"]:
        return exact
    try:
        wanted = matching([manifest.version for manifest in manifests], ref.version)
    except ConstraintInvalid as fault:
        raise ModelNotFound(ref.name, ref.version, _listed(manifests), str(fault)) from fault
    return [manifest for manifest in manifests if manifest.version in wanted]


def _names_framework(manifest: Manifest, ref: ModelRef) -> bool:
    return ref.framework_name.strip() in ANY or clean(ref.framework_name) == clean(manifest.framework_name)


def _listed(manifests: Sequence[Manifest]) -> list[str]:
    return [str(manifest) for manifest in manifests[-10:]]
