"""Train LeNet on scikit-learn's handwritten digits and write everything that ships with it.

    python -m stepscope.builtin.train_lenet [FOLDER]

writes, below this folder or FOLDER, the weights and the manifest of `lenet/1.0.0`, twenty samples, and the fifth of
the digits that training never saw as the dataset vision/digits. Needs scikit-learn, a development dependency. The same
versions of torch and scikit-learn write the same bytes.
"""

import hashlib
import io
import json
import sys
import zipfile
from importlib import util
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional

SEED = 20
EPOCHS = 60
BATCH = 32
SIZE = 28
HELD_OUT = 0.2
SAMPLES_PER_DIGIT = 2
EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def enlarged(digits: NDArray[np.float64]) -> Images:
    """Return digits of shape (n, 8, 8), ink 0 to 16, as images of shape (n, 28, 28), ink 0 to 255."""
    small = np.rint(digits * 255 / 16).astype(np.uint8)
    large = [Image.fromarray(digit).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for digit in small]
    return np.stack([np.asarray(image) for image in large])


def split() -> tuple[Images, Images, Labels, Labels]:
    """Return the images and labels to train on and those held out, each digit in the same share of both."""
    digits = load_digits()
    parts = train_test_split(
        enlarged(digits.images), digits.target, test_size=HELD_OUT, stratify=digits.target, random_state=SEED
    )
    seen, unseen, seen_labels, unseen_labels = parts
    return seen, unseen, seen_labels.astype(np.int64), unseen_labels.astype(np.int64)


def moved(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Turn, stretch and shift each image (n, 1, 28, 28) a little, so that few digits teach many hands."""
    count = len(images)
    angle, slant = ((torch.rand(2, count, generator=random) - 0.5) * 0.4).unbind()
    size = 1 + (torch.rand(count, generator=random) - 0.5) * 0.25
    shift = (torch.rand(count, 2, generator=random) - 0.5) * 0.25
    across = torch.stack([angle.cos() * size, slant - angle.sin() * size, shift[:, 0]], dim=1)
    down = torch.stack([angle.sin() * size, angle.cos() * size, shift[:, 1]], dim=1)
    grid = functional.affine_grid(torch.stack([across, down], dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def tensor(images: Images) -> torch.Tensor:
    """Return images as the manifest's preprocessing leaves them."""
    return torch.from_numpy(images).unsqueeze(1).float() / 255


def architecture(folder: Path) -> torch.nn.Module:
    """Return a fresh LeNet of the architecture that ships beside the weights."""
    spec = util.spec_from_file_location("lenet_architecture", folder / "architecture.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(folder / "architecture.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model: torch.nn.Module = module.LeNet()
    return model


def train(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Fit the model in place."""
    random = torch.Generator().manual_seed(SEED)
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=random)
        for chosen in torch.split(order[: len(order) // BATCH * BATCH], BATCH):
            logits = model(moved(images[chosen], random))
            loss = functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    model.eval()


def share_right(logits: torch.Tensor, labels: Labels, best: int) -> float:
    """Return the share of rows whose label is among the `best` largest logits."""
    ranked = logits.topk(best).indices
    return float((ranked == torch.from_numpy(labels).unsqueeze(1)).any(dim=1).float().mean())


def png(image: Images) -> bytes:
    """Return the image as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def write_samples(folder: Path, images: Images, labels: Labels) -> None:
    """Write the first images of each digit, in the order of the digits."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [at for digit in range(10) for at in np.flatnonzero(labels == digit)[:SAMPLES_PER_DIGIT]]
    for number, at in enumerate(chosen):
        (folder / f"{number:02}_label{labels[at]}.png").write_bytes(png(images[at]))


def write_dataset(folder: Path, images: Images, labels: Labels) -> None:
    """Write the images and their labels as one zip file, with nothing in it that depends on the day."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number:04}.png" for number in range(len(images))]
    rows = "".join(f"{name},{label}\n" for name, label in zip(names, labels, strict=True))
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("labels.csv", EPOCH_OF_ZIP), "file,label\n" + rows)
        for name, image in zip(names, images, strict=True):
            archive.writestr(zipfile.ZipInfo(name, EPOCH_OF_ZIP), png(image))


def write_measured(manifest: Path, measured: dict[str, str]) -> None:
    """Put what was measured into the lines of the manifest that begin with its keys."""
    lines = manifest.read_text("utf-8").splitlines(keepends=True)
    for at, line in enumerate(lines):
        key = line.partition(":")[0]
        if key.strip() in measured:
            lines[at] = f"{key}: {json.dumps(measured[key.strip()])}\n"
    manifest.write_text("".join(lines), "utf-8")


def percent(share: float) -> str:
    """Return a share as a number of percent."""
    return f"{share * 100:.2f}"


def main(root: Path) -> None:
    """Train, measure and write."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # sums in another order round otherwise
    torch.use_deterministic_algorithms(True)
    seen, unseen, seen_labels, unseen_labels = split()
    folder = root / "lenet" / "1.0.0"
    model = architecture(folder)
    train(model, tensor(seen), torch.from_numpy(seen_labels))
    with torch.inference_mode():
        logits = model(tensor(unseen))
    top1, top5 = share_right(logits, unseen_labels, 1), share_right(logits, unseen_labels, 5)
    weights = save(model.state_dict(), metadata={"format": "pt"})
    (folder / "lenet.safetensors").write_bytes(weights)
    checksum = f"sha256:{hashlib.sha256(weights).hexdigest()}"
    measured = {"top1": percent(top1), "top5": percent(top5), "weights_checksum": checksum}
    write_measured(folder / "manifest.yaml", measured)
    write_samples(root / "lenet" / "samples", unseen, unseen_labels)
    write_dataset(root / "datasets" / "vision" / "digits", unseen, unseen_labels)
    print(f"{top1:.2%} of {len(unseen)} digits that training never saw are right (top 5: {top5:.2%})")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
