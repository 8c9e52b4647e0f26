"""Reading and forging MMP blocks in an image file, for the agent's tests. Not here: anything that the product does itself."""

from pathlib import Path

from ostkeeper.agent.backends import mmp, superblock
from ostkeeper.agent.backends.superblock import Superblock


def superblock_of(image: Path) -> Superblock:
    with image.open("rb") as file:
        file.seek(superblock.OFFSET)
        return superblock.parse(file.read(superblock.SIZE))


def block_of(image: Path) -> bytes:
    of = superblock_of(image)
    with image.open("rb") as file:
        file.seek(of.mmp_offset)
        return file.read(of.block_size)


def write_block(image: Path, block: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(superblock_of(image).mmp_offset)
        file.write(block)


def with_sequence(image: Path, sequence: int) -> bytes:
    """The image's block with another sequence and the checksum that belongs to it."""
    block, of = bytearray(block_of(image)), superblock_of(image)
    block[4:8] = sequence.to_bytes(4, "little")
    if of.metadata_checksums:
        block[1020:1024] = mmp.checksum(bytes(block), of).to_bytes(4, "little")
    return bytes(block)


def with_mark(image: Path, node: bytes, device: bytes, sequence: int) -> bytes:
    """The image's block as a kernel of that name leaves it, device and sequence included."""
    block, of = bytearray(with_sequence(image, sequence)), superblock_of(image)
    block[16:80], block[80:112] = node.ljust(64, b"\0"), device.ljust(32, b"\0")
    if of.metadata_checksums:
        block[1020:1024] = mmp.checksum(bytes(block), of).to_bytes(4, "little")
    return bytes(block)
