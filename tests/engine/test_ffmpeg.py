"""Audio and video by ffmpeg: what is measured, what is converted, and what it may not do."""

import io
import math
import shutil
import struct
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import pytest

from stepscope.engine import ffmpeg
from stepscope.engine.ffmpeg import Ffmpeg, arguments, read_probe

needs_ffmpeg = pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")),
    reason="ffmpeg isn't here: install Debian's package ffmpeg",
)


def tone(rate: int = 44_100, channels: int = 2, seconds: float = 1.0) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        samples = [int(9000 * math.sin(place / 20)) for place in range(int(rate * seconds)) for _ in range(channels)]
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; what is left there shows."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@needs_ffmpeg
def test_a_recording_is_measured(folder: Path) -> None:
    found = Ffmpeg("audio").measure(tone())
    assert found == {
        "format": "wav",
        "duration": 1.0,
        "audio_codec": "pcm_s16le",
        "sample_rate": 44_100,
        "channels": 2,
        "sample_bit_depth": 16,
        "audio_bit_rate": 1_411_200,
    }
    assert list(folder.iterdir()) == []


@needs_ffmpeg
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"sample_rate": 16_000, "channels": 1}, {"sample_rate": 16_000, "channels": 1, "format": "wav"}),
        ({"sample_bit_depth": 8}, {"sample_bit_depth": 8}),
        ({"duration": 0.5}, {"duration": 0.5}),
        ({"format": "ogg"}, {"format": "ogg"}),
        ({"format": "mp3"}, {"format": "mp3", "audio_codec": "mp3"}),
        ({"format": "webm"}, {"format": "webm"}),
        ({"format": "mp4"}, {"format": "mp4", "audio_codec": "aac"}),
        ({"format": "mp3", "sample_bit_depth": 16}, {"format": "mp3", "sample_bit_depth": 32}),
        ({"format": "webm", "audio_codec": "opus"}, {"format": "webm", "audio_codec": "opus"}),
        ({"format": "ogg", "audio_codec": "vorbis"}, {"format": "ogg", "audio_codec": "vorbis"}),
    ],
)
def test_a_recording_is_converted(folder: Path, wanted: dict[str, object], found: dict[str, object]) -> None:
    audio = Ffmpeg("audio")
    data, name = audio.convert(tone(), wanted, crop=False)
    measured = audio.measure(data)
    assert {key: measured[key] for key in found} == found
    assert name == measured["format"]
    assert list(folder.iterdir()) == []


@needs_ffmpeg
def test_a_film_is_measured_and_converted(folder: Path) -> None:
    source = folder / "film.mp4"
    command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=64x32:duration=1", str(source)]
    subprocess.run(command, check=True)
    film = Ffmpeg("video")
    measured = film.measure(source.read_bytes())
    assert (measured["size"], measured["format"], measured["duration"]) == ((64, 32), "mp4", 1.0)
    for crop in (True, False):
        data, _ = film.convert(source.read_bytes(), {"size": (16, 16)}, crop=crop)
        assert film.measure(data)["size"] == (16, 16)
    with pytest.raises(ValueError, match="no video"):
        film.measure(tone())


@needs_ffmpeg
@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
    ],
    ids=["text", "playlist", "list of files"],
)
def test_what_is_no_recording_is_refused(folder: Path, data: bytes) -> None:
    with pytest.raises(ValueError, match="can't be read"):
        Ffmpeg("audio").measure(data)
    assert list(folder.iterdir()) == []


def test_without_the_programs_it_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="audio isn't taken by this server: ffprobe isn't installed"):
        Ffmpeg("audio").measure(tone())


def test_a_program_that_takes_too_long_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "TIME_S", 1.0)
    with pytest.raises(ValueError, match="more than 1 s"):
        ffmpeg.run([sys.executable, "-c", "import time; time.sleep(60)"], str(folder))


def test_a_program_that_takes_too_much_memory_fails(folder: Path) -> None:
    grab = "import time; time.sleep(0.5); bytearray(4 * 2**30)"
    with pytest.raises(ValueError, match="can't be read"):
        ffmpeg.run([sys.executable, "-c", grab], str(folder))


def test_what_is_told_without_numbers_is_left_out() -> None:
    told = {"format": {"format_name": "matroska,webm"}, "streams": [{"codec_type": "audio", "sample_fmt": "fltp"}]}
    assert read_probe(told, "audio") == {"format": "webm", "sample_bit_depth": 32}
    with pytest.raises(ValueError, match="no video"):
        read_probe(told, "video")


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match="sample_bit_depth of 7"):
        arguments({"sample_bit_depth": 7}, "audio", "wav", crop=False)
    with pytest.raises(ValueError, match="color_space strange"):
        arguments({"color_space": "strange"}, "video", "mp4", crop=False)
    with pytest.raises(ValueError, match="can't be written as flac"):
        Ffmpeg("audio").convert(b"", {"format": "flac"}, crop=False)
