"""Audio and video by the programs ffmpeg and ffprobe, where they are installed.

They are given files in a folder of their own, which is always removed; they may open nothing but files, read only the
formats named here (no playlists), and have little time and memory.
"""

import json
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

TIME_S = 60.0
MEMORY_BYTES = 2 * 2**30
FILE_BYTES = 512 * 2**20
"""What one call may take at most."""
DEMUXERS = "wav,mp3,ogg,flac,aac,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,w64,mpegts"
CONTAINERS: Mapping[str, str] = {"wav": "wav", "mp3": "mp3", "ogg": "ogg", "webm": "webm", "mp4": "mp4", "avi": "avi"}
"""Names of formats by what ffprobe calls them, and ffmpeg in writing."""
PIXELS = {"rgb": "rgb24", "rgba": "rgba", "gray": "gray", "yuv": "yuv420p", "yuva": "yuva420p", "monochrome": "monob"}
BIT_DEPTHS = {8: "pcm_u8", 16: "pcm_s16le", 32: "pcm_s32le", 64: "pcm_f64le"}
PLAIN = ("wav", "avi")
"""Formats that hold samples as they are. In the others the codec has its own depth, and none can be asked for."""
ENCODERS = {"opus": "libopus", "vorbis": "libvorbis"}
"""Who writes a codec, where ffmpeg would take its own unfinished encoder by the codec's name, and then refuse to."""

Properties = Mapping[str, Any]


class Ffmpeg:
    """Measures and converts audio or video: `kind` says which streams there have to be."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def measure(self, data: bytes) -> dict[str, Any]:
        """Return what a recording is like. Raises ValueError, also where the programs aren't installed."""
        program = _program("ffprobe", self._kind)
        with tempfile.TemporaryDirectory(prefix="stepscope-media-") as folder:
            file = Path(folder) / "input"
            file.write_bytes(data)
            shown = ("-show_format", "-show_streams", "-print_format", "json")
            told = run([program, *_QUIET, *_INPUT, *shown, str(file)], folder)
        return read_probe(json.loads(told), self._kind)

    def convert(self, data: bytes, wanted: Properties, *, crop: bool) -> tuple[bytes, str]:
        """Return the recording as wanted, and its format. Raises ValueError."""
        name = wanted.get("format") or self.measure(data)["format"]
        if name not in CONTAINERS:
            raise ValueError(f"{self._kind} can't be written as {name}")
        program = _program("ffmpeg", self._kind)
        with tempfile.TemporaryDirectory(prefix="stepscope-media-") as folder:
            source, target = Path(folder) / "input", Path(folder) / f"output.{name}"
            source.write_bytes(data)
            changes = arguments(wanted, self._kind, name, crop=crop)
            written = ("-fs", str(FILE_BYTES), "-f", CONTAINERS[name], str(target))
            run([program, "-nostdin", *_QUIET, *_INPUT, "-i", str(source), *changes, *written], folder)
            return target.read_bytes(), name


_QUIET = ("-hide_banner", "-loglevel", "error")
_INPUT = ("-protocol_whitelist", "file", "-format_whitelist", DEMUXERS)


def _program(name: str, kind: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ValueError(f"{kind} isn't taken by this server: {name} isn't installed on it")
    return found


def run(command: Sequence[str], folder: str) -> bytes:
    """Run a program within bounds and return what it prints. Raises ValueError when it fails."""
    with subprocess.Popen(  # noqa: S603 - no shell, and nothing in the command is a client's
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "HOME": folder},
    ) as process:
        try:
            _bound(process.pid)
            told, _ = process.communicate(timeout=TIME_S)
        except subprocess.TimeoutExpired:
            raise ValueError(f"the recording took more than {TIME_S:g} s to read") from None
        finally:
            process.kill()
    if process.returncode != 0:
        raise ValueError("the recording can't be read")
    return told


def _bound(pid: int) -> None:
    with suppress(ProcessLookupError):  # it is over already
        resource.prlimit(pid, resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.prlimit(pid, resource.RLIMIT_CPU, (int(TIME_S), int(TIME_S)))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))


