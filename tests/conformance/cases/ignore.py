"""`.dockerignore`: every kind of pattern, exceptions, where the file is looked for."""

from ..case import Link, group

TREE = {
    "a.txt": "",
    "b.md": "",
    "c.log": "",
    ".env": "",
    "dir/a.txt": "",
    "dir/b.md": "",
    "dir/sub/a.txt": "",
    "dir/sub/c.log": "",
    "dir/sub/deep/a.txt": "",
    "node_modules/x/index.js": "",
    "src/node_modules/y.js": "",
    "src/main.go": "",
    "link": Link("dir"),
}
base = group("ignore")


def case(title: str, ignore: str, dockerfile: str = "FROM scratch\nCOPY . /\n", **fields: object) -> None:
    """A context with that `.dockerignore`."""
    base(title, dockerfile, {**TREE, ".dockerignore": ignore, **fields.pop("more", {})}, **fields)  # type: ignore[dict-item]


case("name", "a.txt\n")
case("slash_first", "/a.txt\n/dir/b.md\n")
case("slash_last", "dir/\n")
case("dir", "dir\n")
case("star", "*.txt\n")
case("star_dir", "*/a.txt\n")
case("double_star", "**/a.txt\n")
case("double_star_end", "dir/**\n")
case("double_star_middle", "dir/**/a.txt\n")
case("double_star_word", "**/node_modules\n")
case("double_star_suffix", "**.log\n")
case("question", "?.md\ndir/s?b\n")
case("class", "[ab].*\n")
case("class_negated", "[^ab].*\n")
case("everything", "*\n")
case("everything_but", "*\n!src\n!*.txt\n")
case("exception_in_dir", "dir\n!dir/sub/a.txt\n")
case("exception_order", "!a.txt\n*.txt\n")
case("exception_of_exception", "*.md\n!*.md\nb.md\n")
case("exception_deep", "**\n!**/*.go\n")
case("comments_and_blanks", "# a comment\n\n   a.txt   \n\t#not.a.comment\n#b.md\n")
case("dots", "./a.txt\ndir/../b.md\ndir/./sub/\n")
case("up", "../a.txt\n")
case("escaped", "\\#hash\n\\!bang\na\\*b\n", more={"#hash": "", "!bang": "", "a*b": "", "axb": ""})
case("spaces", "with space\n", more={"with space/x": "", "with": ""})
case("crlf", "a.txt\r\ndir\r\n")
case("bom", "\ufeffa.txt\n")
case("dot_files", ".*\n")
case("itself", ".dockerignore\nDockerfile\n")
case("only_dot", ".\n")
case("exclamation_alone", "!\n")
case("bad_pattern", "[a\n", says="syntax error in pattern")
case("link", "link\n")
case("through_link", "link/a.txt\n")
case("hides_source", "a.txt\n", "FROM scratch\nCOPY a.txt /\n")
case("hides_glob", "*.txt\n", "FROM scratch\nCOPY a.txt* b.md /d/\n")
case("hides_dir_content", "dir/sub\n", "FROM scratch\nCOPY dir /d\n")
case("keeps_empty_dir", "dir/sub/deep/*\n", "FROM scratch\nCOPY dir/sub /d\n")
case(
    "of_dockerfile",
    "a.txt\n",
    beside={"x.Dockerfile": "FROM scratch\nCOPY . /\n", "x.Dockerfile.dockerignore": "b.md\n"},
    flags="-f {beside}/x.Dockerfile",
)
case("mount", "a.txt\n", "FROM busybox\nRUN --mount=target=/m ls -R /m > /l\n")
case("case_sensitive", "A.TXT\n")
case("regex_characters", "a+b\n(x)\na.b\n", more={"a+b": "", "(x)": "", "a.b": "", "axb": ""})
