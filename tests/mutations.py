"""Bytes with something wrong in them: of the file itself, or of what is packed or written in it."""

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable

EXTREMES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\xff" * 8, b"\0" * 8)
ODD_VALUES = (None, True, -1, 10**400, 1e308, float("nan"), "", "../x", [], {}, [[]], "\ud800", [0] * 1000)


def of_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return the content with one to four faults: flipped, cut, doubled, moved, put in or overwritten."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        start = chance.randrange(len(content) + 1)
        end = min(len(content), start + chance.choice((1, 2, 8, 64, len(content))))
        content = chance.choice(KINDS)(content, start, end, chance)
    return content


def _flipped(content: bytes, start: int, end: int, chance: random.Random) -> bytes:
    if start == len(content):
        return content
    return content[:start] + bytes([content[start] ^ 1 << chance.randrange(8)]) + content[start + 1 :]


def _overwritten(content: bytes, start: int, end: int, chance: random.Random) -> bytes:
    value = chance.choice(EXTREMES)
    return content[:start] + value + content[start + len(value) :]


def _moved(content: bytes, start: int, end: int, chance: random.Random) -> bytes:
    rest = content[:start] + content[end:]
    place = chance.randrange(len(rest) + 1)
    return rest[:place] + content[start:end] + rest[place:]


KINDS: tuple[Callable[[bytes, int, int, random.Random], bytes], ...] = (
    _flipped,
    _overwritten,
    _moved,
    lambda content, start, end, chance: content[:start],
    lambda content, start, end, chance: content[:start] + content[end:],
    lambda content, start, end, chance: content[:end] + content[start:],
    lambda content, start, end, chance: content[:start] + chance.randbytes(end - start) + content[end:],
    lambda content, start, end, chance: content[:start] + chance.randbytes(8) + content[start:],
)


def inside_gzip(content: bytes, chance: random.Random) -> bytes:
    """Return a .gz file, whole in itself, of content with faults."""
    return gzip.compress(of_bytes(gzip.decompress(content), chance), 1)


def inside_zip(content: bytes, chance: random.Random) -> bytes:
    """Return a zip archive, whole in itself, one member of which has faults, another name, or is not there."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    victim, kind = chance.choice(list(members)), chance.randrange(8)
    if kind == 0:
        del members[victim]
    elif kind == 1:
        members[f"{victim}{chance.choice(('x', '/x', '/../../x', '.npy'))}"] = members.pop(victim)
    else:
        members[victim] = of_bytes(members[victim], chance)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return buffer.getvalue()


def inside_json(content: bytes, chance: random.Random) -> bytes:
    """Return a JSON file, whole in itself, in which a value is of another kind or not there."""
    root = json.loads(content)
    place, key = root, None
    while isinstance(place, dict | list) and place:
        parent, key = place, chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        place = parent[key]
        if chance.random() < 0.3:
            break
    if key is None or chance.random() < 0.05:
        return json.dumps(chance.choice(ODD_VALUES)).encode()
    if chance.random() < 0.3:
        del parent[key]
    elif chance.random() < 0.1:
        return json.dumps(root).replace("1", "[" * 100_000, 1).encode()
    else:
        parent[key] = chance.choice(ODD_VALUES)
    return json.dumps(root).encode()
