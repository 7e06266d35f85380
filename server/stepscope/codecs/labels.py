"""Labels files: one label a line, the first line is class 0."""


def read_labels(content: bytes) -> tuple[str, ...]:
    """Return the labels of a UTF-8 file; empty lines at its end don't count."""
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(line.strip() for line in lines)
