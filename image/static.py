"""Fails unless an ELF file needs no interpreter and no library. Usage: static.py FILE"""

import struct
import sys

INTERPRETER, DYNAMIC = 3, 2
NEEDED = 1


def main(path):
    with open(path, "rb") as file:
        data = file.read()
    if data[:5] != b"\x7fELF\x02" or data[5] != 1:
        sys.exit(f"{path} is no 64-bit little-endian ELF file")
    start, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for header in (start + number * size for number in range(count)):
        kind, = struct.unpack_from("<I", data, header)
        offset, = struct.unpack_from("<Q", data, header + 8)
        length, = struct.unpack_from("<Q", data, header + 32)
        if kind == INTERPRETER:
            sys.exit(f"{path} needs the interpreter {data[offset:offset + length - 1].decode()}")
        if kind == DYNAMIC:
            for entry in range(offset, offset + length, 16):
                if struct.unpack_from("<q", data, entry)[0] == NEEDED:
                    sys.exit(f"{path} needs a library")


if __name__ == "__main__":
    main(sys.argv[1])