def read_probe(told: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return what ffprobe told, by attribute. Raises ValueError when there is no stream of the kind."""
    streams = {each.get("codec_type"): each for each in reversed(told.get("streams", []))}
    if kind not in streams:
        raise ValueError(f"there is no {kind} in it")
    whole = told.get("format", {})
    found: dict[str, Any] = {"format": _container(str(whole.get("format_name", "")))}
    if _number(whole.get("duration")) is not None:
        found["duration"] = _number(whole["duration"])
    found |= _audio(streams["audio"], whole) if "audio" in streams else {}
    found |= _video(streams["video"]) if kind == "video" else {}
    return {name: value for name, value in found.items() if value is not None}


def _audio(stream: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    bits = stream.get("bits_per_sample") or stream.get("bits_per_raw_sample") or _sample_bits(stream)
    return {
        "audio_codec": stream.get("codec_name"),
        "sample_rate": _whole(stream.get("sample_rate")),
        "channels": _whole(stream.get("channels")),
        "sample_bit_depth": _whole(bits),
        "audio_bit_rate": _whole(stream.get("bit_rate") or whole.get("bit_rate")),
    }


def _video(stream: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "video_codec": stream.get("codec_name"),
        "size": (int(stream["width"]), int(stream["height"])),
        "color_space": _family(str(stream.get("pix_fmt", ""))),
        "video_bit_rate": _whole(stream.get("bit_rate")),
    }


def _container(names: str) -> str:
    listed = names.split(",")
    return next((each for each in (*CONTAINERS, "flac") if each in listed), listed[0])


def _sample_bits(stream: Mapping[str, Any]) -> int | None:
    """Return the bits of decoded samples, as names such as `s16` and `fltp` tell them."""
    name = str(stream.get("sample_fmt", "")).removesuffix("p")
    return {"u8": 8, "s16": 16, "s32": 32, "flt": 32, "dbl": 64, "s64": 64}.get(name)


def _family(pixels: str) -> str:
    for beginning in ("yuva", "yuv", "nv", "rgba", "bgra", "rgb", "bgr", "gbrap", "gbr", "gray", "mono", "pal"):
        if pixels.startswith(beginning):
            names = {"nv": "yuv", "bgra": "rgba", "gbrap": "gbr_alpha", "mono": "monochrome", "pal": "palette"}
            return names.get(beginning, beginning)
    return "other"


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def arguments(wanted: Properties, kind: str, name: str, *, crop: bool) -> list[str]:
    """Return how ffmpeg is asked for changes, for a recording in the format `name`."""
    given: list[str] = ["-map_metadata", "-1"]
    if kind == "audio":
        given.append("-vn")
    options = {
        "duration": "-t",
        "sample_rate": "-ar",
        "channels": "-ac",
        "audio_bit_rate": "-b:a",
        "video_bit_rate": "-b:v",
        "audio_codec": "-c:a",
        "video_codec": "-c:v",
    }
    for each, option in options.items():
        if each in wanted:
            given += [option, ENCODERS.get(wanted[each], str(wanted[each]))]
    if "sample_bit_depth" in wanted and "audio_codec" not in wanted and name in PLAIN:
        given += ["-c:a", _depth(wanted["sample_bit_depth"])]
    if "size" in wanted:
        given += ["-vf", _scaled(*wanted["size"], crop=crop)]
    if "color_space" in wanted:
        given += ["-pix_fmt", _pixels(wanted["color_space"])]
    return given


def _depth(bits: int) -> str:
    if bits not in BIT_DEPTHS:
        raise ValueError(f"a sample_bit_depth of {bits} can't be made")
    return BIT_DEPTHS[bits]


def _pixels(space: str) -> str:
    if space not in PIXELS:
        raise ValueError(f"videos can't be converted to the color_space {space}")
    return PIXELS[space]


def _scaled(width: int, height: int, *, crop: bool) -> str:
    if not crop:
        return f"scale={width}:{height}"
    return f"scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height}"
