"""Licences as SPDX writes them: an expression of known ids, with references to the texts of unknown licences."""

from __future__ import annotations

import re

_WORDS = re.compile(r"\(|\)|[^\s()]+")
_NAME = re.compile(r"[^A-Za-z0-9.-]+")
_OPERATORS = ("AND", "OR", "WITH")
_ID_WORDS = (
    "0BSD AFL-2.1 AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-1.0 Artistic-1.0-Perl "
    "Artistic-2.0 BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-3-Clause BSD-4-Clause BSL-1.0 bzip2-1.0.6 CC-BY-3.0 "
    "CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 CDDL-1.1 curl ECL-2.0 EPL-1.0 EPL-2.0 EUPL-1.2 FSFAP "
    "FTL GFDL-1.3-or-later GPL-1.0-only GPL-1.0-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only "
    "GPL-3.0-or-later HPND ICU IJG ISC JSON LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later "
    "LGPL-3.0-only LGPL-3.0-or-later Libpng libtiff MIT MIT-0 MIT-CMU MPL-1.1 MPL-2.0 MS-PL NCSA OFL-1.1 OpenSSL "
    "OLDAP-2.8 PHP-3.01 PostgreSQL PSF-2.0 Python-2.0 Ruby SSPL-1.0 TCL Unicode-3.0 Unicode-DFS-2016 Unlicense "
    "UPL-1.0 Vim W3C WTFPL X11 Zlib ZPL-2.1"
)
"""The ids of the most frequent licences; other licences are kept in the words of the package."""
_IDS = frozenset(_ID_WORDS.split())
_BY_LOWER = {licence.lower(): licence for licence in _IDS}
_EXCEPTIONS = {
    exception.lower(): exception
    for exception in (
        *("Autoconf-exception-2.0", "Autoconf-exception-3.0", "Bison-exception-2.2", "Classpath-exception-2.0"),
        *("GCC-exception-2.0", "GCC-exception-3.1", "Linux-syscall-note", "LLVM-exception", "OpenSSL-exception"),
    )
}
_OTHERS = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "expat": "MIT",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "public-domain": "LicenseRef-public-domain",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "zlib": "Zlib",
}
_GNU = re.compile(r"(a|l|)gpl-?v?([123](?:\.[01])?)(\+|-only|-or-later|)", re.IGNORECASE)


def expression(text: str, references: dict[str, str]) -> str:
    """Return the SPDX expression of a package's licence; unknown licences go into `references`.

    The keys of `references` are the names that the expression uses, `LicenseRef-…`; the values are the package's own
    words.
    """
    text = " ".join(text.split())
    if known := _known(text):
        return known
    words = _WORDS.findall(text)
    parts: list[str] = []
    for number, word in enumerate(words):
        if word in ("(", ")"):
            parts.append(word)
        elif word.upper() in _OPERATORS:
            parts.append(word.upper())
        elif number and words[number - 1].upper() == "WITH":
            parts.append(_EXCEPTIONS.get(word.lower(), ""))
        else:
            parts.append(_known(word) or "")
    if all(parts) and _is_expression(parts):
        return " ".join(parts).replace("( ", "(").replace(" )", ")")
    pieces = text.split(" AND ")
    if len(pieces) > 1:
        terms = dict.fromkeys(expression(piece, references) for piece in pieces)
        return " AND ".join(f"({term})" if " OR " in term else term for term in terms)
    name = "LicenseRef-" + (_NAME.sub("-", text).strip("-")[:80] or "unknown")
    references.setdefault(name, text)
    return name


def _known(word: str) -> str:
    """Return the id of a licence in any spelling; "" for an unknown licence."""
    lower = word.lower()
    if licence := _BY_LOWER.get(lower) or _OTHERS.get(lower):
        return licence
    if match := _GNU.fullmatch(word):
        version = match[2] if "." in match[2] else f"{match[2]}.0"
        later = match[3] in ("+", "-or-later")
        return _BY_LOWER.get(f"{match[1].lower()}gpl-{version}-{'or-later' if later else 'only'}", "")
    return ""


def _is_expression(parts: list[str]) -> bool:
    """Return whether operands and operators alternate, and parentheses are balanced."""
    depth, operand = 0, False
    for part in parts:
        if part == "(":
            if operand:
                return False
            depth += 1
        elif part == ")":
            depth -= 1
            if depth < 0 or not operand:
                return False
        elif part in _OPERATORS:
            if not operand:
                return False
            operand = False
        elif operand:
            return False
        else:
            operand = True
    return depth == 0 and operand
