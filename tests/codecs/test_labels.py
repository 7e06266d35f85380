import pytest

from stepscope.codecs.labels import read_labels


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        (b"", ()),
        (b"a\nb\n", ("a", "b")),
        (b"\xef\xbb\xbfa\r\n b \r\n\r\n", ("a", "b")),
        (b"n02123045 tabby, tabby cat\n\nlast", ("n02123045 tabby, tabby cat", "", "last")),
        ("grün".encode(), ("grün",)),
        (b"\xff", ("\ufffd",)),
    ],
)
def test_labels_are_one_a_line(content: bytes, labels: tuple[str, ...]) -> None:
    assert read_labels(content) == labels
