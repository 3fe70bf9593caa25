"""Letters, five dots wide and seven high, for reliefs of writing and for writing that is only printed on a surface."""

import numpy as np

_ROWS = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "B": "11110 10001 10001 11110 10001 10001 11110",
    "C": "01111 10000 10000 10000 10000 10000 01111",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "F": "11111 10000 10000 11110 10000 10000 10000",
    "G": "01111 10000 10000 10011 10001 10001 01111",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "K": "10001 10010 10100 11000 10100 10010 10001",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "M": "10001 11011 10101 10101 10001 10001 10001",
    "N": "10001 11001 10101 10011 10001 10001 10001",
    "O": "01110 10001 10001 10001 10001 10001 01110",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "S": "01111 10000 10000 01110 00001 00001 11110",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "U": "10001 10001 10001 10001 10001 10001 01110",
    "X": "10001 10001 01010 00100 01010 10001 10001",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
}
GLYPHS = [np.array([[dot == "1" for dot in row] for row in rows.split()], np.float32) for rows in _ROWS.values()]


def lines(random, rows, columns):
    """So many lines of random letters as a picture of dots, 0 or 1, with gaps between them."""
    page = np.zeros((rows * 9 + 2, columns * 7 + 2), np.float32)
    for row in range(rows):
        for column in range(columns):
            glyph = GLYPHS[random.integers(len(GLYPHS))]
            page[2 + row * 9 : 9 + row * 9, 2 + column * 7 : 7 + column * 7] = glyph
    return page
